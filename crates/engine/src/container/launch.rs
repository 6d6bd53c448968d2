//! Running a container: its overlay, its spec, its process, to the end.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use runtime::capability;
use runtime::spec::{self, NamespaceKind, Spec};
use runtime::{RootFs, RuntimeChoice, Stdio, Supervisor};
use store::ContainerLock;

use super::Container;
use super::attach::{Control, Output, RunIo, feed, pump};
use super::create::check_source;
use super::log::Log;
use super::state::{MountKind, NetworkMode, Status};
use crate::{Engine, Error, Kind, Result};

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Docker's exit code: the process's own, 128 + n for signal n, 125 to 127 where it did not start.
    pub code: i32,
    /// Why it did not start.
    pub error: Option<String>,
}

/// Runs the container in the foreground until it ends, and removes it then if it is to be. `lock` is
/// the container's, held by the caller.
pub fn start(
    engine: &Engine,
    container: &mut Container,
    lock: ContainerLock,
    io: RunIo<'_>,
) -> Result<Ended> {
    let _lease = engine.store.lease()?;
    let begun = begin(engine, container, io);
    container.state.finished = Some(jiff::Timestamp::now().to_string());
    container.state.status = Status::Exited;
    container.state.pid = 0;
    let ended = match begun {
        Ok(ended) => ended,
        Err(error) => Ended { code: 125, error: Some(error.to_string()) },
    };
    container.state.exit_code = ended.code;
    container.state.error = ended.error.clone().unwrap_or_default();
    match container.state.run.auto_remove {
        true => {
            engine.store.remove_container(&container.record.id, lock)?;
        }
        false => {
            container.record.auto_remove = false;
            container.save(engine)?;
        }
    }
    Ok(ended)
}

fn begin(engine: &Engine, container: &mut Container, io: RunIo<'_>) -> Result<Ended> {
    let dir = engine.store.container_dir(&container.record.id);
    let layers = match &container.record.chain_id {
        Some(chain) => engine.store.layers_of(chain)?,
        None => Vec::new(),
    };
    let lowers = engine.store.lowers(&layers)?;
    let spec = spec_of(engine, container, &lowers, &dir)?;
    let asked = runtime::Container {
        id: container.record.id.clone(),
        spec,
        rootfs: RootFs {
            lowers,
            upper: Some((dir.join("fs"), dir.join("work"))),
            read_only: container.state.run.read_only,
        },
        runtime: match &container.state.run.runtime {
            None => RuntimeChoice::Embedded,
            Some(name) => RuntimeChoice::External(name.into()),
        },
        record_owners: runtime::mode() == Some(runtime::Mode::SingleId),
        init: container.state.run.init,
        sources: Vec::new(),
    };
    let log = Log::open(&dir.join("log")).map_err(|e| Error::io("open the container's log", &e))?;
    container.state.status = Status::Running;
    container.state.pid = i32::try_from(std::process::id()).unwrap_or(0);
    container.state.started = Some(jiff::Timestamp::now().to_string());
    container.state.finished = None;
    container.record.auto_remove = container.state.run.auto_remove;
    container.save(engine)?;
    let supervisor = Supervisor::start()?;
    attend(engine, container, &supervisor, &asked, io, Mutex::new(log))
}

/// Starts the process and serves it until it ends.
fn attend(
    engine: &Engine,
    container: &mut Container,
    supervisor: &Supervisor,
    asked: &runtime::Container,
    io: RunIo<'_>,
    log: Mutex<Log>,
) -> Result<Ended> {
    let tty = container.state.run.tty;
    let mut streams = Vec::new();
    let stdio = match tty {
        true => Stdio::Terminal { columns: io.size.0, rows: io.size.1 },
        false => {
            let pipe = || io::pipe().map_err(|e| Error::io("open a pipe", &e));
            let (out, out_writer) = pipe()?;
            let (err, err_writer) = pipe()?;
            streams.push((out.into(), Output::Stdout));
            streams.push((err.into(), Output::Stderr));
            Stdio::Pipes {
                stdin: io
                    .stdin
                    .as_ref()
                    .map(|fd| fd.try_clone())
                    .transpose()
                    .map_err(|e| Error::io("copy stdin", &e))?,
                stdout: out_writer.into(),
                stderr: err_writer.into(),
            }
        }
    };
    let mut running = supervisor.run(asked, stdio)?;
    let mut window = None;
    if tty && let Some(master) = running.terminal() {
        let copy = |fd: &OwnedFd| fd.try_clone().map_err(|e| Error::io("copy the terminal", &e));
        if let Some(input) = io.stdin {
            let terminal = copy(&master)?;
            std::thread::spawn(move || feed(input, terminal));
        }
        window = Some(copy(&master)?);
        streams.push((master, Output::Stdout));
    }
    let ended = AtomicBool::new(false);
    let signaller = running.signaller();
    let exit = std::thread::scope(|scope| {
        for (from, stream) in streams {
            let (log, output) = (&log, io.output);
            scope.spawn(move || {
                let _ = pump(from, stream, log, output);
            });
        }
        scope.spawn(|| {
            let over = || ended.load(Ordering::Relaxed);
            while let Some(control) = (io.control)(&over) {
                match control {
                    Control::Signal(signal) => signaller.signal(signal),
                    Control::Resize(columns, rows) => resize(window.as_ref(), columns, rows),
                }
            }
        });
        let exit = running.wait();
        ended.store(true, Ordering::Relaxed);
        exit
    })?;
    if !exit.owners.is_empty() {
        let dir = engine.store.container_dir(&container.record.id);
        let _ = dir.join("fs");
    }
    Ok(Ended { code: exit.code, error: exit.error })
}

