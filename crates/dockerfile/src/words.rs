//! Splitting a logical line: keyword, flags, and the arguments in the shape each instruction has.
//!
//! Quotes and variables are left in place, except in flags, whose quotes go here as in BuildKit.

use std::ops::Range;

use crate::span::{Text, TextBuilder};
use crate::work;

/// A line taken apart as far as all instructions are alike.
pub(crate) struct Split {
    /// As written.
    pub(crate) keyword: Text,
    /// The words that begin with `--` right after it, quotes and escapes removed.
    pub(crate) flags: Vec<Text>,
    /// All the rest, trimmed.
    pub(crate) arguments: Text,
}

/// The blanks that separate words: of ASCII, and without line feeds.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0b' | '\x0c' | '\r')
}

pub(crate) fn split(line: &Text, escape: char) -> Split {
    let line = line.trim();
    let Some(end) = line.raw.find(is_blank) else {
        let arguments = line.slice(line.raw.len()..line.raw.len());
        return Split { keyword: line, flags: Vec::new(), arguments };
    };
    let keyword = line.slice(0..end);
    let rest = line.slice(end + blanks(&line.raw[end..])..line.raw.len());
    let (flags, at) = flags(&rest, escape);
    Split { keyword, flags, arguments: rest.slice(at..rest.raw.len()).trim() }
}

fn blanks(text: &str) -> usize {
    text.len() - text.trim_start_matches(is_blank).len()
}

/// The flags at the start of `text`, and where they end.
fn flags(text: &Text, escape: char) -> (Vec<Text>, usize) {
    let raw = text.raw.as_str();
    let mut flags = Vec::new();
    let mut at = 0;
    loop {
        at += raw[at..].len() - raw[at..].trim_start().len();
        if !raw[at..].starts_with("--") {
            return (flags, at);
        }
        let (flag, end) = flag(text, at, escape);
        at = end;
        if flag.raw == "--" {
            return (flags, at);
        }
        flags.push(flag);
    }
}

/// One flag from `start` on: up to a blank outside of quotes.
fn flag(text: &Text, start: usize, escape: char) -> (Text, usize) {
    let raw = text.raw.as_str();
    let mut builder = TextBuilder::at(text.source_offset(start));
    let mut quote = None;
    // What is taken over as it stands, up to the character at hand.
    let mut from = start;
    let mut characters = raw[start..].char_indices().map(|(at, c)| (start + at, c));
    while let Some((at, c)) = characters.next() {
        work::spend(c.len_utf8());
        if quote.is_none() && c.is_whitespace() {
            builder.push_part(text, from..at);
            return (builder.finish(), at);
        }
        let is_quote = match quote {
            Some(open) => c == open,
            None => c == '\'' || c == '"',
        };
        if is_quote {
            quote = if quote.is_some() { None } else { Some(c) };
        } else if c == escape {
            // Whatever follows is meant as it is; at the end the escape just goes.
            characters.next();
        } else {
            continue;
        }
        builder.push_part(text, from..at);
        from = at + c.len_utf8();
    }
    builder.push_part(text, from..raw.len());
    (builder.finish(), raw.len())
}

/// The words of `text`, which is trimmed, split at blanks without a look at quotes.
pub(crate) fn by_blanks(text: &Text) -> Vec<Text> {
    let raw = text.raw.as_str();
    if raw.is_empty() {
        return Vec::new();
    }
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        let end = raw[at..].find(is_blank).map_or(raw.len(), |length| at + length);
        words.push(text.slice(at..end));
        work::spend(end - at + 1);
        if end == raw.len() {
            return words;
        }
        at = end + blanks(&raw[end..]);
    }
}

/// The first word and the rest after blanks; none if there is but one word.
pub(crate) fn at_blank(text: &Text) -> Option<(Text, Text)> {
    let end = text.raw.find(is_blank)?;
    let rest = end + blanks(&text.raw[end..]);
    Some((text.slice(0..end), text.slice(rest..text.raw.len())))
}

