//! The supervisor's own side: one loop over sockets and processes, and the cloning of containers.
//!
//! It never waits for a container to be set up: the clone does that itself and reports. So twenty can start at once.

use super::protocol::{self, Control, Event, Report, Request};
use super::wire;
use crate::cgroup::{self, Cgroup};
use crate::container::{self, Failure, Job, Source, Staging, Streams, syscalls};
use crate::error::Context;
use crate::namespace::{Mode, assume_entered};
use crate::owners::Recorder;
use crate::seccomp::{self, Filter};
use crate::spec::{Resources, Seccomp, Spec};
use crate::{Error, external, sys};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, WaitId, WaitIdOptions, getrlimit, pidfd_open, setrlimit, waitid,
};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;

/// Serves until the socket is closed; returns the exit code.
pub(crate) fn serve(socket: OwnedFd) -> i32 {
    match Server::new(socket) {
        Ok(mut server) => {
            server.run();
            0
        }
        Err(error) => {
            // Nobody to tell by message: the requests that come in meet a closed socket.
            eprintln!("strake: container supervisor: {error}");
            1
        }
    }
}

struct Server {
    requests: OwnedFd,
    mode: Mode,
    /// The limit that this process was started with.
    open_files: Rlimit,
    /// Refers to this process; readable, for those who hold a copy, once it is dead.
    own_pidfd: OwnedFd,
    /// In the order the client sent them.
    filters: Vec<Section>,
    containers: Vec<Active>,
    _staging: Staging,
}

/// A seccomp section, compiled when first needed.
struct Section {
    section: Arc<Seccomp>,
    compiled: Option<Filter>,
}

/// A container between clone and the report of its end.
struct Active {
    pid: Pid,
    pidfd: OwnedFd,
    /// To the client.
    events: OwnedFd,
    /// From the container, until it execs.
    report: Option<OwnedFd>,
    upper: Option<PathBuf>,
    recorder: Option<Recorder>,
    failure: Option<Failure>,
    warnings: Vec<String>,
    /// Set when the process is reaped; then only the recorder is waited for.
    code: Option<i32>,
    /// The client is gone: killed, the container is waited for, and nobody told.
    abandoned: bool,
    /// Told to the client, if there is one.
    over: bool,
    /// The name of the cgroups that an external runtime makes and, killed, leaves behind.
    cgroup: Option<String>,
    /// The group that we made for its limits.
    group: Option<Cgroup>,
    /// Something in the group that an external runtime made was killed for want of memory.
    out_of_memory: bool,
}

/// What a descriptor in the poll set belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Requests,
    Report(usize),
    Process(usize),
    Recorder(usize),
    Client(usize),
}

