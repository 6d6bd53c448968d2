//! What the front end has to say about a Dockerfile: an error or a warning, and where.
//!
//! A value only. Nothing here prints; [`crate::render`] makes the text with the source line shown.

use crate::check::{Fix, Rule};
use crate::span::{LineIndex, Span};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The build goes on.
    Warning,
    /// There is nothing to build.
    Error,
}

/// An error or a warning with its place in the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The build check that found it; none for errors.
    pub rule: Option<Rule>,
    /// What is wrong, in one line without a final dot.
    pub message: String,
    /// Where it is, as narrow as it can be shown; none where no single place is to blame (an empty
    /// file).
    pub span: Option<Span>,
    /// What BuildKit shows as its place: the whole instruction. `span` where there is none.
    pub instruction: Option<Span>,
    /// What to do about it.
    pub help: Option<String>,
    /// The change of the Dockerfile that mends it, where one is safe.
    pub fix: Option<Box<Fix>>,
}

impl Diagnostic {
    /// An error at `span`.
    pub fn error(message: impl Into<String>, span: Span) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            rule: None,
            message: message.into(),
            span: Some(span),
            instruction: None,
            help: None,
            fix: None,
        }
    }

    /// A warning of the build check `rule` at `span`.
    pub fn warning(rule: Rule, message: impl Into<String>, span: Span) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, rule: Some(rule), ..Diagnostic::error(message, span) }
    }

    /// The same, with a word on what to do.
    pub fn with_help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// The same, of the instruction at `instruction`.
    pub fn of(mut self, instruction: Span) -> Diagnostic {
        self.instruction = Some(instruction);
        self
    }

    /// The same, with a change that mends it.
    pub fn with_fix(mut self, fix: Option<Fix>) -> Diagnostic {
        self.fix = fix.map(Box::new);
        self
    }

    /// First and last line as BuildKit says them, from 1; none where it has no place.
    pub fn lines(&self, index: &LineIndex) -> Option<(u32, u32)> {
        self.instruction.or(self.span).map(|span| index.lines(span))
    }

    /// As BuildKit shows a warning at the end of a build: `Rule: message (line 3)`.
    pub fn short(&self, index: &LineIndex) -> String {
        let mut text = match self.rule {
            Some(rule) => format!("{rule}: {}", self.message),
            None => self.message.clone(),
        };
        if let Some((line, _)) = self.lines(index) {
            text.push_str(&format!(" (line {line})"));
        }
        text
    }
}

impl std::fmt::Display for Diagnostic {
    /// The message alone: whoever has the source shows more with [`crate::render`].
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diagnostic {}
