//! Lists of names that come in pages: tags of a repository, repositories of a registry (distribution
//! specification, "Listing Tags"; distribution, "Listing Repositories").

use std::collections::{HashSet, VecDeque};

use serde::Deserialize;
use ureq::http::Method;

use crate::auth::Scopes;
use crate::client::Client;
use crate::error::Error;
use crate::exchange::{Failure, Place, Target};
use crate::hosts::Endpoint;
use crate::http::answer::Answer;
use crate::http::request::Request;
use crate::http::url::Url;

/// Names asked for in one page; registries may give fewer, or all at once.
const PAGE: usize = 1_000;
/// The largest page taken, in bytes.
const BYTE_LIMIT: u64 = 8 << 20;
/// The most pages of one list.
const PAGE_LIMIT: usize = 2_000;
/// The most names of one list.
const COUNT_LIMIT: usize = 1_000_000;
/// The longest name taken, in bytes: repositories' are limited to 255, tags to 128.
const NAME_LIMIT: usize = 512;

/// Names in the registry's order, fetched page by page as they are read. Ends after the first error.
#[derive(Debug)]
pub struct Names {
    list: Option<List>,
    ready: VecDeque<String>,
    failed: Option<Error>,
}

/// Where the next page comes from.
#[derive(Debug)]
struct List {
    client: Client,
    registry: String,
    /// `None`: the list is the registry's catalog.
    repository: Option<String>,
    endpoint: Endpoint,
    next: Option<Url>,
    seen: HashSet<Url>,
    count: usize,
}

impl Names {
    /// The tags of a repository.
    pub(crate) fn tags(client: &Client, registry: &str, repository: &str, endpoint: Endpoint) -> Names {
        Names::new(client, registry, Some(repository), endpoint)
    }

    /// The repositories of a registry.
    pub(crate) fn catalog(client: &Client, registry: &str, endpoint: Endpoint) -> Names {
        Names::new(client, registry, None, endpoint)
    }

    /// Nothing but an error.
    pub(crate) fn failed(error: Error) -> Names {
        Names { list: None, ready: VecDeque::new(), failed: Some(error) }
    }

    fn new(client: &Client, registry: &str, repository: Option<&str>, endpoint: Endpoint) -> Names {
        let list = List {
            client: client.clone(),
            registry: registry.to_owned(),
            repository: repository.map(str::to_owned),
            endpoint,
            next: None,
            seen: HashSet::new(),
            count: 0,
        };
        Names { list: Some(list), ready: VecDeque::new(), failed: None }
    }
}

impl Iterator for Names {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(name) = self.ready.pop_front() {
                return Some(Ok(name));
            }
            if let Some(error) = self.failed.take() {
                self.list = None;
                return Some(Err(error));
            }
            match self.list.as_mut()?.page() {
                Ok((names, more)) => {
                    self.ready.extend(names);
                    if !more {
                        self.list = None;
                    }
                }
                Err(error) => self.failed = Some(error),
            }
        }
    }
}

impl List {
    /// The next page, and whether there is another.
    fn page(&mut self) -> Result<(Vec<String>, bool), Error> {
        let what = match &self.repository {
            Some(name) => format!("the tags of {name}"),
            None => "its catalog".to_owned(),
        };
        let repository = self.repository.as_deref().unwrap_or_default();
        let place = Place::new(&self.client.shared, &self.registry, repository, &self.endpoint);
        let retry = &self.client.shared.options.retry;
        let (names, next) = retry.patiently(|| self.fetch(&place, &what))?;
        let malformed = |reason: String| Err(place.malformed(&what, reason));
        self.count += names.len();
        if self.count > COUNT_LIMIT {
            return malformed(format!("it has more than {COUNT_LIMIT} names"));
        }
        if self.seen.len() == PAGE_LIMIT {
            return malformed(format!("it has more than {PAGE_LIMIT} pages"));
        }
        if let Some(next) = &next
            && !self.seen.insert(next.clone())
        {
            return malformed("its pages lead in a circle".to_owned());
        }
        self.next = next;
        Ok((names, self.next.is_some()))
    }

