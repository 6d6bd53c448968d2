//! The crate's one error type.
//!
//! Paths in it are as the user knows them: `path` of a system call is on the host, `entry` is in the image.

use std::fmt;
use std::io;
use std::path::Path;

/// Why a tree could not be read or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed; `doing` is the action in words with its path: "creating /var/lib/…/etc/passwd".
    #[error("{doing}: {source}")]
    Io {
        /// The action.
        doing: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// An archive is malformed, truncated, or tries to leave its root.
    #[error("bad archive: {entry}: {reason}")]
    Archive {
        /// The entry, or where in the stream.
        entry: Name,
        /// What is wrong with it.
        reason: String,
    },
    /// An archive is larger than it may be.
    #[error(
        "archive refused: {entry}: {what} is over the limit of {limit}; raise it if this archive can be trusted"
    )]
    Limit {
        /// The entry at which the limit was passed.
        entry: Name,
        /// What is counted: "number of entries", "bytes of all files", …
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// An owner that this user namespace has no id for.
    #[error(
        "{entry}: owner {owner} is not mapped: this user namespace has ids {range}; give the user a larger range in /etc/subuid and /etc/subgid"
    )]
    UnmappedOwner {
        /// The entry.
        entry: Name,
        /// `uid N` or `gid N`.
        owner: String,
        /// The mapped range, `0-65536`.
        range: String,
    },
    /// The layers below, which this one takes for granted, will not come.
    #[error("the layers below cannot be looked at: {0}")]
    Lowers(String),
    /// From mounting or entering namespaces.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
}

/// A path of an image, printed as text with what is not UTF-8 or not printable escaped.
#[derive(Clone, PartialEq, Eq)]
pub struct Name(pub Vec<u8>);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Hostile names reach terminals through this: no control characters, no endless lines.
        const MOST: usize = 400;
        let shown = &self.0[..self.0.len().min(MOST)];
        for chunk in shown.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
            }
            for b in chunk.invalid() {
                write!(f, "\\x{b:02x}")?;
            }
        }
        if self.0.len() > MOST { write!(f, "… ({} bytes)", self.0.len()) } else { Ok(()) }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl<T: AsRef<[u8]>> From<T> for Name {
    fn from(path: T) -> Name {
        Name(path.as_ref().to_vec())
    }
}

impl Error {
    /// A failed system call.
    pub fn io(doing: impl Into<String>, source: impl Into<io::Error>) -> Error {
        Error::Io { doing: doing.into(), source: source.into() }
    }

    /// A malformed archive.
    pub fn archive(entry: impl Into<Name>, reason: impl Into<String>) -> Error {
        Error::Archive { entry: entry.into(), reason: reason.into() }
    }

    /// Whether the file system is full (or a quota is): freeing space and trying again is what helps.
    pub fn is_no_space(&self) -> bool {
        let Error::Io { source, .. } = self else { return false };
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// Adds to a bare errno what was being done and to which host path.
pub(crate) trait Doing<T> {
    /// `openat(..).doing("opening", path)?` gives "opening PATH: errno".
    fn doing(self, verb: &str, path: &Path) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, verb: &str, path: &Path) -> Result<T, Error> {
        self.map_err(|e| Error::io(format!("{verb} {}", path.display()), e))
    }
}
