//! The store's errors: each names the path, digest or reference it is about, and what to do where something
//! can be done. Whether a failure is shown, and with which exit code, is the caller's business.

use std::io;
use std::path::{Path, PathBuf};

use oci::{ChainId, DiffId, Digest, ImageId};

const REPAIR: &str = "; strake system check --repair drops what is broken";

/// Why a store operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done, such as `cannot create`.
        doing: &'static str,
        /// To which path on the host.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The disk, or the user's quota on it, is full.
    #[error(
        "no space left on device while writing {}; free some space (strake system prune helps), then run the same \
         command again", path.display()
    )]
    NoSpace {
        /// The path that was being written.
        path: PathBuf,
    },
    /// The database failed.
    #[error("database {}: {message}", path.display())]
    Database {
        /// The database file.
        path: PathBuf,
        /// What SQLite says.
        message: String,
    },
    /// Another process held the database's write lock for too long.
    #[error("database {} is locked by another process for over a minute", path.display())]
    Busy {
        /// The database file.
        path: PathBuf,
    },
    /// A newer strake made the store.
    #[error(
        "the store {} has format {found}, and this strake knows formats up to {known}: use a newer strake, or \
         another --root", root.display()
    )]
    NewerFormat {
        /// The store's directory.
        root: PathBuf,
        /// The format it says it has.
        found: u64,
        /// The newest format that this program knows.
        known: u64,
    },
    /// The directory holds something else than a store.
    #[error("{} is not a strake store: {reason}; choose an empty or new directory", root.display())]
    NotAStore {
        /// The directory.
        root: PathBuf,
        /// What was found in it.
        reason: String,
    },
    /// The blob is not in the store.
    #[error("blob {0} is not in the store")]
    MissingBlob(Digest),
    /// The snapshot is not in the store.
    #[error("snapshot {0} is not in the store")]
    MissingSnapshot(ChainId),
    /// A layer is neither unpacked nor there as a blob.
    #[error("layer {0} is in the store neither unpacked nor as a blob")]
    MissingLayer(DiffId),
    /// The image is not in the store.
    #[error("image {0} is not in the store")]
    MissingImage(ImageId),
    /// The container is not in the store.
    #[error("no such container: {0}")]
    MissingContainer(String),
    /// Bytes do not have the digest they should have.
    #[error("{what}: expected {expected}, got {found}{}", if *stored { REPAIR } else { "" })]
    DigestMismatch {
        /// What was read: a path or a word for the source.
        what: String,
        /// The digest that was asked for.
        expected: Digest,
        /// The digest of the bytes that came.
        found: Digest,
        /// Whether the bytes were in the store already, and so are damaged.
        stored: bool,
    },
    /// Something that counts is not as it should be on the disk.
    #[error("{what} is damaged: {detail}{REPAIR}")]
    Damaged {
        /// What, with its digest.
        what: String,
        /// What is wrong, with the path.
        detail: String,
    },
    /// A blob is bigger than the caller takes.
    #[error("blob {digest} has {size} bytes, more than the {limit} allowed here")]
    BlobTooLarge {
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// The caller's limit in bytes.
        limit: u64,
    },
    /// A digest's algorithm is one that the store does not write.
    #[error("{0}: only sha256 digests can be stored")]
    Algorithm(Digest),
    /// An image config is not valid.
    #[error("image config {id}: {reason}")]
    InvalidConfig {
        /// The config's digest.
        id: ImageId,
        /// What is wrong with it.
        reason: String,
    },
    /// A reference that cannot name an image in the store.
    #[error("cannot name an image {reference}: {reason}")]
    InvalidReference {
        /// The reference.
        reference: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A container ID or name that cannot be used.
    #[error("invalid container {what} {text:?}: {reason}")]
    InvalidContainer {
        /// `ID` or `name`.
        what: &'static str,
        /// The text.
        text: String,
        /// What is allowed.
        reason: &'static str,
    },
    /// Another container has the name.
    #[error(
        "conflict: the container name {name:?} is already in use by container {id:?}; remove or rename that \
         container to reuse the name"
    )]
    NameInUse {
        /// The name.
        name: String,
        /// The ID of the container that has it.
        id: String,
    },
    /// The container's lock is held: it runs, or is being changed.
    #[error("container {0} is running or being changed by another process")]
    ContainerBusy(String),
    /// Another request or process is writing to the upload.
    #[error("upload {0} is being written to")]
    UploadBusy(String),
    /// There are as many unfinished uploads as there may be.
    #[error("there are {0} unfinished uploads, and no more are taken until some end")]
    TooManyUploads(u64),
    /// A hook that the caller gave failed.
    #[error("verifying {what}: {source}")]
    Hook {
        /// What was verified.
        what: String,
        /// The hook's error.
        source: HookError,
    },
}

/// What a hook of the caller may fail with.
pub type HookError = Box<dyn std::error::Error + Send + Sync>;

/// The result of every store operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failed file operation: `doing` is put before the path. A full disk becomes [`Error::NoSpace`].
    pub fn io(doing: &'static str, path: &Path, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::NoSpace { path: path.to_owned() }
            }
            _ => Error::Io { doing, path: path.to_owned(), source },
        }
    }

    /// Whether the disk is full.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Error::NoSpace { .. })
    }
}
