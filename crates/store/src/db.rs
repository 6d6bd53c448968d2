//! The database connection: how it is opened, how it waits for other processes, and the two ways to use it,
//! `read` and `write`.
//!
//! Settings, with the reasons:
//! - WAL and `synchronous=NORMAL`: no fsync per commit. A power cut may take the last commits back, never
//!   tear one; what must not be taken back goes through [`Db::write_durable`].
//! - Every write transaction is `BEGIN IMMEDIATE`, so that waiting for other writers happens in one place and
//!   a transaction that has begun cannot fail for want of the lock.
//! - The WAL stays when the last process closes (`NO_CKPT_ON_CLOSE`): folding it into the database costs two
//!   fsyncs, which on a busy disk is many times a whole `strake` command. It is folded in when it has grown
//!   past what the next opener should have to read.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::ffi::ErrorCode;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::{Error, Result};

/// Folded in at close from this size on: the next opener reads 500 pages back in half a millisecond, and
/// folding them in takes tens on a busy disk.
const WAL_AT_CLOSE: u64 = 500 * 4096;
/// Folded in during a long-running command at this many pages.
const WAL_WHILE_OPEN: u32 = 2000;
const STATEMENTS: usize = 128;

/// What may go wrong inside a transaction: SQLite, which does not know its path, or the store.
#[derive(Debug)]
pub(crate) enum Fault {
    Sql(rusqlite::Error),
    Store(Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        Fault::Sql(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Store(error)
    }
}

pub(crate) type Sql<T> = std::result::Result<T, Fault>;

#[derive(Debug)]
pub(crate) struct Db {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Db {
    /// Opens the database of a store that is complete; never creates one.
    pub(crate) fn open(path: PathBuf) -> Result<Db> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = connect(&path, flags).map_err(|e| sql_error(&path, e))?;
        Ok(Db { path, connection: Mutex::new(connection) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic inside a transaction has rolled it back: the connection is as good as before.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One statement, or several that need not see the same state.
    pub(crate) fn read<T>(&self, f: impl FnOnce(&Connection) -> Sql<T>) -> Result<T> {
        f(&self.connection()).map_err(|fault| self.error(fault))
    }

    /// Several statements that see one state of the database.
    pub(crate) fn read_all<T>(&self, f: impl FnOnce(&Connection) -> Sql<T>) -> Result<T> {
        let mut connection = self.connection();
        let run = || -> Sql<T> {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
            f(&tx)
        };
        run().map_err(|fault| self.error(fault))
    }

    /// A write transaction. While `f` runs, no other process commits: what it finds on the disk under a
    /// committed name is settled.
    pub(crate) fn write<T>(&self, f: impl FnOnce(&Transaction) -> Sql<T>) -> Result<T> {
        let mut connection = self.connection();
        transact(&mut connection, f).map_err(|fault| self.error(fault))
    }

    /// A write transaction that a power cut cannot take back: for dropping rows whose files are deleted next.
    pub(crate) fn write_durable<T>(&self, f: impl FnOnce(&Transaction) -> Sql<T>) -> Result<T> {
        let mut connection = self.connection();
        let full = connection.pragma_update(None, "synchronous", "FULL");
        full.map_err(|e| self.error(e.into()))?;
        let done = transact(&mut connection, f).map_err(|fault| self.error(fault));
        let normal = connection.pragma_update(None, "synchronous", "NORMAL");
        normal.map_err(|e| self.error(e.into()))?;
        done
    }

    /// A write transaction of which nothing stays: to see what it would do.
    pub(crate) fn write_and_undo<T>(&self, f: impl FnOnce(&Transaction) -> Sql<T>) -> Result<T> {
        let mut connection = self.connection();
        let run = || -> Sql<T> {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = f(&tx)?;
            tx.rollback()?;
            Ok(value)
        };
        run().map_err(|fault| self.error(fault))
    }

    /// Gives free space in the database back to the disk, as far as other processes let us.
    pub(crate) fn compact(&self) -> Result<()> {
        let connection = self.connection();
        let run = || -> rusqlite::Result<()> {
            connection.pragma_update(None, "temp_store", "MEMORY")?;
            let vacuumed = connection.execute_batch("VACUUM");
            connection.pragma_update(None, "temp_store", "DEFAULT")?;
            vacuumed?;
            fold(&connection)
        };
        match run() {
            // Others are reading or writing: the next prune has another chance.
            Err(error) if is_busy(&error) => Ok(()),
            other => other.map_err(|e| self.error(e.into())),
        }
    }

    pub(crate) fn error(&self, fault: Fault) -> Error {
        match fault {
            Fault::Store(error) => error,
            Fault::Sql(error) => sql_error(&self.path, error),
        }
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        let mut wal = self.path.clone().into_os_string();
        wal.push("-wal");
        let long = std::fs::metadata(wal).is_ok_and(|m| m.len() >= WAL_AT_CLOSE);
        if long {
            // Best effort, without waiting: whoever closes next tries again.
            let connection = self.connection();
            let _ = connection.busy_timeout(Duration::ZERO);
            let _ = fold(&connection);
        }
    }
}

/// Opens `path` with the settings that every connection needs.
pub(crate) fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(wait_for_writer))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_WHILE_OPEN)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Folds the WAL into the database and empties it, if no other process needs it.
pub(crate) fn fold(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

fn transact<T>(connection: &mut Connection, f: impl FnOnce(&Transaction) -> Sql<T>) -> Sql<T> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = f(&tx)?;
    tx.commit()?;
    Ok(value)
}

/// Transactions last a tenth of a millisecond, so waiting begins in such steps; SQLite's own handler sleeps
/// whole milliseconds at once, and is unfair to who waits longest. Gives up after about a minute.
fn wait_for_writer(attempt: i32) -> bool {
    let pause = match attempt {
        0..20 => Duration::from_micros(100),
        20..100 => Duration::from_millis(1),
        100..12_000 => Duration::from_millis(5),
        _ => return false,
    };
    std::thread::sleep(pause);
    true
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

pub(crate) fn sql_error(path: &Path, error: rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Error::NoSpace { path: path.to_owned() },
        _ if is_busy(&error) => Error::Busy { path: path.to_owned() },
        // Growing the shared-memory file, or creating it, on a full disk has no code of its own.
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) if is_full(path) => {
            Error::NoSpace { path: path.to_owned() }
        }
        _ => Error::Database { path: path.to_owned(), message: error.to_string() },
    }
}

fn is_full(path: &Path) -> bool {
    let dir = path.parent().unwrap_or(path);
    rustix::fs::statvfs(dir).is_ok_and(|s| s.f_bavail * s.f_frsize < 64 * 1024)
}

/// For text columns that hold what only this program writes: a damaged one is an error of the database.
pub(crate) fn parse<T>(text: &str) -> Sql<T>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(|e: T::Err| {
        Fault::Sql(rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(e)))
    })
}

/// An I/O failure inside a transaction.
pub(crate) fn io_fault(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Fault {
    move |source| Fault::Store(Error::io(doing, path, source))
}
