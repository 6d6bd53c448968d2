//! Cache mounts (`RUN --mount=type=cache`): directories that outlive builds, each with a row and a lock.
//!
//! A lock is held shared or alone for as long as a step uses the directory, so that processes keep out of each other's
//! way as the steps ask, and a prune leaves alone what is in use. How many there are for one name, and who may share,
//! is the solver's business; so is what is in them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use oci::Digest;
use rusqlite::{Connection, Row, Transaction, params};
use rustix::fs::FlockOperation;

use crate::collect::note_trash;
use crate::db::{Sql, io_fault};
use crate::lease::{Holding, lock};
use crate::lock::{open_existing, open_lock};
use crate::remove::{measure, remove_tree};
use crate::schema::{MOUNTS, TMP};
use crate::snapshot::{create_dir, make_layer_dir};
use crate::{Error, Result, Store, now};

const LOCK: &str = "lock";
/// Digits of an ID, as many as BuildKit's have.
const ID: usize = 25;
const COLUMNS: &str = "id, key, name, description, created, last_used, uses, size";

/// A cache mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMount {
    /// Lower-case hex digits, 25 of them; by this it is listed and pruned.
    pub id: String,
    /// What a step finds it by: its name, and what it was first filled from.
    pub key: String,
    /// Its name (`id=`).
    pub name: String,
    /// Which step made it, in words.
    pub description: String,
    /// When it was made, in nanoseconds since the Unix epoch.
    pub created: i64,
    /// When a step last began to use it, in nanoseconds since the Unix epoch.
    pub last_used: i64,
    /// How often it was used.
    pub uses: u64,
    /// Bytes of its regular files; `None` where it was used since they were measured.
    pub size: Option<u64>,
}

/// What a new cache mount is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCacheMount {
    /// As [`CacheMount::key`].
    pub key: String,
    /// As [`CacheMount::name`].
    pub name: String,
    /// As [`CacheMount::description`].
    pub description: String,
}

/// A cache mount in use; free again when dropped, or when its process dies.
#[derive(Debug)]
pub struct CacheMountLock {
    mount: CacheMount,
    dir: PathBuf,
    _file: File,
}

impl CacheMountLock {
    /// Which.
    pub fn mount(&self) -> &CacheMount {
        &self.mount
    }

    /// Its files: a directory on the host.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// What came of asking for a cache mount.
#[derive(Debug)]
pub enum Taken {
    /// This one.
    Locked(CacheMountLock),
    /// None is free; so many there are.
    Busy(usize),
}

/// A cache mount being made. Dropped without a commit, it is removed.
#[derive(Debug)]
pub struct PendingCacheMount {
    holding: Arc<Holding>,
    /// What becomes `mounts/ID`.
    top: PathBuf,
    /// Its files.
    dir: PathBuf,
}

impl PendingCacheMount {
    /// Its files: an empty directory on the host, mode 0755, of this process's user.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for PendingCacheMount {
    fn drop(&mut self) {
        // After a commit there is nothing. What cannot be removed now is left to a sweep after this process.
        let _ = remove_tree(&self.top);
    }
}

impl Store {
    /// All cache mounts, latest used first.
    pub fn cache_mounts(&self) -> Result<Vec<CacheMount>> {
        self.db().read(all_cache_mounts)
    }

    /// Takes the oldest cache mount of that key that is free: of all others' uses (`alone`), or of those who want to
    /// be alone. Does not wait.
    pub fn take_cache_mount(&self, key: &str, alone: bool) -> Result<Taken> {
        let sql = format!("SELECT {COLUMNS} FROM cache_mounts WHERE key = ?1 ORDER BY created, id");
        let found = self.db().read(|c| select(c, &sql, [key]))?;
        let mut count = found.len();
        for mount in found {
            if !self.cache_mount_dir(&mount.id).is_dir() {
                // A power cut took its files and left its row. Whoever waits for it would wait for ever.
                self.db().write(|tx| delete_cache_mount(tx, &mount.id))?;
                count -= 1;
                continue;
            }
            if let Some(file) = self.lock_cache_mount(&mount.id, alone)? {
                let used = self.db().write(|tx| {
                    let sql =
                        "UPDATE cache_mounts SET last_used = ?1, uses = uses + 1, size = NULL WHERE id = ?2";
                    Ok(tx.prepare_cached(sql)?.execute(params![now(), mount.id])?)
                })?;
                // It may have been pruned before we had its lock.
                if used > 0 {
                    let dir = self.cache_mount_dir(&mount.id);
                    return Ok(Taken::Locked(CacheMountLock { mount, dir, _file: file }));
                }
            }
        }
        Ok(Taken::Busy(count))
    }

    /// Begins a cache mount.
    pub fn begin_cache_mount(&self) -> Result<PendingCacheMount> {
        let holding = self.hold()?;
        let top = create_dir(&holding, TMP)?;
        let pending = PendingCacheMount { dir: top.join("fs"), top, holding };
        make_layer_dir(&pending.dir)?;
        Ok(pending)
    }

