//! Containers: made from an image, run, kept with a writable layer until removed.

mod attach;
mod control;
mod create;
mod inspect;
mod launch;
mod log;
mod name;
mod spec;
mod state;
pub(crate) mod volume;

pub(crate) use attach::on_terminal;
pub use attach::{Control, Controls, Input, Output, RunIo};
pub(crate) use control::{ExitFile, send_signal};
pub use create::{CreateRequest, create};
pub use inspect::inspect;
pub use launch::{Ended, start};
pub use log::{LogEntry, LogReader};
pub(crate) use name::new_id;
pub use state::{ContainerState, Dns, MountKind, MountPoint, NetworkMode, RunConfig, Status, Ulimit};

use std::path::PathBuf;

use store::ContainerRecord;

use crate::{Engine, Error, Result};

/// A container: its record and what the record's JSON says.
#[derive(Debug, Clone)]
pub struct Container {
    /// The store's record.
    pub record: ContainerRecord,
    /// The engine's part of it.
    pub state: ContainerState,
    /// Whether it runs now.
    pub running: bool,
}

impl Container {
    /// Reads the record's JSON; asks the store whether somebody holds the container's lock.
    pub(crate) fn of(engine: &Engine, record: ContainerRecord) -> Result<Container> {
        let mut state: ContainerState = serde_json::from_str(&record.state)
            .map_err(|e| Error::internal(format!("the record of container {} is damaged: {e}", record.id)))?;
        let running = state.status == Status::Running && engine.store.container_locked(&record.id)?;
        if state.status == Status::Running && !running {
            // Its strake process was killed, and the container with it.
            state.status = Status::Exited;
            state.exit_code = 137;
            state.pid = 0;
        }
        Ok(Container { record, state, running })
    }

    /// The container that `text` names: an ID, a name, the beginning of an ID.
    pub fn find(engine: &Engine, text: &str) -> Result<Container> {
        Container::of(engine, engine.store.container(text)?)
    }

    /// All containers, newest first.
    pub fn all(engine: &Engine) -> Result<Vec<Container>> {
        engine.store.containers()?.into_iter().map(|record| Container::of(engine, record)).collect()
    }

    /// Writes the state back to the store.
    pub(crate) fn save(&mut self, engine: &Engine) -> Result<()> {
        // It may have been renamed since it was read.
        if let Ok(now) = engine.store.container(&self.record.id) {
            self.record.name = now.name;
        }
        self.record.state = serde_json::to_string(&self.state).expect("because all its keys are strings");
        Ok(engine.store.put_container(&self.record)?)
    }

    /// The directories of the layers below the writable one, topmost first.
    pub(crate) fn lowers(&self, engine: &Engine) -> Result<Vec<PathBuf>> {
        match &self.record.chain_id {
            Some(chain) => Ok(engine.store.lowers(&engine.store.layers_of(chain)?)?),
            None => Ok(Vec::new()),
        }
    }

    /// The writable layer (a directory on the host).
    pub(crate) fn upper(&self, engine: &Engine) -> PathBuf {
        engine.store.container_dir(&self.record.id).join("fs")
    }

    /// The writable layer and those below it, topmost first.
    pub(crate) fn layers(&self, engine: &Engine) -> Result<Vec<PathBuf>> {
        let mut all = vec![self.upper(engine)];
        all.extend(self.lowers(engine)?);
        Ok(all)
    }
}
