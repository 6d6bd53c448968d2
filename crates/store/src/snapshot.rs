//! Snapshots: unpacked layers by ChainID, each in a directory that overlayfs takes as a lower.
//!
//! A snapshot's `fs/` holds its own layer only; its parents are other snapshots. How a layer gets into the
//! directory (unpacking, running a step) is not known here. Nothing writes into a committed snapshot.

use std::collections::HashMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci::{ChainId, DiffId, Digest};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::blob::has_parent;
use crate::db::{Fault, Sql, io_fault, parse};
use crate::lease::{Holding, Kind};
use crate::remove::remove_tree;
use crate::schema::{SNAPSHOTS, WORK};
use crate::sync::unmark;
use crate::{Error, Result, Store, now};

/// A committed snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The stack of layers up to this one.
    pub chain_id: ChainId,
    /// The stack below; `None` at the bottom.
    pub parent: Option<ChainId>,
    /// This layer.
    pub diff_id: DiffId,
    /// Size in bytes of the layer's uncompressed tar.
    pub tar_size: u64,
    /// Bytes of the regular files in this layer alone.
    pub usage: u64,
    /// Files, directories and the rest in this layer alone.
    pub inodes: u64,
    /// Digest of the tree as recorded at commit, where the maker gave one.
    pub tree_digest: Option<Digest>,
    /// When it was committed, in nanoseconds since the Unix epoch.
    pub created: i64,
    /// Whether a sync covered it since: it survives a power cut.
    pub synced: bool,
}

/// What the maker of a snapshot knows of its layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotStat {
    /// Digest of the layer's uncompressed tar.
    pub diff_id: DiffId,
    /// Size in bytes of that tar.
    pub tar_size: u64,
    /// Bytes of regular files.
    pub usage: u64,
    /// Files, directories and the rest.
    pub inodes: u64,
    /// Digest of the tree, by which `check` re-verifies it, for layers whose tar was not made here and so
    /// cannot be made again byte for byte. `None`: `check` derives the DiffID again.
    pub tree_digest: Option<Digest>,
}

/// A snapshot being made. Dropped without a commit, it is removed.
#[derive(Debug)]
pub struct PendingSnapshot {
    holding: Arc<Holding>,
    dir: PathBuf,
    fs: PathBuf,
    work: PathBuf,
}

const COLUMNS: &str = "chain_id, parent, diff_id, tar_size, usage, inodes, tree_digest, created,
    NOT EXISTS (SELECT 1 FROM unsynced u WHERE u.kind = 's' AND u.key = chain_id)";

impl Store {
    /// The snapshot, if it is here. Under a lease it and its parents then stay.
    pub fn snapshot(&self, chain_id: &ChainId) -> Result<Option<Snapshot>> {
        let find = |c: &Connection| self.find_snapshot(c, chain_id);
        let found = self.db().read(find)?;
        let held = self.held().filter(|h| found.is_some() && !h.has(Kind::Snapshot, chain_id.0.as_str()));
        let Some(holding) = held else { return Ok(found) };
        holding.write(|tx, used| {
            let found = find(tx)?;
            if found.is_some() {
                used.push((Kind::Snapshot, chain_id.to_string()));
            }
            Ok(found)
        })
    }

