//! What a process printed, as lines of text that do nothing to a terminal.
//!
//! A process may print anything: colours, moves of the cursor, titles of windows, half a character. [`Lines`] shows what
//! a terminal would have shown line by line, and no more: a carriage return begins the line again, as progress bars do
//! it, everything else that is no text is left out. It is no terminal: what moves between lines is not followed.

use std::collections::VecDeque;

/// Longer lines are cut: nobody reads them in a terminal.
const LONGEST: usize = 2000;
const TAB: usize = 8;

/// The last lines of an output that goes on.
#[derive(Debug, Clone)]
pub struct Lines {
    keep: usize,
    done: VecDeque<String>,
    total: u64,
    line: Vec<char>,
    column: usize,
    state: State,
    /// A character of which not all bytes have come.
    bytes: Vec<u8>,
    /// The number in a control sequence.
    parameter: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Text,
    /// After an escape.
    Escape,
    /// In a control sequence (ECMA-48, 5.4).
    Control,
    /// In a command string, such as a window's title; ended by BEL or ESC `\`.
    Command,
    CommandEscape,
    /// After the first bytes of a longer escape, such as that of a character set.
    Intermediate,
}

impl Lines {
    /// Keeps the last `keep` whole lines.
    pub fn new(keep: usize) -> Lines {
        Lines {
            keep,
            done: VecDeque::new(),
            total: 0,
            line: Vec::new(),
            column: 0,
            state: State::Text,
            bytes: Vec::new(),
            parameter: None,
        }
    }

    /// Takes what came next.
    pub fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte < 0x80 {
                self.broken();
                self.byte(byte);
            } else {
                self.part(byte);
            }
        }
    }

    /// How many lines were ended so far.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The last `count` lines; one that has not ended counts.
    pub fn last(&self, count: usize) -> Vec<String> {
        let open: String = self.line.iter().collect();
        let open = Some(open).filter(|line| !line.trim_end().is_empty());
        let whole = count.saturating_sub(usize::from(open.is_some()));
        let skip = self.done.len().saturating_sub(whole);
        self.done.iter().skip(skip).cloned().chain(open.filter(|_| count > 0)).collect()
    }

    /// Bytes of a character that stopped short.
    fn broken(&mut self) {
        if !self.bytes.is_empty() {
            self.bytes.clear();
            self.put(char::REPLACEMENT_CHARACTER);
        }
    }

    fn part(&mut self, byte: u8) {
        if byte & 0xc0 == 0xc0 {
            self.broken();
        }
        self.bytes.push(byte);
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => {
                let whole = text.chars().next();
                self.bytes.clear();
                if let (State::Text, Some(whole)) = (self.state, whole) {
                    self.put(whole);
                }
            }
            Err(error) if error.error_len().is_some() || self.bytes.len() >= 4 => self.broken(),
            Err(_) => {}
        }
    }

    fn byte(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (State::Command, 0x07) => State::Text,
            (State::Command, 0x1b) => State::CommandEscape,
            (State::CommandEscape, b'\\') => State::Text,
            // An output that never ends such a string hides nothing beyond its line.
            (State::Command | State::CommandEscape, b'\n') => return self.text_again(byte),
            (State::Command | State::CommandEscape, _) => State::Command,
            (_, 0x1b) => State::Escape,
            (_, b'\n') => return self.text_again(byte),
            (State::Escape, b'[') => {
                self.parameter = None;
                State::Control
            }
            (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => State::Command,
            (State::Escape | State::Intermediate, 0x20..=0x2f) => State::Intermediate,
            (State::Escape | State::Intermediate, _) => State::Text,
            (State::Control, b'0'..=b'9') => {
                let digit = usize::from(byte - b'0');
                self.parameter = Some(self.parameter.unwrap_or(0).saturating_mul(10).saturating_add(digit));
                State::Control
            }
            (State::Control, 0x40..=0x7e) => {
                self.control(byte);
                State::Text
            }
            (State::Control, _) => State::Control,
            (State::Text, _) => {
                self.plain(byte);
                State::Text
            }
        };
    }

    fn text_again(&mut self, byte: u8) {
        self.state = State::Text;
        self.plain(byte);
    }

    fn plain(&mut self, byte: u8) {
        match byte {
            b'\n' => {
                let line: String = std::mem::take(&mut self.line).into_iter().collect();
                self.column = 0;
                self.total += 1;
                self.done.push_back(line.trim_end().to_owned());
                if self.done.len() > self.keep {
                    self.done.pop_front();
                }
            }
            b'\r' => self.column = 0,
            0x08 => self.column = self.column.saturating_sub(1),
            b'\t' => {
                let to = (self.column / TAB + 1) * TAB;
                while self.column < to.min(LONGEST) {
                    self.put(' ');
                }
            }
            0x20..=0x7e => self.put(char::from(byte)),
            _ => {}
        }
    }

    /// What of control sequences works within the line.
    fn control(&mut self, end: u8) {
        match (end, self.parameter) {
            (b'K', None | Some(0)) => self.line.truncate(self.column),
            (b'K', Some(2)) => self.line.clear(),
            (b'G', column) => self.column = column.unwrap_or(1).saturating_sub(1).min(LONGEST),
            _ => {}
        }
    }

    fn put(&mut self, character: char) {
        if !is_text(character) || self.column >= LONGEST {
            return;
        }
        while self.line.len() < self.column {
            self.line.push(' ');
        }
        match self.line.get_mut(self.column) {
            Some(place) => *place = character,
            None => self.line.push(character),
        }
        self.column += 1;
    }
}

