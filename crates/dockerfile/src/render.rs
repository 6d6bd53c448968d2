//! A diagnostic as text for people: the message, the source line, a caret under the place.
//!
//! Plain text; whoever has a terminal colours the first line.

use std::fmt::Write as _;

use crate::diagnostic::{Diagnostic, Severity};
use crate::span::{LineIndex, Span};

/// The width kept of a long source line, in characters.
const WIDTH: usize = 100;

/// At most this many lines are shown of a place that goes over several.
const LINES: u32 = 6;

/// The diagnostic with its source lines shown. `name` is the file's name as the user knows it.
/// Several lines, no line end after the last.
///
/// ```text
/// error: unknown instruction: RUNN
///  --> Dockerfile:2:1
///   |
/// 2 | RUNN make
///   | ^^^^
/// help: did you mean RUN?
/// ```
pub fn render(diagnostic: &Diagnostic, name: &str, source: &[u8]) -> String {
    let index = LineIndex::new(source);
    let mut text = String::new();
    let severity = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    text.push_str(severity);
    if let Some(rule) = diagnostic.rule {
        let _ = write!(text, "[{rule}]");
    }
    let _ = write!(text, ": {}", printable(&diagnostic.message));
    match diagnostic.span {
        Some(span) => excerpt(&mut text, span, name, source, &index),
        None => {
            let _ = write!(text, "\n --> {name}");
        }
    }
    if let Some(help) = &diagnostic.help {
        let _ = write!(text, "\nhelp: {}", printable(help));
    }
    text
}

fn excerpt(text: &mut String, span: Span, name: &str, source: &[u8], index: &LineIndex) {
    let (first, last) = index.lines(span);
    let position = index.position(source, span.start);
    let gutter = last.to_string().len();
    let _ = write!(text, "\n{:gutter$}--> {name}:{}:{}", "", position.line, position.column);
    let _ = write!(text, "\n{:gutter$} |", "");
    for line in first..=last.min(first + LINES - 1) {
        let bytes = index.line_span(line);
        let all = &source[bytes.range()];
        let content = all.trim_ascii_end();
        let content = content.strip_prefix(b"\xef\xbb\xbf".as_slice()).unwrap_or(content);
        let shown = Shown::new(content, bytes.start as usize + bom(all), span, line == first);
        let _ = write!(text, "\n{line:gutter$} | {}", shown.line);
        let _ = write!(text, "\n{:gutter$} | {}{}", "", " ".repeat(shown.indent), "^".repeat(shown.carets));
    }
    if last >= first + LINES {
        let _ = write!(text, "\n{:gutter$} | …", "");
    }
}

fn bom(line: &[u8]) -> usize {
    if line.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 }
}

/// A source line as it is shown, and where its carets go.
struct Shown {
    line: String,
    indent: usize,
    carets: usize,
}

impl Shown {
    /// `content` begins at `start` in the source; `span` may begin before and end after it.
    fn new(content: &[u8], start: usize, span: Span, first: bool) -> Shown {
        let inside = |offset: u32| (offset as usize).saturating_sub(start).min(content.len());
        let mut from = inside(span.start);
        let to = inside(span.end).max(from);
        if !first {
            from = from.max(content.len() - content.trim_ascii_start().len()).min(to);
        }
        let before = printable(&String::from_utf8_lossy(&content[..from]));
        let within = printable(&String::from_utf8_lossy(&content[from..to]));
        let after = printable(&String::from_utf8_lossy(&content[to..]));
        let indent = before.chars().count();
        let carets = within.chars().count().max(1);
        let line = format!("{before}{within}{after}");
        // A window of the line that has the place in it.
        let skip = if indent + carets > WIDTH { indent.saturating_sub(WIDTH / 4) } else { 0 };
        let mut window: String = line.chars().skip(skip).take(WIDTH).collect();
        if skip + WIDTH < line.chars().count() {
            window.push('…');
        }
        let lead = if skip > 0 { "…" } else { "" };
        Shown {
            line: format!("{lead}{}", window.trim_end()),
            indent: indent - skip + lead.chars().count(),
            carets: carets.min(WIDTH - (indent - skip).min(WIDTH - 1)),
        }
    }
}

/// Tabs as blanks, so that carets are under their place; other control characters, which could
/// play with the terminal, as U+FFFD.
fn printable(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => result.push_str("    "),
            c if c.is_control() => result.push(char::REPLACEMENT_CHARACTER),
            c => result.push(c),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(source: &[u8], start: usize, end: usize) -> String {
        let diagnostic = Diagnostic::error("wrong", Span::new(start, end));
        render(&diagnostic, "Dockerfile", source)
    }

    #[test]
    fn carets_are_under_the_place() {
        let text = shown(b"FROM a\nRUNN make\n", 7, 11);
        assert_eq!(text, "error: wrong\n --> Dockerfile:2:1\n  |\n2 | RUNN make\n  | ^^^^");
        let text = shown("RUN é\tüx".as_bytes(), 9, 10);
        assert_eq!(text, "error: wrong\n --> Dockerfile:1:8\n  |\n1 | RUN é    üx\n  |           ^");
    }

    #[test]
    fn odd_places() {
        let text = shown(b"", 0, 0);
        assert_eq!(text, "error: wrong\n --> Dockerfile:1:1\n  |\n1 | \n  | ^");
        let text = shown(b"\xef\xbb\xbfRUN\r\n", 3, 6);
        assert_eq!(text, "error: wrong\n --> Dockerfile:1:1\n  |\n1 | RUN\n  | ^^^");
        let text = shown(b"RUN a \\\n   b \\\n  c", 4, 19);
        assert_eq!(
            text,
            "error: wrong\n --> Dockerfile:1:5\n  |\n1 | RUN a \\\n  |     ^^^\n2 |    b \\\n  |    ^^^\n3 |   c\n  |   ^"
        );
        // Places that are not in the file do no harm.
        shown(b"RUN", 1, 4000);
        shown(b"RUN", 4000, 5000);
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let source = format!("RUN {}here{}", "x".repeat(5000), "y".repeat(5000));
        let text = shown(source.as_bytes(), 5004, 5008);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[3].len() < 120, "{text}");
        let at = lines[3].find("here").expect("it is shown");
        let before = lines[3][..at].chars().count();
        assert_eq!(lines[4].find('^'), Some(before), "{text}");
        assert!(lines[4].ends_with("^^^^"));
    }

    #[test]
    fn control_characters_are_not_passed_on() {
        let text = shown(b"RUN \x1b[31m", 4, 5);
        assert!(!text.contains('\x1b'));
    }
}
