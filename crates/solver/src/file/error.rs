//! Why a file operation could not be done.

use snapshot::copy;

/// Why a file operation could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A source that is not there.
    #[error("{source_path:?} not found in {place}{}", after_colon(.hint))]
    NotFound {
        /// The source, as the user wrote it or nearly so.
        source_path: String,
        /// Where it was looked for.
        place: String,
        /// The rule that leaves it out, or what is near.
        hint: Option<String>,
    },
    /// A pattern that cannot be read.
    #[error("{message}: {pattern:?}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong.
        message: &'static str,
    },
    /// Permission bits that cannot be read.
    #[error(
        "invalid chmod parameter: {0:?}: it should be octal, such as 644, or symbolic, such as u=rwX,go=rX"
    )]
    Mode(String),
    /// Several sources and a destination that is no directory.
    #[error(
        "when using COPY with more than one source file, the destination must be a directory and end with a /: {0:?}"
    )]
    SeveralSources(String),
    /// A user or group that the image does not have.
    #[error("unable to convert uid/gid chown string to host mapping: {0}")]
    Owner(#[from] crate::user::Error),
    /// A user or group by name, where the copy sees no image to look it up in.
    #[error(
        "unable to convert uid/gid chown string to host mapping: {0}: a COPY --link sees nothing of the image it is \
         for, and scratch has no users; give numbers, such as --chown=1000:1000"
    )]
    OwnerUnseen(crate::user::Error),
    /// A path of a source leads through more links than are followed, or through a file.
    #[error("{path:?} in {place}: {reason}")]
    Path {
        /// The path.
        path: String,
        /// The tree it is in.
        place: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Files could not be put together or copied.
    #[error(transparent)]
    Copy(#[from] copy::Error),
    /// A tree could not be read or written.
    #[error(transparent)]
    Tree(#[from] snapshot::Error),
}

impl Error {
    /// Whether the file system is full.
    pub fn is_no_space(&self) -> bool {
        match self {
            Error::Copy(copy::Error::Tree(error)) | Error::Tree(error) => error.is_no_space(),
            _ => false,
        }
    }

    /// Whether it was given up from outside.
    pub fn is_interrupted(&self) -> bool {
        matches!(self, Error::Copy(copy::Error::Interrupted))
    }
}

fn after_colon(hint: &Option<String>) -> String {
    hint.as_ref().map_or_else(String::new, |hint| format!(": {hint}"))
}
