//! Lines that are drawn over again on a terminal, on standard error.
//!
//! A frame is written at once, over the last one, and the cursor ends below it: whenever the program ends, the terminal
//! is left as any other program finds it. What the lines say is others' business.

use std::io::{self, IsTerminal, Write};

use engine::printable;
use rustix::termios::tcgetwinsize;

/// Whether standard error is a terminal that can do this.
pub(crate) fn is_possible() -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stderr().is_terminal() && !dumb
}

/// Whether colours are wanted there (no-color.org).
pub(crate) fn is_coloured() -> bool {
    is_possible() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Columns and rows of the terminal, asked each time: it may have been resized.
pub(crate) fn size() -> (usize, usize) {
    match tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Plain,
    Faint,
    Blue,
    Yellow,
    Red,
}

/// A line of a frame: text without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) look: Look,
}

impl Line {
    pub(crate) fn plain(text: impl Into<String>) -> Line {
        Line { text: text.into(), look: Look::Plain }
    }
}

/// What is drawn over again.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    /// Columns that each line of the last drawing took.
    drawn: Vec<usize>,
}

impl Frame {
    /// Draws these lines in the place of the last ones; `above` stays over them, whole lines of text.
    pub(crate) fn draw(&mut self, above: &str, lines: &[Line], coloured: bool) {
        // Where nobody is left to be told, the work goes on.
        let _ = io::stderr().lock().write_all(self.drawing(above, lines, size().0, coloured).as_bytes());
    }

    /// What is drawn stays; the next drawing is below it.
    pub(crate) fn leave(&mut self) {
        self.drawn.clear();
    }

    fn drawing(&mut self, above: &str, lines: &[Line], columns: usize, coloured: bool) -> String {
        let mut out = String::new();
        // A terminal that became narrower has broken lines that were longer; without, they are as they were drawn.
        let rows: usize = self.drawn.iter().map(|width| width.div_ceil(columns.max(1)).max(1)).sum();
        if rows > 0 {
            out.push_str(&format!("\x1b[{rows}A\r"));
        }
        // Meanwhile no cursor jumps about, and no line is broken if it turns out wider than thought.
        out.push_str("\x1b[?25l\x1b[?7l");
        for line in above.lines() {
            out.push_str(line);
            out.push_str("\x1b[K\n");
        }
        self.drawn.clear();
        for line in lines {
            let text = printable::cut(&line.text, columns.saturating_sub(1));
            let colour = match line.look {
                Look::Plain => None,
                Look::Faint => Some("2"),
                Look::Blue => Some("34"),
                Look::Yellow => Some("33"),
                Look::Red => Some("31"),
            };
            match colour.filter(|_| coloured) {
                Some(colour) => out.push_str(&format!("\x1b[{colour}m{text}\x1b[0m")),
                None => out.push_str(text),
            }
            out.push_str("\x1b[K\n");
            self.drawn.push(printable::width(text));
        }
        out.push_str("\x1b[J\x1b[?7h\x1b[?25h");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_takes_the_place_of_the_last() {
        let mut frame = Frame::default();
        let lines = [Line::plain("a".repeat(70)), Line { text: "b".into(), look: Look::Red }];
        assert!(!frame.drawing("", &lines, 80, true).contains('A'));
        let again = frame.drawing("note\n", &lines, 80, true);
        assert!(again.starts_with("\x1b[2A\r") && again.contains("note\x1b[K\n"), "{again:?}");
        assert!(again.contains("\x1b[31mb\x1b[0m"));
        // Of 70 columns in 30 became three rows.
        let narrow = frame.drawing("", &lines, 30, false);
        assert!(narrow.starts_with("\x1b[4A\r") && !narrow.contains("31m"), "{narrow:?}");
        assert!(narrow.contains(&format!("{}\x1b[K", "a".repeat(29))) && !narrow.contains(&"a".repeat(30)));
        frame.leave();
        assert!(!frame.drawing("", &[], 80, true).contains('A'));
    }
}
