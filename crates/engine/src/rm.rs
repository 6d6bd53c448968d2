//! `rm`: containers removed, with their writable layers.

use std::time::{Duration, Instant};

use crate::container::Container;
use crate::stop::kill_now;
use crate::{Engine, Error, Result};

/// How long another command may take with the container.
const PATIENCE: Duration = Duration::from_secs(10);

/// Removes the container that `name` names; one that runs only with `force`, which kills it.
pub fn rm(engine: &Engine, name: &str, force: bool) -> Result<()> {
    let container = Container::find(engine, name)?;
    let id = &container.record.id;
    if container.running {
        if !force {
            return Err(Error::conflict(format!(
                "cannot remove container {name:?}: container is running: stop the container before removing or force remove"
            )));
        }
        kill_now(engine, &container)?;
    }
    let began = Instant::now();
    loop {
        match engine.store.lock_container(id) {
            Ok(Some(lock)) => {
                engine.store.remove_container(id, lock)?;
                return Ok(());
            }
            Ok(None) if began.elapsed() > PATIENCE => {
                return Err(Error::conflict(format!("container {name} is in use by another command")));
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(20)),
            // One that is removed when it ends may be gone by now.
            Err(store::Error::MissingContainer(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
