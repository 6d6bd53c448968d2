//! The OCI runtime spec's `config.json`, as far as strake goes: what it emits for crun and runc, what the embedded
//! runtime carries out, and enough to read another tool's bundle.
//!
//! Field names are the specification's (runtime-spec 1.0, config.md and config-linux.md). Unknown fields are skipped
//! when reading. What is deliberately left out: hooks, limits of block I/O and huge pages, SELinux and AppArmor labels.
//! [`docker_default`] builds what Docker gives a container that asks for nothing.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

mod docker;

pub(crate) use docker::cgroup_is_v2;

pub use docker::{DEFAULT_PATH, docker_default};

/// A whole `config.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// Version of the runtime spec, "1.0.2".
    pub oci_version: String,
    /// What runs.
    pub process: Process,
    /// The root file system, for external runtimes; the embedded one takes it from [`crate::RootFs`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    /// Host name inside the container's UTS namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// NIS domain name inside the container's UTS namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    /// Mounts, made in this order.
    pub mounts: Vec<Mount>,
    /// Free-form notes; external runtimes read some.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The Linux part.
    pub linux: Linux,
}

/// Where the root file system is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Root {
    /// Path on the host, absolute or relative to the bundle.
    pub path: PathBuf,
    /// Whether the container sees it read-only.
    pub readonly: bool,
}

/// What runs, and as whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Process {
    /// Whether a pseudoterminal is attached.
    pub terminal: bool,
    /// The terminal's size at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<ConsoleSize>,
    /// Ids, already looked up: names are the caller's matter.
    pub user: User,
    /// Command and arguments; the first is searched in `PATH` of `env` unless it holds a slash.
    pub args: Vec<String>,
    /// `NAME=value` entries.
    pub env: Vec<String>,
    /// Working directory in the container, absolute; made if missing.
    pub cwd: String,
    /// Capability sets; none at all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Resource limits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rlimits: Vec<Rlimit>,
    /// Whether setuid programs may not raise privileges.
    pub no_new_privileges: bool,
    /// Bias for the kernel's out-of-memory killer, -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleSize {
    /// Rows.
    pub height: u16,
    /// Columns.
    pub width: u16,
}

/// Numeric ids of the process, in the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// File mode creation mask; 0022 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// Supplementary group ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub additional_gids: Vec<u32>,
}

/// The five capability sets, by name ("CAP_CHOWN").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// The most that any program in the container can gain.
    pub bounding: Vec<String>,
    /// In force at the start.
    pub effective: Vec<String>,
    /// Kept across exec by programs with matching inheritable file capabilities.
    pub inheritable: Vec<String>,
    /// May be made effective.
    pub permitted: Vec<String>,
    /// Kept across exec of ordinary programs.
    pub ambient: Vec<String>,
}

/// One resource limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// "RLIMIT_NOFILE" and its like.
    #[serde(rename = "type")]
    pub kind: String,
    /// The limit in force.
    pub soft: u64,
    /// How far an ordinary process may raise it.
    pub hard: u64,
}

/// One mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    /// Absolute path in the container.
    pub destination: PathBuf,
    /// File system type, "bind" for binds.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Device name, or path on the host for binds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<PathBuf>,
    /// Options as in the specification's table: `ro`, `rbind`, `size=64m`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Mount {
    /// A mount of `kind` at `destination`: `Mount::new("/tmp", "tmpfs", "tmpfs", &["nosuid"])`.
    pub fn new(
        destination: impl Into<PathBuf>,
        kind: &str,
        source: impl Into<PathBuf>,
        options: &[&str],
    ) -> Mount {
        Mount {
            destination: destination.into(),
            kind: kind.to_owned(),
            source: Some(source.into()),
            options: options.iter().map(|&o| o.to_owned()).collect(),
        }
    }

    /// A recursive, private bind of a host path, as Docker's `-v` makes it; read-only is so for all that is below.
    pub fn bind(source: impl Into<PathBuf>, destination: impl Into<PathBuf>, read_only: bool) -> Mount {
        let access: &[&str] =
            if read_only { &["rbind", "rprivate", "ro", "rro"] } else { &["rbind", "rprivate", "rw"] };
        Mount::new(destination, "bind", source, access)
    }

    /// Whether this is a bind mount: by type, or by option as the specification allows for any type.
    pub fn is_bind(&self) -> bool {
        self.kind == "bind" || self.options.iter().any(|o| o == "bind" || o == "rbind")
    }
}

