//! What is being fetched and outlives its process: the part of a blob that has come, and the claim on a layer that is
//! being unpacked. Each is a file in `partial/` that its process holds a lock on, so that others can tell.
//!
//! A part whose process died is taken up by the next one that wants the blob. It counts for nothing until then: its
//! bytes are hashed again before any is added, and nothing in the database knows of it. Who fetches, and from where,
//! is not known here.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use oci::{ChainId, Digest, Hasher};
use rustix::fs::FlockOperation;

use crate::blob::has_parent;
use crate::lease::{Holding, lock};
use crate::schema::{PARTIAL, TMP};
use crate::sweep::names;
use crate::{Error, Result, Store};

/// How long a part that nobody goes on with is kept.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// What the name of a claim ends with.
const CLAIM: &str = ".unpack";
const STEP_CLAIM: &str = ".step";

/// The part of a blob that has come so far, ours alone to add to. Dropped without a commit, it stays for the next one,
/// unless it is empty.
pub struct PartialBlob {
    store: Store,
    holding: Arc<Holding>,
    digest: Digest,
    path: PathBuf,
    file: File,
    /// Of the bytes from the start on that were looked at.
    hasher: Hasher,
    len: u64,
    /// Whether it outlives this value.
    stays: bool,
}

/// While it lives, no other process that asks begins to unpack the same snapshot.
#[derive(Debug)]
pub struct SnapshotClaim {
    path: PathBuf,
    /// Its lock is the claim.
    _file: File,
}

/// While it lives, nobody else that asks runs the same step.
#[derive(Debug)]
pub struct StepClaim {
    path: PathBuf,
    /// Its lock is the claim.
    _file: File,
}

impl StepClaim {
    /// The file that the claim leaves.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Store {
    /// Takes up the part of the blob `digest` that is here, or begins one; `None` while another process (or thread)
    /// has it. Whether the blob is here whole is for the caller to ask, after this: whoever had the part may just have
    /// finished it. [`Error::Algorithm`] for a digest that is no SHA-256.
    pub fn partial_blob(&self, digest: &Digest) -> Result<Option<PartialBlob>> {
        if digest.algorithm() != "sha256" {
            return Err(Error::Algorithm(digest.clone()));
        }
        let holding = self.hold()?;
        let path = self.root().join(PARTIAL).join(digest.hex());
        let Some(file) = take(&path)? else { return Ok(None) };
        let len = file.metadata().map_err(|e| Error::io("cannot read", &path, e))?.len();
        if len == 0 && self.blob_path(digest).exists() {
            // Whoever had it may have moved it to its place this moment, before the database says so; when it is our
            // turn to write there, it does.
            holding.write(|_, _| Ok(()))?;
        }
        let (store, digest) = (self.clone(), digest.clone());
        Ok(Some(PartialBlob { store, holding, digest, path, file, hasher: Hasher::new(), len, stays: true }))
    }

    /// A part that is ours alone and goes with this value, for a blob that another process has a part of and does not
    /// get on with.
    pub fn own_partial_blob(&self, digest: &Digest) -> Result<PartialBlob> {
        if digest.algorithm() != "sha256" {
            return Err(Error::Algorithm(digest.clone()));
        }
        let holding = self.hold()?;
        loop {
            let path = holding.fresh(TMP);
            let created = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
            let file = match created {
                // `tmp` was being replaced by an empty one: see `compact`.
                Err(e) if e.kind() == io::ErrorKind::NotFound && has_parent(&path) => continue,
                created => created.map_err(|e| Error::io("cannot create", &path, e))?,
            };
            let (store, digest) = (self.clone(), digest.clone());
            return Ok(PartialBlob {
                store,
                holding,
                digest,
                path,
                file,
                hasher: Hasher::new(),
                len: 0,
                stays: false,
            });
        }
    }

