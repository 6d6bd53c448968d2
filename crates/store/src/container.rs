//! Containers: a record, a directory for the writable layer and the log, and a lock that is held while one
//! runs.
//!
//! What the state says is the engine's business; here it is text.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci::{ChainId, ImageId};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use rustix::fs::FlockOperation;

use crate::collect::{self, Reach, Selection, note_trash};
use crate::db::{Sql, io_fault, parse};
use crate::lease::{Holding, Kind, lock};
use crate::lock::open_lock;
use crate::remove::{measure, remove_tree};
use crate::resolve::shortened;
use crate::schema::{CONTAINERS, TMP};
use crate::snapshot::{create_dir, make_layer_dir};
use crate::{Error, Result, Store};

const LOCK: &str = "lock";

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
    /// Whether it goes when it ends (`--rm`). A sweep removes it when nobody holds its lock, so set this when
    /// it starts to run, not when it is only created.
    pub auto_remove: bool,
    /// The engine's own record of it, JSON.
    pub state: String,
}

/// The lock of a container, held while it runs or is changed; free when its process died.
#[derive(Debug)]
pub struct ContainerLock {
    id: String,
    _file: File,
}

impl ContainerLock {
    /// Which container it locks.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// Why a text names no container.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// Nothing has that name or ID.
    #[error("no such container: {0}")]
    NotFound(String),
    /// Several IDs begin with it.
    #[error("{text:?} is ambiguous, it is the beginning of {}", shortened(text, candidates.iter().map(String::as_str)))]
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

const COLUMNS: &str = "id, name, image, chain_id, created, auto_remove, state";

impl Store {
    /// Creates a container: its directory with `fs/` (mode 0755), `work/` and `lock`, and its record, visible
    /// all at once. Its lock is held. [`Error::NameInUse`] when the name is taken, [`Error::MissingSnapshot`]
    /// when its stack is not here.
    pub fn create_container(&self, record: &ContainerRecord) -> Result<ContainerLock> {
        check_id(&record.id)?;
        check_name(&record.name)?;
        let holding = self.hold()?;
        let dir = create_dir(&holding, TMP)?;
        let made = self.fill_container(&holding, &dir, record);
        if made.is_err() {
            // What cannot be removed now is left to a sweep after this process.
            let _ = remove_tree(&dir);
        }
        made
    }

