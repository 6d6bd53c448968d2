//! What the front end has to say about a Dockerfile: an error or a warning, and where.
//!
//! A value only. Nothing here prints; [`crate::render`] makes the text with the source line shown.

use crate::span::Span;

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
    /// The name of the build check that found it, as in `# check=skip=NAME`; none for syntax errors.
    pub rule: Option<&'static str>,
    /// What is wrong, in one line without a final dot.
    pub message: String,
    /// Where it is; none where no single place is to blame (an empty file).
    pub span: Option<Span>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at `span`.
    pub fn error(message: impl Into<String>, span: Span) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            rule: None,
            message: message.into(),
            span: Some(span),
            help: None,
        }
    }

    /// A warning of the build check `rule` at `span`.
    pub fn warning(rule: &'static str, message: impl Into<String>, span: Span) -> Diagnostic {
        Diagnostic {
            severity: Severity::Warning,
            rule: Some(rule),
            message: message.into(),
            span: Some(span),
            help: None,
        }
    }

    /// The same, with a word on what to do.
    pub fn with_help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }
}

impl std::fmt::Display for Diagnostic {
    /// The message alone: whoever has the source shows more with [`crate::render`].
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diagnostic {}
