//! Go's `path.Match`: the patterns of Docker's `reference` and `name` filters. `*` and `?` stop at slashes.
//!
//! Not the patterns of `.dockerignore`, which know `**` and negation.

/// Whether the whole of `text` matches. `Err(())` for a malformed pattern.
pub(crate) fn matches(pattern: &str, text: &str) -> Result<bool, ()> {
    let pattern: Vec<Piece> = parse(pattern)?;
    let text: Vec<char> = text.chars().collect();
    Ok(run(&pattern, &text))
}

#[derive(Debug)]
enum Piece {
    Char(char),
    Any,
    Star,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

fn parse(pattern: &str) -> Result<Vec<Piece>, ()> {
    let mut pieces = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' => {
                if !matches!(pieces.last(), Some(Piece::Star)) {
                    pieces.push(Piece::Star);
                }
            }
            '?' => pieces.push(Piece::Any),
            '\\' => pieces.push(Piece::Char(chars.next().ok_or(())?)),
            '[' => {
                let negated = chars.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                loop {
                    if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
                        break;
                    }
                    let low = member(&mut chars)?;
                    let high = match chars.next_if_eq(&'-') {
                        Some(_) => member(&mut chars)?,
                        None => low,
                    };
                    ranges.push((low, high));
                }
                pieces.push(Piece::Class { negated, ranges });
            }
            c => pieces.push(Piece::Char(c)),
        }
    }
    Ok(pieces)
}

fn member(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, ()> {
    match chars.next().ok_or(())? {
        '-' | ']' => Err(()),
        '\\' => chars.next().ok_or(()),
        c => Ok(c),
    }
}

/// Greedy with one point to come back to: linear in the text for each star, never exponential.
fn run(pattern: &[Piece], text: &[char]) -> bool {
    let (mut at, mut pos) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(at), text.get(pos)) {
            (None, None) => return true,
            (Some(Piece::Star), _) => {
                back = Some((at, pos));
                at += 1;
                continue;
            }
            (Some(piece), Some(&c)) if one(piece, c) => {
                at += 1;
                pos += 1;
                continue;
            }
            _ => {}
        }
        // The last star takes one more character, unless that is a slash: then nothing before can help either,
        // since every star's share ends there.
        match back {
            Some((star, from)) if text.get(from).is_some_and(|&c| c != '/') => {
                back = Some((star, from + 1));
                at = star + 1;
                pos = from + 1;
            }
            _ => return false,
        }
    }
}

fn one(piece: &Piece, c: char) -> bool {
    match piece {
        Piece::Char(p) => *p == c,
        Piece::Any => c != '/',
        Piece::Class { negated, ranges } => {
            ranges.iter().any(|&(low, high)| (low..=high).contains(&c)) != *negated
        }
        Piece::Star => false,
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn as_go_matches() {
        for (pattern, text, expected) in [
            ("abc", "abc", Ok(true)),
            ("*", "abc", Ok(true)),
            ("*c", "abc", Ok(true)),
            ("a*", "ab/c", Ok(false)),
            ("a*/b", "abc/b", Ok(true)),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", Ok(true)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Ok(true)),
            ("a*b?c*x", "abxbbxdbxebxczzy", Ok(false)),
            ("ab[c]", "abc", Ok(true)),
            ("ab[b-d]", "abc", Ok(true)),
            ("ab[^c]", "abc", Ok(false)),
            ("a\\*b", "a*b", Ok(true)),
            ("a?b", "a/b", Ok(false)),
            ("*x", "xxx", Ok(true)),
            ("", "", Ok(true)),
            ("*", "", Ok(true)),
            ("[]a]", "]", Err(())),
            ("[", "a", Err(())),
            ("[a", "a", Err(())),
            ("a\\", "a", Err(())),
            ("[-x]", "x", Err(())),
            ("bas*:v?", "base:v1", Ok(true)),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
