//! Plain downloads over HTTP, with the proxies, authorities and patience that registries are spoken to with: what
//! `ADD` and remote build contexts need.
//!
//! Nothing here knows of registries' tokens, mirrors or configured hosts. Credentials are what the caller gives, or
//! what stands in the URL; they go to that origin and nowhere else, and a redirect from TLS leads to TLS only.

use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use percent_encoding::percent_decode_str;
use ureq::http::Method;

use crate::client::Client;
use crate::credentials::Secret;
use crate::exchange::Again;
use crate::hosts::Tls;
use crate::http::answer::Answer;
use crate::http::redirect::{self, Lost, Why};
use crate::http::request::Request;
use crate::http::trouble::Trouble;
use crate::http::url::Url;

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// Why there is no download. Holds no credential, nor a URL's query.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebError {
    /// No URL that can be asked for.
    #[error("invalid URL: {0}")]
    Url(String),
    /// No answer, or none that can be trusted.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// What was met.
        reason: String,
        /// Whether it may go better later.
        passing: bool,
    },
    /// Another status than 200 or 304.
    #[error("invalid response status {status} from {host}")]
    Status {
        /// Host and port.
        host: String,
        /// The status.
        status: u16,
        /// How long it asks to be left alone.
        wait: Option<Duration>,
    },
    /// A redirect that is not followed.
    #[error("{host} redirects the request {reason}")]
    Redirects {
        /// Host and port.
        host: String,
        /// Where to, or how often.
        reason: String,
    },
    /// The answer ended before its end.
    #[error("{host} broke off after {read} bytes: {reason}")]
    Cut {
        /// Host and port.
        host: String,
        /// Bytes that came.
        read: u64,
        /// What was met.
        reason: String,
    },
    /// More bytes than allowed.
    #[error("{host} sends more than {limit} bytes")]
    TooLarge {
        /// Host and port.
        host: String,
        /// The limit.
        limit: u64,
    },
    /// The download cannot be taken in, or is not wanted any more.
    #[error(transparent)]
    Sink(io::Error),
}

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct WebRequest<'a> {
    /// `http` or `https`, with user and password where the server wants them.
    pub url: &'a str,
    /// The value of `Authorization`, before what stands in the URL.
    pub authorization: Option<Secret>,
    /// `ETag` of what is here already.
    pub etag: Option<String>,
    /// `Last-Modified` of what is here already.
    pub modified: Option<String>,
    /// The most bytes taken.
    pub limit: u64,
}

/// What a server says of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebHeaders {
    /// `ETag`, without the mark of a weak one.
    pub etag: Option<String>,
    /// `Last-Modified`, as it came.
    pub modified: Option<String>,
    /// The file name of `Content-Disposition`, as it came.
    pub file_name: Option<String>,
    /// Whether what is here already is still what is there.
    pub unchanged: bool,
}

/// Takes a download in.
pub trait Sink {
    /// A download begins, for the first time or anew: what came before counts for nothing. `length` where it is known.
    ///
    /// # Errors
    /// Ends the download.
    fn begin(&mut self, length: Option<u64>) -> io::Result<()>;
    /// Bytes, in order.
    ///
    /// # Errors
    /// Ends the download.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()>;
}

impl Client {
    /// Asks what the server has, without its bytes. Servers without HEAD give an error.
    ///
    /// # Errors
    /// See [`WebError`].
    pub fn web_head(&self, request: &WebRequest<'_>) -> Result<WebHeaders, WebError> {
        let answer = self.web_ask(Method::HEAD, request)?;
        let headers = headers(&answer, request);
        answer.drain(self.shared.agents.stall());
        Ok(headers)
    }

