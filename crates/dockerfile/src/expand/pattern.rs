//! The patterns of `${x#p}`, `${x%p}` and `${x/p/r}`: `*`, `?` and literals, no brackets.
//!
//! Time is the length of the value times that of the pattern, whatever the pattern is.

/// A pattern read.
pub(super) struct Pattern {
    tokens: Vec<Token>,
}

#[derive(Clone, Copy)]
enum Token {
    /// Any characters, also none, of one line.
    Star,
    /// One character, no line feed.
    Any,
    Literal(char),
}

impl Token {
    fn takes(self, c: char) -> bool {
        match self {
            Token::Star | Token::Any => c != '\n',
            Token::Literal(literal) => c == literal,
        }
    }
}

/// No place: the state is not reached.
const NEVER: usize = usize::MAX;

impl Pattern {
    /// Reads a pattern. A backslash takes the meaning from `*`, `?` and itself; before `}` and
    /// `/`, which would end the pattern, it is dropped.
    pub(super) fn parse(pattern: &str) -> Result<Pattern, String> {
        let mut tokens = Vec::new();
        let mut characters = pattern.chars();
        while let Some(c) = characters.next() {
            tokens.push(match c {
                '*' => Token::Star,
                '?' => Token::Any,
                '\\' => match characters.next() {
                    Some(c @ ('*' | '?' | '\\' | '}' | '/')) => Token::Literal(c),
                    Some(c) => return Err(format!("invalid escape '\\{c}'")),
                    None => return Err("invalid escape '\\' at the end".to_owned()),
                },
                c => Token::Literal(c),
            });
        }
        Ok(Pattern { tokens })
    }

    /// `value` without the shortest or longest beginning that fits.
    pub(super) fn trim_prefix<'v>(&self, value: &'v str, longest: bool) -> &'v str {
        let characters = value.char_indices().map(|(at, c)| (at + c.len_utf8(), c));
        match anchored(&self.tokens, 0, characters, longest) {
            Some(end) => &value[end..],
            None => value,
        }
    }

    /// `value` without the shortest or longest end that fits.
    pub(super) fn trim_suffix<'v>(&self, value: &'v str, longest: bool) -> &'v str {
        let characters = value.char_indices().rev();
        let tokens: Vec<Token> = self.tokens.iter().rev().copied().collect();
        match anchored(&tokens, value.len(), characters, longest) {
            Some(start) => &value[..start],
            None => value,
        }
    }

    /// `value` with the first or every part that fits replaced. The leftmost fit counts, and of
    /// those the longest.
    pub(super) fn replace(&self, value: &str, replacement: &str, all: bool) -> String {
        let mut result = String::new();
        let mut copied = 0;
        let mut from = 0;
        while let Some((start, end)) = self.find(value, from) {
            result.push_str(&value[copied..start]);
            // No empty fit right after another fit.
            if end > copied || start == 0 {
                result.push_str(replacement);
            }
            copied = end;
            if !all {
                break;
            }
            from = match value[from..].chars().next() {
                _ if end > from => end,
                Some(c) => from + c.len_utf8(),
                None => break,
            };
        }
        result.push_str(&value[copied..]);
        result
    }

    /// The leftmost longest fit that begins at `from` or later.
    fn find(&self, value: &str, from: usize) -> Option<(usize, usize)> {
        let last = self.tokens.len();
        // Per state, the leftmost start from which it is reached.
        let mut states = vec![NEVER; last + 1];
        let mut next = states.clone();
        let mut best: Option<(usize, usize)> = None;
        let mut characters = value[from..].char_indices();
        loop {
            let step = characters.next();
            let at = from + step.map_or(value.len() - from, |(at, _)| at);
            if best.is_none() {
                states[0] = states[0].min(at);
            }
            for index in 0..last {
                if matches!(self.tokens[index], Token::Star) {
                    states[index + 1] = states[index + 1].min(states[index]);
                }
            }
            if states[last] != NEVER && best.is_none_or(|(start, _)| states[last] <= start) {
                best = Some((states[last], at));
            }
            let (_, c) = match step {
                Some(step) => step,
                None => return best,
            };
            let limit = best.map_or(NEVER, |(start, _)| start + 1);
            next.fill(NEVER);
            let mut alive = false;
            for (index, token) in self.tokens.iter().enumerate() {
                let start = states[index];
                if start < limit && token.takes(c) {
                    alive = true;
                    let target = if matches!(token, Token::Star) { index } else { index + 1 };
                    next[target] = next[target].min(start);
                }
            }
            if best.is_some() && !alive {
                return best;
            }
            std::mem::swap(&mut states, &mut next);
        }
    }
}

/// Where the shortest or longest fit from the first character on ends. `characters` come with the
/// place behind each, in the direction of reading.
fn anchored(
    tokens: &[Token],
    origin: usize,
    characters: impl Iterator<Item = (usize, char)>,
    longest: bool,
) -> Option<usize> {
    let last = tokens.len();
    let mut states = vec![false; last + 1];
    let mut next = states.clone();
    states[0] = true;
    let mut at = origin;
    let mut found = None;
    let mut characters = characters;
    loop {
        for index in 0..last {
            if states[index] && matches!(tokens[index], Token::Star) {
                states[index + 1] = true;
            }
        }
        if states[last] {
            found = Some(at);
            if !longest {
                return found;
            }
        }
        let Some((behind, c)) = characters.next() else { return found };
        next.fill(false);
        let mut alive = false;
        for (index, token) in tokens.iter().enumerate() {
            if states[index] && token.takes(c) {
                alive = true;
                next[if matches!(token, Token::Star) { index } else { index + 1 }] = true;
            }
        }
        if !alive {
            return found;
        }
        std::mem::swap(&mut states, &mut next);
        at = behind;
    }
}