impl Server {
    fn new(socket: OwnedFd) -> Result<Server, Error> {
        let doing = || "setting up";
        let requests = rustix::io::fcntl_dupfd_cloexec(&socket, 3).doing(doing)?;
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
        let null = rustix::fs::open("/dev/null", flags, rustix::fs::Mode::empty()).doing(doing)?;
        // Descriptor 0 stays open, as something else: it is where containers' streams are put.
        let _ = socket.into_raw_fd();
        rustix::stdio::dup2_stdin(&null).doing(doing)?;
        // Out of reach of the terminal's Ctrl-C: how a container ends is the client's decision.
        let _ = rustix::process::setsid();
        // Containers inherit it. A client that is gone shows as an error: packets are sent without SIGPIPE.
        syscalls::default_signals();
        let _ = rustix::thread::set_name(c"strake");
        // Some four descriptors a container: a thousand are soon used up.
        let open_files = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: open_files.maximum, ..open_files });
        let mode = assume_entered()?;
        let staging = Staging::create(mode)?;
        let own_pidfd = pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).doing(doing)?;
        Ok(Server {
            requests,
            mode,
            open_files,
            own_pidfd,
            filters: Vec::new(),
            containers: Vec::new(),
            _staging: staging,
        })
    }

    fn run(&mut self) {
        loop {
            let ready = self.wait();
            // What a container said comes before its end, and new ones last: places in the list stay valid.
            for &of in &ready {
                match of {
                    Of::Report(n) => self.containers[n].read_report(),
                    Of::Process(n) => self.containers[n].reap(),
                    Of::Client(n) => self.containers[n].read_control(),
                    Of::Recorder(n) => self.containers[n].finish(),
                    Of::Requests => {}
                }
            }
            self.containers.retain(|container| !container.over);
            if ready.contains(&Of::Requests) {
                match wire::receive::<Request>(&self.requests) {
                    Ok(Some((request, descriptors))) => self.start(request, descriptors),
                    Ok(None) => break,
                    Err(error) => {
                        eprintln!("strake: container supervisor: {error}");
                        break;
                    }
                }
            }
        }
        for container in &self.containers {
            container.kill(libc::SIGKILL);
        }
        for container in &mut self.containers {
            container.reap();
        }
    }

    fn wait(&self) -> Vec<Of> {
        let mut watched: Vec<(Of, BorrowedFd<'_>)> = vec![(Of::Requests, self.requests.as_fd())];
        for (n, container) in self.containers.iter().enumerate() {
            watched.extend(container.report.as_ref().map(|report| (Of::Report(n), report.as_fd())));
            match (container.code, &container.recorder) {
                (None, _) => {
                    watched.push((Of::Process(n), container.pidfd.as_fd()));
                    if !container.abandoned {
                        watched.push((Of::Client(n), container.events.as_fd()));
                    }
                }
                (Some(_), Some(recorder)) => watched.push((Of::Recorder(n), recorder.pidfd())),
                (Some(_), None) => {}
            }
        }
        let mut fds: Vec<PollFd<'_>> =
            watched.iter().map(|(_, fd)| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        // Out of memory is the one lasting error there is, and nothing better to do about it than to try again.
        while poll(&mut fds, None).is_err() {}
        let ready = watched.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        ready.map(|((of, _), _)| *of).collect()
    }

    fn start(&mut self, mut request: Request, descriptors: Vec<OwnedFd>) {
        if let Some(section) = request.new_filter.take() {
            self.filters.push(Section { section: Arc::new(section), compiled: None });
        }
        let mut descriptors = descriptors.into_iter();
        let Some(events) = descriptors.next() else { return };
        match self.clone_container(request, descriptors, events.as_fd()) {
            Ok(cloned) => self.containers.push(cloned.into_active(events)),
            Err(failure) => {
                let (code, error) = (failure.code, Some(failure.message));
                let _ = wire::send(
                    &events,
                    &Event::Exited { code, error, warnings: Vec::new(), owners: false, out_of_memory: false },
                    &[],
                );
            }
        }
    }

    fn clone_container(
        &mut self,
        mut request: Request,
        mut descriptors: std::vec::IntoIter<OwnedFd>,
        events: BorrowedFd<'_>,
    ) -> Result<Cloned, Failure> {
        let short = || Error::Supervisor("a request came in without its descriptors".into());
        let mut sources = Vec::new();
        for (destination, path) in std::mem::take(&mut request.sources) {
            let root = descriptors.next().ok_or_else(short)?;
            sources.push(Source { destination, root, path });
        }
        let streams = match request.streams {
            protocol::Streams::Terminal { columns, rows } => Streams::Terminal { columns, rows },
            protocol::Streams::Files { stdin } => Streams::Files {
                stdin: if stdin { Some(descriptors.next().ok_or_else(short)?) } else { None },
                stdout: descriptors.next().ok_or_else(short)?,
                stderr: descriptors.next().ok_or_else(short)?,
            },
        };
        let flags = container::clone_flags(&request.spec)?;
        let mut filter = None;
        if let Some(place) = request.filter {
            let unknown = || Error::Supervisor("a request came in with an unknown filter".into());
            let known = self.filters.get_mut(place).ok_or_else(unknown)?;
            if request.external.is_some() {
                request.spec.linux.seccomp = Some(Arc::clone(&known.section));
            } else {
                if known.compiled.is_none() {
                    known.compiled = Some(seccomp::compile(&known.section)?);
                }
                filter = known.compiled.as_ref();
            }
        }
        let (group, unlimited) = match group_of(&request, self.mode) {
            Some(Ok(group)) => (Some(group), None),
            Some(Err(why)) => (None, Some(format!("the limits of the container are discarded: {why}"))),
            None => (None, None),
        };
        let doing = || "making a socket";
        let (report, theirs) = wire::pair().doing(doing)?;
        let mut reporter = Reporter { supervisor: Some(theirs), client: events };
        let flags = match (&request.external, &group) {
            (Some(_), _) => external::CLONE_FLAGS,
            // It gets that namespace when it is in its group.
            (None, Some(_)) => flags & !(libc::CLONE_NEWCGROUP as u64),
            (None, None) => flags,
        };
        // SAFETY: this process has one thread. The flags are namespaces only.
        let child = unsafe { sys::clone3(flags) }.doing(|| "cloning a container's process")?;
        let Some(sys::Child { pid, pidfd }) = child else {
            let spec: &Spec = &request.spec;
            let job = Job {
                mode: self.mode,
                id: &request.id,
                spec,
                filter,
                rootfs: &request.rootfs,
                sources: &sources,
                init: request.init,
                record_owners: request.record_owners,
                cgroup: group.as_ref(),
                cgroup_parent: request.cgroup_parent.as_deref(),
                streams,
                open_files: self.open_files,
                report: &mut reporter,
                supervisor: self.own_pidfd.as_fd(),
            };
            let run = || match &request.external {
                None => container::become_container(job),
                Some(runtime) => external::become_runtime(job, runtime),
            };
            let failure = std::panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Failure {
                code: 125,
                message: "strake failed while setting up the container (a bug)".into(),
            });
            let code = failure.code;
            let _ = reporter.send(&Report::Failed(failure), &[]);
            sys::exit_now(code)
        };
        Ok(Cloned {
            pid,
            pidfd,
            report,
            upper: request.rootfs.upper.map(|(fs, _)| fs),
            cgroup: request
                .external
                .map(|_| external::cgroup_name(&request.id, request.cgroup_parent.as_deref())),
            group,
            warnings: unlimited.into_iter().collect(),
        })
    }
}

