//! Working on a full disk: a file of a few blocks that is given up when a removal has no space to write its
//! rows, and a guard for SQLite's shared memory.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rusqlite::Transaction;
use rustix::fs::FallocateFlags;

use crate::db::{Db, Sql};
use crate::schema::{DATABASE, RESERVE};
use crate::{Error, Result, Store};

const RESERVE_BYTES: u64 = 256 * 1024;
/// A new store takes about half of this.
const NEW_STORE_BYTES: u64 = 1024 * 1024;
/// What SQLite maps of its `-shm` file as long as the WAL has less than 4,000 pages.
const SHARED_BYTES: u64 = 32 * 1024;

impl Store {
    /// A durable write transaction that frees space, and so gets the reserve when there is none to write it
    /// in.
    pub(crate) fn write_to_free<T>(&self, f: impl Fn(&Transaction) -> Sql<T>) -> Result<T> {
        self.with_reserve(|| self.db().write_durable(&f))
    }

    /// Runs `f`, which frees space, a second time with the reserve if there was no space.
    pub(crate) fn with_reserve<T>(&self, f: impl Fn() -> Result<T>) -> Result<T> {
        match f() {
            Err(error) if error.is_no_space() && spend(self.root()) => f(),
            other => other,
        }
    }

    /// Holds the reserve back again, as far as it was given away.
    pub(crate) fn restore_reserve(&self) {
        let held = fs::metadata(self.root().join(RESERVE)).map_or(0, |m| m.len());
        if held < RESERVE_BYTES {
            make(self.root());
        }
    }
}

/// Best effort: a store without its reserve works, only a prune on a full disk may not. Where there is no
/// space for all of it, a smaller one is better than none.
pub(crate) fn make(root: &Path) {
    let path = root.join(RESERVE);
    let Ok(file) = File::create(&path) else { return };
    let held = (0..4)
        .any(|half| rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES >> half).is_ok());
    if !held {
        let _ = fs::remove_file(path);
    }
}

/// Gives the reserve to whoever is about to free more; whether there was one.
fn spend(root: &Path) -> bool {
    fs::remove_file(root.join(RESERVE)).is_ok()
}

/// Refuses to begin a store where there is no space for one.
pub(crate) fn require_space_for_new(root: &Path) -> Result<()> {
    match free(root) {
        Some((_, free)) if free < NEW_STORE_BYTES => Err(Error::NoSpace { path: root.to_owned() }),
        _ => Ok(()),
    }
}

/// SQLite maps its `-shm` file and, so that no store into the map can fail, first writes one byte into each
/// of its pages of 4 KiB. On a file system of smaller blocks (ext4 below 512 MB) this leaves holes, and on a
/// full disk the process would die of SIGBUS. There, the database is opened only where there is space to fill
/// them, if need be from the reserve, and then the file is allocated whole.
pub(crate) fn open_database(root: &Path) -> Result<Db> {
    let path = root.join(DATABASE);
    let Some((block, available)) = free(root) else { return Db::open(path) };
    if block >= 4096 {
        return Db::open(path);
    }
    let spent = available < 2 * SHARED_BYTES;
    if spent && !spend(root) {
        return Err(Error::NoSpace { path });
    }
    let opened = Db::open(path).and_then(|db| {
        // Makes SQLite open the file, which it cuts down when nobody else has it open.
        db.read(|c| Ok(c.query_row("SELECT count(*) FROM trash", [], |_| Ok(()))?))?;
        allocate(&root.join(format!("{DATABASE}-shm")))?;
        Ok(db)
    });
    if spent {
        make(root);
    }
    opened
}

fn allocate(path: &Path) -> Result<()> {
    let fail = |e: io::Error| Error::io("cannot allocate", path, e);
    if fs::metadata(path).map_err(fail)?.blocks() * 512 >= SHARED_BYTES {
        return Ok(());
    }
    let file = OpenOptions::new().write(true).open(path).map_err(fail)?;
    let done = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, SHARED_BYTES);
    // Closing it would free the locks that SQLite holds on the same file in this process: POSIX locks go with
    // any descriptor. One descriptor per store and process, on such file systems only.
    std::mem::forget(file);
    done.map_err(|e| fail(e.into()))
}

/// The file system's block size and free bytes.
fn free(root: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(root).ok()?;
    Some((stat.f_frsize, stat.f_bavail * stat.f_frsize))
}