/// The words of `text`, split at blanks outside of quotes; quotes and escapes stay.
pub(crate) fn quoted(text: &Text, escape: char) -> Vec<Text> {
    let raw = text.raw.as_str();
    let mut words = Vec::new();
    let mut push = |range: Range<usize>| {
        if !range.is_empty() {
            words.push(text.slice(range));
        }
    };
    let mut start = None;
    let mut quote = None;
    let mut characters = raw.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        work::spend(c.len_utf8());
        if start.is_none() && c.is_whitespace() {
            continue;
        }
        let from = *start.get_or_insert(at);
        match quote {
            None if c.is_whitespace() => {
                push(from..at);
                start = None;
                continue;
            }
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        if c == escape && quote != Some('\'') {
            if characters.peek().is_none() {
                // An escape that has nothing to escape is dropped.
                push(from..at);
                return words;
            }
            characters.next();
        }
    }
    if let Some(from) = start {
        push(from..raw.len());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::Span;

    fn text(raw: &str) -> Text {
        Text::new(raw, Span::new(0, raw.len()))
    }

    fn strings(words: &[Text]) -> Vec<&str> {
        words.iter().map(Text::as_str).collect()
    }

    #[test]
    fn flags_come_first_and_lose_their_quotes() {
        let table: &[(&str, &str, &[&str], &str)] = &[
            ("RUN", "RUN", &[], ""),
            ("  run\t\t a b ", "run", &[], "a b"),
            ("COPY --chown=me --link  a b", "COPY", &["--chown=me", "--link"], "a b"),
            ("COPY --a -- --b c", "COPY", &["--a"], "--b c"),
            ("RUN a --b", "RUN", &[], "a --b"),
            ("RUN - --b", "RUN", &[], "- --b"),
            ("RUN --x='a b'\" c\" d", "RUN", &["--x=a b c"], "d"),
            ("RUN --x=a\\ b d", "RUN", &["--x=a b"], "d"),
            ("RUN --x=\"a\\\"b\" d", "RUN", &["--x=a\"b"], "d"),
            ("RUN --x=é d", "RUN", &["--x=é"], "d"),
            ("RUN --x='a", "RUN", &["--x=a"], ""),
            ("RUN --x\\", "RUN", &["--x"], ""),
        ];
        for (line, keyword, flags, arguments) in table {
            let split = split(&text(line), '\\');
            assert_eq!(split.keyword.raw, *keyword, "{line}");
            assert_eq!(strings(&split.flags), *flags, "{line}");
            assert_eq!(split.arguments.raw, *arguments, "{line}");
        }
    }

    #[test]
    fn flag_values_know_their_place() {
        let line = text("RUN --mount=\"type=bind\",from=x a");
        let flag = &split(&line, '\\').flags[0];
        let at = flag.raw.find("from").expect("it is there");
        assert_eq!(flag.span_of(at..at + 4), Span::new(24, 28));
    }

    #[test]
    fn quoted_words() {
        let table: &[(&str, &[&str])] = &[
            ("", &[]),
            ("a", &["a"]),
            (" a  b ", &["a", "b"]),
            ("a\\ b c", &["a\\ b", "c"]),
            ("a='x y' b=\"x ' y\"", &["a='x y'", "b=\"x ' y\""]),
            ("a='x\\' b", &["a='x\\'", "b"]),
            ("a=\"x\\\" b", &["a=\"x\\\" b"]),
            ("a \\", &["a"]),
            ("a\\", &["a"]),
            ("'' b", &["''", "b"]),
            ("a=\"x\\", &["a=\"x"]),
            ("föö bàr", &["föö", "bàr"]),
        ];
        for (line, expected) in table {
            assert_eq!(strings(&quoted(&text(line), '\\')), *expected, "{line}");
        }
    }

    #[test]
    fn words_by_blanks() {
        assert_eq!(strings(&by_blanks(&text("a  \"b c\"\td"))), ["a", "\"b", "c\"", "d"]);
        assert_eq!(strings(&by_blanks(&text("a\u{a0}b"))), ["a\u{a0}b"]);
        assert!(by_blanks(&text("")).is_empty());
    }
}
