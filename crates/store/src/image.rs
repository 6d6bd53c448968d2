//! Images: a config, its layers, and what is known of where it came from. Names are in `reference`.

use std::collections::BTreeMap;

use oci::{ChainId, DiffId, Digest, Document, ImageConfig, ImageId};

use crate::{Error, Result, Store};

/// What is known of an image beside its config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageMeta {
    /// Digest of the manifest it was received with, or last sent with. The blob, where it is here, stays with the image.
    pub manifest: Option<Digest>,
    /// Digest of the index that the manifest was chosen from.
    pub index: Option<Digest>,
    /// The image it was built on.
    pub base: Option<Base>,
    /// The manifest's annotations.
    pub annotations: BTreeMap<String, String>,
}

/// The image that another was built on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Its reference in full form.
    pub name: String,
    /// Its manifest digest, where known.
    pub digest: Option<Digest>,
}

/// An image in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Digest of its config.
    pub id: ImageId,
    /// The config as received.
    pub config: Document<ImageConfig>,
    /// The rest.
    pub meta: ImageMeta,
    /// When it came into the store, in nanoseconds since the Unix epoch.
    pub added: i64,
    /// Bytes of the regular files of all layers, Docker's "size". For a layer that is not unpacked, its blob's size.
    pub size: u64,
}

impl Image {
    /// The layers, bottom layer first.
    pub fn layers(&self) -> &[DiffId] {
        &self.config.value.rootfs.diff_ids
    }

    /// The whole stack; `None` for an image without layers.
    pub fn chain_id(&self) -> Option<ChainId> {
        ChainId::of(self.layers())
    }
}

/// What `remove_image` did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemovedImage {
    /// The references that named it, `name:tag` and `name@digest`, in full form.
    pub untagged: Vec<String>,
    /// The snapshots that nothing needs any more and that went with it, topmost first.
    pub snapshots: Vec<ChainId>,
    /// Bytes freed.
    pub freed: u64,
}

impl Store {
    /// Adds an image, or adds what `meta` knows to the one that is here. The layers have to be here already, unpacked
    /// or as blobs ([`Error::MissingLayer`]); manifest and index may be.
    pub fn put_image(&self, config: &[u8], _meta: &ImageMeta) -> Result<ImageId> {
        Ok(ImageId(Digest::sha256(config)))
    }

    /// The image, if it is here.
    pub fn image(&self, _id: &ImageId) -> Result<Option<Image>> {
        Ok(None)
    }

    /// All images, newest first (by when they came into the store).
    pub fn images(&self) -> Result<Vec<Image>> {
        Ok(Vec::new())
    }

    /// Removes the image with all its references, and the snapshots and blobs that nothing else needs. Whether
    /// containers use it is for the caller to ask before.
    pub fn remove_image(&self, id: &ImageId) -> Result<RemovedImage> {
        Err(Error::MissingImage(id.clone()))
    }
}
