//! Parser directives: the `# name=value` comments before anything else in a Dockerfile.
//!
//! One that is not known, a plain comment, a blank line or an instruction ends them. Nothing is
//! fetched for `# syntax=`; it is only noted.

use std::collections::BTreeMap;

use crate::ast::{Check, Directives};
use crate::check::Rule;
use crate::diagnostic::Diagnostic;
use crate::span::{Span, Text, TextBuilder};

/// Reads directives line by line until there can be no more.
pub(crate) struct DirectiveReader {
    pub(crate) directives: Directives,
    seen: [bool; 3],
    done: bool,
    /// After a `#!` line BuildKit still looks for `syntax` and `check`, but its parser, which
    /// reads `escape`, has taken the line for a comment.
    shebang: bool,
}

const NAMES: [&str; 3] = ["syntax", "escape", "check"];

impl DirectiveReader {
    pub(crate) fn new() -> DirectiveReader {
        DirectiveReader {
            directives: Directives { syntax: None, escape: '\\', check: None },
            seen: [false; 3],
            done: false,
            shebang: false,
        }
    }

    /// Takes a physical line (leading white space and line end removed) that stands at `offset`.
    /// Whether it is a directive.
    ///
    /// # Errors
    /// A directive given twice, or a value that it cannot have.
    pub(crate) fn line(&mut self, line: &[u8], offset: u32, first: bool) -> Result<bool, Diagnostic> {
        if self.done {
            return Ok(false);
        }
        if first && line.starts_with(b"#!") {
            self.shebang = true;
            return Ok(false);
        }
        let mut builder = TextBuilder::at(offset);
        builder.push_bytes(line, offset);
        let line = builder.finish();
        let Some((name, value)) = split(&line) else {
            self.done = true;
            return Ok(false);
        };
        let known = name.raw.to_ascii_lowercase();
        let Some(index) = NAMES.iter().position(|candidate| *candidate == known) else {
            self.done = true;
            return Ok(false);
        };
        if std::mem::replace(&mut self.seen[index], true) {
            return Err(Diagnostic::error(
                format!("only one {known} parser directive can be used"),
                name.span,
            ));
        }
        match index {
            0 => {
                let end = value.raw.find(' ').unwrap_or(value.raw.len());
                self.directives.syntax = Some(value.slice(0..end));
            }
            1 if self.shebang => self.done = true,
            1 => self.directives.escape = escape(&value)?,
            _ => self.directives.check = Some(check(&value)?),
        }
        Ok(true)
    }
}

/// `#`, blanks, a name, `=` and a value that is not empty.
fn split(line: &Text) -> Option<(Text, Text)> {
    let rest = line.raw.strip_prefix('#')?.trim_start();
    let start = line.raw.len() - rest.len();
    if !rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let length = rest.find(|c: char| !c.is_ascii_alphanumeric())?;
    let after = rest[length..].trim_start().strip_prefix('=')?.trim();
    if after.is_empty() {
        return None;
    }
    let value = line.raw.trim_end().len() - after.len();
    Some((line.slice(start..start + length), line.slice(value..value + after.len())))
}

fn escape(value: &Text) -> Result<char, Diagnostic> {
    match value.as_str() {
        "\\" => Ok('\\'),
        "`" => Ok('`'),
        other => Err(Diagnostic::error(
            format!("invalid escape token '{}' does not match ` or \\", shorten(other)),
            value.span,
        )),
    }
}

fn check(value: &Text) -> Result<Check, Diagnostic> {
    let mut check = Check { span: value.span, ..Check::all() };
    let mut start = 0;
    for option in value.raw.split(';') {
        let span = value.span_of(start..start + option.len());
        start += option.len() + 1;
        if let Err(message) = check_option(&mut check, option) {
            return Err(
                Diagnostic::error(message, span).with_help("the options are skip=, error= and experimental=")
            );
        }
    }
    Ok(check)
}

fn check_option(check: &mut Check, option: &str) -> Result<(), String> {
    let Some((name, value)) = option.split_once('=') else {
        return Err(format!("invalid check option {:?}", shorten(option)));
    };
    let value = value.trim();
    let names = || value.split(',').map(|name| name.trim().to_owned()).collect();
    match name.trim() {
        "skip" if value == "all" => check.skip_all = true,
        "skip" => check.skip = names(),
        "experimental" if value == "all" => check.experimental_all = true,
        "experimental" => check.experimental = names(),
        "error" => {
            check.error = parse_bool(value).ok_or_else(|| {
                format!("failed to parse check option {:?}: not a boolean", shorten(option))
            })?;
        }
        name => return Err(format!("invalid check option {:?}", shorten(name))),
    }
    Ok(())
}

/// The words for true and false that Docker takes in values.
pub(crate) fn parse_bool(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Text from the file as it fits into a message: no more than some eighty characters.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The build argument whose value stands for `# check=`.
const CHECK_ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

impl Check {
    /// The settings of a build: those of the build argument `BUILDKIT_DOCKERFILE_CHECK`, else those
    /// of the Dockerfile.
    ///
    /// # Errors
    /// The build argument's value is none.
    pub fn in_force(
        directives: &Directives,
        build_args: &BTreeMap<String, String>,
    ) -> Result<Check, Diagnostic> {
        let Some(value) = build_args.get(CHECK_ARGUMENT) else {
            return Ok(directives.check.clone().unwrap_or_else(Check::all));
        };
        if value.trim().is_empty() {
            return Ok(Check::all());
        }
        check(&Text::synthetic(value.trim())).map_err(|error| Diagnostic {
            message: format!("the build argument {CHECK_ARGUMENT}: {}", error.message),
            span: None,
            ..error
        })
    }

    /// Whether the build check `rule` is to be run. An experimental one must be asked for, and is not
    /// to be skipped then, as in BuildKit.
    pub fn runs(&self, rule: Rule) -> bool {
        let names = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case(rule.id()));
        match rule.is_experimental() {
            true => self.experimental_all || names(&self.experimental),
            false => !self.skip_all && !names(&self.skip),
        }
    }

    /// Whether a diagnostic is to be shown: an error always, a warning where its check is run.
    pub fn shows(&self, diagnostic: &Diagnostic) -> bool {
        diagnostic.rule.is_none_or(|rule| self.runs(rule))
    }

    /// The error that `error=true` makes of warnings of a build; none without warnings.
    pub fn violation<'a>(&self, warnings: impl IntoIterator<Item = &'a Diagnostic>) -> Option<Diagnostic> {
        let found = warnings.into_iter().filter_map(|warning| warning.rule);
        let rules: std::collections::BTreeSet<&str> =
            found.filter(|rule| rule.is_of_builds()).map(Rule::id).collect();
        if !self.error || rules.is_empty() {
            return None;
        }
        let names: Vec<&str> = rules.into_iter().collect();
        let message = format!("lint violation found for rules: {}", names.join(", "));
        Some(Diagnostic { span: None, ..Diagnostic::error(message, Span::default()) })
    }

    /// An empty setting: every check runs, none is an error.
    pub fn all() -> Check {
        Check {
            skip: Vec::new(),
            skip_all: false,
            error: false,
            experimental: Vec::new(),
            experimental_all: false,
            span: Span::default(),
        }
    }
}