    /// How many bytes of the blob have come, to whoever fetches it; `None` where nobody has begun.
    pub fn partial_len(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.root().join(PARTIAL).join(digest.hex())).ok().map(|m| m.len())
    }

    /// Claims the making of a snapshot by unpacking; `None` while another has that claim. Whether the snapshot is here
    /// is for the caller to ask after this. The claim keeps nobody from anything: it only saves doing it twice.
    pub fn claim_snapshot(&self, chain_id: &ChainId) -> Result<Option<SnapshotClaim>> {
        let path = self.root().join(PARTIAL).join(format!("{}{CLAIM}", chain_id.hex()));
        Ok(take(&path)?.map(|file| SnapshotClaim { path, _file: file }))
    }

    /// Claims the run of the build step of this cache key, so that equal steps of builds that run side by side are done
    /// once; `None` while another has that claim. As [`Store::claim_snapshot`], it keeps nobody from anything.
    ///
    /// Its file stays when it is dropped: whoever runs many steps removes the files of all of them in the end, for on
    /// ext4 new files are made slowly while there are inodes deleted just before. One that is left over is swept.
    pub fn claim_step(&self, key: &Digest) -> Result<Option<StepClaim>> {
        let path = self.root().join(PARTIAL).join(format!("{}{STEP_CLAIM}", key.hex()));
        Ok(take(&path)?.map(|file| StepClaim { path, _file: file }))
    }

    /// Removes parts that nobody writes: those `KEPT` long and left-over claims, or `all`. Returns the bytes freed.
    pub(crate) fn sweep_partial(&self, all: bool) -> Result<u64> {
        let dir = self.root().join(PARTIAL);
        let mut freed = 0;
        for name in names(&dir)? {
            let path = dir.join(&name);
            let Ok(meta) = fs::metadata(&path) else { continue };
            let age = meta.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
            let old = age.is_some_and(|age| age > KEPT);
            if !(all || old || name.ends_with(CLAIM) || name.ends_with(STEP_CLAIM)) {
                continue;
            }
            let Ok(file) = File::open(&path) else { continue };
            if lock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() && is_at(&file, &path) {
                fs::remove_file(&path).map_err(|e| Error::io("cannot remove", &path, e))?;
                freed += meta.len();
            }
        }
        Ok(freed)
    }

    /// Bytes of the parts: those that somebody adds to, and those that wait.
    pub(crate) fn partial_usage(&self) -> Result<(u64, u64)> {
        let dir = self.root().join(PARTIAL);
        let (mut live, mut waiting) = (0, 0);
        for name in names(&dir)? {
            let Ok(file) = File::open(dir.join(name)) else { continue };
            let len = file.metadata().map_or(0, |m| m.len());
            // Shared, so that asking does not disturb who writes; who begins at this moment tries again.
            match lock(&file, FlockOperation::NonBlockingLockShared) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => live += len,
                _ => waiting += len,
            }
        }
        Ok((live, waiting))
    }
}

impl PartialBlob {
    /// Bytes held, from the blob's start on.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether none are.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many of the bytes held have been hashed, by [`PartialBlob::rehash`] or as they were added.
    pub fn hashed(&self) -> u64 {
        self.hasher.len()
    }

    /// Hashes some more of what an earlier process left, through `buffer`; 0 once all are. Only then can more be
    /// added.
    ///
    /// # Errors
    /// What reading says.
    pub fn rehash(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len - self.hashed()).unwrap_or(usize::MAX).min(buffer.len());
        let read = match self.file.read_at(&mut buffer[..left], self.hashed()) {
            Ok(0) if left > 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return self.rehash(buffer),
            read => read?,
        };
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }

    /// Adds bytes. All that was held has to be hashed.
    ///
    /// # Errors
    /// What writing says; `InvalidInput` where something is not hashed.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.hashed() != self.len {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the part was not hashed"));
        }
        self.file.write_all_at(bytes, self.len)?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// The file, for reading it (by offset) while it grows. It stays good after the commit.
    pub fn file(&self) -> Result<File> {
        self.file.try_clone().map_err(|e| Error::io("cannot open", &self.path, e))
    }

    /// Throws away what is held, to begin again.
    pub fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(|e| Error::io("cannot write", &self.path, e))?;
        self.hasher = Hasher::new();
        self.len = 0;
        Ok(())
    }

    /// Throws it away.
    pub fn discard(mut self) {
        self.len = 0;
    }

    /// Makes the blob visible; returns its size in bytes. Bytes of another digest are refused with
    /// [`Error::DigestMismatch`], and the part stays: whether it is thrown away is the caller's to say.
    pub fn commit(&mut self) -> Result<u64> {
        let found = self.hasher.clone().finish();
        if self.hashed() != self.len || found != self.digest {
            let what = "content".to_owned();
            return Err(Error::DigestMismatch { what, expected: self.digest.clone(), found, stored: false });
        }
        let len = self.len;
        // Whatever becomes of it, nothing of it is to be here afterwards: not even where the blob was here already.
        self.store.publish_blob(&self.holding, &self.digest, len, &self.path)?;
        self.len = 0;
        Ok(len)
    }
}

impl Write for PartialBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for PartialBlob {
    fn drop(&mut self) {
        if (self.len == 0 || !self.stays) && is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for SnapshotClaim {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Opens the file at `path`, made if need be, and locks it; `None` where somebody else has.
fn take(path: &Path) -> Result<Option<File>> {
    loop {
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = opened.map_err(|e| Error::io("cannot create", path, e))?;
        match lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(e) => return Err(Error::io("cannot lock", path, e)),
        }
        // Between the two it may have become the blob, or been removed.
        if is_at(&file, path) {
            return Ok(Some(file));
        }
    }
}

/// Whether `path` still names this file.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(there)) = (file.metadata(), fs::symlink_metadata(path)) else { return false };
    (ours.dev(), ours.ino()) == (there.dev(), there.ino())
}
