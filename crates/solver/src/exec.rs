//! RUN: a process in a container on the base's layers; what it writes becomes a layer.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use graph::{Exec, Network, Security};
use runtime::spec::{self, NamespaceKind, Spec};
use runtime::{Container, RootFs, Source, Stdio};
use snapshot::{DiffOptions, Tap};
use store::PendingSnapshot;

use crate::account::find_user_in;
use crate::error::Failure;
use crate::kept::Kept;
use crate::mounts::{self, Held, Mounting};
use crate::output::{self, Stream, Tail};
use crate::secret;
use crate::session::StepEvent;
use crate::step::{Made, Step};
use crate::user::{self, User};

const SIGKILL: i32 = 9;
/// How often a running step is asked whether it should stop.
const TICK: Duration = Duration::from_millis(100);
/// Host name in steps, as BuildKit has it.
const HOSTNAME: &str = "buildkitsandbox";

/// Bytes read of an image's `/etc/passwd` and `/etc/group`.
const DATABASE_LIMIT: u64 = 16 << 20;

/// The network a step gets.
pub(crate) fn network(asked: Network, session: Network) -> Network {
    match (asked, session) {
        (Network::Default, Network::Default) => Network::Host,
        (Network::Default, other) => other,
        (asked, _) => asked,
    }
}

/// A step's container, ready to run.
pub(crate) struct Prepared {
    pub container: Container,
    /// Its writable layer.
    pub pending: PendingSnapshot,
    pub held: Held,
    pub user: User,
}

/// The container of the step on its base.
pub(crate) fn prepare(step: &Step<'_>, exec: &Exec) -> Result<Prepared, Failure> {
    let session = step.session;
    session.unpack(&step.base.layers)?;
    let lowers = session.store.lowers(&step.base.layers)?;
    let pending = session.store.begin_snapshot()?;
    let user = find_user_in(&lowers, &exec.user)?;
    let mut sources = Vec::new();
    let mut held = Held::default();
    let mut spec = spec(step, exec, &user, &pending, &mut sources, &mut held)?;
    if session.mode == runtime::Mode::SingleId {
        let files = session.scratch()?.join(container_id(&pending));
        spec.mounts.extend(single_id_files(&snapshot::View::open(&lowers)?, &files)?);
    }
    let container = Container {
        id: container_id(&pending),
        spec,
        rootfs: RootFs {
            lowers,
            upper: Some((pending.fs().to_owned(), pending.work().to_owned())),
            read_only: false,
        },
        runtime: session.runtime.clone(),
        record_owners: session.mode == runtime::Mode::SingleId,
        init: false,
        sources,
        cgroup_parent: session.limits.cgroup_parent.clone(),
    };
    Ok(Prepared { container, pending, held, user })
}

/// Runs the step; what it wrote is the layer.
pub(crate) fn run(step: &Step<'_>, exec: &Exec) -> Result<Made, Failure> {
    let session = step.session;
    let Prepared { container, pending, held, user } = prepare(step, exec)?;
    let ended = carry_out(step, exec, &container)?;
    // Removed with the session and not now: ext4 makes new files slowly while there are inodes deleted just before.
    let aside = session.scratch()?.join(format!("{}.work", container.id));
    fs::rename(pending.work(), &aside).map_err(Failure::io("move", pending.work()))?;
    if container.record_owners {
        settle(pending.fs(), &container, &ended.owners, &user)?;
    }
    if ended.code != 0 {
        let (vertex, base) = (step.id, step.base.chain.clone());
        let supervisor = session.supervisor()?;
        let code = ended.code;
        session.keep_failed(Kept { vertex, base, code, container, pending, user, supervisor, _held: held });
        return Err(ended.failure);
    }
    drop(held);
    snapshot::normalize(pending.fs(), session.epoch)?;
    let mut tap = Tap::new(session.search);
    let stat = snapshot::diff(pending.fs(), &mut tap, &DiffOptions::default())?;
    if tap.found() {
        secret::refuse(session, pending.fs())?;
    }
    Ok(Made { pending, stat })
}

/// Records the owners that a container gave files of its writable layer `fs` (on the host), where only one id is mapped.
pub(crate) fn settle(
    fs: &Path,
    container: &Container,
    owners: &[runtime::owners::OwnerRecord],
    user: &User,
) -> Result<(), Failure> {
    let owner = snapshot::Owner { uid: user.uid, gid: user.gid };
    snapshot::owners::settle(fs, &container.rootfs.lowers, owners, owner)?;
    Ok(())
}

struct Ended {
    code: i32,
    failure: Failure,
    owners: Vec<runtime::owners::OwnerRecord>,
}

