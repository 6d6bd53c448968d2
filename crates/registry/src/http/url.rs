//! URLs as registries send them in `Location`, `Link` and challenges: checked, resolved, and shown
//! without what may be secret in them.

use std::fmt;

/// The longest URL taken from a registry, in bytes. Signed ones have some 2,000.
const LENGTH_LIMIT: usize = 16 << 10;

/// An absolute `http` or `https` URL without user or fragment.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Url {
    tls: bool,
    /// Host and, where it is not the scheme's own, port; lower case.
    authority: String,
    /// Begins with `/`.
    path_and_query: String,
}

impl Url {
    /// The URL of `path` (with its query, beginning with `/`) at `host`.
    pub fn at(tls: bool, host: &str, path: &str) -> Result<Url, String> {
        Url::parse(&format!("{}://{host}{path}", if tls { "https" } else { "http" }))
    }

    /// Parses an absolute URL.
    pub fn parse(text: &str) -> Result<Url, String> {
        if text.len() > LENGTH_LIMIT {
            return Err(format!("the URL is longer than {LENGTH_LIMIT} bytes"));
        }
        if text.bytes().any(|b| !(0x21..=0x7e).contains(&b) || matches!(b, b'"' | b'<' | b'>' | b'\\')) {
            return Err("the URL has characters that no URL has".to_owned());
        }
        let (scheme, rest) = text.split_once("://").ok_or("the URL has no scheme")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("the URL's scheme is neither http nor https".to_owned()),
        };
        let rest = rest.split('#').next().unwrap_or(rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        if authority.contains('@') {
            return Err("the URL has a user in it".to_owned());
        }
        let authority = authority.to_ascii_lowercase();
        let own_port = if tls { ":443" } else { ":80" };
        let authority = authority.strip_suffix(own_port).unwrap_or(&authority).to_owned();
        if authority.is_empty() || authority.starts_with(':') {
            return Err("the URL has no host".to_owned());
        }
        let path_and_query = match tail.starts_with('/') {
            true => tail.to_owned(),
            false => format!("/{tail}"),
        };
        let url = Url { tls, authority, path_and_query };
        let port = &url.authority[url.host().len()..];
        if !port.is_empty() && !port[1..].parse::<u16>().is_ok_and(|port| port > 0) {
            return Err("the URL's port is no number".to_owned());
        }
        // What the HTTP library would refuse is refused here, with the same words for all.
        match url.text().parse::<ureq::http::Uri>() {
            Ok(uri) if uri.host().is_some_and(|h| !h.is_empty()) => Ok(url),
            _ => Err("the URL is malformed".to_owned()),
        }
    }

    /// Resolves a reference found in an answer of this URL (RFC 3986, section 5.2).
    pub fn join(&self, reference: &str) -> Result<Url, String> {
        let reference = reference.split('#').next().unwrap_or(reference);
        let scheme = if self.tls { "https" } else { "http" };
        if let Some(rest) = reference.strip_prefix("//") {
            return Url::parse(&format!("{scheme}://{rest}"));
        }
        // A scheme ends before any slash or query; a colon after them belongs to a path.
        let head = &reference[..reference.find(['/', '?']).unwrap_or(reference.len())];
        if head.contains(':') {
            return Url::parse(reference);
        }
        let path = self.path();
        let joined = match reference.as_bytes().first() {
            None => self.path_and_query.clone(),
            Some(b'/') => reference.to_owned(),
            Some(b'?') => format!("{path}{reference}"),
            Some(_) => format!("{}{reference}", &path[..=path.rfind('/').unwrap_or(0)]),
        };
        Url::parse(&format!("{scheme}://{}{}", self.authority, without_dots(&joined)))
    }

    /// The same URL with `name=value` in its query. Both as they are to be read at the other end.
    pub fn with_query(mut self, name: &str, value: &str) -> Url {
        let end = self.path_and_query.as_bytes().last().copied();
        self.path_and_query.push_str(match (self.path_and_query.contains('?'), end) {
            (false, _) => "?",
            (true, Some(b'?' | b'&')) => "",
            (true, _) => "&",
        });
        self.path_and_query.push_str(&encode(name));
        self.path_and_query.push('=');
        self.path_and_query.push_str(&encode(value));
        self
    }

    /// The same URL over TLS.
    pub fn over_tls(mut self) -> Url {
        self.tls = true;
        self
    }

    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Host and, where it is not the scheme's own, port.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The host without a port.
    pub fn host(&self) -> &str {
        match self.authority.rfind(':') {
            Some(colon) if !self.authority[colon..].contains(']') => &self.authority[..colon],
            _ => &self.authority,
        }
    }

