//! The flags of one instruction, checked against those that it knows.

use crate::diagnostic::Diagnostic;
use crate::directive::shorten;
use crate::span::{Span, Text};
use crate::suggest;

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// `--flag`, `--flag=true` or `--flag=false`
    Bool,
    /// `--flag=value`, once
    Value,
    /// `--flag=value`, any number of times
    Values,
}

pub(crate) type Known = &'static [(&'static str, Takes)];

/// The flags given, in order.
pub(crate) struct Flags {
    given: Vec<(&'static str, Option<Text>)>,
}

impl Flags {
    /// Checks `words` (`--name` or `--name=value`) against the flags `known`.
    ///
    /// # Errors
    /// The first flag that is not known, given twice, or with a value it does not take.
    pub(crate) fn parse(words: &[Text], known: Known) -> Result<Flags, Diagnostic> {
        let mut flags = Flags { given: Vec::new() };
        for word in words {
            flags.add(word, known)?;
        }
        Ok(flags)
    }

    fn add(&mut self, word: &Text, known: Known) -> Result<(), Diagnostic> {
        let raw = word.raw.as_str();
        let equals = raw.find('=');
        let written = &raw[..equals.unwrap_or(raw.len())];
        let value = equals.map(|at| word.slice(at + 1..raw.len()));
        let name_span = word.span_of(0..written.len());
        let shown = shorten(written);
        let Some(&(name, takes)) = known.iter().find(|(name, _)| Some(*name) == written.strip_prefix("--"))
        else {
            return Err(unknown(&shown, name_span, known));
        };
        if takes != Takes::Values && self.given.iter().any(|(given, _)| *given == name) {
            return Err(Diagnostic::error(format!("duplicate flag specified: {shown}"), name_span));
        }
        match (takes, &value) {
            (Takes::Bool, None) => {}
            (Takes::Bool, Some(value)) if value.raw.is_empty() => {
                return Err(Diagnostic::error(format!("missing a value on flag: {shown}"), word.span));
            }
            (Takes::Bool, Some(value)) if boolean(&value.raw).is_none() => {
                let message =
                    format!("expecting boolean value for flag {shown}, not: {}", shorten(&value.raw));
                return Err(Diagnostic::error(message, value.span));
            }
            (Takes::Value | Takes::Values, None) => {
                return Err(Diagnostic::error(format!("missing a value on flag: {shown}"), name_span)
                    .with_help(format!("write it as {shown}=VALUE")));
            }
            _ => {}
        }
        self.given.push((name, value));
        Ok(())
    }

    /// The value of a flag that may be given once. An empty value is as none, as in BuildKit.
    pub(crate) fn value(&mut self, name: &str) -> Option<Text> {
        let (_, value) = self.given.iter_mut().find(|(given, _)| *given == name)?;
        value.take().filter(|value| !value.raw.is_empty())
    }

    /// The values of a flag that may be given several times, in order.
    pub(crate) fn values(&mut self, name: &str) -> Vec<Text> {
        self.given
            .iter_mut()
            .filter(|(given, _)| *given == name)
            .filter_map(|(_, value)| value.take())
            .collect()
    }

    /// A boolean; none if it was not given.
    pub(crate) fn switch(&self, name: &str) -> Option<bool> {
        let (_, value) = self.given.iter().find(|(given, _)| *given == name)?;
        Some(value.as_ref().is_none_or(|value| boolean(&value.raw) == Some(true)))
    }
}

fn boolean(value: &str) -> Option<bool> {
    if value.eq_ignore_ascii_case("true") {
        Some(true)
    } else if value.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

fn unknown(shown: &str, span: Span, known: Known) -> Diagnostic {
    let error = Diagnostic::error(format!("unknown flag: {shown}"), span);
    let bare = shown.trim_start_matches('-');
    if let Some(name) = suggest::nearest(bare, known.iter().map(|(name, _)| *name)) {
        return error.with_help(format!("did you mean --{name}?"));
    }
    let names: Vec<String> = known.iter().map(|(name, _)| format!("--{name}")).collect();
    match names.as_slice() {
        [] => error.with_help("this instruction has no flags; after `--`, words may begin with dashes"),
        names => error.with_help(format!("the flags are {}", names.join(", "))),
    }
}