/// Tells a terminal its new size; the kernel tells its programs.
fn resize(window: Option<&OwnedFd>, columns: u16, rows: u16) {
    let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    if let Some(window) = window {
        // A terminal that is gone has no size.
        let _ = rustix::termios::tcsetwinsize(window, size);
    }
}

/// The runtime spec: Docker's defaults, with what the container asks for.
fn spec_of(
    engine: &Engine,
    container: &Container,
    lowers: &[std::path::PathBuf],
    dir: &Path,
) -> Result<Spec> {
    let run = &container.state.run;
    let mode = runtime::mode().unwrap_or(runtime::Mode::Root);
    let mut spec = spec::docker_default(mode);
    let user = {
        // The container's own /etc/passwd counts: a step before may have added the user.
        let mut all = vec![dir.join("fs")];
        all.extend_from_slice(lowers);
        let view = snapshot::View::open(&all)?;
        solver::find_user(&view, &run.user).map_err(|e| Error::invalid(e.to_string()))?
    };
    spec.process.args = run.args();
    spec.process.env.clone_from(&run.env);
    if !run.env.iter().any(|v| v.starts_with("HOME=")) {
        spec.process.env.push(format!("HOME={}", user.home));
    }
    spec.process.cwd.clone_from(&run.working_dir);
    spec.process.terminal = run.tty;
    spec.process.user =
        spec::User { uid: user.uid, gid: user.gid, umask: None, additional_gids: user.groups };
    spec.hostname = Some(run.hostname.clone());
    if run.network == NetworkMode::None {
        spec.linux.set_namespace(NamespaceKind::Network, true);
    }
    if run.privileged {
        spec.make_privileged();
    } else if !run.cap_add.is_empty() || !run.cap_drop.is_empty() {
        let names = capability::adjust(capability::docker_default(), &run.cap_add, &run.cap_drop)
            .map_err(|e| Error::new(Kind::Invalid, e.to_string()))?;
        spec.set_capabilities(names);
    }
    files(engine, container, &mut spec, dir)?;
    for (number, mount) in run.mounts.iter().enumerate() {
        let made = match &mount.kind {
            MountKind::Bind(source) => {
                check_source(source)?;
                spec::Mount::bind(source, &mount.target, mount.read_only)
            }
            MountKind::Anonymous => {
                let volume = dir.join(format!("volume{number}"));
                fs::create_dir_all(&volume).map_err(|e| Error::io("create a volume", &e))?;
                spec::Mount::bind(volume, &mount.target, mount.read_only)
            }
            MountKind::Tmpfs(given) => {
                let mut made =
                    spec::Mount::new(&mount.target, "tmpfs", "tmpfs", &["nosuid", "nodev", "noexec"]);
                made.options.extend(given.iter().cloned());
                made
            }
        };
        spec.mounts.push(made);
    }
    Ok(spec)
}

/// `/etc/resolv.conf`, `/etc/hosts` and `/etc/hostname`, bound from beside the writable layer.
fn files(engine: &Engine, container: &Container, spec: &mut Spec, dir: &Path) -> Result<()> {
    let run = &container.state.run;
    for (name, target, content) in [
        ("resolv.conf", "/etc/resolv.conf", engine.resolv_conf()),
        ("hosts", "/etc/hosts", solver::hosts_file(&run.hostname, &run.extra_hosts).into_bytes()),
        ("hostname", "/etc/hostname", format!("{}\n", run.hostname).into_bytes()),
    ] {
        if run.mounts.iter().any(|m| m.target == target) {
            continue;
        }
        let mut mount = solver::bind_file(&dir.join(name), &content, 0o644, target)
            .map_err(|e| Error::internal(e.to_string()))?;
        // Docker lets a container change these, for as long as it lives.
        mount.options = ["rbind", "rw"].map(str::to_owned).to_vec();
        spec.mounts.push(mount);
    }
    Ok(())
}
