//! Giving space back to the disk that nothing uses: free pages in the database, blocks of directories that
//! were large.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};

use crate::db::io_fault;
use crate::schema::{BLOBS, CONTAINERS, CONTEXTS, DATABASE, MOUNTS, RESERVE, SNAPSHOTS, TMP, VERSION, WORK};
use crate::{Result, Store};

impl Store {
    /// Returns the bytes by which the database shrank.
    pub(crate) fn compact(&self) -> Result<u64> {
        let before = self.database_size();
        self.db().compact()?;
        self.replace_empty_dirs()?;
        Ok(before.saturating_sub(self.database_size()))
    }

    /// Bytes of the database's files and the store's other fixed files.
    pub(crate) fn database_size(&self) -> u64 {
        let size = |name: &str| fs::metadata(self.root().join(name)).map_or(0, |m| m.len());
        [VERSION, DATABASE, "strake.db-wal", "strake.db-shm", RESERVE].iter().map(|n| size(n)).sum()
    }

    /// A directory never shrinks. An empty one can be replaced, in one step, by a new one: a rename onto it
    /// fails when it is not empty. Under the write lock, so that nothing is renamed into it meanwhile; who
    /// makes an entry in
    /// `tmp` or `work` at this moment tries again.
    fn replace_empty_dirs(&self) -> Result<()> {
        let holding = self.hold()?;
        let fresh = holding.fresh(TMP);
        let made = self.db().write(|_| {
            for dir in [WORK, SNAPSHOTS, BLOBS, CONTAINERS, CONTEXTS, MOUNTS, TMP] {
                // For `tmp` itself the new one cannot lie in it.
                let fresh = if dir == TMP { holding.fresh(WORK) } else { fresh.clone() };
                let path = self.root().join(dir);
                let made = DirBuilder::new().mode(0o700).create(&fresh);
                made.map_err(io_fault("cannot create", &fresh))?;
                let blocks = |p| fs::metadata(p).map(|m| m.blocks());
                let shrinks = matches!((blocks(&path), blocks(&fresh)), (Ok(old), Ok(new)) if old > new);
                if !shrinks || fs::rename(&fresh, &path).is_err() {
                    fs::remove_dir(&fresh).map_err(io_fault("cannot remove", &fresh))?;
                }
            }
            Ok(())
        });
        self.let_go();
        made
    }
}