    /// Makes `pending` visible, and takes it, alone or shared. `None`, and it is dropped, where there are not `known`
    /// cache mounts of that key: somebody made one meanwhile.
    pub fn commit_cache_mount(
        &self,
        pending: PendingCacheMount,
        new: &NewCacheMount,
        known: Option<usize>,
        alone: bool,
    ) -> Result<Option<CacheMountLock>> {
        let path = pending.top.join(LOCK);
        let file = open_lock(&path, true)?;
        lock(&file, operation(alone)).map_err(|e| Error::io("cannot lock", &path, e))?;
        let name = pending.top.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let created = now();
        let id = Digest::sha256(format!("cache mount {name} {created}").as_bytes()).hex()[..ID].to_owned();
        let mount = CacheMount {
            id,
            key: new.key.clone(),
            name: new.name.clone(),
            description: new.description.clone(),
            created,
            last_used: created,
            uses: 1,
            size: None,
        };
        let to = self.root().join(MOUNTS).join(&mount.id);
        let done = self.db().write(|tx| {
            let sql = "SELECT count(*) FROM cache_mounts WHERE key = ?1";
            let count: usize = tx.prepare_cached(sql)?.query_row([&new.key], |row| row.get(0))?;
            if known.is_some_and(|known| known != count) {
                return Ok(false);
            }
            tx.prepare_cached(
                "INSERT INTO cache_mounts (id, key, name, description, created, last_used, uses, size)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?5, 1, NULL)",
            )?
            .execute(params![mount.id, mount.key, mount.name, mount.description, created])?;
            fs::rename(&pending.top, &to).map_err(io_fault("cannot create", &to))?;
            Ok(true)
        });
        let made = self.undo_on_error(&pending.holding, &format!("{MOUNTS}/{}", mount.id), done)?;
        let dir = self.cache_mount_dir(&mount.id);
        Ok(made.then_some(CacheMountLock { mount, dir, _file: file }))
    }

    /// The files of a cache mount, by its ID: a directory on the host.
    pub fn cache_mount_dir(&self, id: &str) -> PathBuf {
        self.root().join(MOUNTS).join(id).join("fs")
    }

    /// Whether a step uses the cache mount now.
    pub fn cache_mount_in_use(&self, id: &str) -> Result<bool> {
        let path = self.root().join(MOUNTS).join(id).join(LOCK);
        let Some(file) = open_existing(&path)? else { return Ok(false) };
        is_locked(&file, &path, true)
    }

    /// Measures the cache mounts whose size is not known, and remembers it of those that nobody uses. Returns all,
    /// latest used first, each with whether it is in use.
    pub fn measured_cache_mounts(&self) -> Result<Vec<(CacheMount, bool)>> {
        let mut all = Vec::new();
        for mut mount in self.cache_mounts()? {
            let in_use = self.cache_mount_in_use(&mount.id)?;
            if mount.size.is_none() {
                let size = measure(&self.cache_mount_dir(&mount.id));
                mount.size = Some(size);
                if !in_use {
                    // Unless somebody used it since: then the size is not known again.
                    let sql = "UPDATE cache_mounts SET size = ?1 WHERE id = ?2 AND uses = ?3";
                    self.db().write(|tx| {
                        Ok(tx.prepare_cached(sql)?.execute(params![size, mount.id, mount.uses])?)
                    })?;
                }
            }
            all.push((mount, in_use));
        }
        Ok(all)
    }

    /// Locks a cache mount for its removal; `None` while it is in use, or where it is gone.
    pub(crate) fn lock_cache_mount(&self, id: &str, alone: bool) -> Result<Option<File>> {
        let path = self.root().join(MOUNTS).join(id).join(LOCK);
        let Some(file) = open_existing(&path)? else { return Ok(None) };
        if is_locked(&file, &path, alone)? {
            return Ok(None);
        }
        // Its holder may have removed it meanwhile.
        Ok(file.metadata().is_ok_and(|meta| meta.nlink() > 0).then_some(file))
    }
}

/// Tries to lock the file; whether others hold it.
fn is_locked(file: &File, path: &Path, alone: bool) -> Result<bool> {
    let operation =
        if alone { FlockOperation::NonBlockingLockExclusive } else { FlockOperation::NonBlockingLockShared };
    // Who only asks whether it is in use holds it for an instant.
    for attempt in 0..5 {
        match lock(file, operation) {
            Ok(()) => return Ok(false),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                if attempt < 4 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Err(e) => return Err(Error::io("cannot lock", path, e)),
        }
    }
    Ok(true)
}

fn operation(alone: bool) -> FlockOperation {
    if alone { FlockOperation::LockExclusive } else { FlockOperation::LockShared }
}

/// Deletes a cache mount's row and notes its directory as trash; whether it was there.
pub(crate) fn delete_cache_mount(tx: &Transaction, id: &str) -> Sql<bool> {
    let gone = tx.prepare_cached("DELETE FROM cache_mounts WHERE id = ?1")?.execute([id])? > 0;
    if gone {
        note_trash(tx, &format!("{MOUNTS}/{id}"))?;
    }
    Ok(gone)
}

/// All cache mounts, latest used first.
pub(crate) fn all_cache_mounts(connection: &Connection) -> Sql<Vec<CacheMount>> {
    select(connection, &format!("SELECT {COLUMNS} FROM cache_mounts ORDER BY last_used DESC, id"), [])
}

fn select(connection: &Connection, sql: &str, params: impl rusqlite::Params) -> Sql<Vec<CacheMount>> {
    let read = |row: &Row| -> rusqlite::Result<CacheMount> {
        Ok(CacheMount {
            id: row.get(0)?,
            key: row.get(1)?,
            name: row.get(2)?,
            description: row.get(3)?,
            created: row.get(4)?,
            last_used: row.get(5)?,
            uses: row.get(6)?,
            size: row.get(7)?,
        })
    };
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params, read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}