    /// Downloads a file into `sink`, unless what is here already is what is there. What may pass (5xx, connections
    /// that break) is tried again.
    ///
    /// # Errors
    /// See [`WebError`].
    pub fn web_get(&self, request: &WebRequest<'_>, sink: &mut dyn Sink) -> Result<WebHeaders, WebError> {
        let retry = &self.shared.options.retry;
        let mut failures = 0;
        loop {
            let error = match self.once(request, sink) {
                Ok(headers) => return Ok(headers),
                Err(error) => error,
            };
            failures += 1;
            match retry.wait(failures, again(&error)) {
                Some(wait) => thread::sleep(wait),
                None => return Err(error),
            }
        }
    }

    fn once(&self, request: &WebRequest<'_>, sink: &mut dyn Sink) -> Result<WebHeaders, WebError> {
        let answer = self.web_ask(Method::GET, request)?;
        let headers = headers(&answer, request);
        if headers.unchanged && answer.status == 304 {
            return Ok(headers);
        }
        let host = answer.url.authority().to_owned();
        let too_large = || WebError::TooLarge { host: host.clone(), limit: request.limit };
        let length = answer.length();
        if length.is_some_and(|length| length > request.limit) {
            return Err(too_large());
        }
        sink.begin(length).map_err(WebError::Sink)?;
        let mut body = answer.into_body();
        let mut buffer = vec![0; CHUNK];
        let mut read = 0u64;
        loop {
            let got = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let (reason, _) = reason(Trouble::of_io(&error));
                    return Err(WebError::Cut { host, read, reason });
                }
            };
            read += got as u64;
            if read > request.limit {
                return Err(too_large());
            }
            sink.take(&buffer[..got]).map_err(WebError::Sink)?;
        }
        match length {
            Some(length) if length != read => {
                Err(WebError::Cut { host, read, reason: format!("{length} bytes were said") })
            }
            _ => Ok(WebHeaders { unchanged: false, ..headers }),
        }
    }

    /// Sends the request once; the answer is 200 or 304.
    fn web_ask(&self, method: Method, request: &WebRequest<'_>) -> Result<Answer, WebError> {
        let (url, user) = split_user(request.url)?;
        let authorization = request.authorization.clone().or(user);
        let mut asked = Request::new(method).header("Accept", "*/*");
        if let Some(etag) = &request.etag {
            asked = asked.header("If-None-Match", etag.as_str());
        } else if let Some(modified) = &request.modified {
            asked = asked.header("If-Modified-Since", modified.as_str());
        }
        let agents = &self.shared.agents;
        let answer = redirect::send(agents, &mut asked, &url, &Tls::default(), authorization.as_ref());
        let answer = answer.map_err(|Lost { at, why }| {
            let host = at.authority().to_owned();
            match why {
                Why::Redirects(reason) => WebError::Redirects { host, reason },
                Why::Trouble(trouble) => {
                    let (reason, passing) = reason(trouble);
                    WebError::Unreachable { host, reason, passing }
                }
            }
        })?;
        let asked_again = request.etag.is_some() || request.modified.is_some();
        match answer.status {
            200 => Ok(answer),
            304 if asked_again => Ok(answer),
            status => {
                let (host, wait) = (answer.url.authority().to_owned(), answer.retry_after());
                answer.drain(agents.stall());
                Err(WebError::Status { host, status, wait })
            }
        }
    }
}

fn headers(answer: &Answer, request: &WebRequest<'_>) -> WebHeaders {
    let etag = answer.header("etag").map(|etag| etag.strip_prefix("W/").unwrap_or(etag).to_owned());
    let same = |held: &Option<String>, said: &Option<String>| held.is_some() && held == said;
    let modified = answer.header("last-modified").map(str::to_owned);
    let unchanged = match answer.status {
        304 => true,
        _ if request.etag.is_some() => same(&request.etag, &etag),
        _ => same(&request.modified, &modified),
    };
    let file_name = answer.header("content-disposition").and_then(file_name);
    WebHeaders { etag, modified, file_name, unchanged }
}

