//! Command lines that cannot be carried out as they stand, with Docker's exit codes: 125 for an unknown flag or a
//! bad value, 1 for an unknown verb or a wrong number of arguments.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::CliError;
use crate::cli::error::NOT_STARTED;

/// What clap found, as an error of ours. `--help` and `--version` come here too: they are printed on stdout and end
/// well.
pub(crate) fn refuse(error: &clap::Error) -> CliError {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return match error.print() {
                Ok(()) => CliError::silent(0),
                Err(error) => error.into(),
            };
        }
        // `strake` and `strake image` alone: help, as Docker gives it.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            return match write_stdout(&error.render().to_string()) {
                Ok(()) => CliError::silent(0),
                Err(error) => error.into(),
            };
        }
        ErrorKind::InvalidSubcommand => {
            if let Some(ContextValue::String(verb)) = error.get(ContextKind::InvalidSubcommand) {
                return unknown_verb(error, verb);
            }
        }
        ErrorKind::UnknownArgument | ErrorKind::ArgumentConflict | ErrorKind::MissingRequiredArgument => {
            if let Some(text) = in_dockers_words(error) {
                return CliError::plain(text, exit_code(error));
            }
        }
        _ => {}
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    CliError::plain(format!("strake: {}", text.trim_end()), exit_code(error))
}

/// Wrong flags and numbers of arguments: what is wrong, what was meant, how the verb is used, where there is more.
fn in_dockers_words(error: &clap::Error) -> Option<String> {
    let usage = error.get(ContextKind::Usage)?.to_string();
    let usage = usage.lines().next()?.trim_start_matches("Usage:").trim();
    // clap puts the flag that it thinks was meant into the usage.
    let words = usage.split(' ').take_while(|word| !word.starts_with(['-', '[', '<']));
    let verb = words.collect::<Vec<_>>().join(" ");
    let one = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let what = match (error.kind(), one(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(flag)) if flag.starts_with("--") => {
            format!("unknown flag: {}", flag.split('=').next().unwrap_or(&flag))
        }
        (ErrorKind::UnknownArgument, Some(flag)) if flag.starts_with('-') => {
            format!("unknown shorthand flag: {flag}")
        }
        (ErrorKind::UnknownArgument, Some(word)) => format!("'{verb}' takes no argument '{word}'"),
        // A word after the context looks like a verb.
        (ErrorKind::ArgumentConflict, _) => {
            format!("'{verb}' takes no argument '{}'", one(ContextKind::InvalidSubcommand)?)
        }
        (ErrorKind::MissingRequiredArgument, _) => match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::Strings(missing)) => format!("'{verb}' requires {}", missing.join(" ")),
            _ => return None,
        },
        _ => return None,
    };
    let mut text = format!("strake: {what}\n");
    if let Some(meant) = one(ContextKind::SuggestedArg) {
        text.push_str(&format!("\nDid you mean: {meant}?\n"));
    }
    text.push_str(&format!("\nRun '{verb} --help' for more information"));
    Some(text)
}

fn unknown_verb(error: &clap::Error, verb: &str) -> CliError {
    let mut text = format!("strake: unknown command: {verb}\n");
    let suggestions = match error.get(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::String(one)) => vec![one.clone()],
        Some(ContextValue::Strings(several)) => several.clone(),
        _ => Vec::new(),
    };
    if !suggestions.is_empty() {
        text.push_str(&format!("\nDid you mean: {}?\n", suggestions.join(", ")));
    }
    text.push_str("\nRun 'strake --help' for all commands");
    CliError::plain(text, 1)
}

fn exit_code(error: &clap::Error) -> u8 {
    match error.kind() {
        ErrorKind::MissingRequiredArgument
        | ErrorKind::TooFewValues
        | ErrorKind::TooManyValues
        | ErrorKind::WrongNumberOfValues
        | ErrorKind::MissingSubcommand => 1,
        ErrorKind::ArgumentConflict if error.get(ContextKind::InvalidSubcommand).is_some() => 1,
        // One positional argument too many looks to clap like an unknown flag.
        ErrorKind::UnknownArgument => match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(arg)) if !arg.starts_with('-') => 1,
            _ => NOT_STARTED,
        },
        _ => NOT_STARTED,
    }
}

fn write_stdout(text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
