//! Accounts: an htpasswd file with bcrypt hashes, as Docker's registry takes it, and HTTP's basic scheme (RFC 7617).
//!
//! bcrypt is slow on purpose, and every request brings the password again: one that was right is remembered, hashed
//! with a key of this process, until the file changes. Whoever guesses waits for bcrypt, two at a time.

use std::collections::HashMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use oci::{Digest, Hasher};
use tokio::sync::Semaphore;

use crate::{Error, Result};

/// The file is looked at no more often than this.
const LOOK: Duration = Duration::from_secs(2);
/// Passwords that were right, remembered at most.
const REMEMBERED: usize = 1000;
const FILE_LIMIT: u64 = 16 * 1024 * 1024;

/// The accounts of one file.
pub(crate) struct Accounts {
    path: PathBuf,
    /// Random bytes of this process.
    key: String,
    state: Mutex<State>,
    guesses: Semaphore,
}

struct State {
    looked: Instant,
    changed: Option<SystemTime>,
    hashes: Arc<HashMap<String, String>>,
    right: HashMap<Digest, ()>,
}

impl Accounts {
    /// Reads the file; what is no line of a bcrypt htpasswd file is refused with its number.
    pub(crate) fn open(path: &Path) -> Result<Accounts> {
        let (hashes, changed) = read(path)?;
        let random: Vec<u64> = (0..4u8).map(|n| RandomState::new().hash_one(n)).collect();
        Ok(Accounts {
            path: path.to_owned(),
            key: format!("{random:?}"),
            state: Mutex::new(State {
                looked: Instant::now(),
                changed,
                hashes: Arc::new(hashes),
                right: HashMap::new(),
            }),
            guesses: Semaphore::new(2),
        })
    }

    /// Whether the value of an `Authorization` header is of an account.
    pub(crate) async fn allow(&self, authorization: Option<&str>) -> bool {
        let Some((user, password)) = authorization.and_then(basic) else { return false };
        let mut hasher = Hasher::new();
        for part in [self.key.as_str(), &user, &password] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let seen = hasher.finish();
        let (hash, known) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            self.refresh(&mut state);
            if state.right.contains_key(&seen) {
                return true;
            }
            (state.hashes.get(&user).cloned(), state.hashes.clone())
        };
        // A name that is not there takes as long as one that is.
        let there = hash.is_some();
        let Some(hash) = hash.or_else(|| known.values().next().cloned()) else { return false };
        let Ok(_turn) = self.guesses.acquire().await else { return false };
        let checked = tokio::task::spawn_blocking(move || bcrypt::verify(&password, &hash).unwrap_or(false));
        let right = checked.await.unwrap_or(false) && there;
        if right {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            // What was right by the file as it was before may be so no longer.
            if Arc::ptr_eq(&state.hashes, &known) {
                if state.right.len() >= REMEMBERED {
                    state.right.clear();
                }
                state.right.insert(seen, ());
            }
        }
        right
    }

    /// Reads the file again if it changed. One that cannot be read now leaves the accounts as they were.
    fn refresh(&self, state: &mut State) {
        if state.looked.elapsed() < LOOK {
            return;
        }
        state.looked = Instant::now();
        let changed = fs::metadata(&self.path).and_then(|m| m.modified()).ok();
        if changed == state.changed {
            return;
        }
        if let Ok((hashes, changed)) = read(&self.path) {
            state.changed = changed;
            state.hashes = Arc::new(hashes);
            state.right.clear();
        }
    }
}

fn read(path: &Path) -> Result<(HashMap<String, String>, Option<SystemTime>)> {
    let unusable = |reason: String| Error::File { what: "htpasswd file", path: path.to_owned(), reason };
    let meta = fs::metadata(path).map_err(|e| unusable(e.to_string()))?;
    if meta.len() > FILE_LIMIT {
        return Err(unusable(format!("it has more than {FILE_LIMIT} bytes")));
    }
    let text = fs::read_to_string(path).map_err(|e| unusable(e.to_string()))?;
    Ok((parse(&text).map_err(unusable)?, meta.modified().ok()))
}

fn parse(text: &str) -> std::result::Result<HashMap<String, String>, String> {
    let mut hashes = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = number + 1;
        let (user, hash) = line.split_once(':').ok_or_else(|| format!("line {at} is no NAME:HASH"))?;
        let bcrypt = ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|kind| hash.starts_with(kind));
        if !bcrypt || hash.len() != 60 {
            return Err(format!("line {at}: the hash of {user:?} is not bcrypt's; htpasswd -B makes those"));
        }
        hashes.insert(user.to_owned(), hash.to_owned());
    }
    match hashes.is_empty() {
        true => Err("there is no account in it".to_owned()),
        false => Ok(hashes),
    }
}

/// Name and password of a `Basic` header.
fn basic(value: &str) -> Option<(String, String)> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || encoded.len() > 4096 {
        return None;
    }
    let text = String::from_utf8(base64(encoded.trim())?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Standard base64, with padding or without.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut held, mut bits) = (0u32, 0);
    for c in text.bytes() {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = (held << 6) | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((held >> bits) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files() {
        let hash = format!("$2y$05${}", "a".repeat(53));
        assert_eq!(parse(&format!("# us\n\nann:{hash}\nbob:{hash}\n")).unwrap().len(), 2);
        for (text, reason) in [
            ("", "no account"),
            ("ann\n", "line 1"),
            ("\nann:$apr1$x$y\n", "line 2"),
            ("ann:{SHA}abc\n", "bcrypt"),
            ("ann:password\n", "htpasswd -B"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(reason), "{error}");
            assert!(!error.contains("password") || !text.contains("password"), "{error}");
        }
    }

    #[test]
    fn headers() {
        assert_eq!(basic("Basic YW5uOnNlY3JldDp4").unwrap(), ("ann".into(), "secret:x".into()));
        assert_eq!(basic("basic YTpi").unwrap(), ("a".into(), "b".into()));
        for bad in ["", "Basic", "Bearer YTpi", "Basic ****", "Basic YWI="] {
            assert!(basic(bad).is_none(), "{bad}");
        }
    }
}
