//! What this machine, and a container around us, allows of what strake builds on; what works without; and how to turn
//! it on. Nothing is assumed from versions or settings where trying is possible: `probes` tries, in processes of
//! their own. Settings are read to say why a thing did not work.
//!
//! Deliberately absent: changing anything, and judging the store's content.

mod probes;

use std::path::Path;

use rustix::thread::CapabilitySet;

use crate::filesystem::FileSystem;
use crate::namespace::Mode;
use crate::{Error, settings};

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// As it should be.
    Ok,
    /// Something works in a lesser way.
    Degraded,
    /// Builds and containers do not work.
    Missing,
}

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at, in a word or two.
    pub name: &'static str,
    /// How it came out.
    pub status: Status,
    /// What was found.
    pub detail: String,
    /// What works without it, and what does not; empty if it is there.
    pub without: String,
    /// How to turn it on; empty if it is, or nothing can be done.
    pub remedy: String,
}

impl Check {
    fn ok(name: &'static str, detail: impl Into<String>) -> Check {
        let (without, remedy) = (String::new(), String::new());
        Check { name, status: Status::Ok, detail: detail.into(), without, remedy }
    }

    fn degraded(name: &'static str, detail: impl Into<String>) -> Check {
        Check { status: Status::Degraded, ..Check::ok(name, detail) }
    }

    fn missing(name: &'static str, detail: impl Into<String>) -> Check {
        Check { status: Status::Missing, ..Check::ok(name, detail) }
    }

    fn without(self, without: impl Into<String>) -> Check {
        Check { without: without.into(), ..self }
    }

    fn remedy(self, remedy: impl Into<String>) -> Check {
        Check { remedy: remedy.into(), ..self }
    }
}

const NOTHING: &str =
    "no build step and no container runs; images can still be pulled, pushed, saved and inspected";

/// Where not even the namespaces can be entered in which files of images are written and read.
const NO_FILES: &str = "no build step and no container runs, and no image is pulled, loaded, saved or removed; what is \
                        there can still be listed and inspected";

/// Looks at everything. `store` is where the store is or would be.
///
/// To be called by a single-threaded process (each probe is forked), best before [`crate::enter`]: after it, what is
/// seen is the namespace that was entered.
pub fn checks(store: &Path) -> Vec<Check> {
    let kernel = kernel();
    let ids = (kernel.status != Status::Missing).then(ids);
    // Without a kernel that will do, or without ids, the rest would only repeat that.
    let entered = ids.as_ref().is_some_and(|ids| ids.status != Status::Missing);
    let mut checks = vec![kernel, user_namespaces()];
    checks.extend(ids);
    checks.push(file_system(store));
    if entered {
        checks.extend([overlayfs(store), namespaces(), proc(), sysfs(), user_notification()]);
    }
    checks.extend([seccomp(), cgroups(), confinement()]);
    checks
}