    /// The port, the scheme's own where none is given.
    pub fn port(&self) -> u16 {
        let given = self.authority[self.host().len()..].strip_prefix(':').and_then(|port| port.parse().ok());
        given.unwrap_or(if self.tls { 443 } else { 80 })
    }

    fn path(&self) -> &str {
        self.path_and_query.split('?').next().unwrap_or(&self.path_and_query)
    }

    /// Whether credentials for one may be sent to the other.
    pub fn same_origin(&self, other: &Url) -> bool {
        self.tls == other.tls && self.authority == other.authority
    }

    /// The whole URL, to be sent. Never to be shown: its query may be a signature.
    pub fn text(&self) -> String {
        format!("{}://{}{}", if self.tls { "https" } else { "http" }, self.authority, self.path_and_query)
    }
}

/// Without the query, which may be a signature.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority, self.path())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Percent-encodes all but what may stand anywhere (RFC 3986, "unreserved").
pub(crate) fn encode(text: &str) -> String {
    const SET: percent_encoding::AsciiSet =
        percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encoding::utf8_percent_encode(text, &SET).to_string()
}

/// RFC 3986, section 5.2.4, for a path that begins with `/`; the query is left alone.
fn without_dots(path_and_query: &str) -> String {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            _ => {
                kept.push(segment);
                continue;
            }
        }
        if last {
            kept.push("");
        }
    }
    let mut text = format!("/{}", kept.join("/"));
    if let Some(query) = query {
        text.push('?');
        text.push_str(query);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses() {
        for (text, whole) in [
            ("https://a.example", "https://a.example/"),
            ("HTTPS://A.example:443/x?y=Z#f", "https://a.example/x?y=Z"),
            ("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5000/v2/"),
            ("http://[::1]:80/v2/", "http://[::1]/v2/"),
            ("http://a?b=c", "http://a/?b=c"),
        ] {
            assert_eq!(Url::parse(text).map(|u| u.text()), Ok(whole.to_owned()), "{text}");
        }
    }

    #[test]
    fn refuses() {
        let long = format!("https://a/{}", "x".repeat(LENGTH_LIMIT));
        for text in [
            "",
            "/v2/",
            "a.example",
            "ftp://a/",
            "file:///etc/passwd",
            "https://",
            "https:///x",
            "https://:5000/",
            "https://user:secret@a.example/",
            "https://a@b/",
            "https://a/ b",
            "https://a/\r\nX: y",
            "https://[::1/",
            "https://a:port/",
            &long,
        ] {
            let refused = Url::parse(text);
            assert!(refused.is_err(), "{text:?} was taken");
            assert!(!refused.unwrap_err().contains("secret"));
        }
    }

    #[test]
    fn joins() {
        let base = Url::parse("https://r.example:5000/v2/a/blobs/uploads/?mount=x").unwrap();
        for (reference, whole) in [
            ("https://other.example/x", "https://other.example/x"),
            ("//other.example/x", "https://other.example/x"),
            (
                "/v2/a/blobs/uploads/1?_state=a:b/c",
                "https://r.example:5000/v2/a/blobs/uploads/1?_state=a:b/c",
            ),
            ("1-2", "https://r.example:5000/v2/a/blobs/uploads/1-2"),
            ("../../x/./y", "https://r.example:5000/v2/a/x/y"),
            ("../../../../../../x", "https://r.example:5000/x"),
            ("?n=2", "https://r.example:5000/v2/a/blobs/uploads/?n=2"),
            ("", "https://r.example:5000/v2/a/blobs/uploads/?mount=x"),
            ("/x#f", "https://r.example:5000/x"),
        ] {
            assert_eq!(base.join(reference).map(|u| u.text()), Ok(whole.to_owned()), "{reference}");
        }
        assert!(base.join("javascript:alert(1)").is_err());
    }

    #[test]
    fn shows_no_query() {
        let url = Url::parse("https://s.example/blob?X-Signature=secret").unwrap();
        assert_eq!(format!("{url} {url:?}"), "https://s.example/blob https://s.example/blob");
    }

    #[test]
    fn query_and_origin() {
        let url = Url::parse("https://a/u").unwrap();
        let other = url.clone().with_query("digest", "sha256:00").with_query("scope", "a b&c");
        assert_eq!(other.text(), "https://a/u?digest=sha256%3A00&scope=a%20b%26c");
        assert!(url.same_origin(&other));
        for foreign in ["http://a/u", "https://a:444/u", "https://b/u", "https://a.b/u"] {
            assert!(!url.same_origin(&Url::parse(foreign).unwrap()), "{foreign}");
        }
        assert_eq!(Url::parse("http://[::1]:5000/").unwrap().host(), "[::1]");
        let url = Url::parse("http://h:5000/").unwrap();
        assert_eq!((url.host(), url.port()), ("h", 5000));
    }
}
