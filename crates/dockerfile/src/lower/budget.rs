//! How much a Dockerfile may make lowering produce.
//!
//! `ENV a=$a$a` doubles, a thousand stages each inherit the history of the one before: a few lines
//! can ask for more memory than there is. A single word is bounded where it is expanded; here
//! everything that is made of words and copied is counted, and the count has an end far above what
//! any real file needs.

use crate::diagnostic::Diagnostic;
use crate::span::Span;

/// Bytes that one lowering may produce in all.
const TOTAL: usize = 64 << 20;
/// Bytes of one variable's value. Linux takes 128 KiB.
const VALUE: usize = 1 << 20;
/// Variables in the environment of one image.
const VARIABLES: usize = 1 << 14;

/// What is left.
#[derive(Debug)]
pub(crate) struct Budget {
    left: usize,
}

impl Budget {
    pub(crate) fn new() -> Budget {
        Budget { left: TOTAL }
    }

    /// Takes `bytes` for what `span` asks for.
    pub(crate) fn spend(&mut self, bytes: usize, span: Span) -> Result<(), Diagnostic> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Diagnostic::error(
                format!("the Dockerfile makes a build of more than {} MiB of text", TOTAL >> 20),
                span,
            )),
        }
    }

    /// Whether a variable may have this value, being the `count`th.
    pub(crate) fn variable(&self, value: &str, count: usize, span: Span) -> Result<(), Diagnostic> {
        if value.len() > VALUE {
            return Err(Diagnostic::error(format!("the value is longer than {} KiB", VALUE >> 10), span));
        }
        if count > VARIABLES {
            return Err(Diagnostic::error(format!("there are more than {VARIABLES} variables"), span));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_an_error() {
        let span = Span::default();
        let mut budget = Budget::new();
        assert!(budget.spend(TOTAL, span).is_ok());
        assert!(budget.spend(1, span).is_err());
        assert!(budget.variable(&"x".repeat(VALUE + 1), 1, span).is_err());
        assert!(budget.variable("", VARIABLES + 1, span).is_err());
    }
}
