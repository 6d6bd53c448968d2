//! Containers by another OCI runtime: crun, runc, or any with runc's command line.
//!
//! A clone of the supervisor, process 1 of a pid namespace of its own, stacks the root file system as the embedded
//! runtime does, writes a bundle beside it, has the runtime `create` and `start` the container, and then waits for its
//! process as an init does. So KILL of that one process ends everything, and bundle, state and mounts vanish with its
//! namespaces. What the runtime cannot do where the embedded one can is made up for here: it is told of sources by
//! path, gets no fresh sysfs in a user namespace, and crun is shown a cgroup tree it accepts.

use crate::container::{Failure, Job, Streams, Tree, prepare, syscalls};
use crate::error::Context;
use crate::namespace::Mode;
use crate::spec::{Mount, NamespaceKind, Root, Spec};
use crate::{Error, container, terminal};
use rustix::fs::{CWD, Mode as Bits};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_bind_recursive,
};
use rustix::mount::{UnmountFlags, move_mount, open_tree, unmount};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Resource;
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Namespaces of the process that drives the runtime.
pub(crate) const CLONE_FLAGS: u64 = (libc::CLONE_NEWNS | libc::CLONE_NEWPID) as u64;

/// The cgroup that the runtime is told to use for container `id`, from the root of the tree: below `parent`, a path of
/// which nothing leads upwards.
pub(crate) fn cgroup_name(id: &str, parent: Option<&str>) -> String {
    let mut path = String::new();
    for part in parent.unwrap_or_default().split('/').filter(|part| !["", ".", ".."].contains(part)) {
        path = path + part + "/";
    }
    path + "strake-" + id
}

/// Whether the runtime is told to leave cgroups alone, so that limits are ours to set: its processes are then where the
/// driver is.
pub(crate) fn leaves_cgroups(runtime: &Path) -> bool {
    runtime.file_name().and_then(OsStr::to_str).unwrap_or("").contains("crun")
}

