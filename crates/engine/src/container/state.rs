//! What is kept of a container: how it runs, and what became of it. JSON in the store's record.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A container's record beside its name and image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerState {
    /// The image as it was named on the command line.
    pub image_name: String,
    /// How it runs.
    pub run: RunConfig,
    /// What became of it.
    pub status: Status,
    /// Process id, on the host, of its process 1; 0 while it does not run, or where it is not known.
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Made, never started.
    #[default]
    Created,
    /// Running, if its lock is held; else its strake process was killed.
    Running,
    /// Ended.
    Exited,
}

impl Status {
    /// Docker's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Exited => "exited",
        }
    }
}

/// How a container runs: the image's config and the command line, combined.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunConfig {
    /// The image's entry point, or the one given instead.
    pub entrypoint: Vec<String>,
    /// The image's command, or the one given instead.
    pub cmd: Vec<String>,
    /// The given variables and then the image's others, `NAME=value`. A `NAME` alone takes that variable away from
    /// those that every container has.
    pub env: Vec<String>,
    /// Working directory, a path in the image; may be empty.
    pub working_dir: String,
    /// `user[:group]`; empty for root.
    pub user: String,
    /// Further groups, names or numbers.
    pub groups: Vec<String>,
    /// Host name.
    pub hostname: String,
    /// Domain name; may be empty.
    pub domainname: String,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether its standard input is that of the command.
    pub stdin: bool,
    /// Labels: the image's and the given ones.
    pub labels: BTreeMap<String, String>,
    /// What is mounted.
    pub mounts: Vec<MountPoint>,
    /// Devices of the host: path there, and path in the container.
    pub devices: Vec<(String, String)>,
    /// Ports that the image or the command line says it serves, such as `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// Its network.
    pub network: NetworkMode,
    /// Name servers and so on, instead of the host's.
    pub dns: Dns,
    /// Whether its root file system is read-only.
    pub read_only: bool,
    /// Capabilities added to Docker's default set, without `CAP_`.
    pub cap_add: Vec<String>,
    /// Capabilities taken from it.
    pub cap_drop: Vec<String>,
    /// All capabilities, all devices, no filter.
    pub privileged: bool,
    /// Whether programs with the setuid bit gain nothing by it.
    pub no_new_privileges: bool,
    /// Whether no filter of system calls applies.
    pub seccomp_unconfined: bool,
    /// Resource limits.
    pub ulimits: Vec<Ulimit>,
    /// Kernel parameters of its namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Size of `/dev/shm` in bytes; `None`: Docker's 64 MiB.
    pub shm_size: Option<u64>,
    /// Limits of its control group.
    pub limits: solver::Limits,
    /// Whether it shares the host's System V IPC and message queues.
    pub host_ipc: bool,
    /// Whether it shares the host's host name.
    pub host_uts: bool,
    /// Whether a small init is its first process.
    pub init: bool,
    /// Signal that stops it, by name or number; empty for TERM.
    pub stop_signal: String,
    /// Seconds between that and KILL; `None`: 10; negative: for ever.
    pub stop_timeout: Option<i64>,
    /// `name` and `address` pairs for `/etc/hosts`.
    pub extra_hosts: Vec<(String, String)>,
    /// `-- runtime`: name or path of an OCI runtime; `None`: the built-in one.
    pub runtime: Option<String>,
    /// Whether what it prints is not kept.
    pub no_log: bool,
    /// Whether it is removed when it ends.
    pub auto_remove: bool,
}

impl RunConfig {
    /// Program and arguments.
    pub fn args(&self) -> Vec<String> {
        self.entrypoint.iter().chain(&self.cmd).cloned().collect()
    }

    /// The process's environment, but for `HOME`: what every container has, changed and added to by `env`, as
    /// Docker's `ReplaceOrAppendEnvVars` does.
    pub fn environment(&self) -> Vec<String> {
        let mut all: Vec<String> =
            vec![format!("PATH={}", runtime::spec::DEFAULT_PATH), format!("HOSTNAME={}", self.hostname)];
        if self.tty {
            all.push("TERM=xterm".to_owned());
        }
        for given in &self.env {
            let name = name_of(given);
            let known = all.iter().position(|v| name_of(v) == name);
            match (known, given.contains('=')) {
                (Some(at), true) => all[at].clone_from(given),
                (Some(at), false) => drop(all.remove(at)),
                (None, true) => all.push(given.clone()),
                (None, false) => {}
            }
        }
        all
    }
}

/// The name in `NAME=value`.
pub(super) fn name_of(variable: &str) -> &str {
    variable.split('=').next().unwrap_or(variable)
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

/// What `/etc/resolv.conf` says; what is empty is taken from the host's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Addresses of name servers.
    pub servers: Vec<String>,
    /// Search domains; `.` alone for none.
    pub search: Vec<String>,
    /// Resolver options.
    pub options: Vec<String>,
}

/// A resource limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// `nofile` and its like.
    pub name: String,
    /// The limit in force; -1: none.
    pub soft: i64,
    /// How far it may be raised; -1: as one likes.
    pub hard: i64,
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
    /// A directory of the container's own, kept as long as it (`VOLUME`, `-v PATH`): at first a copy of what the image
    /// has there.
    Anonymous,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_dockers() {
        let env = ["A=2", "HOSTNAME", "PATH=/bin", "B=3", "C"].map(str::to_owned).to_vec();
        let run = RunConfig { env, hostname: "h".into(), tty: true, ..RunConfig::default() };
        assert_eq!(run.environment(), ["PATH=/bin", "TERM=xterm", "A=2", "B=3"].map(str::to_owned));
    }

    #[test]
    fn a_record_of_an_older_program_is_read() {
        let state: ContainerState =
            serde_json::from_str(r#"{"image_name":"a","run":{"tty":true},"status":"exited"}"#).unwrap();
        assert!(state.run.tty && state.status == Status::Exited && state.run.stop_timeout.is_none());
    }
}
