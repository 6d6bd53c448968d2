//! Uploads: blobs on their way into a repository. One is a file in `uploads/` and a row that says whose it is; it
//! outlives the request, the connection and the server, until it is finished, cancelled, or nobody has added to it
//! for a day.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use oci::Digest;
use rusqlite::{Transaction, params};
use rustix::fs::FlockOperation;
use rustix::rand::{GetRandomFlags, getrandom};

use super::add_blob;
use crate::db::{Sql, io_fault};
use crate::lease::lock;
use crate::schema::{BLOBS, UPLOADS};
use crate::sweep::names;
use crate::{Error, Result, Store, now};

/// Nobody comes back to what was left for so long.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);
/// So long at least an upload is waited for, however many others there are.
const PATIENCE: Duration = Duration::from_secs(60 * 60);
/// No more unfinished uploads than this.
const MOST: u64 = 1000;

/// An upload, locked for this request: nobody else adds to it, finishes or sweeps it.
#[derive(Debug)]
pub struct Upload {
    store: Store,
    id: String,
    repository: String,
    path: PathBuf,
    /// Its lock is the upload's; written at its end only.
    file: File,
    len: u64,
}

impl Store {
    /// Begins an upload into the repository. [`Error::TooManyUploads`] where there are a thousand already, none of
    /// them idle for an hour.
    pub fn begin_upload(&self, repository: &str) -> Result<Upload> {
        let count = || -> Result<u64> {
            self.db()
                .read(|c| Ok(c.query_row("SELECT count(*) FROM registry_uploads", [], |row| row.get(0))?))
        };
        if count()? >= MOST {
            self.remove_idle_uploads(PATIENCE)?;
            if count()? >= MOST {
                return Err(Error::TooManyUploads(MOST));
            }
        }
        let id = random_id()?;
        let path = self.root().join(UPLOADS).join(&id);
        // Under the write lock, so that a file without a row is a dead process's.
        let file = self.db().write(|tx| {
            let created = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path);
            let file = created.map_err(io_fault("cannot create", &path))?;
            lock(&file, FlockOperation::LockExclusive).map_err(io_fault("cannot lock", &path))?;
            tx.prepare_cached("INSERT INTO registry_uploads (id, repository, started) VALUES (?1, ?2, ?3)")?
                .execute(params![id, repository, now()])?;
            Ok(file)
        });
        let file = file.inspect_err(|_| drop(fs::remove_file(&path)))?;
        Ok(Upload { store: self.clone(), id, repository: repository.to_owned(), path, file, len: 0 })
    }

    /// The upload of that ID into the repository; `None` where there is none. [`Error::UploadBusy`] when another
    /// request has it.
    pub fn open_upload(&self, repository: &str, id: &str) -> Result<Option<Upload>> {
        if !self.has_upload(repository, id)? {
            return Ok(None);
        }
        let path = self.root().join(UPLOADS).join(id);
        let file = match OpenOptions::new().append(true).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("cannot open", &path, e)),
        };
        match lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(Error::UploadBusy(id.to_owned())),
            Err(e) => return Err(Error::io("cannot lock", &path, e)),
        }
        // It may have been finished or swept before it was locked.
        if !self.has_upload(repository, id)? {
            return Ok(None);
        }
        let len = file.metadata().map_err(|e| Error::io("cannot look at", &path, e))?.len();
        Ok(Some(Upload {
            store: self.clone(),
            id: id.to_owned(),
            repository: repository.to_owned(),
            path,
            file,
            len,
        }))
    }

    /// How many bytes of the upload are here; `None` where there is no such upload. Does not need its lock.
    pub fn upload_len(&self, repository: &str, id: &str) -> Result<Option<u64>> {
        if !self.has_upload(repository, id)? {
            return Ok(None);
        }
        Ok(fs::metadata(self.root().join(UPLOADS).join(id)).ok().map(|m| m.len()))
    }

    fn has_upload(&self, repository: &str, id: &str) -> Result<bool> {
        self.db().read(|c| {
            Ok(c.prepare_cached("SELECT 1 FROM registry_uploads WHERE id = ?1 AND repository = ?2")?
                .exists([id, repository])?)
        })
    }

    /// Removes the uploads that nobody has added to for a day; how many. A sweep does it too.
    pub fn sweep_uploads(&self) -> Result<u64> {
        self.remove_idle_uploads(ABANDONED)
    }

    fn remove_idle_uploads(&self, idle: Duration) -> Result<u64> {
        let mut gone = 0;
        for id in names(&self.root().join(UPLOADS))? {
            let path = self.root().join(UPLOADS).join(&id);
            let Some(file) = open_idle(&path, idle) else { continue };
            self.db().write(|tx| forget(tx, &id))?;
            gone += u64::from(fs::remove_file(&path).is_ok());
            drop(file);
        }
        // Rows whose file a power cut took.
        let rows: Vec<String> = self.db().read(|c| {
            let mut statement = c.prepare_cached("SELECT id FROM registry_uploads")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })?;
        for id in rows {
            if !self.root().join(UPLOADS).join(&id).exists() {
                self.db().write(|tx| forget(tx, &id))?;
            }
        }
        Ok(gone)
    }
}

impl Upload {
    /// What its URL is made of: 32 hex digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Bytes that are here.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is here yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Opens what is here for reading, from its beginning.
    pub fn read(&self) -> Result<File> {
        File::open(&self.path).map_err(|e| Error::io("cannot open", &self.path, e))
    }

    /// Adds bytes at the end.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all(bytes);
        match written {
            Ok(()) => self.len += bytes.len() as u64,
            Err(error) => {
                // Some may be there: what the next request finds must be what is counted.
                let _ = self.file.set_len(self.len);
                return Err(Error::io("cannot write", &self.path, error));
            }
        }
        Ok(())
    }

    /// Makes all that is here a blob of the repository under `digest`; `blob` has to be the sha256 of the bytes, and
    /// `digest` of the same bytes, which the caller has hashed as they came.
    pub fn finish(self, digest: &Digest, blob: &Digest) -> Result<()> {
        let lease = self.store.lease()?;
        let holding = lease.holding();
        let done = self.store.db().write(|tx| {
            self.store.adopt_blob(tx, &self.path, blob, self.len)?;
            add_blob(tx, &self.repository, digest, blob.as_str())?;
            forget(tx, &self.id)
        });
        self.store.undo_on_error(holding, &format!("{BLOBS}/{}", blob.hex()), done)?;
        // Where its bytes were here before, they were not moved.
        let _ = fs::remove_file(&self.path);
        Ok(())
    }

    /// Drops it with all that is here.
    pub fn cancel(self) -> Result<()> {
        self.store.db().write(|tx| forget(tx, &self.id))?;
        let _ = fs::remove_file(&self.path);
        Ok(())
    }
}

fn forget(tx: &Transaction, id: &str) -> Sql<()> {
    tx.prepare_cached("DELETE FROM registry_uploads WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// The file, locked, if nobody has added to it for so long and nobody has it.
fn open_idle(path: &Path, idle: Duration) -> Option<File> {
    let old = |file: &File| {
        let meta = file.metadata().ok()?;
        let since = SystemTime::now().duration_since(meta.modified().ok()?).ok()?;
        (since >= idle && meta.nlink() > 0).then_some(())
    };
    let file = File::open(path).ok()?;
    old(&file)?;
    lock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    old(&file)?;
    Some(file)
}

fn random_id() -> Result<String> {
    let mut bytes = [0u8; 16];
    getrandom(&mut bytes, GetRandomFlags::empty())
        .map_err(|e| Error::io("cannot read", Path::new("/dev/urandom"), e.into()))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}
