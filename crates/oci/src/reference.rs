//! Image references, normalised as Docker does (github.com/distribution/reference).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Digest;

/// The registry of a reference that names none.
pub const DEFAULT_REGISTRY: &str = "docker.io";
/// The tag of a reference that names neither tag nor digest.
pub const DEFAULT_TAG: &str = "latest";

const NAME_MAX: usize = 255;
const TAG_MAX: usize = 128;

/// `registry/repository[:tag][@digest]`, always in its full form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Registry host, with its port where one was given; `docker.io` where none was.
    pub registry: String,
    /// Path of the repository at the registry; `library/` is added for one-word names of `docker.io`.
    pub repository: String,
    /// The tag, where one was given.
    pub tag: Option<String>,
    /// The digest of a manifest or index, where one was given.
    pub digest: Option<Digest>,
}

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid reference format: {text:?}: {reason}")]
pub struct ReferenceError {
    /// The text as given, shortened to 300 characters.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Reference {
    /// Parses a reference in familiar or full form. No tag is added: see
    /// [`Reference::with_default_tag`].
    pub fn parse(text: &str) -> Result<Reference, ReferenceError> {
        parse(text).map_err(|reason| ReferenceError { text: text.chars().take(300).collect(), reason })
    }

    /// The same reference with `:latest` where it has neither tag nor digest.
    pub fn with_default_tag(mut self) -> Reference {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// `registry/repository`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The name as Docker shows it: without `docker.io/` and `library/`, unless what is left would be
    /// read as another registry's.
    pub fn familiar_name(&self) -> String {
        let ambiguous = self.repository.split_once('/').is_some_and(|(first, _)| is_host(first));
        if self.registry != DEFAULT_REGISTRY || ambiguous {
            return self.name();
        }
        match self.repository.strip_prefix("library/") {
            Some(rest) if !rest.contains('/') => rest.to_owned(),
            _ => self.repository.clone(),
        }
    }

    /// The whole reference as Docker shows it.
    pub fn familiar(&self) -> String {
        self.suffixed(self.familiar_name())
    }

    fn suffixed(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
        text
    }
}

fn parse(text: &str) -> Result<Reference, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.parse::<Digest>().map_err(|e| e.to_string())?)),
        None => (text, None),
    };
    // A colon after the last slash begins a tag; one before it, a port.
    let tag_at = rest.rfind(':').filter(|&colon| !rest[colon..].contains('/'));
    let (name, tag) = match tag_at {
        Some(colon) => (&rest[..colon], Some(&rest[colon + 1..])),
        None => (rest, None),
    };
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    if name.is_empty() {
        return Err("there is no name before the tag or digest".to_owned());
    }
    let (registry, path) = match name.split_once('/') {
        Some((host, path)) if is_host(host) => (host, path.to_owned()),
        _ => (DEFAULT_REGISTRY, name.to_owned()),
    };
    let registry = match registry {
        "index.docker.io" => DEFAULT_REGISTRY,
        other => other,
    };
    check_host(registry)?;
    let repository = match registry == DEFAULT_REGISTRY && !path.contains('/') {
        true => format!("library/{path}"),
        false => path,
    };
    check_path(&repository)?;
    if registry.len() + 1 + repository.len() > NAME_MAX {
        return Err(format!("the repository name is longer than {NAME_MAX} characters"));
    }
    if repository.len() == 64 && repository.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("a name of 64 hex digits cannot be told from an image ID".to_owned());
    }
    let bare = repository.strip_prefix("library/").filter(|_| registry == DEFAULT_REGISTRY);
    if bare.is_some_and(|b| b.len() == 64 && b.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))) {
        return Err("a name of 64 hex digits cannot be told from an image ID".to_owned());
    }
    Ok(Reference { registry: registry.to_owned(), repository, tag: tag.map(str::to_owned), digest })
}

/// Docker's rule for telling `host/path` from `user/repository`.
fn is_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.chars().any(char::is_uppercase)
}

