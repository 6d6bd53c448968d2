//! What strake and its supervisor say to each other.
//!
//! ```text
//! strake ── Request ──> supervisor        one socket; closing it ends the supervisor and every container
//! strake <── Event ──── supervisor        one socket per container, made for it by the request;
//! strake ── Control ──> supervisor        closing it kills that container
//! supervisor <── Report ── container      one socket per container, until exec closes it
//! ```

use crate::container::{Failure, RootFs};
use crate::spec::{Seccomp, Spec};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Run a container. Descriptors: its event socket, the roots of `sources` in order, then those of `streams`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub id: String,
    /// Without its seccomp section.
    pub spec: Spec,
    /// A section sent earlier, by its place in the order of those sent. Compiled once, it serves every step of a build.
    pub filter: Option<usize>,
    /// The section, the first time: its place is the next.
    pub new_filter: Option<Seccomp>,
    pub rootfs: RootFs,
    /// The external runtime's executable.
    pub external: Option<PathBuf>,
    pub record_owners: bool,
    pub init: bool,
    /// Destination, and path inside the descriptor.
    pub sources: Vec<(PathBuf, PathBuf)>,
    pub cgroup_parent: Option<String>,
    pub streams: Streams,
}

/// What the container's standard streams are.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Streams {
    /// Descriptors: stdin if so said, stdout, stderr.
    Files { stdin: bool },
    /// A new terminal of this size.
    Terminal { columns: u16, rows: u16 },
}

/// What becomes of a container.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    /// Descriptor: the controlling end of its terminal.
    Terminal,
    /// The program runs, as this process; 0 where it is not known.
    Started { pid: i32 },
    /// It is over. Descriptor: a memory file of owners, if `owners`.
    Exited { code: i32, error: Option<String>, warnings: Vec<String>, owners: bool, out_of_memory: bool },
}

/// What is asked of a running container.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Control {
    /// Send this signal to its process 1.
    Signal(i32),
}

/// What a container says while it is being set up.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    Warning(String),
    /// Descriptor: where its chown family asks.
    Listener,
    Failed(Failure),
}
