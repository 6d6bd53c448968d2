//! Secrets in what steps print: replaced by `***` before anybody sees or keeps it.
//!
//! What is masked are the bytes that were handed to steps, line by line, wherever they are printed as they are. What a
//! step prints of them in another form (base64, cut in two) is not found.

use std::sync::{PoisonError, RwLock};

/// What stands for a secret.
const MASK: &[u8] = b"***";
/// Shorter lines are in too much else.
const SHORTEST: usize = 4;

/// The secrets that steps of one build were given.
#[derive(Default)]
pub(crate) struct Masks(RwLock<Vec<Vec<u8>>>);

impl Masks {
    /// From now on, `secret` is masked.
    pub fn add(&self, secret: &[u8]) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for line in secret.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii) {
            if line.len() >= SHORTEST && !known.iter().any(|held| held == line) {
                known.push(line.to_vec());
            }
        }
        // Of two that begin alike the longer one is to go.
        known.sort_by_key(|line| std::cmp::Reverse(line.len()));
    }

    /// `bytes` without the secrets.
    pub fn apply(&self, bytes: &[u8]) -> Vec<u8> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            return bytes.to_vec();
        }
        let mut out = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            match known.iter().find(|line| line[0] == first && rest.starts_with(line)) {
                Some(line) => {
                    out.extend_from_slice(MASK);
                    rest = &rest[line.len()..];
                }
                None => {
                    out.push(first);
                    rest = &rest[1..];
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_secret_is_masked_wherever_it_is() {
        let masks = Masks::default();
        assert_eq!(masks.apply(b"sesame"), b"sesame");
        masks.add(b"sesame\n");
        masks.add(b"-----BEGIN\nabcd1234\nxy\n-----END\n");
        let shown = masks.apply(b"TOKEN=sesame; -----BEGIN\nabcd1234\nxy\n-----END sesam sesamesesame");
        assert_eq!(String::from_utf8_lossy(&shown), "TOKEN=***; ***\n***\nxy\n*** sesam ******");
    }
}
