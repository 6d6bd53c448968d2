//! One pattern of paths, as `.dockerignore`, `--exclude` and `--parents` have them, and whether a path fits it.
//!
//! A pattern becomes tokens with the meaning that moby's `patternmatcher` gives it by way of a
//! regular expression, short cuts for plain names included, for these are not quite the same.
//! Where that translation is an accident (`*`, `?` and `[:class:]` inside of brackets, `\d`), the
//! characters are taken as they stand, as Go's `filepath.Match` does.
//!
//! How patterns are combined (order, `!`, directories above) is not decided here.

/// Go's words for a pattern that cannot be read.
const BAD_PATTERN: &str = "syntax error in pattern";

/// A pattern, ready to be compared with paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Matcher);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Matcher {
    /// The path is this.
    Exact(Vec<u8>),
    /// `name/**`: the path begins with this.
    Prefix(Vec<u8>),
    /// `**name`, `**/name`: the path ends with this, or is it without the slash.
    Suffix(Vec<u8>),
    /// Anything else.
    Glob(Glob),
}

/// A pattern as tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Glob {
    tokens: Vec<Token>,
    /// What each path that fits begins and ends with: most paths fail here.
    begin: Vec<u8>,
    end: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(char),
    /// `?`
    NoSlash,
    /// `*`
    NoSlashes,
    /// `**/`, or `**` in the middle: nothing, or what follows, which is always `Inside`.
    Directories,
    /// Anything up to a slash, that included.
    Inside,
    /// `**` at the end
    Anything,
    /// `[a-z]` or `[^a-z]`: it takes a slash like any other character.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    /// Reads a pattern, which is cleaned and has no `!`.
    ///
    /// # Errors
    /// Go's words for what is wrong.
    pub fn parse(pattern: &[u8]) -> Result<Pattern, &'static str> {
        let mut tokens = Vec::new();
        let mut kind = Kind::Exact;
        let characters: Vec<char> = characters(pattern).collect();
        let mut rest = characters.as_slice();
        while let [c, tail @ ..] = rest {
            let first = rest.len() == characters.len();
            rest = tail;
            match c {
                '*' => match rest {
                    ['*', tail @ ..] => {
                        rest = if let ['/', tail @ ..] = tail { tail } else { tail };
                        if !rest.is_empty() {
                            tokens.extend([Token::Directories, Token::Inside]);
                            kind = Kind::Glob;
                        } else if kind == Kind::Exact {
                            kind = Kind::Prefix;
                        } else {
                            tokens.push(Token::Anything);
                            kind = Kind::Glob;
                        }
                        if first {
                            kind = Kind::Suffix;
                        }
                    }
                    _ => {
                        tokens.push(Token::NoSlashes);
                        kind = Kind::Glob;
                    }
                },
                '?' => {
                    tokens.push(Token::NoSlash);
                    kind = Kind::Glob;
                }
                '\\' => {
                    let [c, tail @ ..] = rest else { return Err(BAD_PATTERN) };
                    rest = tail;
                    tokens.push(Token::Literal(*c));
                    kind = Kind::Glob;
                }
                '[' => {
                    let (class, tail) = class(rest).ok_or(BAD_PATTERN)?;
                    rest = tail;
                    tokens.push(class);
                    kind = Kind::Glob;
                }
                c => {
                    // A closing bracket alone is itself, but BuildKit leaves the short cuts then;
                    // it makes no difference.
                    tokens.push(Token::Literal(*c));
                }
            }
        }
        Ok(Pattern(match kind {
            Kind::Exact => Matcher::Exact(pattern.to_vec()),
            Kind::Prefix => Matcher::Prefix(pattern[..pattern.len() - 2].to_vec()),
            Kind::Suffix => Matcher::Suffix(pattern[2..].to_vec()),
            Kind::Glob => Matcher::Glob(Glob::new(tokens)),
        }))
    }

    /// Whether this path fits, relative to the root and without slashes at its ends. Those above it are not asked.
    pub fn matches(&self, path: &[u8]) -> bool {
        match &self.0 {
            Matcher::Exact(pattern) => path == pattern,
            Matcher::Prefix(pattern) => path.starts_with(pattern),
            Matcher::Suffix(pattern) => {
                path.ends_with(pattern) || pattern.strip_prefix(b"/").is_some_and(|name| path == name)
            }
            Matcher::Glob(glob) => glob.matches(path),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exact,
    Prefix,
    Suffix,
    Glob,
}

/// What follows a `[`, and the rest after the `]`.
fn class(mut rest: &[char]) -> Option<(Token, &[char])> {
    let negated = rest.first() == Some(&'^');
    if negated {
        rest = &rest[1..];
    }
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty()
            && let [']', tail @ ..] = rest
        {
            return Some((Token::Class { negated, ranges }, tail));
        }
        let (low, tail) = class_character(rest)?;
        let (high, tail) = match tail {
            ['-', tail @ ..] => class_character(tail)?,
            _ => (low, tail),
        };
        if high < low {
            return None;
        }
        ranges.push((low, high));
        rest = tail;
    }
}

