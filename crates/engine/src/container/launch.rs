//! Running a container: its process, and everything it is connected with, to the end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use runtime::{RootFs, Running, RuntimeChoice, Stdio, Supervisor};
use rustix::event::{PollFd, PollFlags, poll};
use store::ContainerLock;

use super::Container;
use super::attach::{Control, Controls, FeedTo, Input, Output, RunIo, feed, may_be_given, pump, resize};
use super::control::{self, Receiver};
use super::log::Log;
use super::spec;
use super::state::Status;
use crate::{Engine, Error, Result};

const SIGKILL: i32 = 9;

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Docker's exit code: the process's own, 128 + n for signal n, 125 to 127 where it did not start.
    pub code: i32,
    /// Why it did not start.
    pub error: Option<String>,
    /// What was done in a lesser way than asked; a sentence each.
    pub warnings: Vec<String>,
}

/// Runs the container until it ends, and removes it then if it is to be. `lock` is the container's, held by the
/// caller.
pub fn start(
    engine: &Engine,
    container: &mut Container,
    lock: ContainerLock,
    io: RunIo<'_>,
) -> Result<Ended> {
    let dir = engine.store.container_dir(&container.record.id);
    control::forget(&dir);
    let mut receiver = Receiver::open(&dir)?;
    let before = (container.state.status, container.state.started.clone());
    let ended = match begin(engine, container, &dir, &receiver, io) {
        Ok(ended) => ended,
        Err(error) => Ended { code: 125, error: Some(error.to_string()), warnings: Vec::new() },
    };
    let state = &mut container.state;
    // As in Docker, one that never ran is not one that ended.
    let ran = std::mem::take(&mut container.running) || ended.error.is_none();
    if ran {
        state.status = Status::Exited;
    } else {
        (state.status, state.started) = before;
    }
    state.finished = ran.then(|| jiff::Timestamp::now().to_string()).or(state.finished.take());
    state.pid = 0;
    state.exit_code = ended.code;
    state.error = ended.error.clone().unwrap_or_default();
    receiver.ended(ended.code);
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

fn begin(
    engine: &Engine,
    container: &mut Container,
    dir: &Path,
    receiver: &Receiver,
    io: RunIo<'_>,
) -> Result<Ended> {
    // The supervisor comes up meanwhile.
    let supervisor = Supervisor::start()?;
    let lowers = container.lowers(engine)?;
    let (fs, work) = (dir.join("fs"), dir.join("work"));
    let layers: Vec<PathBuf> = std::iter::once(fs.clone()).chain(lowers.iter().cloned()).collect();
    let single = runtime::mode() == Some(runtime::Mode::SingleId);
    let asked = runtime::Container {
        id: container.record.id.clone(),
        spec: spec::of(engine, container, dir, &layers)?,
        rootfs: RootFs {
            lowers: lowers.clone(),
            upper: Some((fs.clone(), work)),
            read_only: container.state.run.read_only,
        },
        runtime: match &container.state.run.runtime {
            None => RuntimeChoice::Embedded,
            Some(name) => RuntimeChoice::External(name.into()),
        },
        record_owners: single,
        init: container.state.run.init,
        sources: Vec::new(),
        cgroup_parent: container.state.run.limits.cgroup_parent.clone(),
    };
    let log = match container.state.run.no_log || !io.log {
        true => None,
        false => Some(Log::open(&dir.join("log")).map_err(|e| Error::io("open the container's log", &e))?),
    };
    container.state.status = Status::Running;
    container.state.pid = 0;
    container.state.exit_code = 0;
    container.state.error.clear();
    container.state.started = Some(jiff::Timestamp::now().to_string());
    container.record.auto_remove = container.state.run.auto_remove;
    container.save(engine)?;
    let attended = Attended { engine, receiver, log: log.map(Mutex::new) };
    let exit = attended.run(container, &supervisor, &asked, io)?;
    if single {
        let user = &asked.spec.process.user;
        let user = snapshot::Owner { uid: user.uid, gid: user.gid };
        snapshot::owners::settle(&fs, &lowers, &exit.owners, user)?;
    }
    Ok(Ended { code: exit.code, error: exit.error, warnings: exit.warnings })
}

/// What a running container is served by.
struct Attended<'a> {
    engine: &'a Engine,
    receiver: &'a Receiver,
    log: Option<Mutex<Log>>,
}

