//! `search`: repositories of a term, at Docker Hub or at another registry.

use registry::Client;
use registry::search::{Answer, Found, TAGS_LIMIT};

use crate::filter::Filters;
use crate::{Error, Result};

/// Where Docker Hub is searched.
pub const DOCKER_HUB: &str = "index.docker.io";
/// How many are shown unless told.
pub const LIMIT: usize = 25;

/// What to search.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// A term, with a registry's host and a slash before it where it is not Docker Hub.
    pub term: String,
    /// 1 to 100; 0 stands for [`LIMIT`].
    pub limit: usize,
    /// `stars`, `is-official`, `is-automated`.
    pub filters: Filters,
    /// The host that answers for Docker Hub; [`DOCKER_HUB`] unless told.
    pub index: String,
}

/// Searches; in the registry's order, as Docker shows them.
pub fn search(client: &Client, request: &SearchRequest) -> Result<Vec<Found>> {
    let filters = &request.filters;
    filters.only(&["is-automated", "is-official", "stars"])?;
    let official = filters.boolean("is-official")?;
    // Docker Hub builds none any more; Docker's answer to it is no result.
    let automated = filters.boolean("is-automated")? == Some(true);
    let mut stars = 0;
    for value in filters.get("stars") {
        let least: i64 =
            value.parse().map_err(|_| Error::invalid(format!("invalid filter 'stars={value}'")))?;
        stars = stars.max(least);
    }
    let limit = if request.limit == 0 { LIMIT } else { request.limit };
    if limit > 100 {
        return Err(Error::invalid(format!("limit {limit} is outside the range of [1, 100]")));
    }
    if request.term.contains("://") {
        return Err(Error::invalid(format!(
            "invalid repository name: repository name ({}) should not have a scheme",
            request.term
        )));
    }
    let (host, term) = split(&request.term);
    if term.is_empty() {
        return Err(Error::invalid("a term to search for is wanted").hint("as in alpine, or HOST/alpine"));
    }
    if automated {
        return Ok(Vec::new());
    }
    let mut found = match host {
        None => {
            let term = term.strip_prefix("library/").unwrap_or(term);
            shown(DOCKER_HUB, registry::search::search(client, &request.index, term, limit, true)?)
        }
        Some(host) => shown(host, registry::search::search(client, host, term, limit, false)?),
    };
    found.retain(|one| one.stars >= stars && official.is_none_or(|official| official == one.official));
    Ok(found)
}

/// The registry's host, if the term begins with one that is not Docker Hub's, and the rest: Docker's rule.
fn split(term: &str) -> (Option<&str>, &str) {
    match term.split_once('/') {
        Some(("docker.io" | "index.docker.io", rest)) => (None, rest),
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (Some(host), rest),
        _ => (None, term),
    }
}

/// A catalog has names and tags, and no descriptions.
fn shown(host: &str, answer: Answer) -> Vec<Found> {
    let of_catalog = |(name, tags): (String, Option<usize>)| Found {
        name: format!("{host}/{name}"),
        description: match tags {
            None => String::new(),
            Some(0) => "no tags".to_owned(),
            Some(1) => "1 tag".to_owned(),
            Some(TAGS_LIMIT..) => format!("{TAGS_LIMIT} tags or more"),
            Some(count) => format!("{count} tags"),
        },
        stars: 0,
        official: false,
    };
    match answer {
        Answer::Index(found) => found,
        Answer::Catalog(names) => names.into_iter().map(of_catalog).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_terms() {
        for (term, expected) in [
            ("alpine", (None, "alpine")),
            ("user/app", (None, "user/app")),
            ("docker.io/alpine", (None, "alpine")),
            ("quay.io/etcd", (Some("quay.io"), "etcd")),
            ("localhost/a/b", (Some("localhost"), "a/b")),
            ("127.0.0.1:5000/", (Some("127.0.0.1:5000"), "")),
        ] {
            assert_eq!(split(term), expected);
        }
    }
}