/// The group for the container's limits, where it has some and no other runtime sees to them; or why there is none.
fn group_of(request: &Request, mode: Mode) -> Option<Result<Cgroup, String>> {
    let resources = request.spec.linux.resources.as_ref();
    let parent = request.cgroup_parent.as_deref();
    if !cgroup::wanted(parent, resources) {
        return None;
    }
    match request.external.as_deref() {
        Some(runtime) if !external::leaves_cgroups(runtime) => (mode != Mode::Root).then(|| {
            Err(format!(
                "{} keeps them for root only; strake's own runtime and crun do without",
                runtime.display()
            ))
        }),
        _ => Some(Cgroup::make(&request.id, parent, resources.unwrap_or(&Resources::default()))),
    }
}

/// What the clone of a container left in the supervisor.
struct Cloned {
    pid: Pid,
    pidfd: OwnedFd,
    report: OwnedFd,
    upper: Option<PathBuf>,
    cgroup: Option<String>,
    group: Option<Cgroup>,
    warnings: Vec<String>,
}

impl Cloned {
    fn into_active(self, events: OwnedFd) -> Active {
        Active {
            pid: self.pid,
            pidfd: self.pidfd,
            events,
            report: Some(self.report),
            upper: self.upper,
            recorder: None,
            failure: None,
            warnings: self.warnings,
            code: None,
            abandoned: false,
            over: false,
            cgroup: self.cgroup,
            group: self.group,
            out_of_memory: false,
        }
    }
}

impl Active {
    fn kill(&self, signal: i32) {
        let _ = syscalls::pidfd_kill(&self.pidfd, signal);
    }

