//! Values of the OCI image and distribution specifications, as Docker writes and reads them.
//!
//! `Reference` names an image, `Digest` names bytes; `DiffId`, `ChainId` and `ImageId` are the
//! three roles a digest plays in an image, kept apart by type. `Document` holds a JSON document
//! together with the bytes it was received in: a digest is always of bytes that are held.
//!
//! No I/O happens here, so nothing here can fail but parsing.
#![forbid(unsafe_code)]

mod config;
mod descriptor;
mod digest;
mod document;
mod identity;
mod manifest;
pub mod media_type;
mod platform;
mod reference;

pub use config::{Config, Empty, Healthcheck, History, ImageConfig, RootFs, null_default};
pub use descriptor::Descriptor;
pub use digest::{Digest, DigestError, Hasher, HashingWriter, Sha512Hasher};
pub use document::{Document, DocumentError};
pub use identity::{ChainId, DiffId, ImageId};
pub use manifest::{Index, Manifest};
pub use platform::{Platform, PlatformError};
pub use reference::{DEFAULT_TAG, Reference, ReferenceError};

/// Annotation keys of the OCI image specification that strake reads or writes.
pub mod annotation {
    /// Name of the image that the annotated image was built on.
    pub const BASE_NAME: &str = "org.opencontainers.image.base.name";
    /// Manifest digest of the image that the annotated image was built on.
    pub const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";
    /// In an OCI layout's index: the tag, or whole reference, of a manifest.
    pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
    /// containerd's and Docker's key for the whole reference of a manifest in a layout.
    pub const IMAGE_NAME: &str = "io.containerd.image.name";
}
