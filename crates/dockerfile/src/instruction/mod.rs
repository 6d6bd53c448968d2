//! One logical line to one typed instruction.
//!
//! Where BuildKit has a message, it is used as it is, for people look for it.

mod arguments;
mod files;
mod health;
mod stage;

use crate::ast::{Command, Heredoc, Instruction, Kind, Network, Onbuild, Run, Security, Stage};
use crate::check::Rule;
use crate::diagnostic::Diagnostic;
use crate::directive::shorten;
use crate::flags::{Flags, Known, Takes};
use crate::heredoc;
use crate::json::{self, Form};
use crate::lines::{Lines, LogicalLine};
use crate::mount::{Device, Mount};
use crate::span::{Span, Text};
use crate::suggest;
use crate::words::{self, Split};

pub(crate) const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// What a line of a Dockerfile is.
pub(crate) enum Item {
    /// `FROM`; the stage has no instructions yet.
    Stage(Stage),
    /// Anything else.
    Instruction(Instruction),
}

/// Reads one line, and from `lines` the heredocs that it begins. Warnings go to `warnings`.
///
/// # Errors
/// The first thing wrong with it. The heredocs have been passed over, where they have an end.
pub(crate) fn parse(
    line: LogicalLine,
    lines: &mut Lines<'_>,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Item, Diagnostic> {
    let escape = lines.escape();
    let split = words::split(&line.text, escape);
    let keyword = split.keyword.raw.to_ascii_uppercase();
    let known = warnings.len();
    if let Some(span) = line.blank {
        // BuildKit names the last line of the instruction, not the empty one.
        let last = Span::at(lines.position().saturating_sub(1));
        let warning = Diagnostic::warning(Rule::NoEmptyContinuation, "Empty continuation line", span);
        warnings.push(warning.of(last));
    }
    let source = line.text.raw.trim().to_owned();
    let mut span = line.text.trim().span;
    if keyword == "FROM" {
        let stage = stage::parse(split, span, source, line.comments, warnings)?;
        name_instruction(&mut warnings[known..], span);
        return Ok(Item::Stage(stage));
    }
    let heredocs = if takes_heredocs(&keyword, &split, escape) {
        match heredoc::read(&line.text, lines) {
            Ok(heredocs) => heredocs,
            Err(error) => {
                // All that follows is likely meant to be of it.
                lines.finish();
                return Err(error);
            }
        }
    } else if !KEYWORDS.contains(&keyword.as_str()) {
        // Most likely a mistyped RUN: its script is not a row of unknown instructions then.
        let _ = heredoc::read(&line.text, lines);
        Vec::new()
    } else {
        Vec::new()
    };
    if !heredocs.is_empty() {
        span = Span::new(span.start as usize, lines.position());
    }
    let at = span;
    let mut reader = Reader { keyword: &keyword, split, heredocs, escape, at, warnings };
    let kind = match keyword.as_str() {
        "ONBUILD" => reader.onbuild(&line.text)?,
        _ => reader.kind()?,
    };
    let keyword = reader.split.keyword;
    name_instruction(&mut warnings[known..], span);
    Ok(Item::Instruction(Instruction { span, keyword, source, comments: line.comments, kind }))
}

/// Says of warnings that they are of the instruction at `span`, where that is not known yet.
fn name_instruction(warnings: &mut [Diagnostic], span: Span) {
    for warning in warnings {
        warning.instruction.get_or_insert(span);
    }
}

/// Whether `<<` begins a heredoc in this instruction.
fn takes_heredocs(keyword: &str, split: &Split, escape: char) -> bool {
    match keyword {
        "ADD" | "COPY" | "RUN" => !matches!(json::form(&split.arguments), Form::Array(_)),
        "ONBUILD" => {
            let trigger = words::split(&split.arguments, escape);
            let keyword = trigger.keyword.raw.to_ascii_uppercase();
            keyword != "ONBUILD" && takes_heredocs(&keyword, &trigger, escape)
        }
        _ => false,
    }
}

/// One instruction being read.
struct Reader<'a> {
    /// In upper case.
    keyword: &'a str,
    split: Split,
    heredocs: Vec<Heredoc>,
    escape: char,
    /// The whole instruction.
    at: Span,
    warnings: &'a mut Vec<Diagnostic>,
}

