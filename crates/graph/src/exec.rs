//! Running a process in a tree.

use serde::{Deserialize, Serialize};

/// A process run in the first input's tree, with everything that its result depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// Program and arguments; the program is looked up in `PATH` of `env`.
    pub args: Vec<String>,
    /// `NAME=value`, in order, each name once.
    pub env: Vec<String>,
    /// `NAME=value` of the proxies that the build was given; they win over `env`. No part of any
    /// cache key: the way to the network is not what a step depends on.
    #[serde(skip)]
    pub proxy_env: Vec<String>,
    /// Working directory, an absolute path in the image.
    pub cwd: String,
    /// `user[:group]`, names (looked up in the tree) or numbers; empty means root.
    pub user: String,
    /// Network of the process.
    pub network: Network,
    /// How confined the process is.
    pub security: Security,
    /// What is mounted besides the tree; numbers of inputs index the vertex's list.
    pub mounts: Vec<Mount>,
    /// Files that exist for the process only, such as a here-document that is a script.
    pub files: Vec<InlineFile>,
    /// `name` and `address` pairs for `/etc/hosts`.
    pub extra_hosts: Vec<(String, String)>,
    /// Host name; empty for the default.
    pub hostname: String,
}

/// Network of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// What the build says: the host's, where nothing else was asked for.
    #[default]
    Default,
    /// A loopback interface only.
    None,
    /// The host's.
    Host,
}

/// How confined a process is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Security {
    /// Docker's default capabilities, seccomp filter and masked paths.
    #[default]
    Sandbox,
    /// All capabilities and no filter; needs an entitlement.
    Insecure,
}

/// A file that exists for one process only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InlineFile {
    /// Absolute path in the container.
    pub path: String,
    /// Content.
    pub data: String,
    /// Permission bits.
    pub mode: u32,
}

/// Something mounted for one process (`RUN --mount`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path in the container.
    pub target: String,
    /// What is mounted there.
    pub kind: MountKind,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum MountKind {
    /// A path of an input's tree.
    Bind {
        /// Number of the input.
        input: u32,
        /// Path in that tree.
        source: String,
        /// Whether the process may write; what it writes is dropped.
        writable: bool,
    },
    /// A directory that outlives the step and is no part of the image.
    Cache(CacheMount),
    /// An empty directory in memory.
    Tmpfs {
        /// Limit in bytes.
        size: Option<u64>,
    },
    /// A secret as a file. Its bytes are no part of any key.
    Secret {
        /// Name the secret was given by.
        id: String,
        /// Whether the step fails without it.
        required: bool,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// An environment variable that gets the value; the file is then made only where a target was given.
        env: Option<String>,
        /// Whether a file is made at all.
        file: bool,
    },
    /// A socket of an SSH agent.
    Ssh {
        /// Name the agent was given by.
        id: String,
        /// Whether the step fails without it.
        required: bool,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

/// A directory that outlives the step and is no part of the image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CacheMount {
    /// Name of the cache.
    pub id: String,
    /// Number of the input that fills it when it is new, and the path in that tree.
    pub from: Option<(u32, String)>,
    /// Who may use it at once.
    pub sharing: Sharing,
    /// Whether the process may only read.
    pub read_only: bool,
    /// Permission bits of a new cache.
    pub mode: u32,
    /// Owner of a new cache.
    pub uid: u32,
    /// Group of a new cache.
    pub gid: u32,
}

impl MountKind {
    /// The number of the input that it reads, if any.
    pub fn input(&self) -> Option<u32> {
        match self {
            MountKind::Bind { input, .. } => Some(*input),
            MountKind::Cache(cache) => cache.from.as_ref().map(|(input, _)| *input),
            _ => None,
        }
    }
}

/// Who may use a cache mount at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sharing {
    /// Any number of processes.
    #[default]
    Shared,
    /// A new one for whoever comes while it is in use.
    Private,
    /// One after the other.
    Locked,
}