fn carry_out(step: &Step<'_>, exec: &Exec, container: &Container) -> Result<Ended, Failure> {
    let session = step.session;
    let pipe = || io::pipe().map_err(Failure::io("open", "a pipe for the step's output"));
    let (out_reader, out_writer) = pipe()?;
    let (err_reader, err_writer) = pipe()?;
    let supervisor = session.supervisor()?;
    let stdio = Stdio::Pipes { stdin: None, stdout: out_writer.into(), stderr: err_writer.into() };
    let mut running = supervisor.run(container, stdio)?;
    let tail = Tail::default();
    let emit = |stream: Stream, bytes: &[u8]| {
        session.observer.step(step.id, StepEvent::Output(stream, bytes));
    };
    let handle = running.signaller();
    let stop_if_asked = || {
        if session.is_stopped() {
            handle.signal(SIGKILL);
        }
    };
    // Both pipes end with the last process: one that outlived pid 1 is gone with its namespace.
    let pipes = [(out_reader.into(), Stream::Stdout), (err_reader.into(), Stream::Stderr)];
    output::pump(pipes, &tail, &emit, &stop_if_asked).map_err(Failure::io("read", "the step's output"))?;
    let exit = loop {
        // Who closed its streams may run on.
        match running.wait_for(TICK)? {
            Some(exit) => break exit,
            None => stop_if_asked(),
        }
    };
    if session.is_stopped() {
        return Err(Failure::Interrupted);
    }
    for warning in &exit.warnings {
        emit(Stream::Stderr, format!("WARNING: {warning}\n").as_bytes());
    }
    let command = exec.args.join(" ");
    let failure = match exit.error {
        Some(message) => Failure::Start { command, message },
        None => Failure::Exit {
            command,
            code: exit.code,
            tail: tail.into_bytes(),
            out_of_memory: exit.out_of_memory,
        },
    };
    Ok(Ended { code: exit.code, failure, owners: exit.owners })
}

/// The runtime spec of a step: Docker's defaults, with what the step asks for.
fn spec(
    step: &Step<'_>,
    exec: &Exec,
    user: &User,
    pending: &PendingSnapshot,
    sources: &mut Vec<Source>,
    held: &mut Held,
) -> Result<Spec, Failure> {
    let session = step.session;
    let mut spec = spec::docker_default(session.mode);
    spec.process.args = exec.args.clone();
    spec.process.env = exec.env.clone();
    for variable in &exec.proxy_env {
        let name = variable.split('=').next();
        spec.process.env.retain(|known| known.split('=').next() != name);
        spec.process.env.push(variable.clone());
    }
    if !exec.env.iter().any(|v| v.starts_with("HOME=")) {
        spec.process.env.push(format!("HOME={}", user.home));
    }
    spec.process.cwd = exec.cwd.clone();
    spec.process.user =
        spec::User { uid: user.uid, gid: user.gid, umask: None, additional_gids: user.groups.clone() };
    let hostname = if exec.hostname.is_empty() { HOSTNAME } else { &exec.hostname };
    spec.hostname = Some(hostname.to_owned());
    if network(exec.network, session.network) == Network::None {
        spec.linux.set_namespace(NamespaceKind::Network, true);
    }
    if exec.security == Security::Insecure {
        spec.make_privileged();
    }
    session.limits.apply(&mut spec);
    let files = session.scratch()?.join(container_id(pending));
    fs::create_dir_all(&files).map_err(Failure::io("create", &files))?;
    let hosts = hosts_file(hostname, &exec.extra_hosts);
    for (name, target, content, mode) in [
        ("resolv.conf", "/etc/resolv.conf", session.resolv_conf.as_slice(), 0o644),
        ("hosts", "/etc/hosts", hosts.as_bytes(), 0o644),
    ] {
        spec.mounts.push(bind_file(&files.join(name), content, mode, target)?);
    }
    for (number, file) in exec.files.iter().enumerate() {
        let path = files.join(format!("file{number}"));
        spec.mounts.push(bind_file(&path, file.data.as_bytes(), file.mode, &file.path)?);
    }
    mounts::add(&mut Mounting { step, spec: &mut spec, sources, held }, exec, &files)?;
    Ok(spec)
}

/// Writes `content` to `path` on the host and binds it read-only to `target` in the container.
pub fn bind_file(path: &Path, content: &[u8], mode: u32, target: &str) -> Result<spec::Mount, Failure> {
    fs::write(path, content).map_err(Failure::io("write", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(Failure::io("chmod", path))?;
    Ok(spec::Mount::bind(path, target, true))
}

/// What a container needs bound where only one id is mapped, written to `files` (a directory on the host): apt's
/// settings not to download as another user, if the image that `view` shows has apt. It checks that it became one, so
/// that pretending does not do.
pub fn single_id_files(view: &snapshot::View, files: &Path) -> Result<Vec<spec::Mount>, Failure> {
    const SETTINGS: &str = "etc/apt/apt.conf.d";
    if view.stat(SETTINGS.as_bytes())?.is_none_or(|stat| stat.st_mode & 0o170_000 != 0o040_000) {
        return Ok(Vec::new());
    }
    // The last file that sets it wins, and an image may have one that names a user.
    let target = format!("/{SETTINGS}/99strake-single-id");
    let text = b"APT::Sandbox::User \"root\";\n";
    Ok(vec![bind_file(&files.join("apt.conf"), text, 0o644, &target)?])
}

/// `/etc/hosts` of a container.
pub fn hosts_file(hostname: &str, extra: &[(String, String)]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    text.push_str(&format!("127.0.0.1\t{hostname}\n"));
    for (name, address) in extra {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    text
}

/// Looks a user up in the image that `view` shows.
pub fn find_user(view: &snapshot::View, spec: &str) -> Result<User, Failure> {
    let read = |path: &'static str| -> Result<String, Failure> {
        if view.stat(path.as_bytes())?.is_none() {
            return Ok(String::new());
        }
        let mut bytes = Vec::new();
        let file = view.open_file(path.as_bytes())?;
        file.take(DATABASE_LIMIT).read_to_end(&mut bytes).map_err(Failure::io("read", path))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(user::lookup(spec, &read("/etc/passwd")?, &read("/etc/group")?)?)
}

/// A name for the container: that of the directory its layer is made in.
fn container_id(pending: &PendingSnapshot) -> String {
    let name = pending.dir().file_name().unwrap_or_default();
    format!("build-{}", name.to_string_lossy())
}
