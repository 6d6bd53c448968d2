//! `rm`: containers removed, with their writable layers.

use std::time::{Duration, Instant};

use crate::container::Container;
use crate::{Engine, Error, Result};

/// How long a killed container may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Removes the container that `name` names; one that runs only with `force`, which kills it.
pub fn rm(engine: &Engine, name: &str, force: bool) -> Result<()> {
    let container = Container::find(engine, name)?;
    if container.running {
        if !force {
            return Err(Error::conflict(format!(
                "cannot remove container {name:?}: container is running: stop the container before removing or force remove"
            )));
        }
        kill(&container, 9);
    }
    let began = Instant::now();
    loop {
        if let Some(lock) = engine.store.lock_container(&container.record.id)? {
            engine.store.remove_container(&container.record.id, lock)?;
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(Error::conflict(format!("container {name} did not end when it was killed")));
        }
        // One that is removed when it ends may be gone by now.
        if engine.store.container(&container.record.id).is_err() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends a signal to the container's first process.
pub(crate) fn kill(container: &Container, signal: i32) {
    let pid = rustix::process::Pid::from_raw(container.state.pid);
    let signal = rustix::process::Signal::from_named_raw(signal);
    if let (Some(pid), Some(signal)) = (pid, signal) {
        // Where it is gone already, there is nothing left to do.
        let _ = rustix::process::kill_process(pid, signal);
    }
}
