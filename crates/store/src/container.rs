//! Containers: a record, a directory for the writable layer and the log, and a lock that is held while one runs.
//!
//! What the state says is the engine's business; here it is text.

use std::path::PathBuf;

use oci::{ChainId, ImageId};

use crate::{Error, Result, Store};

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRecord {
    /// 64 lower-case hex digits.
    pub id: String,
    /// Its name, unique, without a leading slash: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
    pub name: String,
    /// The image it was made from. The image may have been removed since, by force.
    pub image: ImageId,
    /// The stack it stands on, which stays as long as the container; `None` for no layers.
    pub chain_id: Option<ChainId>,
    /// When it was created, in nanoseconds since the Unix epoch.
    pub created: i64,
    /// Whether it goes when it ends (`--rm`). A sweep removes it when nobody holds its lock, so set this when it starts
    /// to run, not when it is only created.
    pub auto_remove: bool,
    /// The engine's own record of it, JSON.
    pub state: String,
}

/// The lock of a container, held while it runs or is changed; free when its process died.
#[derive(Debug)]
pub struct ContainerLock {
    _file: std::fs::File,
}

/// Why a text names no container.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// Nothing has that name or ID.
    #[error("no such container: {0}")]
    NotFound(String),
    /// Several IDs begin with it.
    #[error("{text:?} is ambiguous: {}", .candidates.join(", "))]
    Ambiguous {
        /// The text as given.
        text: String,
        /// The whole IDs that begin with it, sorted.
        candidates: Vec<String>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Store {
    /// Creates a container: its directory with `fs/`, `work/` and `lock`, and its record, visible all at once. Its lock is
    /// held. [`Error::NameInUse`] when the name is taken, [`Error::MissingSnapshot`] when its stack is not here.
    pub fn create_container(&self, record: &ContainerRecord) -> Result<ContainerLock> {
        Err(Error::MissingContainer(record.id.clone()))
    }

    /// Replaces the record of a container that exists: its state, its name ([`Error::NameInUse`]), the rest.
    pub fn put_container(&self, record: &ContainerRecord) -> Result<()> {
        Err(Error::MissingContainer(record.id.clone()))
    }

    /// All containers, newest first.
    pub fn containers(&self) -> Result<Vec<ContainerRecord>> {
        Ok(Vec::new())
    }

    /// The container that `text` names: a whole ID, a name, or the beginning of an ID, in this order, as Docker does.
    pub fn container(&self, text: &str) -> Result<ContainerRecord, ContainerError> {
        Err(ContainerError::NotFound(text.to_owned()))
    }

    /// The container's directory: `fs/` (overlay upper), `work/`, `lock`, and what the engine puts beside them.
    pub fn container_dir(&self, id: &str) -> PathBuf {
        self.root().join("containers").join(id)
    }

    /// Takes the container's lock; `None` while another holds it.
    pub fn lock_container(&self, id: &str) -> Result<Option<ContainerLock>> {
        Err(Error::MissingContainer(id.to_owned()))
    }

    /// Whether somebody holds the container's lock: it runs, or is being created or changed.
    pub fn container_locked(&self, _id: &str) -> Result<bool> {
        Ok(false)
    }

    /// Removes the container with its directory, and the snapshots that nothing else needs. `lock` is the caller's own lock
    /// on it. Returns the bytes freed.
    pub fn remove_container(&self, id: &str, _lock: ContainerLock) -> Result<u64> {
        Err(Error::MissingContainer(id.to_owned()))
    }
}
