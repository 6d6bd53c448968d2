//! Why a registry cannot be served. What is wrong with a request is no error of the server: see `fault`.

use std::io;
use std::path::PathBuf;

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is none.
    #[error("invalid address {addr:?}: {reason}")]
    Address {
        /// As given.
        addr: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Beyond loopback, and no accounts.
    #[error(
        "{addr} can be reached from other machines, and there are no accounts: anybody could push and delete"
    )]
    Anonymous {
        /// The address as given.
        addr: String,
    },
    /// The address is in use, or not of this machine.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address as given.
        addr: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A file that was named cannot be used.
    #[error("{what} {}: {reason}", path.display())]
    File {
        /// What it should be: `htpasswd file`, `certificate`, `key`.
        what: &'static str,
        /// Its path on the host.
        path: PathBuf,
        /// What is wrong, with the line where there is one.
        reason: String,
    },
    /// The runtime's threads cannot be started.
    #[error("cannot start the server: {0}")]
    Start(io::Error),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// The result of starting.
pub type Result<T, E = Error> = std::result::Result<T, E>;
