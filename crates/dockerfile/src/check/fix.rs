//! Changes of a Dockerfile that mend what a check found: which bytes become which, and how several
//! are made at once.
//!
//! Only the bytes that are named change. Whether a change is safe is for whoever makes it to know.

use crate::span::Span;

/// One replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The bytes that go; an empty place for an insertion.
    pub span: Span,
    /// What comes there.
    pub text: String,
}

/// What mends one violation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// What it does, as an order without a final dot: `write the stage name in lower case`.
    pub title: String,
    /// Its replacements, in the order of the source; none overlaps another.
    pub edits: Vec<Edit>,
}

impl Fix {
    /// A fix that replaces one place.
    pub fn replace(title: impl Into<String>, span: Span, text: impl Into<String>) -> Fix {
        Fix { title: title.into(), edits: vec![Edit { span, text: text.into() }] }
    }
}

/// The source with the fixes made, and the titles of those. Of fixes that touch the same bytes only the
/// first is made: the others are found again in what comes of it.
pub fn apply<'a>(source: &[u8], fixes: impl IntoIterator<Item = &'a Fix>) -> (Vec<u8>, Vec<String>) {
    let mut fixes: Vec<&Fix> = fixes.into_iter().filter(|fix| !fix.edits.is_empty()).collect();
    fixes.sort_by_key(|fix| fix.edits[0].span.start);
    let mut result = Vec::with_capacity(source.len());
    let mut done = 0usize;
    let mut made = Vec::new();
    let mut last: Option<Span> = None;
    for fix in fixes {
        let mut before = last;
        let free = fix.edits.iter().all(|edit| {
            let clear = before.is_none_or(|before| {
                edit.span.start >= before.end && (edit.span.start > before.start || !edit.span.is_empty())
            });
            before = Some(edit.span);
            clear && edit.span.end as usize <= source.len()
        });
        if !free {
            continue;
        }
        for edit in &fix.edits {
            result.extend_from_slice(&source[done..edit.span.start as usize]);
            result.extend_from_slice(edit.text.as_bytes());
            done = edit.span.end as usize;
        }
        last = before;
        made.push(fix.title.clone());
    }
    result.extend_from_slice(&source[done..]);
    (result, made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(source: &str, fixes: &[(usize, usize, &str)]) -> (String, usize) {
        let fixes: Vec<Fix> = fixes
            .iter()
            .map(|(start, end, text)| Fix::replace("x", Span::new(*start, *end), *text))
            .collect();
        let (bytes, made) = apply(source.as_bytes(), &fixes);
        (String::from_utf8(bytes).expect("it is text"), made.len())
    }

    #[test]
    fn only_the_named_bytes_change() {
        assert_eq!(applied("abcdef", &[]), ("abcdef".into(), 0));
        assert_eq!(applied("abcdef", &[(4, 5, "EE"), (0, 1, "")]), ("bcdEEf".into(), 2));
        assert_eq!(applied("abcdef", &[(6, 6, "!")]), ("abcdef!".into(), 1));
        assert_eq!(applied("abc", &[(1, 2, "x"), (2, 3, "y")]), ("axy".into(), 2));
    }

    #[test]
    fn of_two_on_one_place_the_first_is_made() {
        assert_eq!(applied("abcdef", &[(1, 4, "x"), (2, 3, "y")]), ("axef".into(), 1));
        assert_eq!(applied("abc", &[(1, 1, "x"), (1, 1, "y")]), ("axbc".into(), 1));
        assert_eq!(applied("abc", &[(1, 9, "x")]), ("abc".into(), 0));
    }
}
