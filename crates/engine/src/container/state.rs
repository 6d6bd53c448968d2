//! What is kept of a container: how it runs, and what became of it. JSON in the store's record.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A container's record beside its name and image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerState {
    /// The image as it was named on the command line.
    pub image_name: String,
    /// How it runs.
    pub run: RunConfig,
    /// What became of it.
    pub status: Status,
    /// Process id, on the host, of the strake process that runs it; 0 while it does not run.
    pub pid: i32,
    /// Exit code of the last run.
    pub exit_code: i32,
    /// Why the last run could not start.
    pub error: String,
    /// When it last started, RFC 3339.
    pub started: Option<String>,
    /// When it last ended, RFC 3339.
    pub finished: Option<String>,
}

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Made, never started.
    Created,
    /// Running, if its lock is held; else its strake process was killed.
    Running,
    /// Ended.
    Exited,
}

/// How a container runs: the image's config and the command line, combined.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    /// The image's entry point, or the one given instead.
    pub entrypoint: Vec<String>,
    /// The image's command, or the one given instead.
    pub cmd: Vec<String>,
    /// `NAME=value`, in order, each name once.
    pub env: Vec<String>,
    /// Working directory, a path in the image.
    pub working_dir: String,
    /// `user[:group]`; empty for root.
    pub user: String,
    /// Host name.
    pub hostname: String,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether its standard input is that of the command.
    pub stdin: bool,
    /// Labels: the image's and the given ones.
    pub labels: BTreeMap<String, String>,
    /// What is mounted.
    pub mounts: Vec<MountPoint>,
    /// Its network.
    pub network: NetworkMode,
    /// Whether its root file system is read-only.
    pub read_only: bool,
    /// Capabilities added to Docker's default set, without `CAP_`.
    pub cap_add: Vec<String>,
    /// Capabilities taken from it.
    pub cap_drop: Vec<String>,
    /// All capabilities, all devices, no filter.
    pub privileged: bool,
    /// Whether a small init is its first process.
    pub init: bool,
    /// Signal that stops it.
    pub stop_signal: String,
    /// `name` and `address` pairs for `/etc/hosts`.
    pub extra_hosts: Vec<(String, String)>,
    /// `-- runtime`: name or path of an OCI runtime; `None`: the built-in one.
    pub runtime: Option<String>,
    /// Whether it is removed when it ends.
    pub auto_remove: bool,
}

impl RunConfig {
    /// Program and arguments.
    pub fn args(&self) -> Vec<String> {
        self.entrypoint.iter().chain(&self.cmd).cloned().collect()
    }
}

/// Network of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// The host's.
    #[default]
    Host,
    /// A loopback interface only.
    None,
}

/// One thing mounted in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// Absolute path in the container.
    pub target: String,
    /// What it is.
    pub kind: MountKind,
    /// Whether the container may only read.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// An absolute path of the host.
    Bind(String),
    /// An empty directory in memory, with mount options such as `size=64m`.
    Tmpfs(Vec<String>),
    /// An empty directory of the container's own, kept as long as it (`VOLUME`, `-v PATH`).
    Anonymous,
}
