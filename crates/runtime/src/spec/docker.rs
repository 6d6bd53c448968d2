//! The [`Spec`] of a container that asks for nothing, as Docker would write it, and what `--privileged`, `--cap-add`
//! and `--cap-drop` make of it.
//!
//! Taken from moby's `daemon/pkg/oci/defaults.go` and from what `docker run` hands to runc. Left out: `/etc` files,
//! host name and cgroup limits, which are the caller's.

use super::{
    Capabilities, Device, DeviceRule, Linux, Mount, Namespace, NamespaceKind, Process, Resources, Spec, User,
};
use crate::namespace::Mode;
use crate::{capability, seccomp};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// `PATH` where neither image nor user sets one.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Paths under /proc and /sys that tell about, or reach into, the host.
const MASKED_PATHS: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/devices/system/cpu/cpu0/thermal_throttle",
];

const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// `statfs` type of a cgroup v2 tree.
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// Docker's defaults: its mounts, capabilities, namespaces, masked paths and seccomp profile; host network; `/` as
/// working directory, `PATH` alone in the environment, and no command yet.
///
/// `mode` decides what the id map leaves out: a group for terminals, the device rules.
pub fn docker_default(mode: Mode) -> Spec {
    let mut pts = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    if mode != Mode::SingleId {
        // Group tty. EINVAL where 5 is not mapped.
        pts.push("gid=5");
    }
    let mounts = vec![
        Mount::new("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        Mount::new("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        Mount::new("/dev/pts", "devpts", "devpts", &pts),
        Mount::new("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        Mount::new("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"]),
        Mount::new("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        Mount::new("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]),
    ];
    let mut kinds = vec![NamespaceKind::Mount, NamespaceKind::Pid, NamespaceKind::Ipc, NamespaceKind::Uts];
    // As Docker: a private view of cgroups where the tree is v2, the host's where it is v1 or hybrid.
    if cgroup_is_v2() {
        kinds.push(NamespaceKind::Cgroup);
    }
    let mut spec = Spec {
        oci_version: "1.0.2".to_owned(),
        process: Process {
            user: User::default(),
            env: vec![format!("PATH={DEFAULT_PATH}")],
            cwd: "/".to_owned(),
            ..Process::default()
        },
        mounts,
        linux: Linux {
            namespaces: kinds.into_iter().map(|kind| Namespace { kind, path: None }).collect(),
            resources: Some(Resources {
                devices: vec![DeviceRule {
                    allow: false,
                    access: Some("rwm".to_owned()),
                    ..DeviceRule::default()
                }],
                ..Resources::default()
            }),
            masked_paths: MASKED_PATHS.iter().map(|&p| p.to_owned()).collect(),
            readonly_paths: READONLY_PATHS.iter().map(|&p| p.to_owned()).collect(),
            ..Linux::default()
        },
        ..Spec::default()
    };
    spec.set_capabilities(capability::docker_default());
    spec
}

impl Spec {
    /// Gives root in the container these capabilities ("CAP_CHOWN"), bounds everything else by them, and matches the
    /// seccomp profile to them, if the container has one or never had capabilities before.
    pub fn set_capabilities(&mut self, names: Vec<String>) {
        let filtered = self.process.capabilities.is_none() || self.linux.seccomp.is_some();
        self.linux.seccomp = filtered.then(|| seccomp::docker_default(&names));
        self.process.capabilities = Some(Capabilities {
            bounding: names.clone(),
            effective: names.clone(),
            permitted: names,
            ..Capabilities::default()
        });
    }

    /// `--privileged`: every capability we hold, every device, nothing masked or read-only, no filter.
    pub fn make_privileged(&mut self) {
        self.linux.seccomp = None;
        self.process.capabilities = Some(Capabilities::default());
        self.set_capabilities(capability::held());
        self.linux.masked_paths.clear();
        self.linux.readonly_paths.clear();
        for mount in &mut self.mounts {
            if matches!(mount.kind.as_str(), "sysfs" | "cgroup") {
                for option in mount.options.iter_mut().filter(|o| *o == "ro") {
                    "rw".clone_into(option);
                }
            }
        }
        self.linux.devices = host_devices();
        self.linux.resources.get_or_insert_default().devices =
            vec![DeviceRule { allow: true, access: Some("rwm".to_owned()), ..DeviceRule::default() }];
    }

    /// Adds a device node of the host under `destination` (the same path if `None`), as Docker's `--device`.
    ///
    /// # Errors
    /// When `path` is not a device.
    pub fn add_device(&mut self, path: &Path, destination: Option<&Path>) -> Result<(), crate::Error> {
        let device = device_at(path).ok_or_else(|| {
            crate::Error::Spec(format!("{} is not a device node of the host", path.display()))
        })?;
        let rule = DeviceRule {
            allow: true,
            kind: Some(device.kind.clone()),
            major: Some(device.major.into()),
            minor: Some(device.minor.into()),
            access: Some("rwm".to_owned()),
        };
        self.linux.resources.get_or_insert_default().devices.push(rule);
        self.linux.devices.push(Device { path: destination.unwrap_or(path).to_owned(), ..device });
        Ok(())
    }

    /// Sets the size of /dev/shm, in bytes.
    pub fn set_shm_size(&mut self, size: u64) {
        for shm in self.mounts.iter_mut().filter(|mount| mount.destination == Path::new("/dev/shm")) {
            shm.options.retain(|option| !option.starts_with("size="));
            shm.options.push(format!("size={size}"));
        }
    }

    /// The value of `name` in the process's environment.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.process.env.iter().rev().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
    }
}

/// Whether /sys/fs/cgroup is one unified (v2) tree.
pub(crate) fn cgroup_is_v2() -> bool {
    rustix::fs::statfs("/sys/fs/cgroup").is_ok_and(|s| s.f_type as u64 == CGROUP2_MAGIC)
}

/// The device nodes of the host's /dev, except those every container has one of its own of.
fn host_devices() -> Vec<Device> {
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::from("/dev")];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => {
                    let own = ["/dev/pts", "/dev/shm", "/dev/fd", "/dev/mqueue"];
                    if !own.iter().any(|&o| path == Path::new(o)) {
                        directories.push(path);
                    }
                }
                Ok(kind) if kind.is_char_device() || kind.is_block_device() => {
                    let own = ["/dev/console", "/dev/ptmx"];
                    if !own.iter().any(|&o| path == Path::new(o)) {
                        found.extend(device_at(&path));
                    }
                }
                _ => {}
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn device_at(path: &Path) -> Option<Device> {
    let meta = fs::symlink_metadata(path).ok()?;
    let kind = match meta.file_type() {
        kind if kind.is_char_device() => "c",
        kind if kind.is_block_device() => "b",
        _ => return None,
    };
    Some(Device {
        path: path.to_owned(),
        kind: kind.to_owned(),
        major: rustix::fs::major(meta.rdev()),
        minor: rustix::fs::minor(meta.rdev()),
        file_mode: Some(meta.permissions().mode() & 0o777),
        uid: Some(meta.uid()),
        gid: Some(meta.gid()),
    })
}
