//! The JSON form of arguments: an array of strings and nothing else.
//!
//! What is no JSON at all is not an error here: the instruction then has its other form.

use crate::span::Text;
use crate::work;

/// What the arguments look like.
pub(crate) enum Form {
    /// An array of strings, decoded.
    Array(Vec<Text>),
    /// An array, but not of strings alone.
    NotStrings,
    /// Something else.
    Other,
}

/// BuildKit's words for [`Form::NotStrings`].
pub(crate) const NOT_STRINGS: &str = "when using JSON array syntax, arrays must be comprised of strings only";

pub(crate) fn form(text: &Text) -> Form {
    let raw = text.raw.as_str();
    let at = raw.len() - raw.trim_start().len();
    if !raw[at..].starts_with('[') {
        return Form::Other;
    }
    if let Some(elements) = strings(text, at + 1) {
        return Form::Array(elements);
    }
    work::spend(raw.len());
    match serde_json::from_str::<Vec<serde_json::Value>>(&raw[at..]) {
        Ok(values) if values.iter().any(|value| !value.is_string()) => Form::NotStrings,
        _ => Form::Other,
    }
}

/// The elements of an array of strings whose bracket ends at `at`; none if it is not one.
fn strings(text: &Text, at: usize) -> Option<Vec<Text>> {
    let raw = text.raw.as_str();
    let mut at = skip_space(raw, at);
    let mut elements = Vec::new();
    if raw[at..].starts_with(']') {
        at += 1;
    } else {
        loop {
            let (element, end) = string(text, at)?;
            elements.push(element);
            at = skip_space(raw, end);
            let byte = raw.as_bytes().get(at)?;
            at += 1;
            match byte {
                b',' => at = skip_space(raw, at),
                b']' => break,
                _ => return None,
            }
        }
    }
    (skip_space(raw, at) == raw.len()).then_some(elements)
}

fn skip_space(raw: &str, at: usize) -> usize {
    let rest = &raw[at..];
    at + rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len()
}

/// One string from its opening quote on, and where it ends.
fn string(text: &Text, at: usize) -> Option<(Text, usize)> {
    let raw = text.raw.as_str();
    let start = at + raw[at..].starts_with('"').then_some(1)?;
    let bytes = raw.as_bytes();
    let mut at = start;
    let mut decoded: Option<String> = None;
    let mut from = start;
    loop {
        work::spend(1);
        match bytes.get(at)? {
            b'"' => break,
            b'\\' => {
                let decoded = decoded.get_or_insert_default();
                decoded.push_str(&raw[from..at]);
                at = unescape(raw, at + 1, decoded)?;
                from = at;
            }
            0..0x20 => return None,
            _ => at += 1,
        }
    }
    let mut element = text.slice(start..at);
    if let Some(mut decoded) = decoded {
        decoded.push_str(&raw[from..at]);
        element = Text::new(decoded, element.span);
    }
    Some((element, at + 1))
}

/// Decodes what follows a backslash; where that ends. Halves of surrogate pairs become U+FFFD, as
/// in Go.
fn unescape(raw: &str, at: usize, decoded: &mut String) -> Option<usize> {
    let c = match raw.as_bytes().get(at)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\x08',
        b'f' => '\x0c',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let unit = hexadecimal(raw, at + 1)?;
            if (0xd800..0xdc00).contains(&unit) && raw[at + 5..].starts_with("\\u") {
                let low = hexadecimal(raw, at + 7)?;
                if let Some(Ok(c)) = char::decode_utf16([unit, low]).next() {
                    decoded.push(c);
                    return Some(at + 11);
                }
            }
            decoded.push(char::from_u32(unit.into()).unwrap_or(char::REPLACEMENT_CHARACTER));
            return Some(at + 5);
        }
        _ => return None,
    };
    decoded.push(c);
    Some(at + 1)
}

fn hexadecimal(raw: &str, at: usize) -> Option<u16> {
    let digits = raw.as_bytes().get(at..at + 4)?;
    let digits = std::str::from_utf8(digits).ok()?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::Span;

    fn read(raw: &str) -> Option<Vec<String>> {
        match form(&Text::new(raw, Span::new(0, raw.len()))) {
            Form::Array(elements) => Some(elements.into_iter().map(|element| element.raw).collect()),
            _ => None,
        }
    }

    #[test]
    fn arrays_of_strings() {
        let table: &[(&str, &[&str])] = &[
            ("[]", &[]),
            ("  [ ]  ", &[]),
            (r#"["a"]"#, &["a"]),
            (r#"[ "a" ,"b c",  "" ]"#, &["a", "b c", ""]),
            (r#"["\u0041\n\"\\\/"]"#, &["A\n\"\\/"]),
            (r#"["é\ud83d\ude80x\ud800y\udc00"]"#, &["é🚀x\u{fffd}y\u{fffd}"]),
            (r#"["\ud800\u0041"]"#, &["\u{fffd}A"]),
        ];
        for (raw, expected) in table {
            assert_eq!(read(raw).as_deref(), Some(expected.map_owned().as_slice()), "{raw}");
        }
    }

    trait MapOwned {
        fn map_owned(&self) -> Vec<String>;
    }
    impl MapOwned for &[&str] {
        fn map_owned(&self) -> Vec<String> {
            self.iter().map(|text| (*text).to_owned()).collect()
        }
    }

    #[test]
    fn other_forms() {
        let kind = |raw: &str| match form(&Text::new(raw, Span::new(0, raw.len()))) {
            Form::Array(_) => "array",
            Form::NotStrings => "not strings",
            Form::Other => "other",
        };
        for raw in [
            "",
            "a",
            "[",
            "[ -f x ] && y",
            r#"["a""#,
            r#"["a",]"#,
            r#"["a"] b"#,
            "['a']",
            "[\"a\tb\"]",
            r#"["\x"]"#,
            r#"["\u12"]"#,
            r#"["a" "b"]"#,
            "{}",
            "\"a\"",
        ] {
            assert_eq!(kind(raw), "other", "{raw}");
        }
        for raw in ["[1]", r#"["a", null]"#, r#"[["a"]]"#, "[{}]", "[true, false]"] {
            assert_eq!(kind(raw), "not strings", "{raw}");
        }
    }

    #[test]
    fn elements_know_their_place() {
        let Form::Array(elements) = form(&Text::new(r#"["a", "b\n"]"#, Span::new(100, 112))) else {
            panic!("it is an array")
        };
        assert_eq!(elements[0].span, Span::new(102, 103));
        assert_eq!(elements[1].span, Span::new(107, 110));
    }
}
