//! What the cases stand on: a root file system of busybox, a supervisor, and a way to run one command.

use runtime::spec::{Spec, docker_default};
use runtime::{Container, Exit, RootFs, Running, RuntimeChoice, Stdio, Supervisor};
use std::fmt;
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) const TESTER: &str = "strake-test";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ModeName {
    Root,
    Mapped,
    Single,
}

impl fmt::Display for ModeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ModeName::Root => "root",
            ModeName::Mapped => "mapped",
            ModeName::Single => "single",
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    Embedded,
    Crun,
    Runc,
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Which::Embedded => "embedded",
            Which::Crun => "crun",
            Which::Runc => "runc",
        })
    }
}

impl Which {
    pub(crate) fn installed(self) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        self == Which::Embedded || dirs.into_iter().any(|d| d.join(self.to_string()).exists())
    }
}

/// An ordinary user with a range of ids, made if missing.
pub(crate) fn ensure_tester() {
    let run =
        |program: &str, args: &[&str]| Command::new(program).args(args).output().map(|o| o.status.success());
    if !run("id", &[TESTER]).unwrap_or(false) {
        let _ = run("useradd", &["-m", TESTER]);
    }
    for file in ["/etc/subuid", "/etc/subgid"] {
        let text = fs::read_to_string(file).unwrap_or_default();
        if !text.lines().any(|l| l.starts_with("strake-test:")) {
            fs::write(file, format!("{text}{TESTER}:200000:65536\n")).expect("write a range of ids");
        }
    }
}

/// A directory of the case's own, and what is in it.
pub(crate) struct Bed {
    pub(crate) mode: ModeName,
    pub(crate) which: Which,
    pub(crate) dir: PathBuf,
    pub(crate) supervisor: Supervisor,
    count: AtomicU32,
}

impl Drop for Bed {
    fn drop(&mut self) {
        // The work directory of a mounted overlay has a directory of mode 0.
        let _ = Command::new("chmod").args(["-R", "u+rwX"]).arg(&self.dir).output();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// What a container left.
pub(crate) struct Output {
    pub(crate) exit: Exit,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) upper: PathBuf,
}

impl Output {
    #[track_caller]
    pub(crate) fn ok(self) -> Output {
        assert_eq!(
            (self.exit.code, self.exit.error.as_deref()),
            (0, None),
            "stdout: {}\nstderr: {}",
            self.stdout,
            self.stderr
        );
        self
    }
}

impl Bed {
    pub(crate) fn new(mode: ModeName, which: Which) -> Bed {
        let name = format!("strake-runtime-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        // A run that was killed may have left one under the same process id.
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("make the case's directory");
        make_root(&dir.join("root"));
        let entered = runtime::enter().expect("enter namespaces");
        let expected = match mode {
            ModeName::Root => runtime::Mode::Root,
            ModeName::Mapped => runtime::Mode::Mapped,
            ModeName::Single => runtime::Mode::SingleId,
        };
        assert_eq!(entered, expected);
        let supervisor = Supervisor::start().expect("start the supervisor");
        Bed { mode, which, dir, supervisor, count: AtomicU32::new(0) }
    }

    pub(crate) fn spec(&self, args: &[&str]) -> Spec {
        let mut spec = docker_default(runtime::mode().expect("entered"));
        spec.process.args = args.iter().map(|&a| a.to_owned()).collect();
        spec.hostname = Some("box".into());
        spec
    }

    pub(crate) fn shell(&self, script: &str) -> Spec {
        self.spec(&["/bin/sh", "-c", script])
    }

    /// A container with a fresh upper directory.
    pub(crate) fn container(&self, spec: Spec) -> Container {
        let n = self.count.fetch_add(1, Ordering::Relaxed);
        let (upper, work) = (self.dir.join(format!("upper{n}")), self.dir.join(format!("work{n}")));
        fs::create_dir(&upper).expect("make an upper directory");
        fs::create_dir(&work).expect("make a work directory");
        Container {
            id: format!("test-{}-{n}", std::process::id()),
            spec,
            rootfs: RootFs {
                lowers: vec![self.dir.join("root")],
                upper: Some((upper, work)),
                read_only: false,
            },
            runtime: match self.which {
                Which::Embedded => RuntimeChoice::Embedded,
                other => RuntimeChoice::External(other.to_string().into()),
            },
            record_owners: false,
            init: false,
            sources: Vec::new(),
            cgroup_parent: None,
        }
    }

    pub(crate) fn run(&self, spec: Spec) -> Output {
        self.run_container(&self.container(spec))
    }

    pub(crate) fn sh(&self, script: &str) -> Output {
        self.run(self.shell(script))
    }

    pub(crate) fn run_container(&self, container: &Container) -> Output {
        let (mut running, out, err) = self.start(container, None);
        let stdout = read(out);
        let stderr = read(err);
        let exit = running.wait().expect("the supervisor lives");
        let upper = container.rootfs.upper.as_ref().map(|(fs, _)| fs.clone()).unwrap_or_default();
        let join = |h: std::thread::JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&h.join().expect("reader")).into_owned()
        };
        Output { exit, stdout: join(stdout), stderr: join(stderr), upper }
    }

    /// Starts a container with pipes for its output.
    pub(crate) fn start(&self, container: &Container, stdin: Option<OwnedFd>) -> (Running, OwnedFd, OwnedFd) {
        let (out, stdout) = pipe();
        let (err, stderr) = pipe();
        let running = self
            .supervisor
            .run(container, Stdio::Pipes { stdin, stdout, stderr })
            .expect("the supervisor takes the request");
        (running, out, err)
    }
}

pub(crate) fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("pipe")
}

pub(crate) fn read(from: OwnedFd) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = fs::File::from(from).read_to_end(&mut bytes);
        bytes
    })
}

/// A root file system: busybox with its applets, and little else.
fn make_root(root: &Path) {
    for dir in ["bin", "etc", "tmp", "root", "data"] {
        fs::create_dir_all(root.join(dir)).expect("make a directory");
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("chmod");
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().find(|p| Path::new(p).exists());
    let busybox = busybox.expect("busybox-static is installed");
    fs::copy(busybox, root.join("bin/busybox")).expect("copy busybox");
    let list = Command::new(busybox).arg("--list").output().expect("busybox runs");
    for applet in String::from_utf8_lossy(&list.stdout).lines().filter(|a| *a != "busybox") {
        let _ = symlink("busybox", root.join("bin").join(applet));
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
        .expect("write passwd");
    fs::write(root.join("etc/group"), "root:x:0:\nuser:x:1000:\n").expect("write group");
}

/// Whether a directory holds nothing.
pub(crate) fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).expect("read a directory").next().is_none()
}

/// The pids of processes whose command line is `marker`.
pub(crate) fn processes(marker: &str) -> Vec<i32> {
    let own = std::process::id().to_string();
    let entries = fs::read_dir("/proc").expect("read /proc").flatten();
    entries
        .filter(|e| e.file_name().to_string_lossy() != own)
        .filter(|e| {
            let line = fs::read(e.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ").trim_end() == marker
        })
        .filter_map(|e| e.file_name().to_string_lossy().parse().ok())
        .collect()
}

/// Waits until `done`, at most some seconds.
#[track_caller]
pub(crate) fn eventually(what: &str, done: impl Fn() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("not within 5 s: {what}");
}
