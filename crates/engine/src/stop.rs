//! `kill`, `stop` and `wait`: signals to a container that runs, and its end.

use std::time::{Duration, Instant};

use crate::container::{Container, ExitFile, send_signal};
use crate::signal;
use crate::{Engine, Error, Result};

const SIGKILL: i32 = 9;
/// How long a killed container may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// Docker's time between the stop signal and KILL, in seconds.
const STOP_TIMEOUT: i64 = 10;

/// Sends a signal, by name or number, to the container that `name` names.
pub fn kill(engine: &Engine, name: &str, signal: &str) -> Result<()> {
    let number = signal::number(signal)?;
    let container = Container::find(engine, name)?;
    let dir = engine.store.container_dir(&container.record.id);
    if !container.running || !send_signal(&dir, number)? {
        return Err(Error::conflict(format!(
            "cannot kill container: {name}: container {} is not running",
            container.record.id
        )));
    }
    if number == SIGKILL {
        // As in Docker: what was killed is gone when the command ends.
        until_over(engine, &container, Some(PATIENCE))?;
    }
    Ok(())
}

/// Stops the container that `name` names: its stop signal (or `signal`), and KILL if it still runs after `timeout`
/// seconds (negative: never). One that does not run is stopped already.
pub fn stop(engine: &Engine, name: &str, signal: Option<&str>, timeout: Option<i64>) -> Result<()> {
    let container = Container::find(engine, name)?;
    if !container.running {
        return Ok(());
    }
    let run = &container.state.run;
    let signal = match signal.unwrap_or(&run.stop_signal) {
        "" => "TERM",
        given => given,
    };
    let number = signal::number(signal)?;
    let dir = engine.store.container_dir(&container.record.id);
    let timeout = timeout.or(run.stop_timeout).unwrap_or(STOP_TIMEOUT);
    let timeout = u64::try_from(timeout).ok().map(Duration::from_secs);
    if send_signal(&dir, number)? && !until_over(engine, &container, timeout)? {
        kill_now(engine, &container)?;
    }
    Ok(())
}

/// Waits until the container that `name` names does not run; gives its exit code.
pub fn wait(engine: &Engine, name: &str) -> Result<i32> {
    let container = Container::find(engine, name)?;
    if !container.running {
        return Ok(container.state.exit_code);
    }
    // Opened now: it may be removed when it ends.
    let exit = ExitFile::open(&engine.store.container_dir(&container.record.id));
    until_over(engine, &container, None)?;
    match exit.code() {
        Some(code) => Ok(code),
        // Nobody was left to write it.
        None => Ok(Container::find(engine, &container.record.id).map_or(137, |c| c.state.exit_code)),
    }
}

/// Kills the container and waits until it is gone.
pub(crate) fn kill_now(engine: &Engine, container: &Container) -> Result<()> {
    send_signal(&engine.store.container_dir(&container.record.id), SIGKILL)?;
    match until_over(engine, container, Some(PATIENCE))? {
        true => Ok(()),
        false => {
            Err(Error::conflict(format!("container {} did not end when it was killed", container.record.id)))
        }
    }
}

/// Waits until nobody holds the container's lock; `false` when that is not within `timeout`.
fn until_over(engine: &Engine, container: &Container, timeout: Option<Duration>) -> Result<bool> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(2);
    while engine.store.container_locked(&container.record.id)? {
        if timeout.is_some_and(|timeout| began.elapsed() >= timeout) {
            return Ok(false);
        }
        let left = timeout.map_or(pause, |timeout| timeout.saturating_sub(began.elapsed()));
        std::thread::sleep(pause.min(left.max(Duration::from_millis(1))));
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    Ok(true)
}
