//! `.dockerignore`: which paths of a context stay out of it, and by which line.
//!
//! Exactly as BuildKit has it: moby's `ignorefile` reads the file, its `patternmatcher` judges
//! paths, and directories are left out as `fsutil` does. Paths are relative to the context's root,
//! with `/` between parts and none at the ends. Walking the context is the caller's; so is the
//! choice of file: `<Dockerfile>.dockerignore` beside the Dockerfile comes before `.dockerignore`
//! in the context's root.
//!
//! A Dockerfile or `.dockerignore` that is excluded is still read, as in BuildKit: they are read
//! apart from the context and never judged here. They are only not there for COPY then.

use graph::Pattern as Matcher;

use crate::diagnostic::Diagnostic;
use crate::directive::shorten;
use crate::span::Span;

/// The longest file taken, in bytes.
pub const MAX_LENGTH: usize = 16 << 20;

/// One pattern of a `.dockerignore`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// As written, trimmed.
    pub raw: String,
    /// Whether it begins with `!`: what it matches is not excluded after all.
    pub negated: bool,
    /// The line it is on, from 1; 0 if it is in no file.
    pub line: u32,
    /// Its place in the file.
    pub span: Span,
    /// Cleaned, without `!`.
    cleaned: Vec<u8>,
    matcher: Matcher,
}

/// The patterns of a `.dockerignore`, or of the `--exclude` flags of a COPY, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patterns {
    patterns: Vec<Pattern>,
    /// Some pattern is negated.
    exceptions: bool,
    /// A negated pattern may match anywhere.
    wild_exceptions: bool,
}

/// Which patterns match a directory or one above it; handed down to its entries.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    /// One bit for each pattern; none set for the root.
    matched: Vec<u64>,
}

/// What is to become of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// It stays out.
    pub excluded: bool,
    /// The pattern that decided: that excluded the path, or took it back in. None if no pattern
    /// matches.
    pub by: Option<&'a Pattern>,
}

/// A pattern that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}: {pattern:?}")]
pub struct PatternError {
    /// What is wrong.
    pub message: &'static str,
    /// The pattern.
    pub pattern: String,
}

