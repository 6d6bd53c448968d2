//! What a registry, or the way to it, did wrong.

use std::time::Duration;

use oci::Digest;

/// Why a request to a registry failed. Never holds a credential, nor a URL's query (signed URLs are
/// credentials).
///
/// `registry` is the host and port as the reference names it, or the host that really answered where
/// that is another (a mirror, the storage behind a redirect). `what` is what was asked for, as in
/// `manifest 3.19 of library/alpine`. `message` is the registry's own, empty where it gave none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are described above, once")]
pub enum Error {
    /// No answer at all: no such host, refused, reset, cut.
    #[error("registry {registry} cannot be reached: {reason}")]
    Unreachable { registry: String, reason: String },
    /// It answers, but not by TLS that can be trusted.
    #[error("registry {registry} cannot be spoken to by TLS: {reason}")]
    Tls { registry: String, reason: String },
    /// 401 or 403. `logged_in`: whether a credential for the registry was sent or exchanged for a token.
    #[error("access to {} was denied{}", place(.registry, .repository), detail(.message))]
    Denied { registry: String, repository: String, message: String, logged_in: bool },
    /// 404 with `NAME_UNKNOWN`.
    #[error("repository {registry}/{repository} was not found{}", detail(.message))]
    NoRepository { registry: String, repository: String, message: String },
    /// 404 for a manifest, by tag or digest; the repository may be missing as well where the registry does
    /// not tell.
    #[error("manifest {name} was not found in {registry}/{repository}{}", detail(.message))]
    NoManifest { registry: String, repository: String, name: String, message: String },
    /// 404 for a blob.
    #[error("blob {digest} was not found in {registry}/{repository}{}", detail(.message))]
    NoBlob { registry: String, repository: String, digest: Digest, message: String },
    /// 429, after all retries, or with a wait that is too long to be waited.
    #[error("registry {registry} has had too many requests (429) for {what}{}{}", asked_wait(.wait), detail(.message))]
    TooManyRequests { registry: String, what: String, wait: Option<Duration>, message: String },
    /// Another status than expected.
    #[error("registry {registry} answered {status} for {what}{}", detail(.message))]
    Status { registry: String, status: u16, what: String, message: String },
    /// Bytes with another digest than was asked for.
    #[error("registry {registry} sent {what} with digest {found}, not {expected}")]
    Digest { registry: String, what: String, expected: Digest, found: Digest },
    /// A body longer or shorter than was said. `found` is `None` where it is longer and was not read on.
    #[error("registry {registry} sent {what} with {} bytes where {expected} were said", found_size(.found))]
    Size { registry: String, what: String, expected: u64, found: Option<u64> },
    /// An answer that is none, or larger than any should be.
    #[error("registry {registry} sent {what} that cannot be used: {reason}")]
    Malformed { registry: String, what: String, reason: String },
    /// A redirect that is not followed: one of too many, or to where it may not lead.
    #[error("registry {registry} redirects the request for {what}: {reason}")]
    Redirects { registry: String, what: String, reason: String },
    /// No byte, or next to none, for `after`.
    #[error("registry {registry} stalled at {what}: next to nothing came in {} s", after.as_secs_f32())]
    Stalled { registry: String, what: String, after: Duration },
    /// The connection was cut again and again at the same place.
    #[error("registry {registry} cut the connection at {what}: {reason}")]
    Cut { registry: String, what: String, reason: String },
    /// Not allowed by the configuration.
    #[error("registry {registry} is blocked by {by}")]
    Blocked { registry: String, by: String },
    /// The credential for the registry could not be found out, stored or removed.
    #[error("credentials for {registry}: {reason}")]
    Credentials { registry: String, reason: String },
    /// Something on this machine that a request needs: a certificate, the file that is to be sent.
    #[error("{doing}: {source}")]
    Local { doing: String, source: std::io::Error },
}

impl Error {
    /// Whether the same request may well succeed later.
    pub fn is_passing(&self) -> bool {
        match self {
            Error::Unreachable { .. }
            | Error::Stalled { .. }
            | Error::Cut { .. }
            | Error::TooManyRequests { .. } => true,
            Error::Status { status, .. } => matches!(status, 408 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }
}

fn detail(message: &str) -> String {
    match message.is_empty() {
        true => String::new(),
        false => format!(": {message}"),
    }
}

fn place(registry: &str, repository: &str) -> String {
    match repository.is_empty() {
        true => registry.to_owned(),
        false => format!("{repository} at {registry}"),
    }
}

fn asked_wait(wait: &Option<Duration>) -> String {
    match wait {
        Some(wait) => format!("; it asks to wait {} s", wait.as_secs()),
        None => String::new(),
    }
}

fn found_size(found: &Option<u64>) -> String {
    match found {
        Some(found) => found.to_string(),
        None => "more".to_owned(),
    }
}