    fn fill_container(
        &self,
        holding: &Holding,
        dir: &Path,
        record: &ContainerRecord,
    ) -> Result<ContainerLock> {
        make_layer_dir(&dir.join("fs"))?;
        make_layer_dir(&dir.join("work"))?;
        let lock_path = dir.join(LOCK);
        let file = open_lock(&lock_path, true)?;
        lock(&file, FlockOperation::LockExclusive).map_err(|e| Error::io("cannot lock", &lock_path, e))?;
        let done = holding.write(|tx, used| {
            name_is_free(tx, &record.name, None)?;
            if exists(tx, &record.id)? {
                // IDs are random: only a caller that makes the same one twice comes here.
                let (name, id) = (record.name.clone(), record.id.clone());
                return Err(Error::NameInUse { name, id }.into());
            }
            if let Some(chain_id) = &record.chain_id {
                if self.find_snapshot(tx, chain_id)?.is_none() {
                    return Err(Error::MissingSnapshot(chain_id.clone()).into());
                }
                used.push((Kind::Snapshot, chain_id.to_string()));
            }
            let sql = format!("INSERT INTO containers ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
            execute(tx, &sql, record)?;
            let to = self.container_dir(&record.id);
            // Left over from a process that died between its rename and its commit, should IDs ever repeat.
            let replaced = holding.trash(&to).map_err(io_fault("cannot move away", &to))?;
            fs::rename(dir, &to).map_err(io_fault("cannot create", &to))?;
            Ok(replaced)
        });
        let replaced = self.undo_on_error(holding, &format!("{CONTAINERS}/{}", record.id), done)?;
        if let Some(old) = replaced {
            remove_tree(&old).map_err(|e| Error::io("cannot remove", &old, e))?;
        }
        Ok(ContainerLock { id: record.id.clone(), _file: file })
    }

    /// Replaces the record of a container that exists: its state, its name ([`Error::NameInUse`]), the rest.
    pub fn put_container(&self, record: &ContainerRecord) -> Result<()> {
        check_name(&record.name)?;
        self.db().write(|tx| {
            name_is_free(tx, &record.name, Some(&record.id))?;
            if let Some(chain_id) = &record.chain_id
                && self.find_snapshot(tx, chain_id)?.is_none()
            {
                return Err(Error::MissingSnapshot(chain_id.clone()).into());
            }
            let changed = execute(
                tx,
                "UPDATE containers SET name = ?2, image = ?3, chain_id = ?4, created = ?5, auto_remove = ?6, state = ?7
                 WHERE id = ?1",
                record,
            )?;
            if changed == 0 {
                return Err(Error::MissingContainer(record.id.clone()).into());
            }
            Ok(())
        })
    }

    /// All containers, newest first.
    pub fn containers(&self) -> Result<Vec<ContainerRecord>> {
        self.db().read(all_containers)
    }

    /// The container that `text` names: a whole ID, a name (a leading slash is ignored), or the beginning of
    /// an ID, in this order, as Docker does.
    pub fn container(&self, text: &str) -> Result<ContainerRecord, ContainerError> {
        let find = |condition: &str, argument: &str| {
            let sql = format!("SELECT {COLUMNS} FROM containers WHERE {condition} ORDER BY id");
            self.db().read(|c| select(c, &sql, [argument]))
        };
        for condition in ["id = ?1", "name = ltrim(?1, '/')"] {
            if let Some(found) = find(condition, text)?.pop() {
                return Ok(found);
            }
        }
        let is_hex = (1..64).contains(&text.len()) && text.bytes().all(is_hex_digit);
        if !is_hex {
            return Err(ContainerError::NotFound(text.to_owned()));
        }
        // `g` is the character after the last hex digit.
        let mut found = find("id >= ?1 AND id < ?1 || 'g'", text)?;
        match found.len() {
            0 => Err(ContainerError::NotFound(text.to_owned())),
            1 => Ok(found.remove(0)),
            _ => {
                let candidates = found.into_iter().map(|c| c.id).collect();
                Err(ContainerError::Ambiguous { text: text.to_owned(), candidates })
            }
        }
    }

    /// The container's directory: `fs/` (overlay upper), `work/`, `lock`, and what the engine puts beside
    /// them.
    pub fn container_dir(&self, id: &str) -> PathBuf {
        self.root().join(CONTAINERS).join(id)
    }

    /// Takes the container's lock; `None` while another holds it. [`Error::MissingContainer`] when it is not
    /// here (any more).
    pub fn lock_container(&self, id: &str) -> Result<Option<ContainerLock>> {
        check_id(id)?;
        let missing = || Error::MissingContainer(id.to_owned());
        if !self.db().read(|c| exists(c, id))? {
            return Err(missing());
        }
        let path = self.container_dir(id).join(LOCK);
        let file = match open_lock(&path, false) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(missing());
            }
            other => other?,
        };
        // `container_locked` of another process holds it for an instant.
        for attempt in 0..5 {
            match lock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    // Its holder may have removed it meanwhile.
                    let linked = file.metadata().is_ok_and(|m| m.nlink() > 0);
                    return if linked && self.db().read(|c| exists(c, id))? {
                        Ok(Some(ContainerLock { id: id.to_owned(), _file: file }))
                    } else {
                        Err(missing())
                    };
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if attempt < 4 {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
                Err(e) => return Err(Error::io("cannot lock", &path, e)),
            }
        }
        Ok(None)
    }

