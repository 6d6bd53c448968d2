//! `run`: a container from an image, in the foreground.

use crate::container::{Container, CreateRequest, Ended, RunIo, create, start};
use crate::{Engine, Result};

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

/// Runs a container that exists once more.
pub fn restart(engine: &Engine, name: &str, io: RunIo<'_>) -> Result<Ended> {
    let mut container = Container::find(engine, name)?;
    let lock = engine
        .store
        .lock_container(&container.record.id)?
        .ok_or_else(|| crate::Error::conflict(format!("container {name} is running already")))?;
    start(engine, &mut container, lock, io)
}
