//! The reader of words: quotes, escapes, `$x` and `${x…}`, after BuildKit's `shell/lex.go`.

use std::collections::BTreeSet;
use std::ops::Range;

use super::pattern::Pattern;
use super::{ExpandError, Expander, Variables};
use crate::work;

/// How deep `${a:-${b:-…}}` may go.
const DEEPEST: usize = 64;

/// How long a word may become. `ENV x=$x$x` doubles a value, and forty such lines are a short file.
const LONGEST: usize = 16 << 20;

pub(super) struct Lexer<'a> {
    word: &'a str,
    at: usize,
    settings: Expander,
    variables: &'a dyn Variables,
    depth: usize,
    pub(super) used: BTreeSet<String>,
    pub(super) unset: BTreeSet<String>,
}

/// A result split at blanks outside of quotes, each part with its place in the word that was read.
#[derive(Default)]
pub(super) struct Words {
    pub(super) done: Vec<(String, Range<usize>)>,
    word: String,
    start: usize,
}

impl Words {
    /// Adds a character outside of quotes that stands at `from`.
    fn add(&mut self, c: char, from: usize) {
        if c.is_whitespace() {
            self.finish(from);
        } else {
            self.add_raw(c.encode_utf8(&mut [0; 4]), from);
        }
    }

    /// Adds text in which blanks split nothing.
    fn add_raw(&mut self, text: &str, from: usize) {
        if self.word.is_empty() {
            self.start = from;
        }
        self.word.push_str(text);
    }

    /// Ends the word at hand. An empty one (`""`) is none.
    fn finish(&mut self, end: usize) {
        if !self.word.is_empty() {
            self.done.push((std::mem::take(&mut self.word), self.start..end));
        }
    }
}

