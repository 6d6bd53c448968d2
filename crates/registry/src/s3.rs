//! Objects in a bucket of S3, or of one of the many servers that speak its protocol.
//!
//! Requests are signed by their query (AWS Signature Version 4) and go the way that all others go: same proxies, same
//! authorities, same patience. What objects mean is not known here. An object is written by one request, so none is
//! larger than 5 GiB.

use std::fmt;
use std::io::{self, Read};
use std::time::Duration;

use rusty_s3::{Bucket as Signer, Credentials, S3Action, UrlStyle};
use ureq::http::Method;

use crate::client::Client;
use crate::error::Error;
use crate::exchange::Failure;
use crate::hosts::Tls;
use crate::http::answer::Answer;
use crate::http::redirect;
use crate::http::request::{Payload, Request};
use crate::http::url::Url;

/// How long a signature holds: as long as the slowest request may take to begin.
const SIGNED_FOR: Duration = Duration::from_secs(3600);
/// The largest object that one request may write, in bytes.
const OBJECT_LIMIT: u64 = 5 << 30;
/// Bytes of an error's document that are looked at.
const ERROR_LIMIT: u64 = 64 << 10;

/// Which bucket, and who we are there.
#[derive(Clone, Default)]
pub struct BucketOptions {
    /// The bucket's name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Another server than Amazon's, as a URL.
    pub endpoint: Option<String>,
    /// The bucket's name in the path and not in the host's name. Always so where the host is an address.
    pub path_style: bool,
    /// Access key ID and secret access key; without, requests are not signed.
    pub key: Option<(String, String)>,
    /// The session token of a temporary key.
    pub session_token: Option<String>,
}

impl fmt::Debug for BucketOptions {
    /// Never the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketOptions")
            .field("name", &self.name)
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// A bucket. A clone is the same bucket.
#[derive(Clone)]
pub struct Bucket {
    client: Client,
    signer: Signer,
    key: Option<Credentials>,
    shown: String,
}

impl Bucket {
    /// The bucket of those options. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Malformed`] for an endpoint or a name that can be none.
    pub fn new(client: &Client, options: &BucketOptions) -> Result<Bucket, Error> {
        let shown = format!("s3://{}", options.name);
        let bad = |reason: &str| Error::Malformed {
            registry: shown.clone(),
            what: "its settings".to_owned(),
            reason: reason.to_owned(),
        };
        let endpoint = match &options.endpoint {
            Some(endpoint) if endpoint.contains("://") => endpoint.clone(),
            Some(endpoint) => format!("https://{endpoint}"),
            None => format!("https://s3.{}.amazonaws.com", options.region),
        };
        let endpoint = || endpoint.parse().map_err(|_| bad("the endpoint is no URL"));
        let make = |style| {
            Signer::new(endpoint()?, style, options.name.clone(), options.region.clone())
                .map_err(|_| bad("the endpoint is no http or https URL, or the bucket's name is none"))
        };
        let signer = match options.path_style {
            true => make(UrlStyle::Path)?,
            false => make(UrlStyle::VirtualHost).or_else(|_| make(UrlStyle::Path))?,
        };
        let key = options.key.as_ref().map(|(id, secret)| match &options.session_token {
            Some(token) => Credentials::new_with_token(id.as_str(), secret.as_str(), token.as_str()),
            None => Credentials::new(id.as_str(), secret.as_str()),
        });
        Ok(Bucket { client: client.clone(), signer, key, shown })
    }

    /// `s3://NAME`, for people.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The object's size in bytes; `None` where it is not there.
    pub fn size(&self, key: &str) -> Result<Option<u64>, Error> {
        self.patiently(|| {
            let url = self.signer.head_object(self.key.as_ref(), check(key)?).sign(SIGNED_FOR);
            let answer = self.send(&mut Request::new(Method::HEAD), url.as_str(), key)?;
            match answer.status {
                200 => match answer.said_length() {
                    Some(size) => Ok(Some(size)),
                    None => Err(self.malformed(key, "its size is not said").into()),
                },
                404 => Ok(None),
                _ => Err(self.refused(answer, key)),
            }
        })
    }

    /// The object whole, if it is there and has at most `limit` bytes.
    pub fn small(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        self.patiently(|| {
            let Some(answer) = self.open(key, 0)? else { return Ok(None) };
            let stall = self.client.shared.options.stall;
            let bytes = answer.document(limit, stall.saturating_mul(2));
            bytes.map(Some).map_err(|unread| Failure::unread(unread, &self.shown, key, stall))
        })
    }

    /// The object's bytes from `offset` on. A connection that is cut ends them early; whoever reads knows how many
    /// there should be.
    ///
    /// # Errors
    /// [`Error::Status`] with 404 where there is none.
    pub fn read(&self, key: &str, offset: u64) -> Result<Box<dyn Read + Send>, Error> {
        self.patiently(|| match self.open(key, offset)? {
            Some(answer) => Ok(Box::new(answer.into_body()) as Box<dyn Read + Send>),
            None => Err(Failure::from(Error::Status {
                registry: self.shown.clone(),
                status: 404,
                what: key.to_owned(),
                message: "there is no such object".to_owned(),
            })),
        })
    }

