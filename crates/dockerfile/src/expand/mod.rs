//! Variable expansion and quote removal in the words of instructions, as BuildKit's `shell` does it.
//!
//! This is the little language of `ENV`, `COPY` and the like; it is not a shell's, and command
//! lines of `RUN` never pass through it.

mod lexer;
mod pattern;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use lexer::{Lexer, Words};

use crate::diagnostic::Diagnostic;
use crate::span::Text;

/// The variables in force.
pub trait Variables {
    /// The value of `name`; none if it is not set (an empty value is set).
    fn get(&self, name: &str) -> Option<&str>;
    /// All names that are set, for suggestions.
    fn names(&self) -> Vec<&str>;
}

impl Variables for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<&str> {
        BTreeMap::get(self, name).map(String::as_str)
    }
    fn names(&self) -> Vec<&str> {
        self.keys().map(String::as_str).collect()
    }
}

/// No variable is set.
pub(crate) struct NoVariables;

impl Variables for NoVariables {
    fn get(&self, _: &str) -> Option<&str> {
        None
    }
    fn names(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// `NAME=value` strings as image configs keep them; the last of a name counts.
impl Variables for Vec<String> {
    fn get(&self, name: &str) -> Option<&str> {
        self.iter().rev().find_map(|pair| match pair.split_once('=') {
            Some((key, value)) => (key == name).then_some(value),
            None => (pair == name).then_some(""),
        })
    }
    fn names(&self) -> Vec<&str> {
        self.iter().map(|pair| pair.split_once('=').map_or(pair.as_str(), |(key, _)| key)).collect()
    }
}

/// How words are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expander {
    /// The escape character: a backslash or a backtick (`# escape=`).
    pub escape: char,
    /// Take quotes for characters as any other (content of heredocs).
    pub skip_quotes: bool,
    /// Keep quotes in the result.
    pub raw_quotes: bool,
    /// Keep escape characters in the result.
    pub raw_escapes: bool,
    /// Leave a variable that is not set as written instead of dropping it.
    pub keep_unset: bool,
}

/// A word after expansion.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expanded {
    /// The result.
    pub text: String,
    /// Names that were looked up and set.
    pub used: BTreeSet<String>,
    /// Names that were looked up and not set, also those that `${x:-…}` gave a stand-in for.
    pub unset: BTreeSet<String>,
}

/// Why a word could not be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpandError {
    /// What is wrong, in BuildKit's words.
    pub message: String,
    /// Which bytes of the word are to blame.
    pub range: Range<usize>,
}

impl ExpandError {
    /// The error at its place in the source of `text`, the word that was expanded.
    pub fn at(&self, text: &Text) -> Diagnostic {
        Diagnostic::error(self.message.clone(), text.span_of(self.range.clone()))
    }
}

impl Expander {
    /// The settings for words of instructions.
    pub fn new(escape: char) -> Expander {
        Expander { escape, skip_quotes: false, raw_quotes: false, raw_escapes: false, keep_unset: false }
    }

    /// Settings for the content of a heredoc or the body of a message: variables are replaced, and
    /// quotes are characters as any other. Always with a backslash, as BuildKit does it.
    pub fn raw() -> Expander {
        Expander { skip_quotes: true, ..Expander::new('\\') }
    }

    /// Expands one word: variables replaced, quotes and escapes removed; blanks stay.
    ///
    /// # Errors
    /// An unterminated quote or `${`, an unknown modifier, `${x:?}` of a variable that is not set.
    pub fn word(&self, word: &str, variables: &dyn Variables) -> Result<Expanded, ExpandError> {
        let mut lexer = Lexer::new(*self, word, variables);
        let text = lexer.run(None)?;
        Ok(Expanded { text, used: lexer.used, unset: lexer.unset })
    }

    /// The same for a word with its place.
    ///
    /// # Errors
    /// As [`Expander::word`], with the place in the source.
    pub fn text(&self, text: &Text, variables: &dyn Variables) -> Result<Expanded, Diagnostic> {
        self.word(&text.raw, variables).map_err(|error| error.at(text))
    }

    /// Expands and splits at blanks outside of quotes, those that come from variables included.
    ///
    /// # Errors
    /// As [`Expander::word`].
    pub fn words(&self, word: &str, variables: &dyn Variables) -> Result<Vec<String>, ExpandError> {
        Ok(self.words_at(word, variables)?.into_iter().map(|(word, _)| word).collect())
    }

    /// The same, each with the range of `word` that it comes from.
    pub(crate) fn words_at(
        &self,
        word: &str,
        variables: &dyn Variables,
    ) -> Result<Vec<(String, Range<usize>)>, ExpandError> {
        let mut words = Words::default();
        Lexer::new(*self, word, variables).run(Some(&mut words))?;
        Ok(words.done)
    }
}

#[cfg(test)]
mod tests;