    /// All snapshots, parents before their children.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>> {
        self.db().read_all(all_snapshots)
    }

    /// Where the snapshot's layer directory `fs/` is, or would be.
    pub fn snapshot_dir(&self, chain_id: &ChainId) -> PathBuf {
        self.snapshot_top(chain_id).join("fs")
    }

    pub(crate) fn snapshot_top(&self, chain_id: &ChainId) -> PathBuf {
        self.root().join(SNAPSHOTS).join(chain_id.hex())
    }

    /// The layer directories of a stack given bottom layer first, topmost directory first, as overlayfs wants
    /// them. Under a lease they then stay. [`Error::MissingSnapshot`] names the lowest that is not here.
    pub fn lowers(&self, layers: &[DiffId]) -> Result<Vec<PathBuf>> {
        let chain = ChainId::prefixes(layers);
        let Some(top) = chain.last() else { return Ok(Vec::new()) };
        let dirs = || chain.iter().rev().map(|c| self.snapshot_dir(c)).collect();
        // A snapshot's parents are here whenever it is, so one answer is enough, unless some may not count
        // yet.
        let all_count = !self.db().read(|c| self.any_unverified(c))?;
        if all_count && self.snapshot(top)?.is_some() {
            return Ok(dirs());
        }
        for part in &chain {
            if self.snapshot(part)?.is_none() {
                return Err(Error::MissingSnapshot(part.clone()));
            }
        }
        Ok(dirs())
    }

    /// The layers of the stack `chain_id`, bottom layer first, from the snapshots' own records.
    pub fn layers_of(&self, chain_id: &ChainId) -> Result<Vec<DiffId>> {
        let mut layers: Vec<DiffId> = self.db().read_all(|c| {
            let mut layers = Vec::new();
            let mut at = Some(chain_id.to_string());
            let mut statement =
                c.prepare_cached("SELECT diff_id, parent FROM snapshots WHERE chain_id = ?1")?;
            while let Some(chain) = at {
                let row = statement.query_row([&chain], |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?))
                });
                let Some((diff_id, parent)) = row.optional()? else {
                    return Err(Error::MissingSnapshot(parse(&chain)?).into());
                };
                layers.push(parse(&diff_id)?);
                at = parent;
            }
            Ok(layers)
        })?;
        layers.reverse();
        Ok(layers)
    }

    /// Begins a snapshot: an empty layer directory and an empty overlay work directory beside it.
    pub fn begin_snapshot(&self) -> Result<PendingSnapshot> {
        let holding = self.hold()?;
        // Whoever makes snapshots has time.
        self.sync_what_is_old();
        let dir = create_dir(&holding, WORK)?;
        let pending = PendingSnapshot { fs: dir.join("fs"), work: dir.join("work"), dir, holding };
        for path in [&pending.fs, &pending.work] {
            make_layer_dir(path)?;
        }
        Ok(pending)
    }

    /// Makes `pending` visible as `parent` plus the layer `stat.diff_id`, and returns its ChainID. If another
    /// process was first, ours is dropped. [`Error::MissingSnapshot`] when the parent is not here.
    pub fn commit_snapshot(
        &self,
        pending: PendingSnapshot,
        parent: Option<&ChainId>,
        stat: &SnapshotStat,
    ) -> Result<ChainId> {
        let chain_id = ChainId::extend(parent, &stat.diff_id);
        if self.snapshot(&chain_id)?.is_some() {
            return Ok(chain_id);
        }
        remove_tree(&pending.work).map_err(|e| Error::io("cannot remove", &pending.work, e))?;
        let replaced = pending.holding.write(|tx, used| {
            used.push((Kind::Snapshot, chain_id.to_string()));
            if self.find_snapshot(tx, &chain_id)?.is_some() {
                return Ok(None);
            }
            let below = self.total_below(tx, parent)?;
            insert(tx, &chain_id, parent, stat, below)?;
            unmark(tx, Kind::Snapshot, chain_id.0.as_str())?;
            self.mark_unsynced(tx, Kind::Snapshot, chain_id.0.as_str())?;
            let to = self.snapshot_top(&chain_id);
            // Left over from a process that died between its rename and its commit, or left unsynced by an
            // earlier boot.
            let replaced = pending.holding.trash(&to).map_err(io_fault("cannot move away", &to))?;
            fs::rename(&pending.dir, &to).map_err(io_fault("cannot create", &to))?;
            Ok(replaced)
        });
        let replaced =
            self.undo_on_error(&pending.holding, &format!("{SNAPSHOTS}/{}", chain_id.hex()), replaced)?;
        if let Some(replaced) = replaced {
            remove_tree(&replaced).map_err(|e| Error::io("cannot remove", &replaced, e))?;
        }
        Ok(chain_id)
    }

    /// Says when a snapshot was made that was made elsewhere, in nanoseconds since the Unix epoch: the images of it are
    /// dated by that, so that they are the same everywhere.
    pub fn date_snapshot(&self, chain_id: &ChainId, created: i64) -> Result<()> {
        self.db().write(|tx| {
            tx.prepare_cached("UPDATE snapshots SET created = ?1 WHERE chain_id = ?2")?
                .execute(params![created, chain_id.0.as_str()])?;
            Ok(())
        })
    }

    /// The snapshot's row, unless it does not count yet.
    pub(crate) fn find_snapshot(&self, connection: &Connection, chain_id: &ChainId) -> Sql<Option<Snapshot>> {
        let sql = format!("SELECT {COLUMNS} FROM snapshots WHERE chain_id = ?1");
        let found = connection.prepare_cached(&sql)?.query_row([chain_id.0.as_str()], read_row).optional()?;
        let Some(raw) = found else { return Ok(None) };
        if self.is_unverified(connection, Kind::Snapshot, chain_id.0.as_str())? {
            return Ok(None);
        }
        raw.check().map(Some)
    }

    fn total_below(&self, connection: &Connection, parent: Option<&ChainId>) -> Sql<u64> {
        let Some(parent) = parent else { return Ok(0) };
        let missing = || Fault::Store(Error::MissingSnapshot(parent.clone()));
        if self.is_unverified(connection, Kind::Snapshot, parent.0.as_str())? {
            return Err(missing());
        }
        connection
            .prepare_cached("SELECT total FROM snapshots WHERE chain_id = ?1")?
            .query_row([parent.0.as_str()], |row| row.get(0))
            .optional()?
            .ok_or_else(missing)
    }
}

