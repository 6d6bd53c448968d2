//! One request and its answer; redirects are the caller's.

use std::io::{self, Read};
use std::time::Duration;

use ureq::http::{self, Method};
use ureq::{Agent, AsSendBody, Body, SendBody};

use crate::credentials::Secret;
use crate::http::answer::Answer;
use crate::http::trouble::Trouble;
use crate::http::url::Url;

/// What is to be sent.
pub(crate) struct Request<'a> {
    pub method: Method,
    pub headers: Vec<(&'static str, String)>,
    pub payload: Payload<'a>,
    /// Whether the answer may take long, because much is to be done for it: not a sign of a dead connection.
    pub patience: Option<Duration>,
}

/// A request's body, with its length known.
pub(crate) enum Payload<'a> {
    /// None; methods that need one send an empty one.
    None,
    /// Held, so that it can be sent again.
    Bytes(&'a [u8]),
    /// Read as it is sent, once.
    Stream { source: &'a mut dyn Read, length: u64 },
}

impl<'a> Request<'a> {
    pub fn new(method: Method) -> Request<'a> {
        Request { method, headers: Vec::new(), payload: Payload::None, patience: None }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Request<'a> {
        self.headers.push((name, value.into()));
        self
    }

    pub fn payload(mut self, payload: Payload<'a>) -> Request<'a> {
        self.payload = payload;
        self
    }

    /// Whether it can be sent again.
    pub fn is_rewindable(&self) -> bool {
        !matches!(self.payload, Payload::Stream { .. })
    }

    /// Sends it once.
    pub fn send(
        &mut self,
        agent: &Agent,
        url: &Url,
        authorization: Option<&Secret>,
    ) -> Result<Answer, Trouble> {
        let mut builder = http::Request::builder()
            .method(self.method.clone())
            .uri(url.text())
            // What is asked for by digest must come as it is.
            .header("Accept-Encoding", "identity");
        for (name, value) in &self.headers {
            builder = builder.header(*name, value);
        }
        if let Some(authorization) = authorization {
            builder = builder.header("Authorization", authorization.reveal());
        }
        let has_body = matches!(self.method, Method::POST | Method::PUT | Method::PATCH);
        // Header values come from registries too (scopes, ranges): what is no header is no request.
        let malformed = |_| Trouble::Malformed("what cannot be put into a request's header".to_owned());
        if !has_body {
            let request = builder.body(()).map_err(malformed)?;
            let response = run(agent, request, self.patience).map_err(Trouble::of)?;
            return Ok(Answer::new(response, url.clone()));
        }
        let (mut empty, mut held);
        let (source, left): (&mut dyn Read, u64) = match &mut self.payload {
            Payload::None => {
                empty = io::empty();
                (&mut empty, 0)
            }
            Payload::Bytes(bytes) => {
                held = *bytes;
                (&mut held, bytes.len() as u64)
            }
            Payload::Stream { source, length } => (source, *length),
        };
        let mut source = Exact { source, left, failed: None };
        let request = builder
            .header("Content-Length", left)
            .body(SendBody::from_reader(&mut source))
            .map_err(malformed)?;
        match run(agent, request, self.patience) {
            Ok(response) => Ok(Answer::new(response, url.clone())),
            Err(error) => Err(match source.failed {
                Some(failed) => {
                    Trouble::Local { doing: "read what is to be sent".to_owned(), source: failed }
                }
                None => Trouble::of(error),
            }),
        }
    }
}

fn run(
    agent: &Agent,
    request: http::Request<impl AsSendBody>,
    patience: Option<Duration>,
) -> Result<http::Response<Body>, ureq::Error> {
    let Some(patience) = patience else { return agent.run(request) };
    let request = agent
        .configure_request(request)
        .timeout_per_read(Some(patience))
        .timeout_recv_response(Some(patience))
        .build();
    agent.run(request)
}

/// Exactly so many bytes of a source; its own failures are kept apart from the connection's.
struct Exact<'a> {
    source: &'a mut dyn Read,
    left: u64,
    failed: Option<io::Error>,
}

impl Read for Exact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        loop {
            let failed = match self.source.read(&mut buffer[..most]) {
                Ok(0) => {
                    io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than its descriptor says")
                }
                Ok(read) => {
                    self.left -= read as u64;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            self.failed = Some(failed);
            return Err(io::Error::other("the source failed"));
        }
    }
}