/// All of `bytes` as lines, the last `keep` of them.
pub fn last_lines(bytes: &[u8], keep: usize) -> Vec<String> {
    let mut lines = Lines::new(keep);
    lines.write(bytes);
    lines.last(keep)
}

/// `text` as one line that does nothing to a terminal.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| is_text(*c)).collect()
}

/// Whether a character shows as itself and leaves others where they are: no control, nothing that turns the direction of
/// writing or takes no room without belonging to the one before.
fn is_text(character: char) -> bool {
    !character.is_control()
        && !matches!(character,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// How many columns a terminal gives to `text`.
pub fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// `text` cut to at most that many columns.
pub fn cut(text: &str, width: usize) -> &str {
    let mut taken = 0;
    for (at, character) in text.char_indices() {
        taken += columns(character);
        if taken > width {
            return &text[..at];
        }
    }
    text
}

/// Columns of a character (Unicode's East Asian Width, in ranges that are a little coarse).
fn columns(character: char) -> usize {
    match u32::from(character) {
        0..=0x2ff => 1,
        0x300..=0x36f | 0x483..=0x489 | 0x591..=0x5bd | 0x610..=0x61a | 0x64b..=0x65f => 0,
        0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x20d0..=0x20ff | 0xfe00..=0xfe0f | 0xfe20..=0xfe2f => 0,
        0xe0100..=0xe01ef => 0,
        0x1100..=0x115f | 0x231a..=0x231b | 0x23e9..=0x23ec | 0x23f0 | 0x23f3 | 0x25fd..=0x25fe => 2,
        0x2614..=0x2615 | 0x2648..=0x2653 | 0x267f | 0x2693 | 0x26a1 | 0x26aa..=0x26ab => 2,
        0x26bd..=0x26be | 0x26c4..=0x26c5 | 0x26ce | 0x26d4 | 0x26ea | 0x26f2..=0x26f3 | 0x26f5 => 2,
        0x26fa | 0x26fd | 0x2705 | 0x270a..=0x270b | 0x2728 | 0x274c | 0x274e | 0x2753..=0x2755 => 2,
        0x2757 | 0x2795..=0x2797 | 0x27b0 | 0x27bf | 0x2b1b..=0x2b1c | 0x2b50 | 0x2b55 => 2,
        0x2e80..=0x303e | 0x3041..=0x4dbf | 0x4e00..=0xa4cf | 0xa960..=0xa97c | 0xac00..=0xd7a3 => 2,
        0xf900..=0xfaff | 0xfe10..=0xfe19 | 0xfe30..=0xfe6f | 0xff01..=0xff60 | 0xffe0..=0xffe6 => 2,
        0x16fe0..=0x18cff | 0x1aff0..=0x1b2ff | 0x1f004 | 0x1f0cf | 0x1f18e | 0x1f191..=0x1f19a => 2,
        0x1f200..=0x1f64f | 0x1f680..=0x1f6ff | 0x1f7e0..=0x1f7f0 | 0x1f90c..=0x1f9ff => 2,
        0x1fa70..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(printed: &[u8], seen: &[&str]) {
        assert_eq!(last_lines(printed, 100), seen);
        // However it comes in pieces.
        let mut lines = Lines::new(100);
        for byte in printed {
            lines.write(&[*byte]);
        }
        assert_eq!(lines.last(100), seen);
    }

    #[test]
    fn what_is_no_text_is_left_out() {
        check(b"\x1b[31mred\x1b[0m \x1b[1;32mgreen\x1b[m\n", &["red green"]);
        check(b"\x1b]0;title\x07after\n\x1b]8;;http://x\x1b\\link\n", &["after", "link"]);
        check(b"\x1bPq#0\x1b\\sixel \x1b(Bset \x1bcreset\x1b[2J\x1b[Hhome\x07\n", &["sixel set resethome"]);
        check(b"\x1b]0;never ended\nnext\n", &["", "next"]);
        check("a\u{202e}b\u{200d}c\u{feff}\u{9b}31md\n".as_bytes(), &["abc31md"]);
        check(b"\xff\xc3(\xe2\x82\n", &["\u{fffd}\u{fffd}(\u{fffd}"]);
        check("gr\u{fc}\u{df}e \u{4f60}\u{597d}".as_bytes(), &["gr\u{fc}\u{df}e \u{4f60}\u{597d}"]);
    }

    #[test]
    fn a_line_may_be_written_again() {
        check(b"10%\r20%\r100%\n", &["100%"]);
        check(b"long line\rshort\n", &["shortline"]);
        check(b"long line\r\x1b[Kshort\n", &["short"]);
        check(b"long\x1b[2K\rx\n\x1b[5Gx\nab\x08c\n", &["x", "    x", "ac"]);
        check(b"crlf\r\n\ttab\tb\n", &["crlf", "        tab     b"]);
    }

    #[test]
    fn the_last_lines_are_kept() {
        let mut lines = Lines::new(2);
        lines.write(b"1\n2\n3\n4");
        assert_eq!(lines.last(2), ["3", "4"]);
        assert_eq!(lines.last(9), ["2", "3", "4"]);
        assert_eq!(lines.last(0), [""; 0]);
        assert_eq!(lines.total(), 3);
        lines.write(&vec![b'x'; 100_000]);
        assert!(lines.last(1)[0].len() <= LONGEST);
    }

    #[test]
    fn columns_of_a_terminal() {
        assert_eq!(width("abc"), 3);
        assert_eq!(width("\u{4f60}e\u{301}\u{1f680}"), 5);
        assert_eq!(cut("a\u{4f60}b", 2), "a");
        assert_eq!(cut("a\u{4f60}b", 3), "a\u{4f60}");
    }
}
