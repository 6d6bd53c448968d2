//! Making answers: status, headers, body.

use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use crate::body::Content;
use crate::fault::Fault;

/// An answer on its way.
pub(crate) type Reply = Response<Content>;

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Reply {
    with(status, Content::bytes(Vec::new()))
}

/// An answer with that body, whose length goes with it.
pub(crate) fn with(status: StatusCode, content: Content) -> Reply {
    let mut reply = Response::new(content);
    *reply.status_mut() = status;
    reply
}

/// A JSON document.
pub(crate) fn json(media_type: &str, document: &serde_json::Value) -> Reply {
    let reply = with(StatusCode::OK, Content::bytes(document.to_string().into_bytes()));
    header(reply, "Content-Type", media_type)
}

/// The answer that says no.
pub(crate) fn fault(fault: &Fault) -> Reply {
    let mut reply = with(fault.status, Content::bytes(fault.body()));
    reply = header(reply, "Content-Type", "application/json");
    for (name, value) in &fault.headers {
        reply = header(reply, name, value);
    }
    reply
}

/// The same with one more header. Values of ours and of checked requests alone come here; one that is no header value
/// is left out.
pub(crate) fn header(mut reply: Reply, name: &str, value: impl AsRef<str>) -> Reply {
    let name = HeaderName::from_bytes(name.as_bytes());
    if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value.as_ref())) {
        reply.headers_mut().append(name, value);
    }
    reply
}
