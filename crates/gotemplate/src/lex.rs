//! Template text to tokens. Trim markers and comments are gone after this; spaces inside actions are tokens,
//! since they separate arguments (`.A.B` is one operand, `.A .B` two).

use crate::ast::Span;
use crate::error::Error;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    /// Outside of actions; already trimmed.
    Text(String),
    Open,
    Close,
    Space,
    Identifier(String),
    /// `.name`, without its dot.
    Field(String),
    /// `$name`, with its dollar; `$` alone is the whole value.
    Variable(String),
    Dot,
    Number(String),
    /// The unescaped content.
    Str(String),
    /// A character constant's code point.
    Char(u32),
    Pipe,
    LeftParen,
    RightParen,
    Declare,
    Assign,
    Comma,
    End,
}

const OPEN: &str = "{{";
const CLOSE: &str = "}}";

/// All tokens with their places; without an error the last one is `End`, else they go as far as the error.
pub(crate) fn tokens(text: &str) -> (Vec<(Token, Span)>, Option<Error>) {
    let mut lexer = Lexer { text, at: 0, out: Vec::new(), parens: 0 };
    let failure = lexer.run().err();
    (lexer.out, failure)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    out: Vec<(Token, Span)>,
    parens: usize,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn push(&mut self, token: Token, start: usize) {
        let end = self.at;
        self.out.push((token, Span { start, end }));
    }

    fn error(&self, at: usize, message: impl Into<String>) -> Error {
        Error::parse(self.text, at, message)
    }

    fn run(&mut self) -> Result<(), Error> {
        loop {
            let start = self.at;
            let Some(found) = self.rest().find(OPEN) else {
                let text = self.rest().to_owned();
                self.at = self.text.len();
                if !text.is_empty() {
                    self.push(Token::Text(text), start);
                }
                self.push(Token::End, self.at);
                return Ok(());
            };
            let open = start + found;
            let trims = is_trim_after_open(&self.text[open + OPEN.len()..]);
            let mut text = &self.text[start..open];
            if trims {
                text = text.trim_end_matches(is_space);
            }
            if !text.is_empty() {
                let text = text.to_owned();
                self.at = open;
                self.push(Token::Text(text), start);
            }
            self.at = open + OPEN.len() + if trims { 1 } else { 0 };
            let after_space = self.rest().trim_start_matches(is_space);
            if (trims && after_space.starts_with("/*")) || self.rest().starts_with("/*") {
                self.at = self.text.len() - after_space.len();
                self.comment(open)?;
            } else {
                self.push(Token::Open, open);
                self.parens = 0;
                self.action(open)?;
            }
        }
    }

    fn comment(&mut self, open: usize) -> Result<(), Error> {
        let Some(end) = self.rest().find("*/") else {
            return Err(self.error(open, "unclosed comment"));
        };
        self.at += end + 2;
        let trimmed = self.rest().trim_start_matches(is_space);
        let spaces = self.rest().len() - trimmed.len();
        if self.rest().starts_with(CLOSE) {
            self.at += CLOSE.len();
            Ok(())
        } else if spaces > 0 && trimmed.starts_with("-}}") {
            self.at += spaces + 3;
            self.skip_spaces();
            Ok(())
        } else {
            Err(self.error(open, "comment ends before closing delimiter"))
        }
    }

    fn skip_spaces(&mut self) {
        let trimmed = self.rest().trim_start_matches(is_space);
        self.at = self.text.len() - trimmed.len();
    }

    /// Everything up to and with the closing delimiter.
    fn action(&mut self, open: usize) -> Result<(), Error> {
        loop {
            let start = self.at;
            if self.rest().starts_with(CLOSE) {
                if self.parens > 0 {
                    return Err(self.error(start, "unclosed left paren"));
                }
                self.at += CLOSE.len();
                self.push(Token::Close, start);
                return Ok(());
            }
            let Some(next) = self.peek() else {
                return Err(self.error(open, "unclosed action"));
            };
            if is_space(next) {
                let after = self.rest().trim_start_matches(is_space);
                if after.starts_with("-}}") {
                    self.at = self.text.len() - after.len() + 1;
                    if self.parens > 0 {
                        return Err(self.error(start, "unclosed left paren"));
                    }
                    self.at += CLOSE.len();
                    self.push(Token::Close, start);
                    self.skip_spaces();
                    return Ok(());
                }
                self.at = self.text.len() - after.len();
                self.push(Token::Space, start);
                continue;
            }
            self.one(next, start)?;
        }
    }

    fn one(&mut self, next: char, start: usize) -> Result<(), Error> {
        let second = self.rest().chars().nth(1);
        match next {
            '=' => self.symbol(Token::Assign, 1),
            ':' if second == Some('=') => self.symbol(Token::Declare, 2),
            ':' => return Err(self.error(start, "expected :=")),
            '|' => self.symbol(Token::Pipe, 1),
            ',' => self.symbol(Token::Comma, 1),
            '(' => {
                self.parens += 1;
                self.symbol(Token::LeftParen, 1);
            }
            ')' => {
                if self.parens == 0 {
                    return Err(self.error(start, "unexpected right paren"));
                }
                self.parens -= 1;
                self.symbol(Token::RightParen, 1);
            }
            '"' => self.quoted(start)?,
            '`' => {
                let Some(end) = self.rest()[1..].find('`') else {
                    return Err(self.error(start, "unterminated raw quoted string"));
                };
                let content = self.rest()[1..=end].to_owned();
                self.at += end + 2;
                self.push(Token::Str(content), start);
            }
            '\'' => self.character(start)?,
            '.' if !second.is_some_and(|c| c.is_ascii_digit()) => {
                self.at += 1;
                let name = self.word(start)?;
                let token = if name.is_empty() { Token::Dot } else { Token::Field(name) };
                self.push(token, start);
            }
            '$' => {
                self.at += 1;
                let name = self.word(start)?;
                self.push(Token::Variable(format!("${name}")), start);
            }
            '+' | '-' | '.' | '0'..='9' => self.number(start)?,
            c if is_alphanumeric(c) => {
                let name = self.word(start)?;
                self.push(Token::Identifier(name), start);
            }
            c => {
                return Err(self.error(start, format!("unrecognized character in action: {}", unicode(c))));
            }
        }
        Ok(())
    }

    fn symbol(&mut self, token: Token, length: usize) {
        let start = self.at;
        self.at += length;
        self.push(token, start);
    }

    /// Letters and digits from here, which must be followed by something that may end a word.
    fn word(&mut self, start: usize) -> Result<String, Error> {
        let rest = self.rest();
        let end = rest.find(|c: char| !is_alphanumeric(c)).unwrap_or(rest.len());
        let word = rest[..end].to_owned();
        self.at += end;
        match self.peek() {
            None => {}
            Some(c) if is_space(c) || matches!(c, '.' | ',' | '|' | ':' | ')' | '(') => {}
            Some(_) if self.rest().starts_with(CLOSE) => {}
            Some(c) => return Err(self.error(start, format!("bad character {}", unicode(c)))),
        }
        Ok(word)
    }

    fn number(&mut self, start: usize) -> Result<(), Error> {
        let rest = self.rest();
        let mut end = rest.len();
        let mut previous = ' ';
        for (index, c) in rest.char_indices() {
            let sign = matches!(c, '+' | '-')
                && (index == 0 || (matches!(previous, 'e' | 'E') && !rest.starts_with("0x")));
            if !(sign || c == '.' || is_alphanumeric(c)) {
                end = index;
                break;
            }
            previous = c;
        }
        let number = rest[..end].to_owned();
        self.at += end;
        self.push(Token::Number(number), start);
        Ok(())
    }

    /// The raw source between the quotes, up to the first unescaped closing one.
    fn between(&mut self, quote: char, start: usize, what: &str) -> Result<String, Error> {
        let mut escaped = false;
        for (index, c) in self.rest().char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == quote => {
                    let raw = self.rest()[1..index].to_owned();
                    self.at += index + 1;
                    return Ok(raw);
                }
                _ => {}
            }
        }
        Err(self.error(start, format!("unterminated {what}")))
    }

    fn quoted(&mut self, start: usize) -> Result<(), Error> {
        let raw = self.between('"', start, "quoted string")?;
        let Some(content) = unescape(&raw) else {
            return Err(self.error(start, "invalid syntax"));
        };
        self.push(Token::Str(content), start);
        Ok(())
    }

    fn character(&mut self, start: usize) -> Result<(), Error> {
        let raw = self.between('\'', start, "character constant")?;
        let content = unescape(&raw).unwrap_or_default();
        let mut chars = content.chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) => {
                self.push(Token::Char(u32::from(c)), start);
                Ok(())
            }
            _ => Err(self.error(start, format!("malformed character constant: '{raw}'"))),
        }
    }
}

