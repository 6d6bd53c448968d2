//! What a registry, or the way to it, did wrong.

use oci::Digest;

/// Why a request to a registry failed. Never holds a credential.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer at all.
    #[error("registry {registry} cannot be reached: {reason}")]
    Unreachable {
        /// Host and port.
        registry: String,
        /// Why.
        reason: String,
    },
    /// 404 for a manifest.
    #[error("{reference} was not found: the registry has no such repository or tag")]
    NotFound {
        /// The reference in full.
        reference: String,
    },
    /// 401 or 403.
    #[error("access to {repository} at {registry} was denied{}", detail(.message))]
    Denied {
        /// Host and port.
        registry: String,
        /// The repository.
        repository: String,
        /// What the registry says.
        message: String,
    },
    /// Another status than expected.
    #[error("registry {registry} answered {status} for {what}{}", detail(.message))]
    Status {
        /// Host and port.
        registry: String,
        /// HTTP status.
        status: u16,
        /// What was asked for.
        what: String,
        /// What the registry says.
        message: String,
    },
    /// A body with another digest or size than was asked for.
    #[error("registry {registry} sent {what} with digest {found}, not {expected}")]
    Digest {
        /// Host and port.
        registry: String,
        /// What was asked for.
        what: String,
        /// The digest asked for.
        expected: Digest,
        /// That of the bytes that came.
        found: Digest,
    },
    /// A document that is none, or larger than any should be.
    #[error("registry {registry} sent {what} that cannot be used: {reason}")]
    Malformed {
        /// Host and port.
        registry: String,
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
}

fn detail(message: &str) -> String {
    match message.is_empty() {
        true => String::new(),
        false => format!(": {message}"),
    }
}
