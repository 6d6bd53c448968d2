//! Why a copy was refused. The first two texts are BuildKit's.

use crate::error::Name;

/// Why a copy was refused. Paths are in the image, unless the text says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A directory is to go where a file or a link is.
    #[error("cannot copy to non-directory: /{0}")]
    Occupied(Name),
    /// A file is to go where a directory is.
    #[error("cannot replace to directory /{0} with file")]
    IsADirectory(Name),
    /// A directory is needed where a file is.
    #[error("{doing} /{path}: not a directory")]
    NotADirectory {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: Name,
    },
    /// Nothing is where a directory should be.
    #[error("/{0}: no such directory")]
    Missing(Name),
    /// A path leads through more links than are followed.
    #[error("/{0}: too many levels of symbolic links")]
    Links(Name),
    /// A name that marks a deleted file in a layer.
    #[error("/{0}: names that begin with .wh. mark deleted files in a layer; rename the file, or exclude it")]
    Reserved(Name),
    /// A character device 0:0 marks a deleted file in a layer.
    #[error("/{0}: a character device 0:0 marks a deleted file in a layer and cannot be copied")]
    Whiteout(Name),
    /// Only root can make devices.
    #[error("/{path}: making a device needs root: {source}; exclude it, or run as root")]
    Device {
        /// Where it was to be made.
        path: Name,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// A file of the source became shorter while it was being read.
    #[error("{path} in {label} changed while it was being copied; try again when nothing writes to it")]
    Changed {
        /// Path in the source.
        path: Name,
        /// The source.
        label: String,
    },
    /// It was given up from outside.
    #[error("the copy was interrupted")]
    Interrupted,
    /// Reading or writing failed.
    #[error(transparent)]
    Tree(#[from] crate::Error),
}