/// Go's escapes. Bytes that do not make UTF-8 (`"\xff"`) become U+FFFD.
fn unescape(raw: &str) -> Option<String> {
    let mut out = Vec::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        let mut buffer = [0; 4];
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            continue;
        }
        match chars.next()? {
            'a' => out.push(7),
            'b' => out.push(8),
            'f' => out.push(12),
            'n' => out.push(b'\n'),
            'r' => out.push(b'\r'),
            't' => out.push(b'\t'),
            'v' => out.push(11),
            quote @ ('\\' | '"' | '\'') => out.push(quote as u8),
            'x' => out.push(u8::try_from(digits(&mut chars, 2, 16)?).ok()?),
            'u' => encode(digits(&mut chars, 4, 16)?, &mut out)?,
            'U' => encode(digits(&mut chars, 8, 16)?, &mut out)?,
            first @ '0'..='7' => {
                let value = first.to_digit(8)? * 64 + digits(&mut chars, 2, 8)?;
                out.push(u8::try_from(value).ok()?);
            }
            _ => return None,
        }
    }
    Some(match String::from_utf8(out) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

fn digits(chars: &mut std::str::Chars<'_>, count: usize, radix: u32) -> Option<u32> {
    let mut value = 0u32;
    for _ in 0..count {
        value = value.checked_mul(radix)?.checked_add(chars.next()?.to_digit(radix)?)?;
    }
    Some(value)
}

fn encode(value: u32, out: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 4];
    out.extend_from_slice(char::from_u32(value)?.encode_utf8(&mut buffer).as_bytes());
    Some(())
}

fn is_trim_after_open(after: &str) -> bool {
    let mut chars = after.chars();
    chars.next() == Some('-') && chars.next().is_some_and(is_space)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// As Go's %#U: `U+0021 '!'`.
fn unicode(c: char) -> String {
    if c.is_control() { format!("U+{:04X}", u32::from(c)) } else { format!("U+{:04X} '{c}'", u32::from(c)) }
}
