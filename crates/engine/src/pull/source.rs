//! What a pull is asked for, and what it gives.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use oci::{Digest, ImageId, Platform, Reference};

use crate::{Error, Result};

/// What to pull.
#[derive(Debug, Clone)]
pub struct PullRequest<'a> {
    /// From where.
    pub source: PullSource,
    /// What the image is to run on, where there are several.
    pub platform: Platform,
    /// Every tag of the repository.
    pub all_tags: bool,
    /// Blobs fetched at once; `None`: [`PullRequest::JOBS`].
    pub jobs: Option<usize>,
    /// Let the reference stand for the image here. Not so for a base of another platform than this machine's: the
    /// name goes on to mean what it does.
    pub names: bool,
    /// Set when it is to end early: what came by then is kept for the next pull.
    pub interrupted: Option<&'a AtomicBool>,
}

impl PullRequest<'_> {
    /// Blobs fetched at once, unless said otherwise: Docker's number.
    pub const JOBS: usize = 3;

    /// The image of that source and platform.
    pub fn new(source: PullSource, platform: Platform) -> Self {
        PullRequest { source, platform, all_tags: false, jobs: None, names: true, interrupted: None }
    }
}

/// Where an image is pulled from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullSource {
    /// A registry; the tag is `latest` where the reference has neither tag nor digest.
    Registry(Reference),
    /// An OCI layout in a directory on the host; the images named so in it, or all. A name that is a tag alone becomes
    /// one of the directory's name.
    Layout {
        /// The directory.
        path: PathBuf,
        /// `org.opencontainers.image.ref.name` or digest of the image.
        tag: Option<String>,
    },
}

impl PullSource {
    /// Parses `oci:PATH[:TAG]`, or a reference.
    pub fn parse(text: &str) -> Result<PullSource> {
        let Some(rest) = text.strip_prefix("oci:") else {
            let reference = Reference::parse(text).map_err(|e| Error::invalid(e.to_string()))?;
            return Ok(PullSource::Registry(reference.with_default_tag()));
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
            _ => (rest, None),
        };
        Ok(PullSource::Layout { path: path.into(), tag })
    }
}

/// What was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The image.
    pub image: ImageId,
    /// Digest of the manifest or index that the reference named.
    pub digest: Option<Digest>,
    /// The names that the image has now.
    pub references: Vec<Reference>,
    /// Whether it was in the store already, under the same name.
    pub up_to_date: bool,
}