impl PendingSnapshot {
    /// The directory that becomes `snapshots/HEX`: whatever is put beside `fs/` (an `owners` file) stays with
    /// it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The layer directory (overlay upper), mode 0755.
    pub fn fs(&self) -> &Path {
        &self.fs
    }

    /// The overlay work directory; removed at commit.
    pub fn work(&self) -> &Path {
        &self.work
    }
}

impl Drop for PendingSnapshot {
    fn drop(&mut self) {
        // After a commit there is nothing. What cannot be removed now is left to a sweep after this process.
        let _ = remove_tree(&self.dir);
    }
}

/// A fresh directory in `work/` or `tmp/` that belongs to the lease.
pub(crate) fn create_dir(holding: &Holding, dir: &str) -> Result<PathBuf> {
    loop {
        let path = holding.fresh(dir);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            // The directory was being replaced by an empty one: see `compact`.
            Err(e) if e.kind() == io::ErrorKind::NotFound && has_parent(&path) => {}
            Err(e) => return Err(Error::io("cannot create", &path, e)),
        }
    }
}

/// An overlay upper's own mode is what `/` of the container has, so it must not depend on the umask.
pub(crate) fn make_layer_dir(path: &Path) -> Result<()> {
    fs::create_dir(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .map_err(|e| Error::io("cannot create", path, e))
}

fn insert(
    connection: &Connection,
    chain_id: &ChainId,
    parent: Option<&ChainId>,
    stat: &SnapshotStat,
    below: u64,
) -> Sql<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO snapshots
             (chain_id, parent, diff_id, tar_size, usage, total, inodes, tree_digest, created)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            chain_id.0.as_str(),
            parent.map(|p| p.0.as_str()),
            stat.diff_id.0.as_str(),
            stat.tar_size,
            stat.usage,
            below.saturating_add(stat.usage),
            stat.inodes,
            stat.tree_digest.as_ref().map(Digest::as_str),
            now(),
        ])?;
    Ok(())
}

/// All rows, verified or not, parents before their children.
pub(crate) fn all_snapshots(connection: &Connection) -> Sql<Vec<Snapshot>> {
    let sql = format!("SELECT {COLUMNS} FROM snapshots");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut all: Vec<Snapshot> = Vec::new();
    for raw in statement.query_map([], read_row)? {
        all.push(raw?.check()?);
    }
    let depths = depths(&all);
    all.sort_by_cached_key(|s| (depths.get(&s.chain_id).copied().unwrap_or(0), s.chain_id.clone()));
    Ok(all)
}

/// How many snapshots are below each.
fn depths(all: &[Snapshot]) -> HashMap<ChainId, usize> {
    let parents: HashMap<&ChainId, Option<&ChainId>> =
        all.iter().map(|s| (&s.chain_id, s.parent.as_ref())).collect();
    let mut depths: HashMap<ChainId, usize> = HashMap::with_capacity(all.len());
    for snapshot in all {
        let mut unknown = Vec::new();
        let mut at = Some(&snapshot.chain_id);
        // A ring, which only a damaged database could hold, ends at its own length.
        while let Some(chain_id) = at.filter(|c| !depths.contains_key(*c) && unknown.len() <= all.len()) {
            unknown.push(chain_id);
            at = parents.get(chain_id).copied().flatten();
        }
        let lowest = at.and_then(|c| depths.get(c)).map_or(0, |below| below + 1);
        for (depth, chain_id) in (lowest..).zip(unknown.into_iter().rev()) {
            depths.insert(chain_id.clone(), depth);
        }
    }
    depths
}

/// A row as text.
struct Raw {
    chain_id: String,
    parent: Option<String>,
    diff_id: String,
    tar_size: u64,
    usage: u64,
    inodes: u64,
    tree_digest: Option<String>,
    created: i64,
    synced: bool,
}

fn read_row(row: &Row) -> rusqlite::Result<Raw> {
    Ok(Raw {
        chain_id: row.get(0)?,
        parent: row.get(1)?,
        diff_id: row.get(2)?,
        tar_size: row.get(3)?,
        usage: row.get(4)?,
        inodes: row.get(5)?,
        tree_digest: row.get(6)?,
        created: row.get(7)?,
        synced: row.get(8)?,
    })
}

impl Raw {
    fn check(self) -> Sql<Snapshot> {
        Ok(Snapshot {
            chain_id: parse(&self.chain_id)?,
            parent: self.parent.as_deref().map(parse).transpose()?,
            diff_id: parse(&self.diff_id)?,
            tar_size: self.tar_size,
            usage: self.usage,
            inodes: self.inodes,
            tree_digest: self.tree_digest.as_deref().map(parse).transpose()?,
            created: self.created,
            synced: self.synced,
        })
    }
}