/// The container's first process, a child of the process `driver` that drives the runtime.
pub(crate) fn container_pid(driver: rustix::process::Pid) -> Option<i32> {
    let driver = driver.as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{driver}/task/{driver}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Whether a process in the cgroup named `name` was killed because the group had no more memory.
pub(crate) fn out_of_memory(name: &str) -> bool {
    let top = Path::new("/sys/fs/cgroup");
    let files =
        [top.join("memory").join(name).join("memory.oom_control"), top.join(name).join("memory.events")];
    files.iter().any(|file| crate::cgroup::counts_oom_kills(file))
}

/// Removes the cgroups named `name`, once empty, from every hierarchy.
pub(crate) fn remove_cgroups(name: &str) {
    let top = Path::new("/sys/fs/cgroup");
    let _ = fs::remove_dir(top.join(name));
    if let Ok(entries) = fs::read_dir(top) {
        for entry in entries.flatten() {
            let _ = fs::remove_dir(entry.path().join(name));
        }
    }
}

/// Turns this process, fresh from a clone with [`CLONE_FLAGS`], into the driver of `runtime`. Returns only on failure.
pub(crate) fn become_runtime(mut job: Job<'_>, runtime: &Path) -> Failure {
    match drive(&mut job, runtime) {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

fn drive(job: &mut Job<'_>, runtime: &Path) -> Result<Infallible, Failure> {
    container::die_with(job.supervisor)?;
    let _ = rustix::process::setrlimit(Resource::Nofile, job.open_files);
    let _ = rustix::process::setsid();
    if let Some(cgroup) = job.cgroup {
        cgroup.join().doing(|| "entering the container's cgroup")?;
    }
    rustix::process::umask(Bits::empty());
    let runtime = Runtime::find(runtime, job.mode)?;
    if job.record_owners {
        job.report.warning("owners given to files are not recorded under an external runtime".into());
    }
    if job.init {
        job.report.warning("no init was added: that takes the embedded runtime".into());
    }
    let tree = prepare(job.mode, job.spec, job.rootfs, job.sources)?;
    rustix::process::umask(Bits::from_raw_mode(0o022));
    let bundle = Bundle::make(&tree, &runtime.path)?;
    let spec = bundle.adapt(job, &tree)?;
    let config = serde_json::to_vec(&spec).map_err(|e| Error::Spec(e.to_string()))?;
    fs::write(bundle.path("config.json"), config).doing(|| "writing config.json")?;
    if runtime.is_crun {
        show_unified_cgroups()?;
    }

    let console = Console::listen(&job.streams, &bundle)?;
    let pid_file = bundle.path("pid");
    let mut create = runtime.command(&bundle);
    create.arg("create").arg("--bundle").arg(bundle.path("")).arg("--pid-file").arg(&pid_file);
    if console.is_some() {
        create.arg("--console-socket").arg(bundle.path("console"));
    }
    create.arg(job.id);
    let streams = std::mem::replace(&mut job.streams, Streams::Terminal { columns: 0, rows: 0 });
    let size = match streams {
        Streams::Terminal { columns, rows } => {
            create.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            (columns, rows)
        }
        Streams::Files { stdin, stdout, stderr } => {
            create.stdin(stdin.map_or_else(Stdio::null, Stdio::from)).stdout(stdout).stderr(stderr);
            (0, 0)
        }
    };
    runtime.run(create, &bundle, &spec)?;
    if let Some(console) = console {
        let master = console.accept().doing(|| "taking the terminal from the runtime")?;
        let _ = terminal::resize(master.as_fd(), size.0, size.1);
        job.report.terminal(master)?;
    }
    // From the moment it runs, none is to be missed: they wait for `serve_as_init`. (Not earlier: what the runtime has
    // blocked when it creates the container, the container has too.)
    syscalls::block_all_signals().doing(|| "blocking signals")?;
    let mut start = runtime.command(&bundle);
    start.arg("start").arg(job.id).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    runtime.run(start, &bundle, &spec)?;
    let pid = fs::read_to_string(&pid_file).doing(|| "reading the runtime's pid file")?;
    let pid = pid.trim().parse().ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or_else(|| runtime.error("it left no pid".into()))?;
    job.report.close();
    container::serve_as_init(pid)
}

/// The executable, and how it wants to be called.
struct Runtime {
    path: PathBuf,
    is_crun: bool,
    options: Vec<OsString>,
}

impl Runtime {
    fn find(name: &Path, mode: Mode) -> Result<Runtime, Failure> {
        let text = name.to_str().ok_or_else(|| Error::Spec("the runtime's name is not UTF-8".into()))?;
        let search = std::env::var_os("PATH").unwrap_or_default();
        let path = container::look_up(text, &search).map_err(|_| Failure {
            code: 125,
            message: format!("the runtime \"{text}\" is not installed, or not executable"),
        })?;
        let path = fs::canonicalize(&path).doing(|| path.display().to_string())?;
        let kind = name.file_name().and_then(OsStr::to_str).unwrap_or("");
        let is_crun = leaves_cgroups(name);
        let mut options: Vec<OsString> = Vec::new();
        if is_crun {
            options.push("--cgroup-manager=disabled".into());
        } else if kind.contains("runc") && mode != Mode::Root {
            options.push("--rootless=true".into());
        }
        Ok(Runtime { path, is_crun, options })
    }

    fn command(&self, bundle: &Bundle) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.options);
        command.arg("--root").arg(bundle.path("state"));
        command.arg("--log").arg(bundle.path("log")).arg("--log-format=json");
        command.env("XDG_RUNTIME_DIR", bundle.path("")).env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS");
        command
    }

    /// Runs one of the runtime's commands to its end.
    fn run(&self, mut command: Command, bundle: &Bundle, spec: &Spec) -> Result<(), Failure> {
        let status = command.status().doing(|| format!("running {}", self.path.display()))?;
        if status.success() {
            return Ok(());
        }
        let log = fs::read_to_string(bundle.path("log")).unwrap_or_default();
        let last = log.lines().rev().find_map(|line| {
            let entry: serde_json::Value = serde_json::from_str(line).ok()?;
            let is_error = !matches!(entry["level"].as_str(), Some("info" | "debug" | "warning"));
            is_error.then(|| entry["msg"].as_str().map(str::to_owned)).flatten()
        });
        let message = last.unwrap_or_else(|| format!("it ended with {status}"));
        let command = spec.process.args.first().map_or("", String::as_str);
        let code = exit_code(&message);
        if code == 127 && !command.contains('/') {
            let message = format!("exec: \"{command}\": executable file not found in $PATH");
            return Err(Failure { code, message });
        }
        Err(Failure { code, message: self.error(message).to_string() })
    }

    fn error(&self, message: String) -> Error {
        Error::Runtime { runtime: self.path.clone(), message }
    }
}

/// Docker's exit code for a runtime's last words, which it too only has as words.
fn exit_code(message: &str) -> i32 {
    let message = message.to_lowercase();
    let has = |part: &str| message.contains(part);
    if !has("exec") {
        125
    } else if has("not found in $path") || has("no such file or directory") {
        127
    } else if has("open executable: operation not permitted") // crun's words for a directory
        || has("permission denied") || has("is a directory") || has("exec format error")
    {
        126
    } else {
        125
    }
}

/// A directory for one container: the bundle, and whatever else the runtime needs a path for.
struct Bundle {
    top: PathBuf,
    /// Where the sources of bind mounts are to be found, in the order of the mounts.
    sources: Vec<PathBuf>,
}

impl Bundle {
    /// Makes it in a tmpfs that covers a directory of the host for us alone, and moves the root file system there.
    fn make(tree: &Tree, runtime: &Path) -> Result<Bundle, Error> {
        // One that every host has, but not that which the runtime is in. All paths of the host are opened by now.
        let cover = if runtime.starts_with("/tmp") { "/run" } else { "/tmp" };
        let doing = || format!("preparing a bundle over {cover}");
        let tmpfs = container::tmpfs(&[("mode", "0755")])?;
        move_mount(&tmpfs, c"", CWD, cover, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).doing(doing)?;
        let mut bundle = Bundle { top: Path::new(cover).join("bundle"), sources: Vec::new() };
        for name in ["", "rootfs", "state", "sources"] {
            fs::create_dir(bundle.path(name)).doing(doing)?;
        }
        let root = bundle.path("rootfs");
        move_mount(&tree.root, c"", CWD, root, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).doing(doing)?;
        for bind in tree.targets.binds.iter().flatten() {
            bundle
                .sources
                .push(attach(bind, &bundle.path("sources").join(bundle.sources.len().to_string()))?);
        }
        // Our working directory, the supervisor's tmpfs, lies over "/": a runtime that puts the old root aside would
        // take it for that, and leave the host's root where the container reaches it.
        unmount(c".", UnmountFlags::DETACH).doing(doing)?;
        rustix::process::chdir(c"/").doing(doing)?;
        // The runtime looks itself and its children up there.
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("proc", "/proc", "proc", flags, None).map_err(|errno| Error::Unsupported {
            what: format!(
                "an external runtime needs a /proc of its own, which cannot be mounted here ({errno})"
            ),
            remedy: "use the embedded runtime, or run in a container whose /proc is unmasked (privileged)"
                .into(),
        })?;
        Ok(bundle)
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.top.clone() } else { self.top.join(name) }
    }

    /// The spec as this runtime can carry it out here.
    fn adapt(&self, job: &Job<'_>, tree: &Tree) -> Result<Spec, Error> {
        let mut spec = job.spec.clone();
        spec.root = Some(Root { path: "rootfs".into(), readonly: job.rootfs.read_only });
        spec.process.terminal = matches!(job.streams, Streams::Terminal { .. });
        container::restrict(&mut spec.process);
        let binds = spec.mounts.iter_mut().zip(&tree.targets.binds);
        let binds = binds.filter_map(|(mount, bind)| Some((mount, bind.as_ref()?)));
        for ((mount, bind), source) in binds.zip(&self.sources) {
            mount.source = Some(source.clone());
            if !bind.is_directory {
                // Nothing is below a file, but crun 1.8 looks, and fails.
                mount.options.retain(|option| option != "rro");
            }
        }
        if job.mode == Mode::Root {
            spec.linux.cgroups_path = Some(format!("/{}", cgroup_name(job.id, job.cgroup_parent)));
            if let (Some(_), Some(resources)) = (job.cgroup, &mut spec.linux.resources) {
                (resources.memory, resources.cpu, resources.pids) = (None, None, None);
            }
        } else {
            spec.linux.resources = None;
            spec.mounts.retain(|mount| mount.kind != "cgroup");
            let own_network = spec.linux.has_namespace(NamespaceKind::Network);
            for mount in spec.mounts.iter_mut().filter(|m| m.kind == "sysfs" && !own_network) {
                let mut options: Vec<String> = vec!["rbind".into()];
                options.append(&mut mount.options);
                *mount = Mount { kind: "bind".into(), source: Some("/sys".into()), options, ..mount.clone() };
            }
        }
        Ok(spec)
    }
}

