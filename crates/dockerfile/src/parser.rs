//! Bytes to syntax tree.

use crate::ast::{Dockerfile, Instruction};
use crate::diagnostic::Diagnostic;

/// A Dockerfile that can be built, and what was odd about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The syntax tree.
    pub dockerfile: Dockerfile,
    /// Warnings, in the order of the source.
    pub warnings: Vec<Diagnostic>,
}

/// Reads a Dockerfile. Takes any bytes.
///
/// # Errors
/// All errors found, in the order of the source; at least one.
pub fn parse(source: &[u8]) -> Result<Parsed, Vec<Diagnostic>> {
    let _ = source;
    Err(Vec::new())
}

/// Reads one trigger of a base image's `ONBUILD`; always with a backslash as the escape character.
///
/// # Errors
/// All errors found; spans are offsets in `expression`. `FROM`, `ONBUILD` and `MAINTAINER` are no
/// triggers.
pub fn parse_trigger(expression: &str) -> Result<Instruction, Vec<Diagnostic>> {
    let _ = expression;
    Err(Vec::new())
}
