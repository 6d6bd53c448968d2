//! A shell in a step: in what a failed one left, or in what one that works made.
//!
//! It is the step's own container, run once more on a terminal: the same files, environment, user, working directory
//! and mounts. Where the image has no shell, a static busybox of the host is mounted into it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use dockerfile::lower::Lowered;
use graph::{Exec, Op, VertexId};
use runtime::{Stdio, beneath, spec};
use rustix::fs::{AtFlags, Mode, OFlags, unlinkat};
use snapshot::View;
use solver::{Kept, Session};

use super::context::Inputs;
use super::observe::Steps;
use super::request::BuildRequest;
use super::run_options::Terminal;
use crate::container::{RunIo, on_terminal};
use crate::{Error, Result};

/// Shells that images have, best first.
const SHELLS: [&str; 6] = ["/bin/bash", "/bin/sh", "/bin/ash", "/bin/dash", "/busybox/sh", "/usr/bin/bash"];
/// Where the host's busybox is mounted.
const BUSYBOX: &str = "/.strake/busybox";

/// Opens a shell in a step's container, to its end. `about` tells the user what it is in.
pub(super) fn open(kept: &mut Kept, about: &str, terminal: &dyn Terminal) -> Result<()> {
    let own = kept.container.spec.process.args.clone();
    let mut layers = vec![kept.pending.fs().to_owned()];
    layers.extend(kept.container.rootfs.lowers.iter().cloned());
    let view = View::open(&layers)?;
    let mut text = about.to_owned();
    let container = &mut kept.container;
    let mut borrowed = false;
    container.spec.process.args = match shell_in(&view, &own) {
        Some(shell) => vec![shell],
        None => {
            let busybox = terminal.busybox().into_iter().find(|path| is_static(path)).ok_or_else(|| {
                Error::not_found("the image has no shell, and this host has no static busybox to lend it")
                    .hint("install busybox-static, or FROM an image with a shell")
            })?;
            text.push_str(&format!(
                "\nThe image has no shell: this is busybox of the host ({}).",
                busybox.display()
            ));
            container.spec.mounts.push(spec::Mount::bind(busybox, BUSYBOX, true));
            borrowed = true;
            vec![BUSYBOX.to_owned(), "sh".to_owned()]
        }
    };
    container.id.push_str("-shell");
    container.spec.process.terminal = true;
    if container.spec.env("TERM").is_none() {
        container.spec.process.env.push("TERM=xterm".to_owned());
    }
    text.push_str("\nIt ends with exit.");
    let kept = &*kept;
    let mut run = |io: RunIo<'_>| {
        let (columns, rows) = io.size;
        let running = kept.run(Stdio::Terminal { columns, rows }).map_err(Error::from)?;
        let exit = on_terminal(running, io)?;
        kept.settle(&exit.owners).map_err(Error::from)?;
        match exit.error {
            Some(why) => Err(Error::internal(format!("the shell could not be started: {why}"))),
            None => Ok(exit.code),
        }
    };
    let ended = terminal.open(&text, &mut run);
    if borrowed {
        // Nothing may be left of it, and that is nothing to fail for.
        let _ = forget_place(kept.pending.fs());
    }
    ended.map(drop)
}

/// Takes away what was made in the layer directory `fs` to mount the busybox on, and is none of the step's. No link is
/// followed: what the step left may have some in its place.
fn forget_place(fs: &Path) -> io::Result<()> {
    let root = beneath::open_root(fs)?;
    let path = Path::new(BUSYBOX);
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let directory = beneath::open_without_links(root.as_fd(), above, flags, Mode::empty())?;
    unlinkat(&directory, name, AtFlags::empty())?;
    Ok(unlinkat(&root, above.strip_prefix("/").unwrap_or(above), AtFlags::REMOVEDIR)?)
}

/// The shell that the step itself used, or another that the image has.
pub(super) fn shell_in(view: &View, args: &[String]) -> Option<String> {
    let own = args.first().filter(|first| {
        let name = Path::new(first).file_name().and_then(|name| name.to_str()).unwrap_or("");
        first.starts_with('/') && ["sh", "bash", "ash", "dash", "zsh", "ksh"].contains(&name)
    });
    let candidates = own.map(String::as_str).into_iter().chain(SHELLS);
    candidates.into_iter().find(|path| is_program(view, path)).map(str::to_owned)
}

/// Whether the image has a program at that path, links followed.
fn is_program(view: &View, path: &str) -> bool {
    view.open_file(path.as_bytes()).is_ok_and(|file| {
        file.metadata().is_ok_and(|meta| {
            meta.is_file() && std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o111 != 0
        })
    })
}

