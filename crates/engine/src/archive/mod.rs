//! Images in archives: Docker's (`docker save`) and the OCI image layout in a tar.
//!
//! What is written serves both: an OCI layout that also holds Docker's `manifest.json`, as Docker
//! itself writes since version 25. What is read may be either, old or new.

mod files;
mod meter;
mod read;
mod write;

pub use read::Source;
pub(crate) use read::{check_config, read, read_layout, record};
pub use write::Format;
pub(crate) use write::{Archive, DockerManifest, Item, blob_path, write};

/// The largest JSON document that an archive may hold, in bytes.
pub(crate) const DOCUMENT_LIMIT: u64 = 16 << 20;
/// The most entries that an archive may have.
pub(crate) const ENTRY_LIMIT: usize = 100_000;
