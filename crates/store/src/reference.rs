//! Names of images: tags, and the digests that registries know them by.
//!
//! What text on a command line means is in `resolve`.

use oci::{Digest, ImageId, Reference};

use crate::{Result, Store};

/// `name@digest`: the manifest by which a registry knows an image (Docker's RepoDigests).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RepoDigest {
    /// `registry/repository`.
    pub name: String,
    /// Digest of a manifest or index there.
    pub digest: Digest,
}

impl Store {
    /// Lets `reference` (with a tag, `latest` is added where it has none; without a digest) name `id`, and returns what
    /// it named before. Atomic: this is the moment that a build's result becomes visible.
    pub fn set_reference(&self, _reference: &Reference, _id: &ImageId) -> Result<Option<ImageId>> {
        Ok(None)
    }

    /// Takes the name away, and returns what it named. The image stays.
    pub fn remove_reference(&self, _reference: &Reference) -> Result<Option<ImageId>> {
        Ok(None)
    }

    /// All tags, sorted by name.
    pub fn references(&self) -> Result<Vec<(Reference, ImageId)>> {
        Ok(Vec::new())
    }

    /// The image that `reference` names: by tag, or by digest where it has one (its tag is then ignored, as Docker does).
    pub fn reference(&self, _reference: &Reference) -> Result<Option<ImageId>> {
        Ok(None)
    }

    /// The tags of one image, sorted.
    pub fn references_of(&self, _id: &ImageId) -> Result<Vec<Reference>> {
        Ok(Vec::new())
    }

    /// Remembers that the repository `name` (`registry/repository`) knows the image by the manifest or index `digest`.
    pub fn add_repo_digest(&self, _name: &str, _digest: &Digest, _id: &ImageId) -> Result<()> {
        Ok(())
    }

    /// Forgets one; returns the image it named.
    pub fn remove_repo_digest(&self, _name: &str, _digest: &Digest) -> Result<Option<ImageId>> {
        Ok(None)
    }

    /// The repository digests of one image, sorted.
    pub fn repo_digests(&self, _id: &ImageId) -> Result<Vec<RepoDigest>> {
        Ok(Vec::new())
    }

    /// All repository digests, sorted.
    pub fn all_repo_digests(&self) -> Result<Vec<(RepoDigest, ImageId)>> {
        Ok(Vec::new())
    }
}
