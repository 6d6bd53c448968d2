//! A report for people: buildx's layout, and on demand what is more to say: the narrow place, what to
//! do, which change `--fix` would make.

use std::fmt::Write as _;

use crate::check::Report;
use crate::diagnostic::Diagnostic;
use crate::span::{LineIndex, Span};

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// What buildx shows, byte for byte.
    Buildx,
    /// Also carets under the place, and what to do.
    More,
}

/// The most lines of one instruction that are shown.
const LINES: u32 = 60;
/// The most letters of a line that are shown.
const WIDTH: usize = 1000;

/// A Dockerfile as it is shown.
struct Shown<'a> {
    name: &'a str,
    source: &'a [u8],
    index: LineIndex,
    detail: Detail,
}

/// The warnings, or that there are none; each line ends with a line end. `name` is the file's.
pub fn warnings(report: &Report, name: &str, source: &[u8], detail: Detail) -> String {
    let shown = Shown { name, source, index: LineIndex::new(source), detail };
    let mut text = match report.warnings.len() {
        0 if report.errors.is_empty() => return "Check complete, no warnings found.\n".to_owned(),
        0 => return String::new(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        count => format!("Check complete, {count} warnings have been found!\n"),
    };
    for warning in &report.warnings {
        let rule = warning.rule.map_or("", crate::check::Rule::id);
        let _ = write!(text, "\nWARNING: {rule}");
        if let Some(url) = warning.rule.and_then(crate::check::Rule::url) {
            let _ = write!(text, " - {url}");
        }
        let _ = writeln!(text, "\n{}", printable(&warning.message, true));
        shown.excerpt(warning, &mut text);
        if detail == Detail::More {
            if let Some(help) = &warning.help {
                let _ = writeln!(text, "help: {}", printable(help, true));
            }
            if let Some(fix) = &warning.fix {
                let _ = writeln!(text, "fix: {}", printable(&fix.title, true));
            }
        }
    }
    text
}

/// Why nothing can be built, without a line end after the last line; empty where it can.
pub fn errors(report: &Report, name: &str, source: &[u8], detail: Detail) -> String {
    let shown = Shown { name, source, index: LineIndex::new(source), detail };
    let mut text = String::new();
    for error in &report.errors {
        let _ = writeln!(text, "{}", printable(&error.message, true));
        shown.excerpt(error, &mut text);
        if let Some(help) = error.help.as_ref().filter(|_| detail == Detail::More) {
            let _ = writeln!(text, "help: {}", printable(help, true));
        }
    }
    text.truncate(text.trim_end().len());
    text
}

impl Shown<'_> {
    /// The lines around a diagnostic, those of its instruction marked.
    fn excerpt(&self, diagnostic: &Diagnostic, text: &mut String) {
        let Some((first, last)) = diagnostic.lines(&self.index) else { return };
        // A last line without an end is one more line, if an empty one, as for Go's `strings.Split`.
        let all = self.index.line(Span::at(self.source.len()).start);
        let last = last.min(all);
        let (mut from, mut to) = (first, last);
        let mut padded = 0;
        let padding = if first == last { 4 } else { 2 };
        while padded < padding {
            if from > 1 {
                from -= 1;
                padded += 1;
            }
            if to != all {
                to += 1;
                padded += 1;
            }
            padded += 1;
        }
        let _ = writeln!(text, "{}:{first}\n--------------------", printable(self.name, true));
        for line in from..=to {
            if line > from + LINES && line + 3 < to {
                if line == from + LINES + 1 {
                    let _ = writeln!(text, "   … |");
                }
                continue;
            }
            let mark = if (first..=last).contains(&line) { ">>>" } else { "   " };
            let bytes = self.line(line);
            let shown = printable(&String::from_utf8_lossy(bytes), self.detail == Detail::More);
            let shown: String = shown.chars().take(WIDTH).collect();
            let _ = writeln!(text, " {line:3} | {mark} {shown}");
            if self.detail == Detail::More {
                self.carets(diagnostic, line, text);
            }
        }
        text.push_str("--------------------\n");
    }

    /// A line without its end.
    fn line(&self, line: u32) -> &[u8] {
        let bytes = &self.source[self.index.line_span(line).range()];
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
    }

    /// Carets under the part of a line that the place covers, where it is not all of the line.
    fn carets(&self, diagnostic: &Diagnostic, line: u32, text: &mut String) {
        let Some(span) = diagnostic.span else { return };
        let (first, last) = self.index.lines(span);
        if !(first..=last).contains(&line) || last - first > 3 {
            return;
        }
        let whole = self.index.line_span(line);
        let bytes = self.line(line);
        let skipped = if self.source[whole.range()].starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let start = whole.start as usize + skipped;
        let inside = |offset: u32| (offset as usize).saturating_sub(start).min(bytes.len());
        let (from, to) = (inside(span.start), inside(span.end));
        let blank = bytes.len() - bytes.trim_ascii_start().len();
        let from = if line == first { from } else { from.max(blank).min(to) };
        if from <= blank && to >= bytes.trim_ascii_end().len() && bytes.len() > 1 {
            return;
        }
        let width = |bytes: &[u8]| printable(&String::from_utf8_lossy(bytes), true).chars().count();
        let indent = width(&bytes[..from]);
        let carets = width(&bytes[from..to.max(from)]).max(1);
        if indent + carets < WIDTH {
            let _ = writeln!(text, "     |     {}{}", " ".repeat(indent), "^".repeat(carets));
        }
    }
}