impl Attended<'_> {
    /// Starts the process and serves it until it ends.
    fn run(
        &self,
        container: &mut Container,
        supervisor: &Supervisor,
        asked: &runtime::Container,
        mut io: RunIo<'_>,
    ) -> Result<runtime::Exit> {
        let input = std::mem::replace(&mut io.stdin, Input::Empty);
        let pipe = || io::pipe().map_err(|e| Error::io("open a pipe", &e));
        let mut streams: Vec<(OwnedFd, Output)> = Vec::new();
        // Held until the end, where nothing is to be read but no end either.
        let mut silence = None;
        let mut window = None;
        let mut running;
        if container.state.run.tty {
            let (columns, rows) = io.size;
            running = supervisor.run(asked, Stdio::Terminal { columns, rows })?;
            if let Some(master) = running.terminal() {
                let copy = || master.try_clone().map_err(|e| Error::io("copy a terminal", &e));
                if let Input::From(input) = input {
                    let terminal = copy()?;
                    std::thread::spawn(move || feed(input, FeedTo::Terminal(terminal)));
                }
                window = Some(copy()?);
                streams.push((master, Output::Stdout));
            }
        } else {
            let (out, stdout) = pipe()?;
            let (err, stderr) = pipe()?;
            streams.push((out.into(), Output::Stdout));
            streams.push((err.into(), Output::Stderr));
            let stdin = match input {
                Input::Empty => None,
                Input::From(input) if may_be_given(&input) => Some(input),
                Input::From(input) => {
                    let (reader, writer) = pipe()?;
                    std::thread::spawn(move || feed(input, FeedTo::Pipe(writer.into())));
                    Some(reader.into())
                }
                Input::Silent => {
                    let (reader, writer) = pipe()?;
                    silence = Some(writer);
                    Some(reader.into())
                }
            };
            let stdio = Stdio::Pipes { stdin, stdout: stdout.into(), stderr: stderr.into() };
            running = supervisor.run(asked, stdio)?;
        }
        let served = self.serve(container, running, streams, window, &io);
        drop(silence);
        served
    }

    fn serve(
        &self,
        container: &mut Container,
        mut running: Running,
        streams: Vec<(OwnedFd, Output)>,
        window: Option<OwnedFd>,
        io: &RunIo<'_>,
    ) -> Result<runtime::Exit> {
        let (over, end) = io::pipe().map_err(|e| Error::io("open a pipe", &e))?;
        let handle = &running.signaller();
        std::thread::scope(|scope| {
            for (from, stream) in streams {
                let (log, output) = (self.log.as_ref(), io.output);
                let terminal = window.is_some();
                scope.spawn(move || {
                    // A pipe ends for its writer when its reader is gone; a terminal has more ends than this one.
                    if let Ok(false) = pump(from, stream, log, output)
                        && terminal
                    {
                        handle.signal(SIGKILL);
                    }
                });
            }
            let (receiver, controls) = (self.receiver, io.controls);
            scope.spawn(move || {
                while let Some(all) = next_controls(over.as_fd(), receiver, controls) {
                    for control in all {
                        match control {
                            Control::Signal(signal) => handle.signal(signal),
                            Control::Resize(columns, rows) => resize(window.as_ref(), columns, rows),
                        }
                    }
                }
            });
            let exit = self.attend(container, &mut running, io);
            // The thread waits for this.
            drop(end);
            exit
        })
    }

    fn attend(
        &self,
        container: &mut Container,
        running: &mut Running,
        io: &RunIo<'_>,
    ) -> Result<runtime::Exit> {
        if running.wait_started()? {
            container.running = true;
            container.state.pid = running.pid().unwrap_or(0);
            container.save(self.engine)?;
            (io.started)();
        }
        Ok(running.wait()?)
    }
}

/// Waits for the next things to be done to a container; `None` when it is over.
fn next_controls(
    over: BorrowedFd<'_>,
    receiver: &Receiver,
    controls: Option<&dyn Controls>,
) -> Option<Vec<Control>> {
    let watched = [Some(over), Some(receiver.ready()), controls.map(|c| c.ready())];
    let mut fds: Vec<PollFd<'_>> =
        watched.into_iter().flatten().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    while poll(&mut fds, None).is_err() {}
    if !fds[0].revents().is_empty() {
        return None;
    }
    let mut all = receiver.take();
    while let Some(control) = controls.and_then(|c| c.next()) {
        all.push(control);
    }
    Some(all)
}