    /// Writes an object of `size` bytes, which `open` gives, anew for each attempt.
    pub fn write(
        &self,
        key: &str,
        size: u64,
        open: &mut dyn FnMut() -> io::Result<Box<dyn Read + Send>>,
    ) -> Result<(), Error> {
        if size > OBJECT_LIMIT {
            let reason = format!("it has {size} bytes, and one request may write {OBJECT_LIMIT}");
            return Err(self.malformed(key, &reason));
        }
        let retry = &self.client.shared.options.retry;
        retry.patiently(|| {
            let mut source =
                open().map_err(|source| Error::Local { doing: format!("read {key}"), source })?;
            let url = self.signer.put_object(self.key.as_ref(), check(key)?).sign(SIGNED_FOR);
            let mut request =
                Request::new(Method::PUT).payload(Payload::Stream { source: &mut *source, length: size });
            request.patience = Some(self.client.shared.options.stall.saturating_mul(10));
            let answer = self.send(&mut request, url.as_str(), key)?;
            match answer.status {
                200 | 201 | 204 => {
                    answer.drain(self.client.shared.options.stall);
                    Ok(())
                }
                _ => Err(self.refused(answer, key)),
            }
        })
    }

    fn patiently<T>(&self, attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, Error> {
        self.client.shared.options.retry.patiently(attempt)
    }

    fn open(&self, key: &str, offset: u64) -> Result<Option<Answer>, Failure> {
        let url = self.signer.get_object(self.key.as_ref(), check(key)?).sign(SIGNED_FOR);
        let mut request = Request::new(Method::GET);
        if offset > 0 {
            request = request.header("Range", format!("bytes={offset}-"));
        }
        let answer = self.send(&mut request, url.as_str(), key)?;
        match answer.status {
            200 if offset == 0 => Ok(Some(answer)),
            206 if offset > 0 => Ok(Some(answer)),
            200 => Err(self.malformed(key, "it is whole where a part was asked for").into()),
            404 => Ok(None),
            _ => Err(self.refused(answer, key)),
        }
    }

    fn send(&self, request: &mut Request<'_>, url: &str, key: &str) -> Result<Answer, Failure> {
        let stall = self.client.shared.options.stall;
        let url = Url::parse(url).map_err(|reason| self.malformed(key, &reason))?;
        let sent = redirect::send(&self.client.shared.agents, request, &url, &Tls::default(), None);
        let answer = sent.map_err(|lost| Failure::lost(lost, &self.shown, key, stall, false))?;
        Failure::unless_answered(answer, &self.shown, key, stall)
    }

    fn malformed(&self, key: &str, reason: &str) -> Error {
        Error::Malformed { registry: self.shown.clone(), what: key.to_owned(), reason: reason.to_owned() }
    }

    /// The server's own word for its refusal, of its XML document.
    fn refused(&self, answer: Answer, key: &str) -> Failure {
        let status = answer.status;
        let text = match answer.document(ERROR_LIMIT, self.client.shared.options.stall) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(_) => String::new(),
        };
        let message = [element(&text, "Code"), element(&text, "Message")].into_iter().flatten();
        let message = message.collect::<Vec<_>>().join(": ");
        let registry = self.shown.clone();
        Failure::from(match status {
            401 | 403 => {
                Error::Denied { registry, repository: key.to_owned(), message, logged_in: self.key.is_some() }
            }
            _ => Error::Status { registry, status, what: key.to_owned(), message },
        })
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({})", self.shown)
    }
}

/// A key that a URL can say, and that is of this bucket.
fn check(key: &str) -> Result<&str, Failure> {
    let bad = key.is_empty() || key.split('/').any(|part| matches!(part, "." | "..")) || key.starts_with('/');
    match bad {
        false => Ok(key),
        true => Err(Failure::from(Error::Local {
            doing: format!("name an object {key:?}"),
            source: io::Error::new(io::ErrorKind::InvalidInput, "it is no path below the bucket"),
        })),
    }
}

/// The text of the first element of that name, shortened, without what could lead a terminal astray.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.chars().filter(|c| !c.is_control()).take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_have_endpoints() {
        let url = |endpoint: Option<&str>, path_style| {
            let options = BucketOptions {
                name: "cache".to_owned(),
                region: "eu-west-1".to_owned(),
                endpoint: endpoint.map(str::to_owned),
                path_style,
                ..BucketOptions::default()
            };
            Bucket::new(&Client::default(), &options).map(|b| b.signer.object_url("a/b").to_string())
        };
        assert_eq!(url(None, false).unwrap(), "https://cache.s3.eu-west-1.amazonaws.com/a/b");
        assert_eq!(url(Some("http://127.0.0.1:9000"), false).unwrap(), "http://127.0.0.1:9000/cache/a/b");
        assert_eq!(url(Some("http://minio:9000"), true).unwrap(), "http://minio:9000/cache/a/b");
        assert_eq!(url(Some("minio"), true).unwrap(), "https://minio/cache/a/b");
        assert!(url(Some("ftp://minio"), true).is_err());
    }

    #[test]
    fn keys_stay_in_the_bucket() {
        for key in ["", "/a", "../a", "a/../b", "a/."] {
            assert!(check(key).is_err(), "{key}");
        }
        assert!(check("blobs/sha256:ab..c").is_ok());
    }

    #[test]
    fn refusals_are_read() {
        let xml =
            "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>no\u{1b}</Message></Error>";
        assert_eq!(element(xml, "Code").as_deref(), Some("AccessDenied"));
        assert_eq!(element(xml, "Message").as_deref(), Some("no"));
        assert_eq!(element(xml, "Key"), None);
    }
}
