//! Which URL is which thing (distribution specification, "Endpoints").

use crate::query::decode;

/// What a path names. Names and references are as they stand in it: not checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/NAME/blobs/DIGEST`
    Blob { name: String, digest: String },
    /// `/v2/NAME/blobs/uploads/`
    Uploads { name: String },
    /// `/v2/NAME/blobs/uploads/ID`
    Upload { name: String, id: String },
    /// `/v2/NAME/manifests/REFERENCE`
    Manifest { name: String, reference: String },
    /// `/v2/NAME/tags/list`
    Tags { name: String },
    /// `/v2/NAME/referrers/DIGEST`
    Referrers { name: String, digest: String },
}

impl Route {
    /// Reads a path; `None` where it names nothing. A name may hold any words, so it is read from the end.
    pub(crate) fn parse(path: &str) -> Option<Route> {
        let rest = path.strip_prefix("/v2")?;
        let rest = match rest {
            "" | "/" => return Some(Route::Base),
            _ => decode(rest.strip_prefix('/')?),
        };
        if rest == "_catalog" {
            return Some(Route::Catalog);
        }
        let parts: Vec<&str> = rest.split('/').collect();
        let name = |parts: &[&str]| parts.join("/");
        Some(match parts.as_slice() {
            [at @ .., "blobs", "uploads"] if !at.is_empty() => Route::Uploads { name: name(at) },
            [at @ .., "blobs", "uploads", ""] if !at.is_empty() => Route::Uploads { name: name(at) },
            [at @ .., "blobs", "uploads", id] if !at.is_empty() => {
                Route::Upload { name: name(at), id: (*id).to_owned() }
            }
            [at @ .., "blobs", digest] if !at.is_empty() => {
                Route::Blob { name: name(at), digest: (*digest).to_owned() }
            }
            [at @ .., "manifests", reference] if !at.is_empty() => {
                Route::Manifest { name: name(at), reference: (*reference).to_owned() }
            }
            [at @ .., "tags", "list"] if !at.is_empty() => Route::Tags { name: name(at) },
            [at @ .., "referrers", digest] if !at.is_empty() => {
                Route::Referrers { name: name(at), digest: (*digest).to_owned() }
            }
            _ => return None,
        })
    }
}

/// Whether it is a repository's name: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, any number joined by `/`, at most 255
/// characters.
pub(crate) fn is_name(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let component = |component: &str| {
        let bytes = component.as_bytes();
        let separators = bytes.split(|b| word(*b)).filter(|s| !s.is_empty());
        bytes.first().is_some_and(|b| word(*b))
            && bytes.last().is_some_and(|b| word(*b))
            && separators
                .into_iter()
                .all(|s| matches!(s, b"." | b"_" | b"__") || s.iter().all(|b| *b == b'-'))
    };
    name.len() <= 255 && name.split('/').all(component)
}

/// Whether it is a tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
pub(crate) fn is_tag(tag: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(plain)
        && tag.bytes().all(|b| plain(b) || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let check = |path: &str, expected: &str| {
            let found = Route::parse(path).map_or("nothing".to_owned(), |route| format!("{route:?}"));
            assert_eq!(found, expected, "{path}");
        };
        check("/v2", "Base");
        check("/v2/", "Base");
        check("/v2/_catalog", "Catalog");
        check("/v2/a/b/tags/list", r#"Tags { name: "a/b" }"#);
        check("/v2/a/blobs/uploads", r#"Uploads { name: "a" }"#);
        check("/v2/a/blobs/uploads/", r#"Uploads { name: "a" }"#);
        check("/v2/a/blobs/uploads/1", r#"Upload { name: "a", id: "1" }"#);
        check("/v2/a/blobs/sha256%3A1", r#"Blob { name: "a", digest: "sha256:1" }"#);
        check("/v2/blobs/blobs/blobs", r#"Blob { name: "blobs", digest: "blobs" }"#);
        check("/v2/tags/list/manifests/x", r#"Manifest { name: "tags/list", reference: "x" }"#);
        check("/v2/a/referrers/d", r#"Referrers { name: "a", digest: "d" }"#);
        for nothing in ["/", "/v1/", "/v2a", "/v2/a", "/v2/blobs/x", "/v2/a/tags/lists", "/v2//"] {
            check(nothing, "nothing");
        }
    }

    #[test]
    fn names_and_tags() {
        for good in ["a", "a/b", "a.b/c_d/e__f/g--h", "0", &"a".repeat(255)] {
            assert!(is_name(good), "{good}");
        }
        for bad in
            ["", "A", "a/", "/a", "a//b", "a..b", "a___b", "-a", "a-", "a._b", "../a", "ä", &"a".repeat(256)]
        {
            assert!(!is_name(bad), "{bad}");
        }
        for good in ["a", "_", "1.0-x_Y", &"a".repeat(128)] {
            assert!(is_tag(good), "{good}");
        }
        for bad in ["", ".a", "-a", "a:b", "a/b", "a b", &"a".repeat(129)] {
            assert!(!is_tag(bad), "{bad}");
        }
    }
}
