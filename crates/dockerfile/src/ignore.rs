//! `.dockerignore`: which paths of a context stay out of it, and by which line.
//!
//! Exactly as moby's `patternmatcher` reads it. Paths here are relative to the context's root, with
//! `/` between parts and none at the ends. Walking the context is the caller's.

use crate::span::Span;

/// One pattern of a `.dockerignore`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// As written, trimmed.
    pub raw: String,
    /// Whether it begins with `!`.
    pub negated: bool,
    /// The line it is on, from 1.
    pub line: u32,
    /// Its place in the file.
    pub span: Span,
}