impl<'a> Lexer<'a> {
    pub(super) fn new(settings: Expander, word: &'a str, variables: &'a dyn Variables) -> Lexer<'a> {
        Lexer { word, at: 0, settings, variables, depth: 0, used: BTreeSet::new(), unset: BTreeSet::new() }
    }

    /// Reads the whole word; as one text, and split into `words` if they are asked for.
    pub(super) fn run(&mut self, words: Option<&mut Words>) -> Result<String, ExpandError> {
        self.until(None, self.settings.raw_escapes, words)
    }

    fn peek(&self) -> Option<char> {
        self.word[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        work::spend(1);
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn error<T>(&self, message: impl Into<String>, from: usize) -> Result<T, ExpandError> {
        Err(ExpandError { message: message.into(), range: from..self.at })
    }

    fn grow(&self, result: &mut String, text: &str, from: usize) -> Result<(), ExpandError> {
        if result.len() + text.len() > LONGEST {
            return self.error(format!("the expanded text is longer than {} MiB", LONGEST >> 20), from);
        }
        work::spend(text.len());
        result.push_str(text);
        Ok(())
    }

    /// Reads up to `stop`, which is passed over, or to the end.
    fn until(
        &mut self,
        stop: Option<char>,
        raw_escapes: bool,
        mut words: Option<&mut Words>,
    ) -> Result<String, ExpandError> {
        let begin = self.at;
        let outer = std::mem::replace(&mut self.settings.raw_escapes, raw_escapes);
        let result = self.until_inner(stop, words.as_deref_mut());
        self.settings.raw_escapes = outer;
        let (result, stopped) = result?;
        if let Some(stop) = stop
            && !stopped
        {
            return self
                .error(format!("unexpected end of statement while looking for matching {stop}"), begin);
        }
        if let Some(words) = words {
            words.finish(self.at);
        }
        Ok(result)
    }

    fn until_inner(
        &mut self,
        stop: Option<char>,
        mut words: Option<&mut Words>,
    ) -> Result<(String, bool), ExpandError> {
        let mut result = String::new();
        let quotes = !self.settings.skip_quotes;
        while let Some(c) = self.peek() {
            let from = self.at;
            if Some(c) == stop {
                self.next();
                return Ok((result, true));
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    self.grow(&mut result, &value, from)?;
                    if let Some(words) = &mut words {
                        value.chars().for_each(|c| words.add(c, from));
                    }
                }
                '\'' | '"' | '<' if quotes => {
                    let text = match c {
                        '\'' => self.single_quote()?,
                        '"' => self.double_quote()?,
                        _ => self.heredoc_mark(),
                    };
                    self.grow(&mut result, &text, from)?;
                    if let Some(words) = &mut words {
                        words.add_raw(&text, from);
                    }
                }
                _ => {
                    self.next();
                    if c != self.settings.escape {
                        result.push(c);
                        if let Some(words) = &mut words {
                            words.add(c, from);
                        }
                        continue;
                    }
                    let mut kept = String::new();
                    if self.settings.raw_escapes {
                        kept.push(c);
                    }
                    // At the end, the escape has nothing to escape and goes.
                    kept.extend(self.next());
                    result.push_str(&kept);
                    if let Some(words) = &mut words
                        && !kept.is_empty()
                    {
                        words.add_raw(&kept, from);
                    }
                }
            }
        }
        Ok((result, false))
    }

    /// All up to the next single quote, as it is.
    fn single_quote(&mut self) -> Result<String, ExpandError> {
        let from = self.at;
        self.next();
        let start = self.at;
        let Some(length) = self.word[start..].find('\'') else {
            self.at = self.word.len();
            return self.error("unexpected end of statement while looking for matching single-quote", from);
        };
        self.at = start + length + 1;
        Ok(self.word[if self.settings.raw_quotes { from..self.at } else { start..start + length }].to_owned())
    }

    /// All up to the next double quote; variables are expanded, and only `"`, `$` and the escape
    /// character can be escaped.
    fn double_quote(&mut self) -> Result<String, ExpandError> {
        let from = self.at;
        let mut result = String::new();
        self.next();
        if self.settings.raw_quotes {
            result.push('"');
        }
        while let Some(c) = self.peek() {
            let begin = self.at;
            if c == '$' {
                let value = self.dollar()?;
                self.grow(&mut result, &value, begin)?;
                continue;
            }
            self.next();
            if c == '"' {
                if self.settings.raw_quotes {
                    result.push('"');
                }
                return Ok(result);
            }
            if c == self.settings.escape {
                if self.settings.raw_escapes {
                    result.push(c);
                }
                match self.peek() {
                    None => break,
                    Some(escaped) if matches!(escaped, '"' | '$') || escaped == c => {
                        self.next();
                        result.push(escaped);
                        continue;
                    }
                    Some(_) => {}
                }
            }
            result.push(c);
        }
        self.error("unexpected end of statement while looking for matching double-quote", from)
    }

    /// `<<` and the blanks after it are of one word with what follows, as heredocs may be written.
    fn heredoc_mark(&mut self) -> String {
        let from = self.at;
        self.next();
        if self.peek() == Some('<') {
            self.next();
            while self.peek().is_some_and(char::is_whitespace) {
                self.next();
            }
        }
        self.word[from..self.at].to_owned()
    }

    fn lookup(&mut self, name: &str) -> Option<String> {
        match self.variables.get(name) {
            Some(value) => {
                self.used.insert(name.to_owned());
                Some(value.to_owned())
            }
            None => {
                self.unset.insert(name.to_owned());
                None
            }
        }
    }

    /// `$x` or `${x…}`.
    fn dollar(&mut self) -> Result<String, ExpandError> {
        let from = self.at;
        self.next();
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match self.lookup(&name) {
                Some(value) => value,
                None if self.settings.keep_unset => format!("${name}"),
                None => String::new(),
            });
        }
        self.next();
        match self.peek() {
            None => return self.error("syntax error: missing '}'", from),
            Some('{' | '}' | ':') => return self.error("syntax error: bad substitution", from),
            Some(_) => {}
        }
        if self.depth >= DEEPEST {
            return self.error("variables are nested too deeply", from);
        }
        self.depth += 1;
        let name = self.name();
        let result = self.braces(from, &name);
        self.depth -= 1;
        result
    }

    /// What follows the name in `${x…}`.
    fn braces(&mut self, from: usize, name: &str) -> Result<String, ExpandError> {
        let Some(c) = self.next() else {
            return self.error("syntax error: missing '}'", from);
        };
        match c {
            '}' => Ok(match self.lookup(name) {
                Some(value) => value,
                None if self.settings.keep_unset => format!("${{{name}}}"),
                None => String::new(),
            }),
            ':' => match self.next() {
                Some(operator) => self.modified(from, name, operator, true),
                None => self.error("syntax error: missing '}'", from),
            },
            '+' | '-' | '?' | '#' | '%' => self.modified(from, name, c, false),
            '/' => self.replaced(from, name),
            c => self.error(format!("unsupported modifier ({c}) in substitution"), from),
        }
    }

    /// `${x-word}` and the like; `colon` if written as `${x:-word}`, which takes empty for unset.
    fn modified(
        &mut self,
        from: usize,
        name: &str,
        operator: char,
        colon: bool,
    ) -> Result<String, ExpandError> {
        let raw = matches!(operator, '#' | '%');
        let word = match self.until(Some('}'), raw, None) {
            Ok(word) => word,
            Err(_) if self.peek().is_none() => return self.error("syntax error: missing '}'", from),
            Err(error) => return Err(error),
        };
        let written = if colon { format!(":{operator}") } else { operator.to_string() };
        let value = self.lookup(name);
        if value.is_none() && self.settings.keep_unset {
            return Ok(format!("${{{name}{written}{word}}}"));
        }
        let stands = value.as_ref().is_some_and(|value| !colon || !value.is_empty());
        match operator {
            '-' | '?' if stands => Ok(value.unwrap_or_default()),
            '-' => Ok(word),
            '+' if stands => Ok(word),
            '+' => Ok(String::new()),
            '?' => {
                let reason = match &value {
                    _ if !word.is_empty() => word.as_str(),
                    None => "is not allowed to be unset",
                    Some(_) => "is not allowed to be empty",
                };
                self.error(format!("{name}: {reason}"), from)
            }
            '#' | '%' => {
                let value = value.unwrap_or_default();
                let (pattern, longest) = match word.strip_prefix(operator) {
                    Some(pattern) => (pattern, true),
                    None => (word.as_str(), false),
                };
                let pattern = self.pattern(pattern, from)?;
                Ok(match operator {
                    '#' => pattern.trim_prefix(&value, longest),
                    _ => pattern.trim_suffix(&value, longest),
                }
                .to_owned())
            }
            _ => self.error(format!("unsupported modifier ({written}) in substitution"), from),
        }
    }

    /// `${x/pattern/replacement}` and `${x//pattern/replacement}`.
    fn replaced(&mut self, from: usize, name: &str) -> Result<String, ExpandError> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let pattern = match self.until(Some('/'), true, None) {
            Ok(pattern) => pattern,
            Err(_) if self.peek().is_none() => {
                return self.error("syntax error: missing '/' in ${}", from);
            }
            Err(error) => return Err(error),
        };
        let replacement = match self.until(Some('}'), true, None) {
            Ok(replacement) => replacement,
            Err(_) if self.peek().is_none() => return self.error("syntax error: missing '}'", from),
            Err(error) => return Err(error),
        };
        let value = self.lookup(name);
        if value.is_none() && self.settings.keep_unset {
            return Ok(format!("${{{name}/{pattern}/{replacement}}}"));
        }
        let value = value.unwrap_or_default();
        let pattern = self.pattern(&pattern, from)?;
        if all && (value.len() + 1).saturating_mul(replacement.len()) > LONGEST {
            // At worst there is a replacement before each character, and one at the end.
            return self.error("the replacement may make the value too long", from);
        }
        Ok(pattern.replace(&value, &replacement, all))
    }

    fn pattern(&self, pattern: &str, from: usize) -> Result<Pattern, ExpandError> {
        Pattern::parse(pattern).or_else(|reason| {
            self.error(format!("invalid pattern ({pattern}) in substitution: {reason}"), from)
        })
    }

    /// A name: letters, digits and `_`; or digits alone; or one of the shell's special characters.
    fn name(&mut self) -> String {
        let rest = &self.word[self.at..];
        let length = match rest.chars().next() {
            Some(c) if c.is_ascii_digit() => rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()),
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => 1,
            _ => rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()),
        };
        self.at += length;
        rest[..length].to_owned()
    }
}