/// A character in brackets. There must be more after it: the bracket is still open.
fn class_character(rest: &[char]) -> Option<(char, &[char])> {
    let (c, tail) = match rest {
        ['-' | ']', ..] | ['\\'] | [] => return None,
        ['\\', c, tail @ ..] | [c, tail @ ..] => (*c, tail),
    };
    (!tail.is_empty()).then_some((c, tail))
}

impl Glob {
    fn new(tokens: Vec<Token>) -> Glob {
        let literal = |token: &Token| match token {
            // A character that stands for a broken byte has other bytes.
            Token::Literal(c) if *c != char::REPLACEMENT_CHARACTER => Some(*c),
            _ => None,
        };
        let begin: String = tokens.iter().map_while(literal).collect();
        let mut end: Vec<char> = tokens.iter().rev().map_while(literal).collect();
        end.reverse();
        let end: String = end.into_iter().collect();
        Glob { tokens, begin: begin.into_bytes(), end: end.into_bytes() }
    }

    /// Follows all ways through the tokens at once: the time is the length of the path times, at
    /// worst, that of the pattern.
    fn matches(&self, path: &[u8]) -> bool {
        if !path.starts_with(&self.begin) || !path.ends_with(&self.end) {
            return false;
        }
        // A state is the number of a token that is next. Nearly all patterns fit in one word.
        let mut states = vec![0; self.tokens.len() / 64 + 1];
        let mut next = states.clone();
        self.reach(&mut states, 0);
        for c in characters(path) {
            next.fill(0);
            for (word, bits) in states.iter().enumerate() {
                let mut bits = *bits;
                while bits != 0 {
                    let index = word * 64 + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    self.step(&mut next, index, c);
                }
            }
            std::mem::swap(&mut states, &mut next);
            if states.iter().all(|word| *word == 0) {
                return false;
            }
        }
        let last = self.tokens.len();
        states[last / 64] & 1 << (last % 64) != 0
    }

    /// Where the token `index` goes on `c`.
    fn step(&self, next: &mut [u64], index: usize, c: char) {
        let (stays, goes) = match self.tokens.get(index) {
            None | Some(Token::Directories) => return,
            Some(Token::Literal(literal)) => (false, c == *literal),
            Some(Token::NoSlash) => (false, c != '/'),
            Some(Token::NoSlashes) => (c != '/', false),
            Some(Token::Inside) => (c != '\n', c == '/'),
            Some(Token::Anything) => (c != '\n', false),
            Some(Token::Class { negated, ranges }) => {
                let inside = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                (false, inside != *negated)
            }
        };
        if stays {
            self.reach(next, index);
        }
        if goes {
            self.reach(next, index + 1);
        }
    }

    /// Adds a state, and those behind it, over tokens that may stand for nothing.
    fn reach(&self, states: &mut [u64], mut index: usize) {
        loop {
            let bit = 1 << (index % 64);
            if states[index / 64] & bit != 0 {
                return;
            }
            states[index / 64] |= bit;
            match self.tokens.get(index) {
                Some(Token::NoSlashes | Token::Anything) => index += 1,
                Some(Token::Directories) => {
                    self.reach(states, index + 1);
                    index += 2;
                }
                _ => return,
            }
        }
    }
}

/// The characters of a path; bytes that are not UTF-8 are U+FFFD each, as in Go.
fn characters(bytes: &[u8]) -> impl Iterator<Item = char> {
    bytes.utf8_chunks().flat_map(|chunk| {
        let broken = std::iter::repeat_n(char::REPLACEMENT_CHARACTER, chunk.invalid().len());
        chunk.valid().chars().chain(broken)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits() {
        for (pattern, fits, not) in [
            ("a/b", &["a/b"][..], &["a", "a/b/c", "x/a/b"][..]),
            ("*.md", &["a.md", ".md"], &["a/b.md", "a.mdx"]),
            ("a/*/c", &["a/b/c"], &["a/c", "a/b/b/c"]),
            ("**/c", &["c", "a/c", "a/b/c"], &["c/d", "abd"]),
            ("**", &["a", "a/b"], &[]),
            ("a/**", &["a/b", "a/b/c"], &["a", "b"]),
            ("a/**/d", &["a/d", "a/b/c/d"], &["ad", "a/b"]),
            ("a?c", &["abc"], &["a/c", "ac"]),
            ("[a-c]x", &["ax", "cx"], &["dx"]),
            ("[^a-c]x", &["dx"], &["ax"]),
            ("\\*", &["*"], &["a"]),
        ] {
            let parsed = Pattern::parse(pattern.as_bytes()).unwrap();
            for path in fits {
                assert!(parsed.matches(path.as_bytes()), "{pattern} {path}");
            }
            for path in not {
                assert!(!parsed.matches(path.as_bytes()), "{pattern} {path}");
            }
        }
        for bad in ["[", "[a", "[]", "a\\", "[b-a]"] {
            assert!(Pattern::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
