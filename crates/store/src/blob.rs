//! Blobs: bytes under their digest, whole and verified or not there at all.
//!
//! What a blob means (config, manifest, layer) is not known here.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci::{Digest, Hasher, HashingWriter};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::db::{Sql, io_fault};
use crate::lease::{Holding, Kind};
use crate::schema::{BLOBS, TMP};
use crate::sync::unmark;
use crate::{Error, Result, Store, now};

const BUFFER: usize = 128 * 1024;

/// Writes a blob of unknown digest: hashes as it goes. Dropped without a commit, it leaves nothing.
pub struct BlobWriter {
    store: Store,
    holding: Arc<Holding>,
    path: PathBuf,
    /// `None` once it is flushed.
    out: Option<HashingWriter<BufWriter<File>>>,
}

impl Store {
    /// Stores `bytes` and returns their digest. Does nothing when they are there already.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest> {
        let holding = self.hold()?;
        let digest = Digest::sha256(bytes);
        if self.keep_blob(&holding, &digest, bytes.len() as u64)? {
            return Ok(digest);
        }
        let mut writer = self.blob_writer()?;
        let written = writer.write_all(bytes);
        written.map_err(|e| Error::io("cannot write", &writer.path, e))?;
        writer.commit(Some(&digest)).map(|(digest, _)| digest)
    }

    /// Begins a blob whose bytes come in a stream.
    pub fn blob_writer(&self) -> Result<BlobWriter> {
        let holding = self.hold()?;
        let (path, file) = create_temporary(&holding)?;
        let out = HashingWriter::new(BufWriter::with_capacity(BUFFER, file));
        Ok(BlobWriter { store: self.clone(), holding, path, out: Some(out) })
    }

    /// Whether the blob is here. Under a lease it then stays.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool> {
        Ok(self.blob_size(digest)?.is_some())
    }

    /// The blob's size in bytes; `None` where it is not here. Under a lease it then stays.
    pub fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let found = self.db().read(|c| {
            let size = size_of(c, digest)?;
            Ok((size, size.is_some() && self.is_unverified(c, Kind::Blob, digest.as_str())?))
        })?;
        match found {
            (None, _) => return Ok(None),
            (Some(_), true) if !self.verify_blob(digest)? => return Ok(None),
            _ => {}
        }
        let Some(holding) = self.held().filter(|h| !h.has(Kind::Blob, digest.as_str())) else {
            return Ok(found.0);
        };
        holding.write(|tx, used| {
            let size = size_of(tx, digest)?;
            if size.is_some() {
                used.push((Kind::Blob, digest.to_string()));
            }
            Ok(size)
        })
    }

    /// Opens a blob for reading. Its bytes are not verified: see [`Store::read_blob`]. [`Error::MissingBlob`]
    /// where it is not here.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        if self.blob_size(digest)?.is_none() {
            return Err(Error::MissingBlob(digest.clone()));
        }
        let path = self.blob_path(digest);
        File::open(&path).map_err(|e| damaged("blob", digest, &path, &e))
    }

    /// The whole blob, verified against its digest. Refused when it has more than `limit` bytes.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let size = self.db().read(|c| size_of(c, digest))?;
        let size = size.ok_or_else(|| Error::MissingBlob(digest.clone()))?;
        if size > limit {
            return Err(Error::BlobTooLarge { digest: digest.clone(), size, limit });
        }
        let path = self.blob_path(digest);
        let bytes = fs::read(&path).map_err(|e| damaged("blob", digest, &path, &e))?;
        let found = Digest::sha256(&bytes);
        if found != *digest {
            let what = path.display().to_string();
            return Err(Error::DigestMismatch { what, expected: digest.clone(), found, stored: true });
        }
        Ok(bytes)
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root().join(BLOBS).join(digest.hex())
    }

    /// If the blob is here whole (to judge by its size), the lease uses it.
    fn keep_blob(&self, holding: &Holding, digest: &Digest, size: u64) -> Result<bool> {
        let whole = self.db().read(|c| self.is_whole(c, digest, size))?;
        if !whole || holding.has(Kind::Blob, digest.as_str()) {
            return Ok(whole);
        }
        holding.write(|tx, used| {
            let whole = self.is_whole(tx, digest, size)?;
            if whole {
                used.push((Kind::Blob, digest.to_string()));
            }
            Ok(whole)
        })
    }

    /// Makes the file at `path`, which was verified to be this blob, visible as such. Where the blob is here already
    /// the file stays where it is.
    pub(crate) fn publish_blob(
        &self,
        holding: &Holding,
        digest: &Digest,
        size: u64,
        path: &Path,
    ) -> Result<()> {
        if self.keep_blob(holding, digest, size)? {
            return Ok(());
        }
        let done = holding.write(|tx, used| {
            used.push((Kind::Blob, digest.to_string()));
            self.adopt_blob(tx, path, digest, size)
        });
        self.undo_on_error(holding, &format!("{BLOBS}/{}", digest.hex()), done)
    }

    fn is_whole(&self, connection: &Connection, digest: &Digest, size: u64) -> Sql<bool> {
        Ok(size_of(connection, digest)? == Some(size)
            && !self.is_unverified(connection, Kind::Blob, digest.as_str())?
            && fs::metadata(self.blob_path(digest)).is_ok_and(|m| m.len() == size))
    }

    /// Makes the file at `from`, whose bytes have this digest and size, the blob, unless it is here already: then the
    /// file stays where it is. Whoever calls it undoes it when the transaction fails: see `undo_on_error`.
    pub(crate) fn adopt_blob(&self, tx: &Transaction, from: &Path, digest: &Digest, size: u64) -> Sql<()> {
        if self.is_whole(tx, digest, size)? {
            return Ok(());
        }
        tx.prepare_cached("INSERT OR REPLACE INTO blobs (digest, size, created) VALUES (?1, ?2, ?3)")?
            .execute(params![digest.as_str(), size, now()])?;
        unmark(tx, Kind::Blob, digest.as_str())?;
        self.mark_unsynced(tx, Kind::Blob, digest.as_str())?;
        // Replaces what a dead process left there, or a damaged file.
        let to = self.blob_path(digest);
        fs::rename(from, &to).map_err(io_fault("cannot create", &to))
    }

    /// Hashes a blob that an earlier boot left unsynced. What is well counts from now on; what is not is left
    /// to the next sweep.
    pub(crate) fn verify_blob(&self, digest: &Digest) -> Result<bool> {
        let well = hash_file(&self.blob_path(digest)).is_ok_and(|(found, _)| found == *digest);
        if well {
            self.db().write(|tx| unmark(tx, Kind::Blob, digest.as_str()))?;
        }
        Ok(well)
    }
}