    /// Whether somebody holds the container's lock: it runs, or is being created or changed.
    pub fn container_locked(&self, id: &str) -> Result<bool> {
        check_id(id)?;
        let path = self.container_dir(id).join(LOCK);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(Error::io("cannot open", &path, e)),
        };
        match lock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(e) => Err(Error::io("cannot lock", &path, e)),
        }
    }

    /// Removes the container with its directory, and the snapshots that nothing else needs. `lock` is the
    /// caller's own lock on it. Returns the bytes freed.
    pub fn remove_container(&self, id: &str, lock: ContainerLock) -> Result<u64> {
        if lock.id != id {
            return Err(Error::ContainerBusy(id.to_owned()));
        }
        self.let_go();
        let holding = self.hold()?;
        let id = lock.id.clone();
        let own = measure(&self.container_dir(&id));
        let drops = self.write_to_free(|tx| {
            let sql = format!("SELECT {COLUMNS} FROM containers WHERE id = ?1");
            let Some(record) = select(tx, &sql, [&id])?.pop() else {
                return Err(Error::MissingContainer(id.clone()).into());
            };
            delete_container(tx, &id)?;
            let reach = Reach::mark(tx, self.root())?;
            let mut only = Selection::default();
            let mut at = record.chain_id;
            while let Some(chain_id) = at {
                at = reach.snapshot(&chain_id).and_then(|(s, _)| s.parent.clone());
                only.snapshots.insert(chain_id);
            }
            collect::drop_unreached(tx, &reach, Some(&only))
        })?;
        let freed = self.remove_dropped(&holding, &drops)?;
        drop(lock);
        Ok(freed + own)
    }
}

/// Deletes a container's row and notes its directory as trash.
pub(crate) fn delete_container(tx: &Transaction, id: &str) -> Sql<()> {
    tx.prepare_cached("DELETE FROM containers WHERE id = ?1")?.execute([id])?;
    note_trash(tx, &format!("{CONTAINERS}/{id}"))
}

/// All containers, newest first.
pub(crate) fn all_containers(connection: &Connection) -> Sql<Vec<ContainerRecord>> {
    select(connection, &format!("SELECT {COLUMNS} FROM containers ORDER BY created DESC, id"), [])
}

fn exists(connection: &Connection, id: &str) -> Sql<bool> {
    Ok(connection.prepare_cached("SELECT 1 FROM containers WHERE id = ?1")?.exists([id])?)
}

/// `own` is the ID of the container that may have the name already.
fn name_is_free(tx: &Transaction, name: &str, own: Option<&str>) -> Sql<()> {
    let other: Option<String> = tx
        .prepare_cached("SELECT id FROM containers WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    match other {
        Some(id) if own != Some(id.as_str()) => Err(Error::NameInUse { name: name.to_owned(), id }.into()),
        _ => Ok(()),
    }
}

fn execute(tx: &Transaction, sql: &str, record: &ContainerRecord) -> Sql<usize> {
    Ok(tx.prepare_cached(sql)?.execute(params![
        record.id,
        record.name,
        record.image.0.as_str(),
        record.chain_id.as_ref().map(|c| c.0.as_str()),
        record.created,
        record.auto_remove,
        record.state,
    ])?)
}

fn select(connection: &Connection, sql: &str, params: impl rusqlite::Params) -> Sql<Vec<ContainerRecord>> {
    type Raw = (ContainerRecord, String, Option<String>);
    // The digests are parsed outside of SQLite's closure, which has its own error type.
    let raw = |row: &Row, placeholder: &ImageId| -> rusqlite::Result<Raw> {
        let record = ContainerRecord {
            id: row.get(0)?,
            name: row.get(1)?,
            image: placeholder.clone(),
            chain_id: None,
            created: row.get(4)?,
            auto_remove: row.get(5)?,
            state: row.get(6)?,
        };
        Ok((record, row.get(2)?, row.get(3)?))
    };
    let placeholder = ImageId(oci::Digest::from_sha256([0; 32]));
    let mut statement = connection.prepare_cached(sql)?;
    let mut records = Vec::new();
    for row in statement.query_map(params, |row| raw(row, &placeholder))? {
        let (record, image, chain_id) = row?;
        let chain_id = chain_id.as_deref().map(parse).transpose()?;
        records.push(ContainerRecord { image: parse(&image)?, chain_id, ..record });
    }
    Ok(records)
}

fn check_id(id: &str) -> Result<()> {
    if id.len() == 64 && id.bytes().all(is_hex_digit) {
        return Ok(());
    }
    Err(Error::InvalidContainer { what: "ID", text: id.to_owned(), reason: "64 lower-case hex digits" })
}

fn check_name(name: &str) -> Result<()> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if first && rest && (2..=255).contains(&name.len()) {
        return Ok(());
    }
    Err(Error::InvalidContainer {
        what: "name",
        text: name.chars().take(100).collect(),
        reason: "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
    })
}

fn is_hex_digit(b: u8) -> bool {
    matches!(b, b'0'..=b'9' | b'a'..=b'f')
}
