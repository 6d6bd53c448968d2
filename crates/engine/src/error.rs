//! The one error of every verb: a kind for programs, a message for people, and hints on what to do.
//!
//! Messages follow Docker's words where Docker has words for the case. How an error looks on a terminal and
//! which exit code it gives is the caller's business; the kind is there so that it need not read messages.

use std::fmt;

/// What sort of failure it is: decides exit codes and, in an API, the HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// What was named is not there.
    NotFound,
    /// The request itself is wrong: a malformed reference, filter, archive or option.
    Invalid,
    /// The request is right but the state forbids it: an image in use, a name taken.
    Conflict,
    /// Permission is missing.
    Denied,
    /// Something outside (a registry, a disk with space) did not answer or is not there.
    Unavailable,
    /// Right and possible in principle, but not done by this build on this machine.
    Unsupported,
    /// A step of a build failed.
    BuildFailed,
    /// A broken invariant or an unexpected failure of the system.
    Internal,
}

/// A verb's failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// For programs.
    pub kind: Kind,
    /// What stands before the message where more is to be seen: the end of a step's output, lines of a
    /// Dockerfile. Whole lines, or nothing.
    pub detail: String,
    /// For people: lower-case, no final dot, names what was asked and what was found.
    pub message: String,
    /// What to do about it, each a sentence of its own; may be empty.
    pub hints: Vec<String>,
}

impl Error {
    /// An error of that kind with no hints.
    pub fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error { kind, detail: String::new(), message: message.into(), hints: Vec::new() }
    }

    /// [`Kind::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Error {
        Error::new(Kind::NotFound, message)
    }

    /// [`Kind::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Error {
        Error::new(Kind::Invalid, message)
    }

    /// [`Kind::Conflict`].
    pub fn conflict(message: impl Into<String>) -> Error {
        Error::new(Kind::Conflict, message)
    }

    /// [`Kind::Unsupported`].
    pub fn unsupported(message: impl Into<String>) -> Error {
        Error::new(Kind::Unsupported, message)
    }

    /// [`Kind::Internal`].
    pub fn internal(message: impl Into<String>) -> Error {
        Error::new(Kind::Internal, message)
    }

    /// An I/O failure with what was being done to which path. The kind follows the errno: a full disk or a
    /// missing file is not our bug, and the hint says what to do about the former.
    pub fn io(doing: impl fmt::Display, error: &std::io::Error) -> Error {
        let (kind, hint) = match error.kind() {
            std::io::ErrorKind::NotFound => (Kind::NotFound, None),
            std::io::ErrorKind::PermissionDenied => (Kind::Denied, None),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => (
                Kind::Unavailable,
                Some("free some space (strake system prune helps), then run the same command again"),
            ),
            std::io::ErrorKind::ReadOnlyFilesystem => (Kind::Unavailable, None),
            _ => (Kind::Internal, None),
        };
        let built = Error::new(kind, format!("{doing}: {error}"));
        match hint {
            Some(hint) => built.hint(hint),
            None => built,
        }
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hints.push(hint.into());
        self
    }

    /// Puts what was being done before the message: `context: message`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Error {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// What every verb returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_says_what_to_do() {
        let error = Error::io("writing /x", &std::io::Error::from(std::io::ErrorKind::StorageFull));
        assert_eq!(error.kind, Kind::Unavailable);
        assert!(error.message.starts_with("writing /x: "));
        assert_eq!(error.hints.len(), 1);
    }

    #[test]
    fn context_goes_in_front() {
        let error = Error::invalid("no such filter").context("images");
        assert_eq!(error.to_string(), "images: no such filter");
    }
}
