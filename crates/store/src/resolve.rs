//! What a text on a command line names: an image by name, digest or ID.

use oci::ImageId;

use crate::{Error, Result, Store};

/// Why a text names no image.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Nothing has that name or ID.
    #[error("no such image: {text}")]
    NotFound {
        /// The text, a name in familiar form.
        text: String,
    },
    /// Several IDs begin with it.
    #[error("{text:?} is ambiguous: {}", .candidates.iter().map(|id| id.0.short()).collect::<Vec<_>>().join(", "))]
    Ambiguous {
        /// The text as given.
        text: String,
        /// The images whose IDs begin with it, sorted.
        candidates: Vec<ImageId>,
    },
    /// It is neither a reference nor an ID.
    #[error(transparent)]
    Invalid(#[from] oci::ReferenceError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Store {
    /// The image that `text` names: `name[:tag]` (`latest` by default), `name@digest` (a repository digest, or the manifest
    /// digest of an image of that name), a whole ID or manifest digest with or without `sha256:`, or the beginning of an
    /// ID. A name wins over the beginning of an ID.
    pub fn resolve(&self, text: &str) -> Result<ImageId, ResolveError> {
        Err(ResolveError::NotFound { text: text.to_owned() })
    }
}
