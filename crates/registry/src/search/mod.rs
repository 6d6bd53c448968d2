//! Search: what a registry says to a term, by Docker's old index protocol or, where it has none, by its catalog.
//!
//! Nothing is filtered by stars here: that is the verb's.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use oci::Reference;
use serde::{Deserialize, Deserializer};

use crate::client::Client;
use crate::error::Error;

/// The most names of a catalog that are looked through.
const CATALOG_LIMIT: usize = 100_000;
/// The most tags that are counted of a repository.
pub const TAGS_LIMIT: usize = 10_000;
/// How many repositories' tags are counted side by side.
const COUNTERS: usize = 6;

/// A repository that was found.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Found {
    /// As the registry names it.
    #[serde(default, deserialize_with = "text")]
    pub name: String,
    /// In its owner's words.
    #[serde(default, deserialize_with = "text")]
    pub description: String,
    /// How many like it.
    #[serde(default, rename = "star_count")]
    pub stars: i64,
    /// Whether it is one of Docker's own.
    #[serde(default, rename = "is_official")]
    pub official: bool,
}

/// What was found, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// By the index protocol, `/v1/search`, in the registry's order.
    Index(Vec<Found>),
    /// In the catalog: names of repositories, with how many tags each has. `None` where that is not told.
    Catalog(Vec<(String, Option<usize>)>),
}

/// Null, which some registries send, is nothing; what a terminal would obey is a space.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    Ok(text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
}

/// Asks `registry` (`host[:port]`) for repositories of `term`, at most `limit`. `index_alone`: it is asked by the index
/// protocol and in no other way.
///
/// # Errors
/// Those of requests; [`Error::Malformed`] for an answer that is none, if `index_alone`.
pub fn search(
    client: &Client,
    registry: &str,
    term: &str,
    limit: usize,
    index_alone: bool,
) -> Result<Answer, Error> {
    #[derive(Deserialize)]
    struct Page {
        #[serde(default)]
        results: Vec<Found>,
    }
    let path = format!("/v1/search?q={}&n={limit}", escaped(term));
    match client.registry(registry).get_json::<Page>(&path) {
        Ok(Some(page)) => {
            let mut found = page.results;
            found.truncate(limit);
            Ok(Answer::Index(found))
        }
        Ok(None) if index_alone => Err(Error::Status {
            registry: registry.to_owned(),
            status: 404,
            what: "a search".to_owned(),
            message: String::new(),
        }),
        Err(error) if index_alone => Err(error),
        Err(error @ (Error::Unreachable { .. } | Error::Tls { .. } | Error::Blocked { .. })) => Err(error),
        // Whatever it says to a path that it does not know, it may have a catalog.
        Ok(None) | Err(_) => Ok(Answer::Catalog(catalog(client, registry, term, limit)?)),
    }
}

/// The first `limit` repositories of the catalog whose name has `term` in it.
fn catalog(
    client: &Client,
    registry: &str,
    term: &str,
    limit: usize,
) -> Result<Vec<(String, Option<usize>)>, Error> {
    let term = term.to_lowercase();
    let mut names = Vec::new();
    for name in client.registry(registry).catalog().take(CATALOG_LIMIT) {
        let name = name?;
        if name.to_lowercase().contains(&term) {
            names.push(name);
        }
        if names.len() == limit {
            break;
        }
    }
    let next = AtomicUsize::new(0);
    let counts = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..COUNTERS.min(names.len()) {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let count = count(client, registry, name);
                    counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(name, count);
                }
            });
        }
    });
    let counts = counts.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(names.iter().map(|name| (name.clone(), counts.get(name).copied().flatten())).collect())
}

/// How many tags a repository has; `None` where it does not tell.
fn count(client: &Client, registry: &str, name: &str) -> Option<usize> {
    let reference = Reference::parse(&format!("{registry}/{name}")).ok()?;
    let mut count = 0;
    for tag in client.repository(&reference).tags().take(TAGS_LIMIT) {
        match tag {
            Ok(_) => count += 1,
            Err(Error::NoRepository { .. }) => return Some(0),
            Err(_) => return None,
        }
    }
    Some(count)
}

/// As Go's `url.QueryEscape`.
fn escaped(term: &str) -> String {
    let mut text = String::new();
    for byte in term.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                text.push(char::from(byte))
            }
            b' ' => text.push('+'),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_in_urls() {
        assert_eq!(escaped("a/b c&d=ü"), "a%2Fb+c%26d%3D%C3%BC");
    }

    #[test]
    fn results_as_registries_send_them() {
        let hub = r#"{"star_count":10912,"is_official":true,"name":"alpine","is_automated":false,"description":"A"}"#;
        let found: Found = serde_json::from_str(hub).unwrap();
        assert_eq!((found.stars, found.official, found.name.as_str()), (10912, true, "alpine"));
        let quay = r#"{"name":"coreos/etcd","description":null,"href":"/repository/coreos/etcd"}"#;
        let found: Found = serde_json::from_str(quay).unwrap();
        assert_eq!((found.description.as_str(), found.stars), ("", 0));
        let hostile = r#"{"name":"a\u001b[2Jb","description":"c\nd"}"#;
        let found: Found = serde_json::from_str(hostile).unwrap();
        assert_eq!((found.name.as_str(), found.description.as_str()), ("a [2Jb", "c d"));
    }
}