/// Gives the source of a bind mount a path.
fn attach(bind: &container::Bind, path: &Path) -> Result<PathBuf, Error> {
    let doing = || format!("preparing the mount source {}", path.display());
    if bind.is_directory { fs::create_dir(path) } else { fs::File::create(path).map(drop) }.doing(doing)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    let copy = open_tree(&bind.source, c"", flags).doing(doing)?;
    move_mount(&copy, c"", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).doing(doing)?;
    Ok(path.to_owned())
}

/// crun refuses hybrid trees (v1 hierarchies, and the v2 one at `unified`), even when told to leave cgroups alone. It
/// is shown the v2 one.
fn show_unified_cgroups() -> Result<(), Error> {
    let unified = "/sys/fs/cgroup/unified";
    if !Path::new(unified).exists() {
        return Ok(());
    }
    let doing = || "showing crun the unified cgroup tree";
    rustix::mount::mount_change("/sys", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .doing(doing)?;
    mount_bind_recursive(unified, "/sys/fs/cgroup").doing(doing)
}

/// The socket over which the runtime hands out the terminal that it made (runc's docs/terminals.md).
struct Console(OwnedFd);

impl Console {
    fn listen(streams: &Streams, bundle: &Bundle) -> Result<Option<Console>, Error> {
        if !matches!(streams, Streams::Terminal { .. }) {
            return Ok(None);
        }
        let doing = || "making the console socket";
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .doing(doing)?;
        let address = SocketAddrUnix::new(bundle.path("console")).doing(doing)?;
        rustix::net::bind(&socket, &address).doing(doing)?;
        rustix::net::listen(&socket, 1).doing(doing)?;
        Ok(Some(Console(socket)))
    }

    /// Takes the descriptor; the runtime has sent it by now.
    fn accept(self) -> io::Result<OwnedFd> {
        let connection = rustix::net::accept_with(&self.0, SocketFlags::CLOEXEC)?;
        crate::supervisor::receive_descriptor(&connection)
    }
}