fn kernel() -> Check {
    let name = "kernel";
    let (major, minor) = settings::kernel_version();
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    match settings::require_kernel() {
        Err(Error::Unsupported { what, remedy }) => {
            Check::missing(name, what).without(NO_FILES).remedy(remedy)
        }
        Err(error) => Check::missing(name, error.to_string()).without(NO_FILES),
        Ok(()) if (major, minor) < (6, 8) => {
            let detail =
                format!("Linux {release}; layers are mounted by the older mount(2), which is slower");
            Check::ok(name, detail)
        }
        Ok(()) => Check::ok(name, format!("Linux {release}")),
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root() && settings::has(CapabilitySet::SYS_ADMIN)
}

fn user_namespaces() -> Check {
    let name = "user namespaces";
    match probes::user_namespace() {
        Ok(detail) => Check::ok(name, detail),
        Err(_) if is_root() => Check::ok(name, "not allowed here; root needs none"),
        Err(Error::Unsupported { what, remedy }) => {
            Check::missing(name, what).without(NO_FILES).remedy(remedy)
        }
        Err(error) => Check::missing(name, error.to_string()).without(NO_FILES),
    }
}

fn ids() -> Check {
    let name = "ids";
    match probes::enter() {
        Ok(entered) => match entered.mode {
            Mode::Root => Check::ok(name, "root: every id is itself"),
            Mode::Mapped if entered.ids < 65_536 => {
                Check::degraded(name, format!("{} ids can be mapped", entered.ids))
                    .without("images whose files have higher ids (nobody is 65534) cannot be unpacked")
                    .remedy("give the user a range of 65536 ids in /etc/subuid and /etc/subgid")
            }
            Mode::Mapped => Check::ok(name, format!("{} ids can be mapped", entered.ids)),
            Mode::SingleId => Check::degraded(name, "only one id can be mapped")
                .without(
                    "files' owners are recorded beside them and are right in images that are built, but not seen by \
                     the steps; USER and other changes of user have no effect; no devices",
                )
                .remedy(entered.why),
        },
        Err(Error::Unsupported { what, remedy }) => Check::missing(name, what).without(NO_FILES).remedy(remedy),
        Err(error) => Check::missing(name, error.to_string()).without(NO_FILES),
    }
}

fn file_system(store: &Path) -> Check {
    let name = "store's file system";
    let there = probes::existing(store);
    match FileSystem::of(there) {
        Ok(kind) if kind.can_hold_upper() => Check::ok(name, format!("{kind}, at {}", there.display())),
        Ok(kind) => Check::missing(
            name,
            format!("{kind}, at {}, cannot hold a writable overlayfs layer", there.display()),
        )
        .without(NOTHING)
        .remedy(
            "put the store elsewhere with --root or STRAKE_ROOT; in a container, on a volume (`-v \
                     strake:/var/lib/strake`) or a tmpfs (Linux 6.6)",
        ),
        Err(error) => Check::degraded(name, format!("{}: {error}", there.display())),
    }
}

fn overlayfs(store: &Path) -> Check {
    let name = "overlayfs";
    match probes::overlay(store) {
        Ok(detail) => Check::ok(name, detail),
        Err(Error::Unsupported { what, remedy }) => Check::missing(name, what).without(NOTHING).remedy(remedy),
        Err(error) => Check::missing(name, error.to_string()).without(NOTHING).remedy(
            "if the store is on an unusual file system, try another with --root; else a security module forbids it",
        ),
    }
}

fn namespaces() -> Check {
    let name = "namespaces";
    match probes::namespaces() {
        Ok(true) => Check::ok(name, "pid, ipc, uts and network"),
        Ok(false) => Check::degraded(name, "pid, ipc, uts and network, but sethostname is forbidden")
            .without("containers have our host name")
            .remedy("start the outer container with `--security-opt seccomp=unconfined`, or as a privileged one"),
        Err(error) => Check::missing(name, error.to_string()).without(NOTHING).remedy(
            "allow clone and unshare with these flags in the seccomp profile of the container around us, and a kernel \
             with CONFIG_PID_NS, CONFIG_IPC_NS, CONFIG_UTS_NS and CONFIG_NET_NS",
        ),
    }
}

fn proc() -> Check {
    let name = "/proc";
    match probes::proc() {
        Ok(()) => Check::ok(name, "can be mounted for a container"),
        Err(error) => Check::degraded(name, format!("cannot be mounted for a container: {error}"))
            .without("containers see the /proc of the outside, with its processes")
            .remedy(
                "parts of /proc are hidden from us, which forbids a whole one: start the outer container with \
                 `--security-opt systempaths=unconfined` (Docker), `--security-opt unmask=ALL` (podman) or \
                 `procMount: Unmasked` (Kubernetes)",
            ),
    }
}

fn sysfs() -> Check {
    let name = "/sys";
    match probes::sysfs() {
        Ok(()) => Check::ok(name, "can be mounted for a container"),
        Err(error) => Check::degraded(name, format!("cannot be mounted for a container: {error}"))
            .without("containers see the /sys of the outside, read-only"),
    }
}

fn seccomp() -> Check {
    let name = "seccomp";
    match probes::seccomp() {
        Ok(()) => Check::ok(name, "filters can be loaded"),
        Err(error) => Check::missing(name, format!("filters cannot be loaded: {error}"))
            .without("containers run with --security-opt seccomp=unconfined only")
            .remedy("use a kernel built with CONFIG_SECCOMP_FILTER"),
    }
}

fn user_notification() -> Check {
    let name = "seccomp notification";
    let without = "with a single id, chown fails in containers (elsewhere it is not needed)";
    match probes::user_notification() {
        Ok(()) => Check::ok(name, "owners can be recorded where only one id is mapped"),
        Err(error) if settings::sysctl("kernel.yama.ptrace_scope") == Some(3) => {
            Check::degraded(name, format!("arguments of system calls cannot be read: {error}"))
                .without(without)
                .remedy("kernel.yama.ptrace_scope is 3; boot with 2 or less")
        }
        Err(error) => Check::degraded(name, error.to_string())
            .without(without)
            .remedy("use Linux 5.11 or newer, and no seccomp profile around us that has a listener itself"),
    }
}

fn cgroups() -> Check {
    let name = "cgroups";
    let version = probes::cgroup_version();
    match probes::cgroups() {
        Ok(place) => {
            Check::ok(name, format!("{version}; containers can be limited, below {}", place.display()))
        }
        Err(why) => Check::degraded(name, format!("{version}; {why}"))
            .without("everything but limits on memory, CPU and processes"),
    }
}

fn confinement() -> Check {
    let name = "confinement";
    let filtered =
        if settings::seccomp_filtered() { "a seccomp filter is over us" } else { "no seccomp filter" };
    let label = settings::confinement();
    let label =
        label.map_or("no security module confines us".to_owned(), |label| format!("confined as {label}"));
    // Whether it forbids anything that matters, the other checks tell.
    Check::ok(name, format!("{filtered}, {label}"))
}
