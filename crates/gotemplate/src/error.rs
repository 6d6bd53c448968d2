//! What is wrong with a template, in Go's words: `template: :1:2: executing "" at <.X>: …`.

use crate::ast::Span;

/// A template that cannot be parsed, or that failed on a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is not a template.
    #[error("template: :{line}:{column}: {message}")]
    Parse {
        /// From 1.
        line: usize,
        /// Bytes from the start of the line, from 0.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// The template does not fit the value it was given.
    #[error("template: :{line}:{column}: executing \"\" at <{node}>: {message}")]
    Execute {
        /// From 1.
        line: usize,
        /// Bytes from the start of the line, from 0.
        column: usize,
        /// The piece of the template that failed, as written.
        node: String,
        /// What is wrong.
        message: String,
    },
}

impl Error {
    pub(crate) fn parse(text: &str, at: usize, message: impl Into<String>) -> Error {
        let (line, column) = place(text, at);
        Error::Parse { line, column, message: message.into() }
    }

    pub(crate) fn execute(text: &str, span: Span, at: usize, message: impl Into<String>) -> Error {
        let (line, column) = place(text, at);
        Error::Execute {
            line,
            column,
            node: text.get(span.start..span.end).unwrap_or("").to_owned(),
            message: message.into(),
        }
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        match self {
            Error::Parse { message, .. } | Error::Execute { message, .. } => message,
        }
    }
}

fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
    let column = match before.iter().rposition(|&byte| byte == b'\n') {
        Some(newline) => before.len() - newline - 1,
        None => before.len(),
    };
    (line, column)
}
