//! Wildcards in the sources of a copy, as Go's `filepath.Match` reads them: for the names of one directory at a time,
//! since `*`, `?` and `[…]` stand for no slash.

/// Whether the pattern, a path or a part of one, has wildcards. What is after a backslash is none.
pub fn has_wildcards(pattern: &[u8]) -> bool {
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

/// A pattern for one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Vec<Token>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(char),
    Any,
    Star,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    /// Reads a pattern; `None` if it is malformed.
    pub fn parse(pattern: &[u8]) -> Option<Glob> {
        let mut tokens = Vec::new();
        let mut rest = characters(pattern).collect::<Vec<_>>().into_iter().peekable();
        while let Some(c) = rest.next() {
            tokens.push(match c {
                '*' => Token::Star,
                '?' => Token::Any,
                '\\' => Token::Literal(rest.next()?),
                '[' => {
                    let negated = rest.next_if_eq(&'^').is_some();
                    let mut ranges = Vec::new();
                    loop {
                        if !ranges.is_empty() && rest.next_if_eq(&']').is_some() {
                            break;
                        }
                        let mut bound = || match rest.next()? {
                            '-' | ']' => None,
                            '\\' => rest.next(),
                            c => Some(c),
                        };
                        let low = bound()?;
                        let high = match rest.next_if_eq(&'-') {
                            Some(_) => match rest.next()? {
                                '-' | ']' => return None,
                                '\\' => rest.next()?,
                                c => c,
                            },
                            None => low,
                        };
                        ranges.push((low, high));
                    }
                    Token::Class { negated, ranges }
                }
                c => Token::Literal(c),
            });
        }
        Some(Glob(tokens))
    }

    /// Whether `name` fits. Takes time in proportion to the lengths of both.
    pub fn matches(&self, name: &[u8]) -> bool {
        let name: Vec<char> = characters(name).collect();
        let (mut at, mut token) = (0, 0);
        // Where the last star was, and how much of the name was left to it.
        let mut star: Option<(usize, usize)> = None;
        while at < name.len() {
            let fits = match self.0.get(token) {
                Some(Token::Star) => {
                    star = Some((token, at));
                    token += 1;
                    continue;
                }
                Some(Token::Literal(c)) => *c == name[at],
                Some(Token::Any) => true,
                Some(Token::Class { negated, ranges }) => {
                    ranges.iter().any(|(low, high)| (*low..=*high).contains(&name[at])) != *negated
                }
                None => false,
            };
            match (fits, star) {
                (true, _) => (at, token) = (at + 1, token + 1),
                (false, Some((back, from))) => {
                    star = Some((back, from + 1));
                    (at, token) = (from + 1, back + 1);
                }
                (false, None) => return false,
            }
        }
        self.0[token..].iter().all(|token| *token == Token::Star)
    }
}

/// The characters of a name; bytes that are not UTF-8 are U+FFFD each, as in Go.
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
    fn as_go_matches() {
        for (pattern, name, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "abc", true),
            ("a*b*c*d*e*", "axbxcxdxe", true),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a\u{263a}b", true),
            ("a[^a]b", "a\u{263a}b", true),
            ("a???b", "a\u{263a}b", false),
            ("[\\]a]", "]", true),
            ("[\\-]", "-", true),
            ("[x\\-]", "x", true),
            ("*x", "xxx", true),
            ("**", "a", true),
            ("", "", true),
            ("", "a", false),
        ] {
            let glob = Glob::parse(pattern.as_bytes()).unwrap_or_else(|| panic!("{pattern} was refused"));
            assert_eq!(glob.matches(name.as_bytes()), expected, "{pattern} {name}");
        }
        for bad in ["[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "\\"] {
            assert!(Glob::parse(bad.as_bytes()).is_none(), "{bad} was taken");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let glob = Glob::parse("*a".repeat(60).as_bytes()).unwrap();
        assert!(!glob.matches(&[b'a'; 59]));
        assert!(!glob.matches(&[&[b'a'; 200][..], b"b"].concat()));
    }

    #[test]
    fn what_is_a_wildcard() {
        for (text, expected) in
            [("a*", true), ("a\\*", false), ("[a", true), ("a?b", true), ("a\\", false), ("", false)]
        {
            assert_eq!(has_wildcards(text.as_bytes()), expected, "{text}");
        }
    }
}
