//! Why a graph could not be solved.

use std::io;
use std::path::PathBuf;

use graph::VertexId;

/// A failed solve: which vertex, and why.
#[derive(Debug, thiserror::Error)]
#[error("{failure}")]
pub struct Error {
    /// The vertex that failed; `None` where none had begun.
    pub vertex: Option<VertexId>,
    /// Why.
    #[source]
    pub failure: Failure,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The process of a step ended with another code than 0.
    #[error(
        "process {command:?} did not complete successfully: exit code: {code}{}",
        if *out_of_memory { ": out of memory: the step reached its memory limit" } else { "" }
    )]
    Exit {
        /// The command, as one line.
        command: String,
        /// Exit code; 128 + n for signal n.
        code: i32,
        /// The end of what it printed.
        tail: Vec<u8>,
        /// Whether a process of it was killed because the step reached its limit of memory.
        out_of_memory: bool,
    },
    /// The process of a step could not be started.
    #[error("process {command:?} could not be started: {message}")]
    Start {
        /// The command, as one line.
        command: String,
        /// Why.
        message: String,
    },
    /// The build was interrupted.
    #[error("the build was interrupted")]
    Interrupted,
    /// A step that would have to run and must not.
    #[error("the step is not cached, as --require-cached asks: {}", .0.lines().join("; "))]
    NotCached(Box<crate::explain::Explanation>),
    /// A cached result that was found and is gone, because another process pruned it. The solve begins again.
    #[error("cached results were pruned by another process while this build used them: build again")]
    Vanished,
    /// A user or group name that the image does not have.
    #[error(transparent)]
    User(#[from] crate::user::Error),
    /// A copy that could not be done.
    #[error(transparent)]
    File(#[from] crate::file::Error),
    /// A secret that was not given.
    #[error(
        "secret {0:?} is required by this step and was not given: pass --secret id={0},src=FILE or id={0},env=NAME"
    )]
    Secret(String),
    /// A secret's bytes in a layer that the step made.
    #[error("secret {id:?} was found in the layer that this step made: {place}")]
    SecretInLayer {
        /// The secret's id.
        id: String,
        /// Path in the image, and what of the file.
        place: String,
    },
    /// A source that could not be downloaded.
    #[error("failed to load {what}: {why}")]
    Download {
        /// What was asked for, without what is secret in it.
        what: String,
        /// Why it did not come.
        why: String,
    },
    /// An SSH agent that is of no use.
    #[error("SSH agent {id:?}: {why}")]
    Ssh {
        /// The id it was given by.
        id: String,
        /// Why.
        why: String,
    },
    /// An SSH agent that was not given.
    #[error(
        "no SSH agent {0:?} was given, and this step requires it: pass --ssh {0}, or --ssh {0}=SOCKET or {0}=KEY"
    )]
    NoAgent(String),
    /// Something this version does not do.
    #[error("{0}")]
    Unsupported(String),
    /// A layer that is neither unpacked nor held as a blob.
    #[error("layer {0} is not in the store: pull its image again")]
    MissingLayer(oci::DiffId),
    /// A layer that is elsewhere and did not come.
    #[error("{0}")]
    Fetch(Box<dyn std::error::Error + Send + Sync>),
    /// A layer whose content is not what its image says.
    #[error(
        "the layer that should be {wanted} unpacked as {found}: the blob {blob} is not what its image says"
    )]
    WrongLayer {
        /// The blob that was unpacked.
        blob: oci::Digest,
        /// The DiffID that the image names.
        wanted: oci::DiffId,
        /// The DiffID of what came out.
        found: oci::DiffId,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The file trees.
    #[error(transparent)]
    Snapshot(#[from] snapshot::Error),
    /// Namespaces, mounts and processes.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// A file of strake's own.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done: `write`, `open`, …
        doing: &'static str,
        /// Path on the host.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl Failure {
    /// An I/O failure on a path of the host.
    pub fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Failure {
        let path = path.into();
        move |source| Failure::Io { doing, path, source }
    }
}