    fn fetch(&self, place: &Place<'_>, what: &str) -> Result<(Vec<String>, Option<Url>), Failure> {
        let (path, scopes) = match &self.repository {
            Some(_) => {
                let path = format!("/v2/{}/tags/list?n={PAGE}", self.endpoint.repository);
                (path, place.scopes(&["pull"]))
            }
            None => (format!("/v2/_catalog?n={PAGE}"), Scopes::catalog()),
        };
        let target = self.next.as_ref().map_or(Target::Path(&path), Target::Url);
        let mut request = Request::new(Method::GET).header("Accept", "application/json");
        let answer = place.send(&mut request, target, &scopes, what)?;
        match (answer.status, &self.repository) {
            (200, _) => {}
            (404, Some(repository)) => {
                let message = answer.refusal(place.shared.options.stall).message;
                let (registry, repository) = (self.registry.clone(), repository.clone());
                return Err(Error::NoRepository { registry, repository, message }.into());
            }
            _ => return Err(place.unexpected(answer, what).into()),
        }
        let next = next(&answer).map_err(|reason| place.malformed(what, reason))?;
        let bytes = place.document(answer, BYTE_LIMIT, what)?;
        let names = parse(&bytes).map_err(|reason| place.malformed(what, reason))?;
        Ok((names, next))
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<String>, String> {
    #[derive(Deserialize)]
    struct Page {
        #[serde(alias = "repositories")]
        tags: Option<Vec<String>>,
    }
    let page: Page = serde_json::from_slice(bytes).map_err(|_| "it is no list of names".to_owned())?;
    let names = page.tags.unwrap_or_default();
    let odd = |name: &&String| {
        name.is_empty()
            || name.len() > NAME_LIMIT
            || name.chars().any(|c| c.is_control() || c.is_whitespace())
    };
    match names.iter().find(odd) {
        Some(name) => Err(format!("there is {name:.40?} in it, which is no name")),
        None => Ok(names),
    }
}

/// Where an answer's `Link` says that the next page is (RFC 8288): on the same host, or nowhere.
pub(crate) fn next(answer: &Answer) -> Result<Option<Url>, String> {
    let Some(reference) = answer.headers("link").find_map(next_reference) else { return Ok(None) };
    let url = answer.url.join(reference)?;
    let url =
        if answer.url.is_tls() && url.authority() == answer.url.authority() { url.over_tls() } else { url };
    match url.same_origin(&answer.url) {
        true => Ok(Some(url)),
        false => Err(format!("its next page is at another host, {}", url.authority())),
    }
}

/// The reference of the link whose `rel` is `next`.
fn next_reference(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (reference, after) = after.split_once('>')?;
        // Parameters end where the next link begins.
        let end = after.find('<').unwrap_or(after.len());
        let is_next = after[..end].split([';', ',']).any(|parameter| {
            let Some((name, value)) = parameter.split_once('=') else { return false };
            let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
            name.trim().eq_ignore_ascii_case("rel") && relations.any(|r| r.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(reference);
        }
        rest = &after[end..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        for (header, expected) in [
            (r#"</v2/a/tags/list?last=b&n=2>; rel="next""#, Some("/v2/a/tags/list?last=b&n=2")),
            ("<x>;rel=next", Some("x")),
            (r#"<a>; rel="prev", <b>; title="x"; REL="last Next""#, Some("b")),
            (r#"<a>; rel="prev""#, None),
            ("<a", None),
            ("", None),
            (r#"a; rel="next""#, None),
        ] {
            assert_eq!(next_reference(header), expected, "{header}");
        }
    }

    #[test]
    fn pages() {
        assert_eq!(parse(br#"{"name":"a","tags":["x","y"]}"#), Ok(vec!["x".to_owned(), "y".to_owned()]));
        assert_eq!(parse(br#"{"repositories":["a/b"]}"#), Ok(vec!["a/b".to_owned()]));
        assert_eq!(parse(br#"{"name":"a","tags":null}"#), Ok(vec![]));
        for bad in [
            "",
            "[]",
            r#"{"tags":["a\u001b[2J"]}"#,
            r#"{"tags":[""]}"#,
            r#"{"tags":["a b"]}"#,
            r#"{"tags":[1]}"#,
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
