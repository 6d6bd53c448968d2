//! `logs`: what a container printed.

use crate::container::{Container, LogEntry, read_log};
use crate::{Engine, Error, Result};

/// The log of the container that `name` names, oldest entry first.
pub fn logs(engine: &Engine, name: &str) -> Result<impl Iterator<Item = LogEntry> + use<>> {
    let container = Container::find(engine, name)?;
    let path = engine.store.container_dir(&container.record.id).join("log");
    read_log(path.clone()).map_err(|e| Error::io(format!("read {}", path.display()), &e))
}
