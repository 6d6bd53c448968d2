//! A container in the background: a strake process of its own runs it to its end, as a `run` in the foreground would.
//!
//! That process is this program with a hidden verb. It tells its starter through its standard output how the start
//! went, and nothing after that; it has no terminal, no working directory and nothing open of its starter's.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::absolute;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engine::container::{Container, Control, Controls, Ended, Input, RunIo};
use runtime::signals::Signals;
use serde::{Deserialize, Serialize};

use crate::cli::{CliError, Global, Outcome};

/// What the starter is told, as a line of JSON.
#[derive(Debug, Serialize, Deserialize)]
enum Told {
    /// The container runs.
    Started,
    /// It does not: exit code and why.
    Failed { code: i32, error: String, warnings: Vec<String> },
}

/// Starts a process for the container `id`, whose lock is free, and waits until the container runs. `Some`: it could
/// not be started.
pub(crate) fn start(global: &Global, id: &str) -> Result<Option<Ended>, CliError> {
    let failed = |e: io::Error| CliError::new(format!("cannot start a process in the background: {e}"));
    let root = absolute(global.root()?).map_err(failed)?;
    let mut child = Command::new("/proc/self/exe")
        .arg("--root")
        .arg(root)
        .arg("monitor")
        .arg(id)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut line).map_err(failed)?;
    }
    match serde_json::from_str(&line) {
        Ok(Told::Started) => Ok(None),
        Ok(Told::Failed { code, error, warnings }) => {
            let _ = child.wait();
            Ok(Some(Ended { code, error: Some(error), warnings }))
        }
        Err(_) => {
            let status = child.wait().map_err(failed)?;
            Err(CliError::new(format!(
                "the process in the background ended before the container ran: {status}"
            )))
        }
    }
}

/// The hidden verb.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The container
    container: String,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    // Where it fails we are a leader already, and what is wanted is so.
    let _ = rustix::process::setsid();
    let told = AtomicBool::new(false);
    let tell = |what: &Told| {
        if told.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut line = serde_json::to_vec(what).unwrap_or_default();
        line.push(b'\n');
        let _ = io::stdout().lock().write_all(&line).and_then(|()| io::stdout().lock().flush());
        // Whoever reads our starter's output must not wait for us.
        if let Ok(null) = std::fs::File::options().read(true).write(true).open("/dev/null") {
            let _ = rustix::stdio::dup2_stdout(&null);
        }
    };
    let ended = attend(&args.container, global, &|| tell(&Told::Started));
    let (code, error, warnings) = match ended {
        Ok(ended) => (ended.code, ended.error.unwrap_or_default(), ended.warnings),
        Err(error) => (125, error.text(), Vec::new()),
    };
    tell(&Told::Failed { code, error, warnings });
    Ok(ExitCode::SUCCESS)
}

fn attend(name: &str, global: &Global, started: &dyn Fn()) -> Result<Ended, CliError> {
    let engine = global.engine_in_namespace()?;
    std::env::set_current_dir("/").map_err(|e| CliError::new(format!("cannot change to /: {e}")))?;
    let run = Container::find(&engine, name)?.state.run;
    // HUP, INT and TERM: the machine goes down, or somebody means the container and found us.
    let signals =
        Signals::take(&[1, 2, 15]).map_err(|e| CliError::new(format!("cannot take signals: {e}")))?;
    let io = RunIo {
        stdin: if run.stdin { Input::Silent } else { Input::Empty },
        output: &|_, _| Ok(()),
        log: true,
        size: (80, 24),
        controls: Some(&Forwarded(signals)),
        started,
    };
    Ok(engine::run::restart(&engine, name, io)?)
}

struct Forwarded(Signals);

impl Controls for Forwarded {
    fn ready(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn next(&self) -> Option<Control> {
        self.0.next(Duration::ZERO).map(Control::Signal)
    }
}
