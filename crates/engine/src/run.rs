//! `run` and `start`: a container's process, to its end.

use crate::container::{Container, CreateRequest, Ended, RunIo, create, start};
use crate::{Engine, Error, Result};

/// Makes a container and runs it to its end. `made` is told the container before it starts.
pub fn run(
    engine: &Engine,
    request: &CreateRequest,
    io: RunIo<'_>,
    made: &dyn Fn(&Container),
) -> Result<Ended> {
    let (mut container, lock) = create(engine, request)?;
    made(&container);
    start(engine, &mut container, lock, io)
}

/// Runs a container that exists (once more), to its end.
pub fn restart(engine: &Engine, name: &str, io: RunIo<'_>) -> Result<Ended> {
    let mut container = Container::find(engine, name)?;
    let lock = engine
        .store
        .lock_container(&container.record.id)?
        .ok_or_else(|| Error::conflict(format!("container {name} is running already")))?;
    // It may have been started, and ended, before we had the lock.
    container = Container::find(engine, &container.record.id)?;
    start(engine, &mut container, lock, io)
}