/// The Linux part of a [`Spec`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Linux {
    /// Namespaces the container gets; kinds not listed are shared with the host.
    pub namespaces: Vec<Namespace>,
    /// Device nodes beyond the default ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// Where external runtimes put the container's cgroups; set by us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroups_path: Option<String>,
    /// Limits. The device rules are for external runtimes only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Kernel parameters of the container's namespaces: `net.ipv4.ip_forward` to "1".
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctl: BTreeMap<String, String>,
    /// System call filter; none when absent.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "serialize_shared",
        deserialize_with = "deserialize_shared"
    )]
    pub seccomp: Option<Arc<Seccomp>>,
    /// Mount propagation of the root: "private", "rslave" and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rootfs_propagation: Option<String>,
    /// Paths in the container that read as empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub masked_paths: Vec<String>,
    /// Paths in the container that are read-only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub readonly_paths: Vec<String>,
}

impl Linux {
    /// Whether the container gets a namespace of `kind`, its own or a joined one.
    pub fn has_namespace(&self, kind: NamespaceKind) -> bool {
        self.namespaces.iter().any(|n| n.kind == kind)
    }

    /// Gives the container a namespace of `kind` of its own, or (`false`) leaves it in ours.
    pub fn set_namespace(&mut self, kind: NamespaceKind, own: bool) {
        self.namespaces.retain(|n| n.kind != kind);
        if own {
            self.namespaces.push(Namespace { kind, path: None });
        }
    }
}

/// A kind of namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceKind {
    /// Process ids.
    Pid,
    /// Network devices, addresses, ports.
    Network,
    /// Mounts.
    Mount,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Host and domain name.
    Uts,
    /// User and group ids.
    User,
    /// The view of the cgroup tree.
    Cgroup,
    /// Offsets of the monotonic clocks.
    Time,
}

/// One namespace of the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Which kind.
    #[serde(rename = "type")]
    pub kind: NamespaceKind,
    /// An existing one to join, as a path on the host; a new one when absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path: Option<PathBuf>,
}

/// A device node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Device {
    /// Path in the container.
    pub path: PathBuf,
    /// "c", "u" (both character), "b" or "p".
    #[serde(rename = "type")]
    pub kind: String,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_mode: Option<u32>,
    /// Owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
}

/// Limits of the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Which devices may be opened, later rules first.
    pub devices: Vec<DeviceRule>,
    /// Limits of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// Limits of processor time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// Limit of processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<Pids>,
}

/// Limits of memory, in bytes; -1 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Memory alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// Memory and swap together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<i64>,
}

impl Memory {
    /// Memory and swap together: as asked, else twice the memory, as Docker has it.
    pub fn with_swap(&self) -> Option<i64> {
        self.swap.or_else(|| self.limit.filter(|limit| *limit > 0).map(|limit| limit.saturating_mul(2)))
    }
}

/// Limits of processor time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cpu {
    /// Weight against other groups, 2 to 262144.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<u64>,
    /// Microseconds of processor time in each period; -1 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<i64>,
    /// Microseconds of a period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<u64>,
    /// Processors: "0-3,5".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// Memory nodes: "0,1".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mems: Option<String>,
}

/// Limit of processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pids {
    /// How many there may be at once; 0 or less for any number.
    pub limit: i64,
}

/// One rule of the device cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceRule {
    /// Allowed, or denied.
    pub allow: bool,
    /// "a", "c" or "b"; all when absent.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// All when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub major: Option<i64>,
    /// All when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minor: Option<i64>,
    /// Letters out of "rwm".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
}

/// A system call filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Seccomp {
    /// What happens to calls without a rule: "SCMP_ACT_ERRNO" and its like.
    pub default_action: String,
    /// The error of a default `SCMP_ACT_ERRNO`; EPERM when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u32>,
    /// Architectures covered: "SCMP_ARCH_X86_64"; the native one when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<String>,
    /// Flags of seccomp(2): "SECCOMP_FILTER_FLAG_LOG".
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// Rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub syscalls: Vec<SeccompRule>,
}

/// One rule of a [`Seccomp`] filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeccompRule {
    /// Calls it is for, by name; names this build does not know are skipped.
    pub names: Vec<String>,
    /// What happens: "SCMP_ACT_ALLOW".
    pub action: String,
    /// The error of `SCMP_ACT_ERRNO`; EPERM when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u32>,
    /// Conditions on the call's arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<SeccompArg>,
}

/// A condition on one argument of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeccompArg {
    /// Which argument, from 0.
    pub index: u32,
    /// Compared with, or the mask of `SCMP_CMP_MASKED_EQ`.
    pub value: u64,
    /// What the masked argument must be.
    pub value_two: u64,
    /// "SCMP_CMP_EQ" and its like.
    pub op: String,
}

fn serialize_shared<S: Serializer>(seccomp: &Option<Arc<Seccomp>>, to: S) -> Result<S::Ok, S::Error> {
    seccomp.as_deref().serialize(to)
}

fn deserialize_shared<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Arc<Seccomp>>, D::Error> {
    Ok(Option::<Seccomp>::deserialize(from)?.map(Arc::new))
}