fn check_host(host: &str) -> Result<(), String> {
    let (name, port) = match host.strip_prefix('[') {
        Some(v6) => {
            let (address, rest) = v6.split_once(']').ok_or("the host's bracket is not closed")?;
            if address.is_empty() || !address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') {
                return Err("the host is no IPv6 address".to_owned());
            }
            (
                "v6",
                rest.strip_prefix(':')
                    .or(rest.is_empty().then_some("0"))
                    .ok_or("text after the host's bracket")?,
            )
        }
        None => host.split_once(':').unwrap_or((host, "0")),
    };
    if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("the registry's port {port:?} is not a number"));
    }
    let label = |l: &str| {
        !l.is_empty()
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    match name.split('.').all(label) {
        true => Ok(()),
        false => Err(format!("{name:?} is no host name")),
    }
}

/// Path components are lower-case words joined by `.`, `_`, `__` or any number of `-`.
fn check_path(path: &str) -> Result<(), String> {
    if let Some(upper) = path.chars().find(|c| c.is_uppercase()) {
        return Err(format!("repository name must be lowercase (found {upper:?} in {path:?})"));
    }
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    for component in path.split('/') {
        let bytes = component.as_bytes();
        if !bytes.first().is_some_and(|&b| word(b)) || !bytes.last().is_some_and(|&b| word(b)) {
            return Err(format!(
                "the path component {component:?} does not begin and end with a letter or digit"
            ));
        }
        let mut separator = String::new();
        for &b in bytes {
            match b {
                _ if word(b) => separator.clear(),
                b'.' | b'_' | b'-' => {
                    separator.push(b as char);
                    let fine = matches!(separator.as_str(), "." | "_" | "__")
                        || separator.bytes().all(|s| s == b'-');
                    if !fine {
                        return Err(format!("the path component {component:?} has {separator:?} in it"));
                    }
                }
                _ => {
                    return Err(format!(
                        "the path component {component:?} has a character that is not allowed"
                    ));
                }
            }
        }
    }
    Ok(())
}

fn check_tag(tag: &str) -> Result<(), String> {
    let first = tag.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    let rest = tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if !first || !rest {
        return Err(format!(
            "{tag:?} is no tag: letters, digits, '_', '.' and '-' only, not beginning with '.' or '-'"
        ));
    }
    if tag.len() > TAG_MAX {
        return Err(format!("the tag is longer than {TAG_MAX} characters"));
    }
    Ok(())
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        Reference::parse(text)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.suffixed(self.name()))
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Reference, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_as_docker() {
        let hex = "0".repeat(64);
        for (text, full, familiar) in [
            ("alpine", "docker.io/library/alpine", "alpine"),
            ("alpine:3", "docker.io/library/alpine:3", "alpine:3"),
            ("user/app", "docker.io/user/app", "user/app"),
            ("index.docker.io/library/a", "docker.io/library/a", "a"),
            ("docker.io/alpine", "docker.io/library/alpine", "alpine"),
            ("localhost/a", "localhost/a", "localhost/a"),
            ("localhost:5000/a/b:t", "localhost:5000/a/b:t", "localhost:5000/a/b:t"),
            ("[::1]:5000/a", "[::1]:5000/a", "[::1]:5000/a"),
            ("example.com/a__b--c.d", "example.com/a__b--c.d", "example.com/a__b--c.d"),
            ("127.0.0.1:80/x", "127.0.0.1:80/x", "127.0.0.1:80/x"),
            ("docker.io/a.b/c", "docker.io/a.b/c", "docker.io/a.b/c"),
        ] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(reference.to_string(), full);
            assert_eq!(reference.familiar(), familiar);
            assert_eq!(Reference::parse(full).unwrap(), reference);
        }
        let pinned = Reference::parse(&format!("a:t@sha256:{hex}")).unwrap().with_default_tag();
        assert_eq!(pinned.familiar(), format!("a:t@sha256:{hex}"));
        assert_eq!(Reference::parse("a").unwrap().with_default_tag().familiar(), "a:latest");
    }

    #[test]
    fn parse_refuses() {
        let long = "a".repeat(256);
        let id = "a".repeat(64);
        for bad in [
            "",
            ":",
            "a:",
            "a@",
            "a@sha256:00",
            "A",
            "a b",
            "-a",
            "a-",
            "a//b",
            "/a",
            "a/",
            "a___b",
            "a..b",
            "a._b",
            "a:.t",
            "ex_ample.com:x/a",
            "http://a/b",
            "a:b:c",
            "../a",
            "a/../b",
            &long,
            &id,
            "host:port/a",
            "[::1/a",
        ] {
            assert!(Reference::parse(bad).is_err(), "{bad:?} was taken");
        }
    }
}
