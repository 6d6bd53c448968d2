//! What no layer of a build may hold: the bytes of the secrets that it was given.
//!
//! Looked for as they are, without the end of their last line, and in base64 wherever they begin in it. Short ones are
//! left out: four letters are in any program.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use snapshot::Search;

use super::request::SecretSource;

/// Shorter secrets are not looked for, in bytes.
pub(super) const SHORTEST: usize = 8;
/// Bytes of a secret that are looked at, as many as BuildKit takes.
const LONGEST: u64 = 500 << 10;

/// A search for the secrets, and the ids of those that are too short for it.
pub(super) fn search(secrets: &BTreeMap<String, SecretSource>) -> (Option<Search>, Vec<String>) {
    let mut strings = Vec::new();
    let mut short = Vec::new();
    for (id, source) in secrets {
        let mut bytes = Vec::new();
        match source {
            SecretSource::Value(value) => bytes.clone_from(value),
            // One that cannot be read is told of by the step that mounts it.
            SecretSource::File(path) => {
                let _ = File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
            }
        }
        while bytes.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
            bytes.pop();
        }
        if bytes.len() < SHORTEST {
            if !bytes.is_empty() {
                short.push(id.clone());
            }
            continue;
        }
        strings.extend(in_base64(&bytes).map(|text| (id.clone(), text)));
        strings.push((id.clone(), bytes));
    }
    (Search::new(strings), short)
}

/// What of the text is the same whatever stands before and after the bytes, for each of the three ways they can lie in
/// groups of three.
fn in_base64(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..3usize).map(move |shift| {
        let mut shifted = vec![0; shift];
        shifted.extend_from_slice(bytes);
        let text = STANDARD_NO_PAD.encode(&shifted).into_bytes();
        let first = (shift * 8).div_ceil(6);
        let last = shifted.len() * 8 / 6;
        text[first..last].to_vec()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_found_wherever_it_begins() {
        let secret = b"correct horse battery";
        let forms: Vec<Vec<u8>> = in_base64(secret).collect();
        for before in 0..5 {
            let text = STANDARD_NO_PAD.encode([&vec![b'x'; before][..], secret, b" and more"].concat());
            let found = |form: &Vec<u8>| text.as_bytes().windows(form.len()).any(|part| part == form);
            assert!(forms.iter().any(found), "{before}");
        }
        let other = STANDARD_NO_PAD.encode(b"correct horse batter");
        assert!(!forms.iter().any(|form| other.as_bytes().windows(form.len()).any(|part| part == form)));
    }

    #[test]
    fn short_ones_are_told_of() {
        let secrets = BTreeMap::from([
            ("short".to_owned(), SecretSource::Value(b"1234567\n".to_vec())),
            ("empty".to_owned(), SecretSource::Value(Vec::new())),
        ]);
        let (search, short) = search(&secrets);
        assert!(search.is_none());
        assert_eq!(short, ["short"]);
    }
}
