//! What a verb prints on stdout.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::cli::{CliError, Outcome};

/// Prints `text` as it stands.
pub(crate) fn text(text: &str) -> Result<(), CliError> {
    bytes(text.as_bytes())
}

/// Prints `bytes` as they stand: paths need not be UTF-8.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Does something to each of `names` and prints what it gives; goes on where one fails, and fails then at
/// the end, as Docker does.
pub(crate) fn each(names: &[String], mut work: impl FnMut(&str) -> Result<String, CliError>) -> Outcome {
    let mut errors = Vec::new();
    for name in names {
        match work(name) {
            Ok(said) => text(&said)?,
            Err(error) => errors.push(error),
        }
    }
    match CliError::all(errors) {
        None => Ok(ExitCode::SUCCESS),
        Some(error) => Err(error),
    }
}