/// Whether a file is an ELF program that needs no loader: it has no `PT_INTERP`.
fn is_static(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(4096).read_to_end(&mut head));
    if read.is_err() || !head.starts_with(b"\x7fELF\x02\x01") || head.len() < 64 {
        return false;
    }
    let number = |at: usize, len: usize| {
        head.get(at..at + len)
            .map(|bytes| bytes.iter().rev().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    let (Some(table), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2)) else {
        return false;
    };
    (0..count).all(|entry| number(table + entry * size, 4).is_some_and(|kind| kind != 3))
}

/// Why there is no result.
pub(super) enum Stopped {
    /// A step failed.
    Failed(solver::Error),
    /// What was asked for cannot be had.
    Refused(Error),
}

/// Opens the shell of `--shell-after`, once what it is to be opened after is done.
pub(super) fn after_step(
    request: &BuildRequest,
    inputs: &Inputs,
    lowered: &Lowered,
    session: &Session<'_>,
    steps: &Steps<'_>,
) -> std::result::Result<(), Stopped> {
    let (Some(wanted), Some(terminal)) = (&request.run.shell_after, &request.run.terminal) else {
        return Ok(());
    };
    let vertex = step_at(lowered, wanted).map_err(Stopped::Refused)?;
    let exec = surroundings(lowered, vertex);
    let mut kept = solver::enter(&lowered.graph, vertex, &exec, session).map_err(Stopped::Failed)?;
    let step = lowered.graph.vertex(vertex);
    let place = step.location.map_or_else(String::new, |at| format!(" ({}:{})", inputs.name, at.line));
    let about = format!(
        "A shell after {}{place}. What is changed here is dropped; then the build goes on.",
        step.name
    );
    steps.aside(|| open(&mut kept, &about, &**terminal)).map_err(Stopped::Refused)
}

/// The step after which a shell was asked for, by the name of its stage or a line of the Dockerfile.
pub(super) fn step_at(lowered: &Lowered, wanted: &str) -> Result<VertexId> {
    let mut stages = lowered.stages.iter();
    if let Some(stage) = stages.find(|stage| stage.name.eq_ignore_ascii_case(wanted)) {
        return Ok(stage.vertex);
    }
    let Ok(line) = wanted.parse::<u32>() else {
        let names: Vec<&str> = lowered.stages.iter().map(|stage| stage.name.as_str()).collect();
        return Err(Error::not_found(format!(
            "--shell-after {wanted}: no stage of this build has that name"
        ))
        .hint(format!("its stages are {}; a number is a line of the Dockerfile", names.join(", "))));
    };
    let at = |id: &VertexId| {
        lowered.graph.vertex(*id).location.is_some_and(|at| (at.line..=at.end_line).contains(&line))
    };
    let needed = lowered.graph.needed(&[lowered.target]);
    let is_step = |id: &VertexId| !matches!(lowered.graph.vertex(*id).op, Op::Source(_));
    needed.into_iter().filter(is_step).rfind(at).ok_or_else(|| {
        Error::not_found(format!("--shell-after {wanted}: no step of this build is on line {line}"))
            .hint("name the line of a RUN, COPY, ADD or WORKDIR, or a stage")
    })
}

/// How a shell after `vertex` runs: as the step itself does, or as the nearest RUN below it or its stage says.
pub(super) fn surroundings(lowered: &Lowered, vertex: VertexId) -> Exec {
    if let Op::Exec(exec) = &lowered.graph.vertex(vertex).op {
        return exec.clone();
    }
    let plain = Exec {
        args: Vec::new(),
        env: Vec::new(),
        proxy_env: Vec::new(),
        cwd: "/".to_owned(),
        user: String::new(),
        network: graph::Network::Default,
        security: graph::Security::Sandbox,
        mounts: Vec::new(),
        files: Vec::new(),
        extra_hosts: Vec::new(),
        hostname: String::new(),
    };
    if let Some(stage) = lowered.stages.iter().find(|stage| stage.vertex == vertex) {
        let config = &stage.config;
        let cwd = if config.working_dir.is_empty() { "/" } else { &config.working_dir };
        return Exec { env: config.env.clone(), cwd: cwd.to_owned(), user: config.user.clone(), ..plain };
    }
    let mut at = vertex;
    while let Some(below) = lowered.graph.vertex(at).inputs.first() {
        at = *below;
        if let Op::Exec(exec) = &lowered.graph.vertex(at).op {
            return Exec { mounts: Vec::new(), files: Vec::new(), ..exec.clone() };
        }
    }
    Exec { env: vec![format!("PATH={}", spec::DEFAULT_PATH)], ..plain }
}

/// Where the host's busybox is likely to be, in the directories of a `PATH`.
pub fn busybox_in(path: &std::ffi::OsStr) -> Vec<PathBuf> {
    std::env::split_paths(path).map(|dir| dir.join("busybox")).filter(|path| path.is_file()).collect()
}
