//! A JSON document with the bytes it came in.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Digest;

/// A parsed JSON document, the bytes it was parsed from, and their digest.
///
/// A document is never written again from its value in order to be hashed again: the digest
/// belongs to the bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Document<T> {
    /// The bytes as received, or as first written.
    pub bytes: Vec<u8>,
    /// What they say.
    pub value: T,
    /// Their SHA-256.
    pub digest: Digest,
}

/// Why bytes are not the document they should be.
#[derive(Debug, thiserror::Error)]
#[error("not a valid {what}: {source}")]
pub struct DocumentError {
    what: &'static str,
    source: serde_json::Error,
}

impl<T: DeserializeOwned> Document<T> {
    /// Parses `bytes`; `what` names the kind of document in the error.
    pub fn parse(what: &'static str, bytes: Vec<u8>) -> Result<Document<T>, DocumentError> {
        let value = serde_json::from_slice(&bytes).map_err(|source| DocumentError { what, source })?;
        Ok(Document { digest: Digest::sha256(&bytes), bytes, value })
    }
}

impl<T: Serialize> Document<T> {
    /// Writes `value` as compact JSON.
    pub fn of(value: T) -> Document<T> {
        let bytes =
            serde_json::to_vec(&value).expect("because the types of this crate have string keys only");
        Document { digest: Digest::sha256(&bytes), bytes, value }
    }
}