impl Reader<'_> {
    fn error<T>(&self, message: impl Into<String>) -> Result<T, Diagnostic> {
        Err(Diagnostic::error(message, self.split.keyword.span.to(self.split.arguments.span)))
    }

    fn flags(&self, known: Known) -> Result<Flags, Diagnostic> {
        Flags::parse(&self.split.flags, known)
    }

    fn kind(&mut self) -> Result<Kind, Diagnostic> {
        Ok(match self.keyword {
            "ADD" => self.add()?,
            "ARG" => self.arg()?,
            "CMD" => {
                self.flags(&[])?;
                Kind::Cmd(self.command(&self.split.arguments)?)
            }
            "COPY" => self.copy()?,
            "ENTRYPOINT" => {
                self.flags(&[])?;
                Kind::Entrypoint(self.command(&self.split.arguments)?)
            }
            "ENV" => Kind::Env(self.pairs()?),
            "EXPOSE" => Kind::Expose(self.expose()?),
            "HEALTHCHECK" => self.healthcheck()?,
            "LABEL" => Kind::Label(self.pairs()?),
            "MAINTAINER" => {
                let author = self.one()?;
                let message = "Maintainer instruction is deprecated in favor of using label";
                let help = "write LABEL org.opencontainers.image.authors=\"…\" instead";
                let warning = Diagnostic::warning(Rule::MaintainerDeprecated, message, self.at);
                self.warnings.push(warning.with_help(help));
                Kind::Maintainer(author)
            }
            "RUN" => self.run()?,
            "SHELL" => Kind::Shell(self.shell()?),
            "STOPSIGNAL" => Kind::Stopsignal(self.one()?),
            "USER" => Kind::User(self.one()?),
            "VOLUME" => Kind::Volume(self.volume()?),
            "WORKDIR" => Kind::Workdir(self.one()?),
            _ => return Err(unknown(&self.split.keyword)),
        })
    }

    /// The two forms of a command line.
    fn command(&self, text: &Text) -> Result<Command, Diagnostic> {
        match json::form(text) {
            Form::Array(arguments) => Ok(Command::Exec(arguments)),
            Form::NotStrings => Err(Diagnostic::error(json::NOT_STRINGS, text.span)),
            Form::Other => Ok(Command::Shell(text.clone())),
        }
    }

    fn run(&mut self) -> Result<Kind, Diagnostic> {
        let mut flags = self.flags(&[
            ("mount", Takes::Values),
            ("network", Takes::Value),
            ("security", Takes::Value),
            ("device", Takes::Values),
        ])?;
        let mounts = flags.values("mount").into_iter().map(Mount::parse).collect::<Result<_, _>>()?;
        let devices = flags.values("device").into_iter().map(Device::parse).collect::<Result<_, _>>()?;
        let network = match flags.value("network") {
            None => None,
            Some(mode) => Some(match mode.as_str() {
                "default" => Network::Default,
                "none" => Network::None,
                "host" => Network::Host,
                other => {
                    let message = format!("invalid network mode {:?}", shorten(other));
                    return Err(choose(message, &mode, &["default", "none", "host"]));
                }
            }),
        };
        let security = match flags.value("security") {
            None => None,
            Some(mode) => Some(match mode.as_str() {
                "sandbox" => Security::Sandbox,
                "insecure" => Security::Insecure,
                other => {
                    let message = format!("security {:?} is not valid", shorten(other));
                    return Err(choose(message, &mode, &["sandbox", "insecure"]));
                }
            }),
        };
        let command = self.command(&self.split.arguments)?;
        let heredocs = std::mem::take(&mut self.heredocs);
        Ok(Kind::Run(Run { command, heredocs, mounts, network, security, devices }))
    }

    fn onbuild(&mut self, line: &Text) -> Result<Kind, Diagnostic> {
        if self.split.arguments.raw.is_empty() {
            return self.error("ONBUILD requires at least one argument");
        }
        self.flags(&[])?;
        let split = words::split(&self.split.arguments, self.escape);
        let keyword = split.keyword.raw.to_ascii_uppercase();
        match keyword.as_str() {
            "ONBUILD" => {
                let message = "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed";
                return Err(Diagnostic::error(message, split.keyword.span));
            }
            "MAINTAINER" | "FROM" => {
                let message = format!("{keyword} isn't allowed as an ONBUILD trigger");
                return Err(Diagnostic::error(message, split.keyword.span));
            }
            _ => {}
        }
        // BuildKit takes all of the line but the keyword, blanks at the end and flags included.
        let mut expression = after_keyword(&line.raw).to_owned();
        for heredoc in &self.heredocs {
            expression.push('\n');
            expression.push_str(&String::from_utf8_lossy(&heredoc.content));
            expression.push_str(&heredoc.name);
        }
        // Read it now, for its mistakes to be found before a build on the image fails.
        let heredocs = std::mem::take(&mut self.heredocs);
        let (escape, at) = (self.escape, self.at);
        let mut trigger =
            Reader { keyword: &keyword, split, heredocs, escape, at, warnings: &mut *self.warnings };
        trigger.kind()?;
        Ok(Kind::Onbuild(Onbuild { keyword, expression }))
    }
}

/// The line without its first word.
fn after_keyword(line: &str) -> &str {
    let line = line.trim_start();
    line.trim_start_matches(|c: char| !c.is_whitespace()).trim_start()
}

/// An error about a word for which only `choices` are good.
fn choose(message: String, word: &Text, choices: &[&'static str]) -> Diagnostic {
    let error = Diagnostic::error(message, word.span);
    match suggest::nearest(&word.raw, choices.iter().copied()) {
        Some(near) => error.with_help(format!("did you mean {near}?")),
        None => error.with_help(format!("one of {}", choices.join(", "))),
    }
}

fn unknown(keyword: &Text) -> Diagnostic {
    let error = Diagnostic::error(format!("unknown instruction: {}", shorten(&keyword.raw)), keyword.span);
    match suggest::nearest(&keyword.raw.to_ascii_uppercase(), KEYWORDS) {
        Some(near) if keyword.raw.to_ascii_lowercase() == keyword.raw => {
            error.with_help(format!("did you mean {}?", near.to_ascii_lowercase()))
        }
        Some(near) => error.with_help(format!("did you mean {near}?")),
        None if keyword.raw.is_empty() => error.with_help("a line continuation continues nothing here"),
        None => error.with_help("if it belongs to the line above, that must end in a line continuation"),
    }
}
