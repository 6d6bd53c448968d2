//! The instructions whose arguments are names, pairs or lists: `ENV`, `LABEL`, `ARG`, `EXPOSE`,
//! `VOLUME`, `SHELL` and those with one argument.

use super::Reader;
use crate::ast::{ArgDeclaration, KeyValue, Kind};
use crate::diagnostic::Diagnostic;
use crate::directive::shorten;
use crate::json::{self, Form};
use crate::span::Text;
use crate::words;

impl Reader<'_> {
    /// All of the arguments as one text.
    pub(super) fn one(&self) -> Result<Text, Diagnostic> {
        self.flags(&[])?;
        if self.split.arguments.raw.is_empty() {
            return self.error(format!("{} requires exactly one argument", self.keyword));
        }
        Ok(self.split.arguments.clone())
    }

    fn at_least_one<T>(&self, list: Vec<T>) -> Result<Vec<T>, Diagnostic> {
        if list.is_empty() {
            return self.error(format!("{} requires at least one argument", self.keyword));
        }
        Ok(list)
    }

    /// The arguments of ENV and LABEL: `key=value` any number of times, or `key value` once.
    pub(super) fn pairs(&mut self) -> Result<Vec<KeyValue>, Diagnostic> {
        self.flags(&[])?;
        let keyword = self.keyword;
        let words = self.at_least_one(words::quoted(&self.split.arguments, self.escape))?;
        if !words[0].raw.contains('=') {
            let Some((key, value)) = words::at_blank(&self.split.arguments) else {
                let help = format!("write {keyword} {}=VALUE", shorten(&words[0].raw));
                return self
                    .error(format!("{keyword} must have two arguments"))
                    .map_err(|error| error.with_help(help));
            };
            return Ok(vec![KeyValue { key, value, legacy: true }]);
        }
        let mut pairs = Vec::with_capacity(words.len());
        for word in words {
            let Some(equals) = word.raw.find('=') else {
                let message = format!(
                    "Syntax error - can't find = in {:?}. Must be of the form: name=value",
                    shorten(&word.raw)
                );
                return Err(Diagnostic::error(message, word.span)
                    .with_help("a value with blanks needs quotes around it"));
            };
            if equals == 0 {
                return Err(Diagnostic::error(format!("{keyword} names can not be blank"), word.span));
            }
            let key = word.slice(0..equals);
            let value = word.slice(equals + 1..word.raw.len());
            pairs.push(KeyValue { key, value, legacy: false });
        }
        Ok(pairs)
    }

    pub(super) fn arg(&self) -> Result<Kind, Diagnostic> {
        self.flags(&[])?;
        let words = self.at_least_one(words::quoted(&self.split.arguments, self.escape))?;
        let mut declarations = Vec::with_capacity(words.len());
        for word in words {
            let equals = word.raw.find('=');
            if equals == Some(0) {
                return Err(Diagnostic::error("ARG names can not be blank", word.span));
            }
            declarations.push(ArgDeclaration {
                name: word.slice(0..equals.unwrap_or(word.raw.len())),
                default: equals.map(|equals| word.slice(equals + 1..word.raw.len())),
            });
        }
        Ok(Kind::Arg(declarations))
    }

    pub(super) fn expose(&self) -> Result<Vec<Text>, Diagnostic> {
        self.flags(&[])?;
        self.at_least_one(words::by_blanks(&self.split.arguments))
    }

    pub(super) fn volume(&self) -> Result<Vec<Text>, Diagnostic> {
        self.flags(&[])?;
        let paths = self.at_least_one(self.list()?)?;
        let paths: Vec<Text> = paths.iter().map(Text::trim).collect();
        match paths.iter().find(|path| path.raw.is_empty()) {
            Some(path) => {
                let span = if path.span.is_empty() { self.split.arguments.span } else { path.span };
                Err(Diagnostic::error("VOLUME specified can not be an empty string", span))
            }
            None => Ok(paths),
        }
    }

    pub(super) fn shell(&self) -> Result<Vec<Text>, Diagnostic> {
        self.flags(&[])?;
        match json::form(&self.split.arguments) {
            Form::Array(arguments) => self.at_least_one(arguments),
            Form::NotStrings => Err(Diagnostic::error(json::NOT_STRINGS, self.split.arguments.span)),
            Form::Other if self.split.arguments.raw.is_empty() => self.at_least_one(Vec::new()),
            Form::Other => Err(Diagnostic::error(
                "SHELL requires the arguments to be in JSON form",
                self.split.arguments.span,
            )
            .with_help("write SHELL [\"/bin/sh\", \"-c\"]; backslashes in JSON are doubled")),
        }
    }

    /// The JSON form, or words between blanks.
    pub(super) fn list(&self) -> Result<Vec<Text>, Diagnostic> {
        match json::form(&self.split.arguments) {
            Form::Array(arguments) => Ok(arguments),
            Form::NotStrings => Err(Diagnostic::error(json::NOT_STRINGS, self.split.arguments.span)),
            Form::Other => Ok(words::by_blanks(&self.split.arguments)),
        }
    }
}