impl Patterns {
    /// Reads a `.dockerignore`. Takes any bytes.
    ///
    /// # Errors
    /// All patterns that cannot be read, in order.
    pub fn parse(source: &[u8]) -> Result<Patterns, Vec<Diagnostic>> {
        if source.len() > MAX_LENGTH {
            let message = format!(
                ".dockerignore has {} bytes, more than the {MAX_LENGTH} that are taken",
                source.len()
            );
            return Err(vec![Diagnostic::error(message, Span::default())]);
        }
        let mut patterns = Patterns::default();
        let mut errors = Vec::new();
        let mut start = 0;
        for (number, line) in source.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let begin = start;
            start += line.len();
            let mut text = line.strip_suffix(b"\n").unwrap_or(line);
            text = text.strip_suffix(b"\r").unwrap_or(text);
            let mut indent = 0;
            if number == 0
                && let Some(rest) = text.strip_prefix(b"\xef\xbb\xbf")
            {
                text = rest;
                indent = 3;
            }
            if text.starts_with(b"#") {
                continue;
            }
            indent += text.len() - trim_start(text).len();
            let text = trim(text);
            if text.is_empty() {
                continue;
            }
            let span = Span::new(begin + indent, begin + indent + text.len());
            let line = u32::try_from(number).unwrap_or(u32::MAX - 1) + 1;
            if let Err(message) = patterns.add(text, &from_file(text), line, span) {
                let written = String::from_utf8_lossy(text);
                let message = format!("{message}: {:?}", shorten(&written));
                errors.push(Diagnostic::error(message, span).with_help(
                    "a backslash makes `[`, `*` and `?` plain characters; `!` needs a pattern after it",
                ));
            }
        }
        if errors.is_empty() { Ok(patterns) } else { Err(errors) }
    }

    /// Patterns that are in no file, as of `--exclude`: a slash at the start stays.
    ///
    /// # Errors
    /// The first pattern that cannot be read.
    pub fn new<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Result<Patterns, PatternError> {
        let mut result = Patterns::default();
        for pattern in patterns {
            let pattern = pattern.trim();
            if !pattern.is_empty() {
                result
                    .add(pattern.as_bytes(), pattern.as_bytes(), 0, Span::default())
                    .map_err(|message| PatternError { message, pattern: pattern.to_owned() })?;
            }
        }
        Ok(result)
    }

    fn add(&mut self, raw: &[u8], pattern: &[u8], line: u32, span: Span) -> Result<(), &'static str> {
        let cleaned = clean(pattern);
        let negated = cleaned.starts_with(b"!");
        let cleaned = cleaned[usize::from(negated)..].to_vec();
        if cleaned.is_empty() {
            return Err("illegal exclusion pattern");
        }
        let matcher = Matcher::parse(&cleaned)?;
        self.exceptions |= negated;
        self.wild_exceptions |=
            negated && without_glob(&cleaned).iter().any(|byte| b"*[]?^\\".contains(byte));
        let raw = String::from_utf8_lossy(raw).into_owned();
        self.patterns.push(Pattern { raw, negated, line, span, cleaned, matcher });
        Ok(())
    }

    /// Whether there is no pattern, so that nothing is excluded.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether some pattern takes back in what others leave out.
    pub fn has_exceptions(&self) -> bool {
        self.exceptions
    }

    /// All patterns, in order.
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// What is known of the context's root, for its entries.
    pub fn root(&self) -> Directory {
        Directory::default()
    }

    /// What is to become of an entry of `parent` that is no directory. `path` is its whole path.
    pub fn file(&self, parent: &Directory, path: &[u8]) -> Verdict<'_> {
        self.judge(parent, path, None)
    }

    /// The same for a directory, and what is known of it for its own entries.
    ///
    /// If it is excluded, entries of it may still not be, see [`Patterns::may_skip`]; the directory
    /// is in the context then, for they are in it.
    pub fn directory(&self, parent: &Directory, path: &[u8]) -> (Verdict<'_>, Directory) {
        let mut directory = Directory { matched: vec![0; self.patterns.len().div_ceil(64)] };
        let verdict = self.judge(parent, path, Some(&mut directory));
        (verdict, directory)
    }

    /// Whether an excluded directory need not be looked into: no pattern can take anything in it
    /// back in.
    pub fn may_skip(&self, directory: &[u8]) -> bool {
        if !self.exceptions {
            return true;
        }
        !self.wild_exceptions
            && !self.patterns.iter().any(|pattern| {
                let below = without_glob(&pattern.cleaned).strip_prefix(directory);
                pattern.negated && below.is_some_and(|below| below.is_empty() || below[0] == b'/')
            })
    }

    /// What is to become of a path, found by going down to it from the root. The last part is taken
    /// for a file.
    pub fn decide(&self, path: &[u8]) -> Verdict<'_> {
        let mut parent = self.root();
        for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let (verdict, directory) = self.directory(&parent, &path[..at]);
            if verdict.excluded && self.may_skip(&path[..at]) {
                return verdict;
            }
            parent = directory;
        }
        self.file(&parent, path)
    }

    fn judge(&self, parent: &Directory, path: &[u8], mut found: Option<&mut Directory>) -> Verdict<'_> {
        let mut verdict = Verdict { excluded: false, by: None };
        for (index, pattern) in self.patterns.iter().enumerate() {
            let (word, bit) = (index / 64, 1 << (index % 64));
            let inherited = parent.matched.get(word).is_some_and(|bits| bits & bit != 0);
            if !inherited {
                // A pattern that cannot change anything is not asked, and then what it would say
                // is not handed down either.
                if pattern.negated != verdict.excluded || !pattern.matcher.matches(path) {
                    continue;
                }
            }
            if let Some(directory) = &mut found {
                directory.matched[word] |= bit;
            }
            if verdict.excluded == pattern.negated || verdict.by.is_none() {
                verdict.by = Some(pattern);
            }
            verdict.excluded = !pattern.negated;
        }
        verdict
    }
}

/// A line as moby's `ignorefile` passes it on: cleaned, relative to the root.
fn from_file(line: &[u8]) -> Vec<u8> {
    let (negated, pattern) = match line.strip_prefix(b"!") {
        Some(pattern) => (true, trim(pattern)),
        None => (false, line),
    };
    let mut result = if negated { b"!".to_vec() } else { Vec::new() };
    if !pattern.is_empty() {
        let cleaned = clean(pattern);
        let relative = if cleaned.len() > 1 { cleaned.strip_prefix(b"/") } else { None };
        result.extend_from_slice(relative.unwrap_or(&cleaned));
    }
    result
}

/// The path in its shortest form, after Go's `filepath.Clean`.
fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match parts.last() {
                Some(last) if *last != b".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(part),
            },
            _ => parts.push(part),
        }
    }
    let mut cleaned = if rooted { b"/".to_vec() } else { Vec::new() };
    cleaned.extend_from_slice(&parts.join(&b'/'));
    if cleaned.is_empty() {
        cleaned.push(b'.');
    }
    cleaned
}

/// A pattern without `/**` and then `/*` at the end.
fn without_glob(pattern: &[u8]) -> &[u8] {
    let pattern = pattern.strip_suffix(b"/**").unwrap_or(pattern);
    pattern.strip_suffix(b"/*").unwrap_or(pattern)
}

/// Without white space, as Unicode has it, at both ends.
fn trim(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.trim().as_bytes(),
        Err(_) => bytes.trim_ascii(),
    }
}

fn trim_start(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.trim_start().as_bytes(),
        Err(_) => bytes.trim_ascii_start(),
    }
}

#[cfg(test)]
mod tests;
