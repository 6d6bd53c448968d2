//! The Dockerfile language: text to syntax tree to build graph.
//!
//! No I/O: [`parse`] takes bytes, `.dockerignore` rules take paths, and what a base image looks
//! like is asked through a trait. Behaviour follows BuildKit's `frontend/dockerfile`.

#![forbid(unsafe_code)]

pub mod ast;
pub mod call;
pub mod check;
pub mod diagnostic;
mod directive;
mod duration;
pub mod expand;
mod flags;
mod heredoc;
pub mod ignore;
mod instruction;
mod json;
mod lines;
pub mod lower;
pub mod mount;
mod parser;
pub mod remote;
mod render;
pub mod span;
pub mod suggest;
mod words;
mod work;

#[cfg(test)]
mod properties;

pub use diagnostic::{Diagnostic, Severity};
pub use expand::Expander;
pub use parser::{Parsed, Reading, parse, parse_trigger, read};
pub use render::render;
pub use span::{LineIndex, Position, Span, Text};
