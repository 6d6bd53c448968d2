//! Physical lines to logical ones: comments dropped, continuations joined, directives read.
//!
//! What a line says is not looked at here; neither is where a heredoc begins: the caller asks for
//! its body once it has seen one.

use std::ops::Range;

use crate::diagnostic::Diagnostic;
use crate::directive::DirectiveReader;
use crate::span::{Span, Text, TextBuilder};
use crate::work;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One instruction's text.
pub(crate) struct LogicalLine {
    /// Continuations joined, as BuildKit joins them; blanks at the end kept.
    pub(crate) text: Text,
    /// The comments right above it.
    pub(crate) comments: Vec<String>,
    /// The first blank line between continued ones.
    pub(crate) blank: Option<Span>,
}

/// Reads a Dockerfile from the top.
pub(crate) struct Lines<'a> {
    source: &'a [u8],
    at: usize,
    reader: DirectiveReader,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(source: &'a [u8]) -> Lines<'a> {
        let at = if source.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        Lines { source, at, reader: DirectiveReader::new() }
    }

    /// The directives found so far; all of them once the first instruction has been read.
    pub(crate) fn into_directives(self) -> crate::ast::Directives {
        self.reader.directives
    }

    pub(crate) fn escape(&self) -> char {
        self.reader.directives.escape
    }

    /// The next instruction's text; none at the end.
    ///
    /// # Errors
    /// A bad directive. The reader may be used on.
    pub(crate) fn next(&mut self) -> Result<Option<LogicalLine>, Diagnostic> {
        let mut comments: Vec<String> = Vec::new();
        while let Some(line) = self.physical() {
            let first = self.is_first(&line);
            let bytes = &self.source[line.clone()];
            let start = line.start + blank_prefix(bytes);
            let bytes = &self.source[start..line.end];
            let directive = self.reader.line(bytes, offset(start), first)?;
            if let Some(comment) = bytes.strip_prefix(b"#") {
                let comment = String::from_utf8_lossy(comment).trim().to_owned();
                if comment.is_empty() {
                    comments.clear();
                } else if !directive {
                    comments.push(comment);
                }
                continue;
            }
            let mut builder = TextBuilder::at(offset(start));
            let mut goes_on = self.push_line(&mut builder, start..line.end);
            if !goes_on && bytes.is_empty() {
                continue;
            }
            let mut blank = None;
            while goes_on {
                let Some(line) = self.physical() else { break };
                let bytes = &self.source[line.clone()];
                let indent = blank_prefix(bytes);
                if indent == bytes.len() {
                    blank = blank.or(Some(Span::new(line.start, line.end)));
                } else if bytes[indent] != b'#' {
                    goes_on = self.push_line(&mut builder, line);
                }
            }
            return Ok(Some(LogicalLine { text: builder.finish(), comments, blank }));
        }
        Ok(None)
    }

    /// The lines up to one that is `name`, which is passed over too; none if there is no such
    /// line up to the end, and then nothing is read.
    pub(crate) fn heredoc_body(&mut self, name: &str, chomp: bool) -> Option<Range<usize>> {
        let start = self.at;
        while let Some(line) = self.physical() {
            let mut bytes = &self.source[line.clone()];
            if chomp {
                let tabs = bytes.iter().take_while(|byte| **byte == b'\t').count();
                bytes = &bytes[tabs..];
            }
            if bytes == name.as_bytes() {
                return Some(start..line.start);
            }
        }
        self.at = start;
        None
    }

    /// Reads no more.
    pub(crate) fn finish(&mut self) {
        self.at = self.source.len();
    }

    /// How far the file is read.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn source(&self) -> &'a [u8] {
        self.source
    }

    /// The next line without its end (`\n`, and any `\r` before it).
    fn physical(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        if start >= self.source.len() {
            return None;
        }
        let rest = &self.source[start..];
        let length = rest.iter().position(|byte| *byte == b'\n');
        self.at = start + length.map_or(rest.len(), |length| length + 1);
        let line = &rest[..length.unwrap_or(rest.len())];
        work::spend(line.len() + 1);
        let returns = line.iter().rev().take_while(|byte| **byte == b'\r').count();
        Some(start..start + line.len() - returns)
    }

    fn is_first(&self, line: &Range<usize>) -> bool {
        line.start == 0 || (line.start == BYTE_ORDER_MARK.len() && self.source.starts_with(BYTE_ORDER_MARK))
    }

    /// Adds a line to the text; whether the next one continues it.
    fn push_line(&self, builder: &mut TextBuilder, line: Range<usize>) -> bool {
        let bytes = &self.source[line.clone()];
        let (length, goes_on) = match continuation(bytes, self.escape()) {
            Some(length) => (length, true),
            None => (bytes.len(), false),
        };
        builder.push_bytes(&bytes[..length], offset(line.start));
        goes_on
    }
}