    /// Takes one report, or its end: exec.
    fn read_report(&mut self) {
        let Some(socket) = &self.report else { return };
        match wire::receive::<Report>(socket) {
            Ok(Some((Report::Warning(text), _))) => self.warnings.push(text),
            Ok(Some((Report::Failed(failure), _))) => self.failure = Some(failure),
            Ok(Some((Report::Listener, mut descriptors))) => {
                let Some(listener) = descriptors.pop() else { return };
                match Recorder::start(listener, self.pid, self.upper.as_deref()) {
                    Ok(recorder) => self.recorder = Some(recorder),
                    Err(error) => {
                        self.failure = Some(error.into());
                        self.kill(libc::SIGKILL);
                    }
                }
            }
            Ok(None) | Err(_) => {
                self.report = None;
                if self.failure.is_none() && self.code.is_none() {
                    let pid = match &self.cgroup {
                        None => self.pid.as_raw_nonzero().get(),
                        Some(_) => external::container_pid(self.pid).unwrap_or(0),
                    };
                    let _ = wire::send(&self.events, &Event::Started { pid }, &[]);
                }
            }
        }
    }

    /// Takes one message of the client. When it is gone, so is the container.
    fn read_control(&mut self) {
        match wire::receive::<Control>(&self.events) {
            Ok(Some((Control::Signal(signal), _))) => self.kill(signal),
            Ok(None) | Err(_) => {
                self.kill(libc::SIGKILL);
                self.abandoned = true;
            }
        }
    }

    /// Waits for the process, which has ended or is about to.
    fn reap(&mut self) {
        if self.code.is_some() {
            return;
        }
        let status = loop {
            match waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED) {
                Err(rustix::io::Errno::INTR) => {}
                done => break done.ok().flatten(),
            }
        };
        let code = status.map_or(255, |status| match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => code,
            (None, Some(signal)) => 128 + signal,
            (None, None) => 255,
        });
        self.code = Some(code);
        while self.report.is_some() {
            self.read_report();
        }
        if let Some(name) = &self.cgroup {
            self.out_of_memory = external::out_of_memory(name);
            external::remove_cgroups(name);
        }
        if self.recorder.is_none() {
            self.finish();
        }
    }

    /// Tells the client.
    fn finish(&mut self) {
        self.over = true;
        let mut code = self.code.unwrap_or(255);
        let mut error = None;
        if let Some(failure) = self.failure.take() {
            code = failure.code;
            error = Some(failure.message);
        }
        let records = match self.recorder.take().map(Recorder::finish) {
            None => None,
            Some(Ok(records)) => Some(records),
            Some(Err(lost)) => {
                error.get_or_insert_with(|| lost.to_string());
                None
            }
        };
        let out_of_memory = self.out_of_memory || self.group.as_ref().is_some_and(Cgroup::out_of_memory);
        self.group = None;
        let warnings = std::mem::take(&mut self.warnings);
        let event = Event::Exited { code, error, warnings, owners: records.is_some(), out_of_memory };
        let descriptors: Vec<BorrowedFd<'_>> = records.iter().map(|fd| fd.as_fd()).collect();
        let _ = wire::send(&self.events, &event, &descriptors);
    }
}

/// The reports of a container, in its own process.
struct Reporter<'a> {
    /// `None` once closed.
    supervisor: Option<OwnedFd>,
    client: BorrowedFd<'a>,
}

impl Reporter<'_> {
    fn send(&self, report: &Report, descriptors: &[BorrowedFd<'_>]) -> std::io::Result<()> {
        match &self.supervisor {
            Some(socket) => wire::send(socket, report, descriptors),
            None => Ok(()),
        }
    }
}

impl container::Report for Reporter<'_> {
    fn warning(&mut self, text: String) {
        let _ = self.send(&Report::Warning(text), &[]);
    }

    fn terminal(&mut self, master: OwnedFd) -> Result<(), Error> {
        wire::send(self.client, &Event::Terminal, &[master.as_fd()]).doing(|| "handing over the terminal")
    }

    fn listener(&mut self, listener: OwnedFd) -> Result<(), Error> {
        self.send(&Report::Listener, &[listener.as_fd()]).doing(|| "handing over a descriptor")
    }

    fn close(&mut self) {
        self.supervisor = None;
    }
}