/// Control characters, which could play with the terminal, as U+FFFD; tabs as blanks where carets must
/// be under their place.
fn printable(text: &str, tabs: bool) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut result, c| {
        match c {
            '\t' if tabs => result.push_str("    "),
            '\t' => result.push(c),
            c if c.is_control() => result.push(char::REPLACEMENT_CHARACTER),
            c => result.push(c),
        }
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Nothing, Rule, check};
    use crate::lower::LowerOptions;

    fn report(source: &str) -> Report {
        let mut report = check(source.as_bytes(), &LowerOptions::default(), &mut Nothing);
        report.warnings.retain(|warning| warning.rule.is_some_and(Rule::is_of_builds));
        report
    }

    /// The example of Docker's documentation.
    #[test]
    fn as_buildx_prints_it() {
        let source = "FROM node:20-alpine\nWORKDIR /app\nCOPY package.json .\nRUN npm i\nCOPY index.js .\n\nCMD node index.js\n";
        let expected = "Check complete, 1 warning has been found!

WARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/json-args-recommended/
JSON arguments recommended for CMD to prevent unintended behavior related to OS signals
Dockerfile:7
--------------------
   5 |     COPY index.js .
   6 |     
   7 | >>> CMD node index.js
   8 |     
--------------------
";
        assert_eq!(warnings(&report(source), "Dockerfile", source.as_bytes(), Detail::Buildx), expected);
    }

    #[test]
    fn more_to_say() {
        let source = "FROM alpine:3.20 AS Build\n";
        let text = warnings(&report(source), "Dockerfile", source.as_bytes(), Detail::More);
        assert!(
            text.contains("   1 | >>> FROM alpine:3.20 AS Build\n     |                         ^^^^^\n"),
            "{text}"
        );
        assert!(text.ends_with("fix: write the stage's name in lower case\n"), "{text}");
    }

    #[test]
    fn nothing_found_and_nothing_to_build() {
        let clean = report("FROM scratch\nCOPY a /\n");
        assert_eq!(warnings(&clean, "x", b"", Detail::Buildx), "Check complete, no warnings found.\n");
        let source = "FROM scratch\nRUNN x\n";
        let broken = report(source);
        assert_eq!(warnings(&broken, "x", source.as_bytes(), Detail::Buildx), "");
        let text = errors(&broken, "x", source.as_bytes(), Detail::Buildx);
        assert!(text.starts_with("unknown instruction: RUNN\nx:2\n-----"), "{text}");
    }
}
