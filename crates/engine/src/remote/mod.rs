//! Verbs on what is in registries and stays there: listing, looking at and deleting it. Nothing comes into the store.

mod delete;
mod inspect;
mod tags;

use oci::{Digest, Reference};

pub use delete::{Deleted, delete};
pub use inspect::inspect;
pub use tags::{Tags, tags};

use crate::{Error, Result};

/// A reference as people write it.
fn reference(text: &str) -> Result<Reference> {
    Reference::parse(text).map_err(|error| Error::invalid(error.to_string()))
}

/// What the registry knows the reference by: its digest, else its tag.
fn name(reference: &Reference) -> &str {
    let digest = reference.digest.as_ref().map(Digest::as_str);
    digest.or(reference.tag.as_deref()).unwrap_or("latest")
}
