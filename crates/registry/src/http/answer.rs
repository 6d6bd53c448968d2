//! What came back: status, headers, and a body that is read within bounds.

use std::io::Read;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Response};
use ureq::{Body, BodyReader};

use crate::http::retry_after;
use crate::http::trouble::Trouble;
use crate::http::url::Url;

/// The largest error body read, in bytes.
const ERROR_LIMIT: u64 = 64 << 10;

/// An answer to a request.
pub(crate) struct Answer {
    pub status: u16,
    /// Where it came from in the end.
    pub url: Url,
    headers: HeaderMap,
    length: Option<u64>,
    body: BodyReader<'static>,
}

/// Why a document cannot be had from an answer.
pub(crate) enum Unread {
    /// The body, or the way here.
    Trouble(Trouble),
    /// There is more of it than allowed: so many bytes.
    TooLarge(u64),
}

impl Answer {
    pub fn new(response: Response<Body>, url: Url) -> Answer {
        let (parts, body) = response.into_parts();
        let length = body.content_length();
        Answer {
            status: parts.status.as_u16(),
            url,
            headers: parts.headers,
            length,
            body: body.into_reader(),
        }
    }

    /// A header's value; `None` where it is missing or no text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().map(str::trim)
    }

    /// All values of a header.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// `Content-Length` of the body that follows.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// `Content-Length` as a header alone, as HEAD has it.
    pub fn said_length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    /// `Content-Type` without its parameters, in lower case.
    pub fn content_type(&self) -> Option<String> {
        let value = self.header("content-type")?;
        Some(value.split(';').next().unwrap_or(value).trim().to_ascii_lowercase())
    }

    /// A `Content-Encoding`, which nobody asked for.
    pub fn encoding(&self) -> Option<&str> {
        self.header("content-encoding").filter(|e| !e.is_empty() && !e.eq_ignore_ascii_case("identity"))
    }

    /// How long the other side asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after::parse(self.header("retry-after")?, jiff::Timestamp::now())
    }

    /// The body, to be read as it comes.
    pub fn into_body(self) -> impl Read + Send + use<> {
        self.body
    }

    /// The body whole: at most `limit` bytes, within `time`.
    pub fn document(self, limit: u64, time: Duration) -> Result<Vec<u8>, Unread> {
        if self.length.is_some_and(|length| length > limit) {
            return Err(Unread::TooLarge(limit));
        }
        let mut bytes = Vec::with_capacity(self.length.unwrap_or(4096).min(limit) as usize);
        let mut body = self.body;
        let started = Instant::now();
        let mut buffer = [0u8; 16 << 10];
        loop {
            match body.read(&mut buffer) {
                Ok(0) => return Ok(bytes),
                Ok(read) => bytes.extend_from_slice(&buffer[..read]),
                Err(error) => return Err(Unread::Trouble(Trouble::of_io(&error))),
            }
            if bytes.len() as u64 > limit {
                return Err(Unread::TooLarge(limit));
            }
            if started.elapsed() > time {
                return Err(Unread::Trouble(Trouble::Stalled));
            }
        }
    }

    /// Reads what is left of a small body, so that the connection can be used again. Failing is fine.
    pub fn drain(self, time: Duration) {
        if self.length.is_none_or(|length| length <= ERROR_LIMIT) {
            let _ = self.document(ERROR_LIMIT, time);
        }
    }

    /// The error body: what the other side says of its refusal.
    pub fn refusal(self, time: Duration) -> Refusal {
        let json = self.content_type().is_none_or(|t| t.ends_with("json") || t == "text/plain");
        match self.document(ERROR_LIMIT, time) {
            Ok(bytes) if json => Refusal::parse(&bytes),
            _ => Refusal::default(),
        }
    }
}

/// A registry's own words for an error (distribution specification, "Error Codes"), made fit to be shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The codes, as `NAME_UNKNOWN`.
    pub codes: Vec<String>,
    /// Messages, joined; empty where there are none.
    pub message: String,
}

impl Refusal {
    fn parse(bytes: &[u8]) -> Refusal {
        #[derive(serde::Deserialize, Default)]
        #[serde(default)]
        struct Document {
            errors: Vec<One>,
            // Token servers and front ends have forms of their own.
            details: Option<serde_json::Value>,
            message: Option<serde_json::Value>,
            error: Option<serde_json::Value>,
            error_description: Option<serde_json::Value>,
        }
        #[derive(serde::Deserialize, Default)]
        #[serde(default)]
        struct One {
            code: serde_json::Value,
            message: serde_json::Value,
            detail: serde_json::Value,
        }
        let Ok(document) = serde_json::from_slice::<Document>(bytes) else { return Refusal::default() };
        let mut refusal = Refusal::default();
        let mut texts: Vec<String> = Vec::new();
        for one in document.errors.into_iter().take(5) {
            let code = text(&one.code);
            texts.push(match (text(&one.message), text(&one.detail)) {
                (message, detail) if message.is_empty() && detail.is_empty() => code.to_lowercase(),
                (message, detail) if message.is_empty() => detail,
                (message, _) => message,
            });
            refusal.codes.push(code);
        }
        if texts.is_empty() {
            let others = [document.error_description, document.details, document.message, document.error];
            texts.extend(others.iter().flatten().map(text).find(|t| !t.is_empty()));
        }
        texts.retain(|t| !t.is_empty());
        texts.dedup();
        refusal.message = texts.join("; ");
        refusal
    }
}

/// A JSON string without what could lead a terminal astray, shortened.
fn text(value: &serde_json::Value) -> String {
    let text = value.as_str().unwrap_or_default();
    let shown = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let text: String =
        text.chars().map(|c| if c == '\n' { ' ' } else { c }).filter(|&c| shown(c)).take(300).collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals() {
        for (body, codes, message) in [
            (
                r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry","detail":{"name":"a"}}]}"#,
                vec!["NAME_UNKNOWN"],
                "repository name not known to registry",
            ),
            (r#"{"errors":[{"code":"DENIED"}]}"#, vec!["DENIED"], "denied"),
            (
                r#"{"errors":[{"code":"DENIED","message":"a"},{"code":"X","message":"a"},{"code":"Y","message":"b"}]}"#,
                vec!["DENIED", "X", "Y"],
                "a; b",
            ),
            (
                "{\"errors\":[{\"code\":\"E\",\"message\":\"\\u001b[2Jred\\nline\\u202e\"}]}",
                vec!["E"],
                "[2Jred line",
            ),
            (r#"{"details":"incorrect username or password"}"#, vec![], "incorrect username or password"),
            (r#"{"error":"invalid_grant","error_description":"expired"}"#, vec![], "expired"),
            (r#"{"message":"rate limited"}"#, vec![], "rate limited"),
            ("<html>", vec![], ""),
            ("", vec![], ""),
            (r#"{"errors":7}"#, vec![], ""),
        ] {
            let expected = Refusal {
                codes: codes.into_iter().map(str::to_owned).collect(),
                message: message.to_owned(),
            };
            assert_eq!(Refusal::parse(body.as_bytes()), expected, "{body}");
        }
        let long = format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "x".repeat(5000));
        assert_eq!(Refusal::parse(long.as_bytes()).message.len(), 300);
    }
}
