//! Where things are in a Dockerfile: byte ranges, and the text with its map back to the source.
//!
//! Offsets count bytes of the file as given to [`crate::parse`], a byte order mark included.
//! Lines and columns are computed from them only when somebody asks, by [`LineIndex`].

use std::ops::Range;

use crate::work;

/// A range of bytes in the source file, `start..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset just past the last byte.
    pub end: u32,
}

impl Span {
    /// The range `start..end`; `end` is raised to `start` where it is smaller.
    pub fn new(start: usize, end: usize) -> Span {
        let start = u32::try_from(start).unwrap_or(u32::MAX);
        let end = u32::try_from(end).unwrap_or(u32::MAX);
        Span { start, end: end.max(start) }
    }

    /// The empty range at `offset`.
    pub fn at(offset: usize) -> Span {
        Span::new(offset, offset)
    }

    /// From the start of the one that begins first to the end of the one that ends last.
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// As a range to slice the source bytes with.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Whether it covers no byte.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// A string as written, not expanded, with the way back to where it was written.
///
/// `raw` has quotes, escapes and `$` as in the source, but line continuations (and comment lines
/// between them) are gone and invalid UTF-8 is replaced by U+FFFD. Elements of the JSON form are
/// decoded, and their positions are good to the element only.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Text {
    /// The text, quotes and variables untouched.
    pub raw: String,
    /// From its first byte to past its last in the source.
    pub span: Span,
    /// Where positions in `raw` stop following the source, in order: `(offset in raw, offset in
    /// source)`. Empty for text that is in the source in one piece.
    pub(crate) breaks: Vec<(u32, u32)>,
}

impl Text {
    /// Text that is in the source as it stands, in one piece.
    pub fn new(raw: impl Into<String>, span: Span) -> Text {
        Text { raw: raw.into(), span, breaks: Vec::new() }
    }

    /// Text that is in no file (a trigger of a base image, an option of the command line).
    pub fn synthetic(raw: impl Into<String>) -> Text {
        Text::new(raw, Span::default())
    }

    /// The text as written.
    pub fn as_str(&self) -> &str {
        &self.raw
    }

    /// The place in the source of a range of bytes of `raw`; never outside of `span`.
    pub fn span_of(&self, range: Range<usize>) -> Span {
        let start = self.source_offset(range.start);
        // The end is where the last byte is, plus one: after a break it is not where the next is.
        let end =
            if range.end > range.start { self.source_offset(range.end - 1).saturating_add(1) } else { start };
        Span { start, end: end.max(start) }
    }

    /// The part `range` of `raw`, as a text of its own. The range must lie on character borders.
    pub(crate) fn slice(&self, range: Range<usize>) -> Text {
        let mut builder = TextBuilder::at(self.source_offset(range.start));
        builder.push_part(self, range);
        builder.finish()
    }

    /// Without white space at both ends.
    pub(crate) fn trim(&self) -> Text {
        let start = self.raw.len() - self.raw.trim_start().len();
        self.slice(start..start + self.raw.trim().len())
    }

    pub(crate) fn source_offset(&self, offset: usize) -> u32 {
        work::spend(1);
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        let at = self.breaks.partition_point(|&(raw, _)| raw <= offset);
        let (raw, source) = match at.checked_sub(1) {
            Some(index) => self.breaks[index],
            None => (0, self.span.start),
        };
        // The inside of a U+FFFD that stands for fewer bytes than it has.
        let limit = self.breaks.get(at).map_or(u32::MAX, |&(_, next)| next.saturating_sub(1).max(source));
        source.saturating_add(offset - raw).min(limit).clamp(self.span.start, self.span.end)
    }
}

/// Puts a [`Text`] together from pieces of the source, in the source's order.
pub(crate) struct TextBuilder {
    raw: String,
    breaks: Vec<(u32, u32)>,
    start: u32,
    /// Where the next byte would be if it followed the last one.
    next: u32,
}

impl TextBuilder {
    /// An empty text that lies at `offset` until something is pushed.
    pub(crate) fn at(offset: u32) -> TextBuilder {
        TextBuilder { raw: String::new(), breaks: Vec::new(), start: offset, next: offset }
    }