/// If the line ends in an escape character, blanks allowed after it: what is before that. An
/// escape character with another one before it continues nothing.
fn continuation(line: &[u8], escape: char) -> Option<usize> {
    let blanks = line.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let (last, before) = line[..line.len() - blanks].split_last()?;
    let escape = u8::try_from(escape).ok()?;
    (*last == escape && before.last() != Some(&escape)).then_some(before.len())
}

/// The length of the white space (as Unicode has it) at the start.
fn blank_prefix(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte.is_ascii() {
            if !char::from(byte).is_whitespace() {
                break;
            }
            at += 1;
            continue;
        }
        let window = &bytes[at..bytes.len().min(at + 4)];
        let character = window.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
        match character {
            Some(character) if character.is_whitespace() => at += character.len_utf8(),
            _ => break,
        }
    }
    at
}

fn offset(bytes: usize) -> u32 {
    Span::at(bytes).start
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<String> {
        let mut lines = Lines::new(source.as_bytes());
        let mut texts = Vec::new();
        while let Some(line) = lines.next().expect("no directive is wrong") {
            texts.push(line.text.raw);
        }
        texts
    }

    #[test]
    fn continuations() {
        let table: &[(&str, &[&str])] = &[
            ("RUN a \\\n b\nRUN c\n", &["RUN a  b", "RUN c"]),
            ("RUN a\\ \t\n  b", &["RUN a  b"]),
            ("RUN a \\\\\nRUN b", &["RUN a \\\\", "RUN b"]),
            ("\\\nRUN a", &["RUN a"]),
            ("RUN a \\\n# no\n  # no\n\n b", &["RUN a  b"]),
            ("RUN a \\", &["RUN a "]),
            ("# escape=`\r\nRUN a `\r\n\tb\\\r\nRUN c\r\n", &["RUN a \tb\\", "RUN c"]),
            ("\u{feff}# escape=`\nRUN a`\nb", &["RUN ab"]),
            ("  \u{a0} RUN a # not a comment", &["RUN a # not a comment"]),
            ("", &[]),
            ("\n\n \t\n#\n", &[]),
        ];
        for (source, expected) in table {
            assert_eq!(texts(source), *expected, "{source:?}");
        }
    }

    #[test]
    fn offsets_follow_the_source() {
        let source = b"RUN a \\\n# x\n  b\xffc\\\n d";
        let line = Lines::new(source).next().expect("no directive").expect("one line").text;
        assert_eq!(line.raw, "RUN a   b\u{fffd}c d");
        for (needle, at) in
            [("RUN", 0), ("a", 4), ("  b", 12), ("b", 14), ("\u{fffd}", 15), ("c", 16), ("d", 20)]
        {
            let found = line.raw.find(needle).expect("it is there");
            assert_eq!(line.source_offset(found), at, "{needle}");
            let part = line.slice(found..line.raw.len());
            assert_eq!(part.source_offset(0), at, "{needle}");
            assert_eq!(part.span.end, 21);
        }
        assert_eq!(line.span_of(9..12), Span::new(15, 16));
    }
}
