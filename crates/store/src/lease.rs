//! Leases: what a live process uses is not collected by another's prune.
//!
//! A lease is a file in `leases/` that its process holds a lock on, and rows that say what the process uses.
//! The kernel frees the lock when the process ends, however it ends. Whatever a process makes outside of the
//! committed names (`work/`, `tmp/`) bears the lease's name, so that one lock says of all of it whether it is
//! in progress or left over.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, params};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::db::Sql;
use crate::schema::{LEASES, TMP};
use crate::{Error, Result, Shared, Store, now};

/// While it lives, whatever this [`Store`] (and its clones) adds or finds stays, whatever another process
/// prunes. A lease of a process that died protects nothing.
#[derive(Debug, Clone)]
pub struct Lease {
    /// Held for its `Drop`.
    _holding: Arc<Holding>,
}

/// What sort of thing a row of `leases` or `unsynced` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Blob,
    Snapshot,
    Image,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Kind::Blob => "b",
            Kind::Snapshot => "s",
            Kind::Image => "i",
        }
    }
}

/// The lease itself: one for all threads of a process that use one [`Store`].
#[derive(Debug)]
pub(crate) struct Holding {
    shared: Arc<Shared>,
    id: String,
    path: PathBuf,
    /// Its lock is the lease.
    _file: File,
    next: AtomicU64,
    recorded: Mutex<HashSet<(Kind, String)>>,
}

impl Store {
    /// Takes a lease. Every verb that builds on what it finds holds one from its start to its end; taking a
    /// second one in the same process costs nothing.
    ///
    /// Adding anything without a lease takes one that lasts until this process prunes or removes something,
    /// or closes the store.
    pub fn lease(&self) -> Result<Lease> {
        let mut holding = self.inner.holding.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = holding.upgrade() {
            return Ok(Lease { _holding: held });
        }
        let new = Arc::new(Holding::take(&self.inner.shared)?);
        *holding = Arc::downgrade(&new);
        Ok(Lease { _holding: new })
    }

    /// The lease that is held now, if any.
    pub(crate) fn held(&self) -> Option<Arc<Holding>> {
        self.inner.holding.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// The lease that is held now, or one that lasts until [`Store::let_go`].
    pub(crate) fn hold(&self) -> Result<Arc<Holding>> {
        if let Some(held) = self.held() {
            return Ok(held);
        }
        let lease = self.lease()?;
        let mut kept = self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Some(lease._holding.clone());
        Ok(lease._holding)
    }

    /// Ends the lease that was taken for want of one, unless something that is in progress still needs it.
    pub(crate) fn let_go(&self) {
        drop(self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Lease {
    /// What holds it.
    pub(crate) fn holding(&self) -> &Holding {
        &self._holding
    }
}

impl Holding {
    fn take(shared: &Arc<Shared>) -> Result<Holding> {
        let mut salt = now();
        loop {
            let id = format!("{:x}-{salt:x}", std::process::id());
            let path = shared.root.join(LEASES).join(&id);
            let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            let file = match created {
                Ok(file) => file,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    salt = salt.wrapping_add(1);
                    continue;
                }
                Err(e) => return Err(Error::io("cannot create", &path, e)),
            };
            lock(&file, FlockOperation::LockExclusive).map_err(|e| Error::io("cannot lock", &path, e))?;
            // A sweep may have taken it for a dead process's between its creation and its lock, and removed
            // it.
            let linked = file.metadata().is_ok_and(|m| m.nlink() > 0);
            if linked {
                return Ok(Holding {
                    shared: shared.clone(),
                    id,
                    path,
                    _file: file,
                    next: AtomicU64::new(0),
                    recorded: Mutex::default(),
                });
            }
            salt = salt.wrapping_add(1);
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// A name in `dir` (`work` or `tmp`) that nobody has used and that is this lease's.
    pub(crate) fn fresh(&self, dir: &str) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.shared.root.join(dir).join(format!("{}.{number}", self.id))
    }

    /// Moves `path` out of the way, under a name by which it is removed even if this process dies. `None`
    /// when there is nothing at `path`.
    pub(crate) fn trash(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        loop {
            let to = self.fresh(TMP);
            match rustix::fs::rename(path, &to) {
                Ok(()) => return Ok(Some(to)),
                Err(Errno::NOENT) if path.symlink_metadata().is_err() => return Ok(None),
                // `tmp` was being replaced by an empty one: see `compact`.
                Err(Errno::NOENT) => {}
                // An unwritable directory cannot be moved, since that changes its `..`.
                Err(Errno::ACCESS) if open_up(path) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Whether it has said already that it uses this.
    pub(crate) fn has(&self, kind: Kind, key: &str) -> bool {
        let recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.contains(&(kind, key.to_owned()))
    }

    /// Runs `f` in a write transaction; what it lists is used by this lease once that is committed.
    pub(crate) fn write<T>(
        &self,
        f: impl FnOnce(&rusqlite::Transaction, &mut Vec<(Kind, String)>) -> Sql<T>,
    ) -> Result<T> {
        let mut used = Vec::new();
        let value = self.shared.db.write(|tx| {
            let value = f(tx, &mut used)?;
            for (kind, key) in &used {
                self.record(tx, *kind, key)?;
            }
            Ok(value)
        })?;
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner).extend(used);
        Ok(value)
    }

    fn record(&self, connection: &Connection, kind: Kind, key: &str) -> Sql<()> {
        connection
            .prepare_cached("INSERT OR IGNORE INTO leases (lease, kind, key) VALUES (?1, ?2, ?3)")?
            .execute(params![self.id, kind.as_str(), key])?;
        Ok(())
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        // Best effort: what stays is cleared by the next sweep, as after a kill.
        let any = !self.recorded.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        if any {
            let _ = self.shared.db.write(|tx| forget(tx, &self.id));
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Deletes the rows of a lease.
pub(crate) fn forget(connection: &Connection, lease: &str) -> Sql<()> {
    connection.prepare_cached("DELETE FROM leases WHERE lease = ?1")?.execute([lease])?;
    Ok(())
}

/// Whether the process that holds the lease lives. Asking does not disturb the holder.
pub(crate) fn is_live(root: &Path, lease: &str) -> bool {
    let Ok(file) = File::open(root.join(LEASES).join(lease)) else { return false };
    matches!(lock(&file, FlockOperation::NonBlockingLockShared), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
}

/// The lease that an entry of `work/` or `tmp/` belongs to.
pub(crate) fn owner(entry: &str) -> Option<&str> {
    entry.rsplit_once('.').map(|(lease, _)| lease)
}

pub(crate) fn lock(file: &File, operation: FlockOperation) -> io::Result<()> {
    rustix::io::retry_on_intr(|| rustix::fs::flock(file, operation)).map_err(io::Error::from)
}

/// Lets the owner write into the directory `path`; whether that changed anything.
fn open_up(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let Ok(meta) = path.symlink_metadata() else { return false };
    meta.is_dir()
        && meta.permissions().mode() & 0o700 != 0o700
        && std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).is_ok()
}