    /// Adds bytes that stand at `offset`; what is not UTF-8 becomes U+FFFD.
    pub(crate) fn push_bytes(&mut self, bytes: &[u8], mut offset: u32) {
        for chunk in bytes.utf8_chunks() {
            let end = offset + length(chunk.valid().len());
            self.push(chunk.valid(), offset, end);
            offset = end + length(chunk.invalid().len());
            if offset > end {
                self.push("\u{fffd}", end, offset);
            }
        }
    }

    /// Adds a part of another text.
    pub(crate) fn push_part(&mut self, text: &Text, range: Range<usize>) {
        let mut from = range.start;
        let mut source = text.source_offset(from);
        let first = text.breaks.partition_point(|&(raw, _)| raw as usize <= range.start);
        for &(raw, next) in &text.breaks[first..] {
            let to = (raw as usize).min(range.end);
            self.push(&text.raw[from..to], source, (source + length(to - from)).min(next));
            (from, source) = (to, next);
            if to == range.end {
                return;
            }
        }
        let end = (source + length(range.end - from)).min(text.span.end.max(source));
        self.push(&text.raw[from..range.end], source, end);
    }

    /// Adds `piece`, which stands at `start..end` in the source, in as many bytes there or, if it
    /// is a U+FFFD, in others.
    fn push(&mut self, piece: &str, start: u32, end: u32) {
        work::spend(piece.len() + 1);
        if piece.is_empty() {
            return;
        }
        if self.raw.is_empty() {
            self.start = start;
        } else if start != self.next {
            self.breaks.push((length(self.raw.len()), start));
        }
        self.raw.push_str(piece);
        self.next = end;
        if end - start != length(piece.len()) {
            self.breaks.push((length(self.raw.len()), end));
        }
    }

    pub(crate) fn finish(self) -> Text {
        Text {
            raw: self.raw,
            span: Span { start: self.start, end: self.next.max(self.start) },
            breaks: self.breaks,
        }
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}@{}..{}", self.raw, self.span.start, self.span.end)
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.raw)
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.raw
    }
}

/// A line and a column, both from 1. Columns count characters, a tab as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line number, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// The starts of all lines of a file, to turn offsets into lines by binary search.
#[derive(Debug, Clone)]
pub struct LineIndex {
    starts: Vec<u32>,
    length: u32,
}

impl LineIndex {
    /// Scans `source` once for line ends.
    pub fn new(source: &[u8]) -> LineIndex {
        let mut starts = vec![0];
        for (offset, byte) in source.iter().enumerate() {
            if *byte == b'\n' {
                starts.push(Span::at(offset + 1).start);
            }
        }
        LineIndex { starts, length: Span::at(source.len()).start }
    }

    /// The number of the line that holds `offset`, from 1.
    pub fn line(&self, offset: u32) -> u32 {
        let count = self.starts.partition_point(|&start| start <= offset);
        u32::try_from(count).unwrap_or(u32::MAX).max(1)
    }

    /// The bytes of line `line` (from 1), its line end included; empty past the last line.
    pub fn line_span(&self, line: u32) -> Span {
        let index = line.saturating_sub(1) as usize;
        let start = self.starts.get(index).copied().unwrap_or(self.length);
        let end = self.starts.get(index + 1).copied().unwrap_or(self.length);
        Span { start, end }
    }

    /// Line and column of `offset` in `source`, the bytes that this index was made of.
    pub fn position(&self, source: &[u8], offset: u32) -> Position {
        let line = self.line(offset);
        let start = self.line_span(line).start as usize;
        let end = (offset as usize).clamp(start, source.len().max(start));
        let before = source.get(start..end).unwrap_or_default();
        let before = before.strip_prefix(b"\xef\xbb\xbf").unwrap_or(before);
        let characters = String::from_utf8_lossy(before).chars().count();
        Position { line, column: u32::try_from(characters).unwrap_or(u32::MAX - 1) + 1 }
    }

    /// First and last line of a span, from 1, as progress and provenance name instructions.
    pub fn lines(&self, span: Span) -> (u32, u32) {
        let last = if span.is_empty() { span.end } else { span.end - 1 };
        (self.line(span.start), self.line(last))
    }
}
