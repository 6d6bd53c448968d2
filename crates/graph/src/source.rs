//! Trees that come from outside the graph, pinned: a name never stands for content here.

use oci::{DiffId, ImageId, Reference};
use serde::{Deserialize, Serialize};

/// A tree from outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Source {
    /// The empty tree.
    Scratch,
    /// The root file system of an image.
    Image(ImageSource),
    /// A build context by its name; the main one is `context`. Which files of it matter is known
    /// to the operation that copies from it, and so is their content's part in the cache key.
    Local(String),
}

/// An image's root file system, pinned by its layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageSource {
    /// The name it was asked for by; for people only, no part of any cache key.
    #[serde(skip)]
    pub reference: Option<Reference>,
    /// The image, where it is in the store.
    #[serde(skip)]
    pub image_id: Option<ImageId>,
    /// Its layers, bottom layer first: what the tree is.
    pub diff_ids: Vec<DiffId>,
}