impl BlobWriter {
    /// Makes the blob visible, and returns its digest and its size in bytes. With `expected`, bytes of
    /// another digest are refused with [`Error::DigestMismatch`] and leave nothing.
    pub fn commit(mut self, expected: Option<&Digest>) -> Result<(Digest, u64)> {
        let out = self.out.take().expect("because only commit takes it, and commit consumes the writer");
        let (buffer, digest, size) = out.finish();
        // The file is closed by this: some file systems tell of a full disk only then, but none that can be
        // rename'd within and locked as a store has to be.
        buffer.into_inner().map_err(|e| Error::io("cannot write", &self.path, e.into_error()))?;
        if let Some(expected) = expected {
            if expected.algorithm() != "sha256" {
                return Err(Error::Algorithm(expected.clone()));
            }
            if *expected != digest {
                let what = "content".to_owned();
                let expected = expected.clone();
                return Err(Error::DigestMismatch { what, expected, found: digest, stored: false });
            }
        }
        self.store.publish_blob(&self.holding, &digest, size, &self.path)?;
        Ok((digest, size))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.out {
            Some(out) => out.write(bytes),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        // Without the buffer's content, which would be written now only to be removed.
        if let Some(out) = self.out.take() {
            let (buffer, _, _) = out.finish();
            let _ = buffer.into_parts();
        }
        let _ = fs::remove_file(&self.path);
    }
}

pub(crate) fn create_temporary(holding: &Holding) -> Result<(PathBuf, File)> {
    loop {
        let path = holding.fresh(TMP);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            // `tmp` was being replaced by an empty one: see `compact`.
            Err(e) if e.kind() == io::ErrorKind::NotFound && has_parent(&path) => {}
            Err(e) => return Err(Error::io("cannot create", &path, e)),
        }
    }
}

pub(crate) fn has_parent(path: &Path) -> bool {
    path.parent().is_some_and(Path::exists)
}

fn size_of(connection: &Connection, digest: &Digest) -> Sql<Option<u64>> {
    Ok(connection
        .prepare_cached("SELECT size FROM blobs WHERE digest = ?1")?
        .query_row([digest.as_str()], |row| row.get(0))
        .optional()?)
}

/// The digest and size of a file's bytes.
pub(crate) fn hash_file(path: &Path) -> io::Result<(Digest, u64)> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => hasher.update(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let size = hasher.len();
    Ok((hasher.finish(), size))
}

/// A row whose file cannot be read.
pub(crate) fn damaged(what: &'static str, key: &Digest, path: &Path, source: &io::Error) -> Error {
    Error::Damaged { what: format!("{what} {key}"), detail: format!("{}: {source}", path.display()) }
}