/// `filename*=UTF-8''…` or `filename=…` of a `Content-Disposition` (RFC 6266); its last part, should it be a path.
fn file_name(disposition: &str) -> Option<String> {
    let (mut plain, mut extended) = (None, None);
    let mut rest = disposition;
    while let Some(at) = rest.find(';') {
        rest = rest[at + 1..].trim_start();
        let Some((name, value)) = rest.split_once('=') else { break };
        let name = name.trim().to_ascii_lowercase();
        let value = value.trim_start();
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted_value(quoted)?,
            None => {
                let end = value.find(';').unwrap_or(value.len());
                (value[..end].trim().to_owned(), &value[end..])
            }
        };
        match name.as_str() {
            "filename" => plain = Some(value),
            "filename*" => {
                let encoded = value.splitn(3, '\'').nth(2).unwrap_or_default().to_owned();
                extended = percent_decode_str(&encoded).decode_utf8().ok().map(|name| name.into_owned());
            }
            _ => {}
        }
        rest = after;
    }
    let name = extended.or(plain)?;
    name.rsplit(['/', '\\']).next().map(str::to_owned)
}

/// What is up to the closing quote, and what follows it.
fn quoted_value(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            c => value.push(c),
        }
    }
    None
}

/// The URL without user and password, and these as basic authentication.
fn split_user(text: &str) -> Result<(Url, Option<Secret>), WebError> {
    let parse = |text: &str| Url::parse(text).map_err(WebError::Url);
    let Some((scheme, rest)) = text.split_once("://") else { return Ok((parse(text)?, None)) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let Some((user, host)) = rest[..end].rsplit_once('@') else { return Ok((parse(text)?, None)) };
    let url = parse(&format!("{scheme}://{host}{}", &rest[end..]))?;
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let decode = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    let pair = [decode(name), b":".to_vec(), decode(password)].concat();
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    Ok((url, Some(Secret::new(format!("Basic {encoded}")))))
}

/// What was met, in words, and whether it may go better later.
fn reason(trouble: Trouble) -> (String, bool) {
    match trouble {
        Trouble::Unreachable(reason) => (reason, true),
        Trouble::Refused => ("connection refused".to_owned(), true),
        Trouble::Cut(reason) => (reason, true),
        Trouble::Stalled => ("next to nothing came for too long".to_owned(), true),
        Trouble::Tls(reason) | Trouble::Malformed(reason) => (reason, false),
        Trouble::Local { doing, source } => (format!("{doing}: {source}"), false),
    }
}

fn again(error: &WebError) -> Again {
    match error {
        WebError::Unreachable { passing: true, reason, .. } if reason == "connection refused" => Again::Never,
        WebError::Unreachable { passing, .. } => {
            if *passing {
                Again::Later
            } else {
                Again::Never
            }
        }
        WebError::Cut { .. } => Again::Later,
        WebError::Status { status: 408 | 429 | 500 | 502 | 503 | 504, wait, .. } => {
            wait.map_or(Again::Later, Again::After)
        }
        _ => Again::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names() {
        for (header, name) in [
            ("attachment", None),
            ("attachment; filename=a.txt", Some("a.txt")),
            ("attachment; filename=\"a;b \\\"c.txt\"; x=y", Some("a;b \"c.txt")),
            ("attachment; filename=\"x\"; filename*=UTF-8''%e2%82%ac.txt", Some("€.txt")),
            ("inline; filename=\"../../etc/passwd\"", Some("passwd")),
            ("inline; filename=\"open", None),
        ] {
            assert_eq!(file_name(header).as_deref(), name, "{header}");
        }
    }

    #[test]
    fn users() {
        let (url, user) = split_user("https://me:p%40w@a.example/x?y#z").unwrap();
        assert_eq!(url.text(), "https://a.example/x?y");
        assert_eq!(user.unwrap().reveal(), "Basic bWU6cEB3");
        assert!(split_user("https://a.example/x@y").unwrap().1.is_none());
        assert!(split_user("ftp://me:secret@a/").is_err_and(|error| !error.to_string().contains("secret")));
    }
}
