//! The crate's one error type. Its texts are what a user reads: each names the thing that failed and, where the
//! kernel's errno would not say it, what to do.

use std::io;
use std::path::PathBuf;

/// What can go wrong between this crate and the kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed; `doing` is the action in words, with its path: "mounting /proc".
    #[error("{doing}: {source}")]
    Io {
        /// The action, in words a user understands.
        doing: String,
        /// The kernel's answer.
        source: io::Error,
    },

    /// The kernel, or the container we run in, does not allow something we cannot do without.
    #[error("{what}; {remedy}")]
    Unsupported {
        /// What is missing.
        what: String,
        /// The setting, package or version that gives it.
        remedy: String,
    },

    /// The id maps of a user namespace could not be written.
    #[error("mapping ids into a user namespace: {0}")]
    IdMap(String),

    /// More layers than overlayfs takes.
    #[error(
        "cannot stack {count} layers: overlayfs takes {limit} at most; squash the image or flatten it with `export` and `import`"
    )]
    TooManyLayers {
        /// Layers asked for.
        count: usize,
        /// The kernel's limit.
        limit: usize,
    },

    /// The file system below a container's writable layer cannot serve as one.
    #[error(
        "{path}: {kind} cannot hold a writable overlayfs layer; put the store on another file system with --root (in a container: a volume, or a tmpfs)"
    )]
    UpperFileSystem {
        /// The writable layer's directory.
        path: PathBuf,
        /// The file system's kind, as /proc/mounts names it.
        kind: String,
    },

    /// Something that was tried did not come out as it should, without any call having failed.
    #[error("{0}")]
    Unexpected(String),

    /// The runtime spec (config.json) asks for something malformed, or something we do not do.
    #[error("runtime spec: {0}")]
    Spec(String),

    /// The container could not be set up; the text comes from the process that tried.
    #[error("starting the container: {0}")]
    Container(String),

    /// The supervisor process is gone, or answered what it should not.
    #[error("container supervisor: {0}")]
    Supervisor(String),

    /// An external OCI runtime failed.
    #[error("{runtime}: {message}", runtime = .runtime.display())]
    Runtime {
        /// The runtime's executable.
        runtime: PathBuf,
        /// Its last words.
        message: String,
    },
}

impl Error {
    /// A failed system call: `Error::io("mounting /proc", errno)`.
    pub fn io(doing: impl Into<String>, source: impl Into<io::Error>) -> Error {
        Error::Io { doing: doing.into(), source: source.into() }
    }

    /// The errno behind this error, if there is one.
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Error::Io { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

/// Adds to a bare errno what was being done: `mkdirat(..).doing(|| format!("creating {}", path.display()))?`.
pub trait Context<T> {
    /// Wraps the error as [`Error::Io`]; `doing` runs only on failure.
    fn doing<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn doing<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T, Error> {
        self.map_err(|source| Error::Io { doing: doing().into(), source: source.into() })
    }
}
