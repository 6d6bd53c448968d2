//! A registry: the OCI distribution protocol's server side (specification 1.1, with what its main branch adds: tags
//! beside a digest, `digest-algorithm`), over the store that images are kept in.
//!
//! A blob streams to disk while it is hashed, and from the file when it is served: memory is bounded whatever its
//! size. All state is in the store (see `store`'s `registry_*` tables), so that any number of servers and other strake
//! processes use it at once, and an upload goes on where a server that was killed left it; only the running hashes of
//! unfinished uploads are held in memory, and made again from the file where they are lost.
//!
//! What it does not do: it checks accounts against one htpasswd file, and knows no roles, tokens, mirrors or other
//! storage.
#![forbid(unsafe_code)]

mod accounts;
mod address;
mod blobs;
mod body;
mod connection;
mod error;
mod fault;
mod handle;
mod hashes;
mod listings;
mod manifest;
mod manifests;
mod query;
mod range;
mod receive;
mod reply;
mod route;
mod run;
mod tls;
mod uploads;

use std::path::PathBuf;
use std::sync::Arc;

pub use error::{Error, Result};
pub use run::Server;

/// Bytes of the largest manifest that is taken: what the specification asks of a registry at least.
pub const MANIFEST_LIMIT: usize = 4 * 1024 * 1024;

/// How to serve.
#[derive(Clone, Default)]
pub struct Options {
    /// `HOST:PORT`, `:PORT` for all interfaces; port 0 takes a free one.
    pub addr: String,
    /// Paths on the host of a certificate chain and its key, PEM: then it is TLS, and nothing else.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Path on the host of an htpasswd file with bcrypt hashes: then every request needs a name and password of it.
    pub htpasswd: Option<PathBuf>,
    /// Whether to serve beyond loopback without accounts.
    pub allow_anonymous: bool,
    /// Whether manifests are taken that need blobs or manifests which are not there.
    pub sparse: bool,
    /// Told of failures that are not the client's, a line each. Called from any thread.
    pub told: Option<Arc<dyn Fn(String) + Send + Sync>>,
}
