//! What needs what: from the roots (images, containers, cache records, leases of live processes) to the
//! snapshots and blobs; and dropping what nothing needs.
//!
//! Dangling images are roots like any other: whether they go is for a prune to say.

use std::collections::{HashMap, HashSet};
use std::ops::BitOr;
use std::path::{Path, PathBuf};

use oci::{ChainId, Digest, ImageId};
use rusqlite::{Connection, Transaction};

use crate::db::{Sql, io_fault, parse};
use crate::lease::{Holding, Kind, is_live};
use crate::remove::remove_tree;
use crate::schema::{BLOBS, CONTAINERS, MOUNTS, SNAPSHOTS, UPLOADS};
use crate::snapshot::all_snapshots;
use crate::sync::unmark;
use crate::{Error, Result, Snapshot, Store};

/// Which sorts of roots need a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Holders(u8);

impl Holders {
    pub(crate) const IMAGE: Holders = Holders(1);
    pub(crate) const CONTAINER: Holders = Holders(2);
    pub(crate) const CACHE: Holders = Holders(4);
    pub(crate) const LEASE: Holders = Holders(8);
    /// A repository of the registry that is served from this store.
    pub(crate) const REGISTRY: Holders = Holders(16);

    pub(crate) fn has(self, other: Holders) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Holders {
    type Output = Holders;

    fn bitor(self, other: Holders) -> Holders {
        Holders(self.0 | other.0)
    }
}

/// Every snapshot and blob that has a row, and who needs it.
pub(crate) struct Reach {
    /// Parents before their children.
    pub(crate) snapshots: Vec<(Snapshot, Holders)>,
    index: HashMap<ChainId, usize>,
    pub(crate) blobs: HashMap<Digest, (u64, Holders)>,
    /// The images that live processes are making.
    pub(crate) leased_images: HashSet<ImageId>,
}

/// Some snapshots and blobs.
#[derive(Default)]
pub(crate) struct Selection {
    pub(crate) snapshots: HashSet<ChainId>,
    pub(crate) blobs: HashSet<Digest>,
}

/// What was dropped from the database; its files are still there.
#[derive(Default)]
pub(crate) struct Drops {
    /// Parents before their children.
    pub(crate) snapshots: Vec<Snapshot>,
    pub(crate) blobs: Vec<(Digest, u64)>,
}

impl Reach {
    /// Marks from all roots. `root` is the store's directory, where the leases' locks are.
    pub(crate) fn mark(connection: &Connection, root: &Path) -> Sql<Reach> {
        let snapshots: Vec<(Snapshot, Holders)> =
            all_snapshots(connection)?.into_iter().map(|s| (s, Holders::default())).collect();
        let index = snapshots.iter().enumerate().map(|(i, (s, _))| (s.chain_id.clone(), i)).collect();
        let mut blobs = HashMap::new();
        for (digest, size) in rows::<u64>(connection, "SELECT digest, size FROM blobs")? {
            blobs.insert(parse(&digest)?, (size, Holders::default()));
        }
        let mut reach = Reach { snapshots, index, blobs, leased_images: HashSet::new() };
        for (sql, holders) in [
            ("SELECT DISTINCT chain_id, 0 FROM image_layers", Holders::IMAGE),
            ("SELECT chain_id, 0 FROM containers WHERE chain_id NOT NULL", Holders::CONTAINER),
            ("SELECT DISTINCT chain_id, 0 FROM cache WHERE chain_id NOT NULL", Holders::CACHE),
        ] {
            for (chain_id, _) in rows::<i64>(connection, sql)? {
                reach.mark_stack(&parse(&chain_id)?, holders);
            }
        }
        for sql in IMAGE_BLOBS {
            for (digest, _) in rows::<i64>(connection, &sql.replace("{and}", ""))? {
                reach.mark_blob(&parse(&digest)?, Holders::IMAGE);
            }
        }
        for sql in
            ["SELECT DISTINCT blob, 0 FROM registry_blobs", "SELECT DISTINCT blob, 0 FROM registry_manifests"]
        {
            for (digest, _) in rows::<i64>(connection, sql)? {
                reach.mark_blob(&parse(&digest)?, Holders::REGISTRY);
            }
        }
        reach.mark_leases(connection, root)?;
        Ok(reach)
    }

    fn mark_leases(&mut self, connection: &Connection, root: &Path) -> Sql<()> {
        let mut live: HashMap<String, bool> = HashMap::new();
        let mut statement = connection.prepare_cached("SELECT lease, kind, key FROM leases")?;
        let found = statement.query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        })?;
        for row in found {
            let (lease, kind, key) = row?;
            if !*live.entry(lease).or_insert_with_key(|lease| is_live(root, lease)) {
                continue;
            }
            if kind == Kind::Snapshot.as_str() {
                self.mark_stack(&parse(&key)?, Holders::LEASE);
            } else if kind == Kind::Blob.as_str() {
                self.mark_blob(&parse(&key)?, Holders::LEASE);
            } else {
                self.leased_images.insert(parse(&key)?);
            }
        }
        Ok(())
    }

    fn mark_stack(&mut self, chain_id: &ChainId, holders: Holders) {
        let mut at = self.index.get(chain_id).copied();
        while let Some(i) = at {
            let (snapshot, marked) = &mut self.snapshots[i];
            if marked.has(holders) {
                break;
            }
            *marked = *marked | holders;
            at = snapshot.parent.as_ref().and_then(|p| self.index.get(p)).copied();
        }
    }

    fn mark_blob(&mut self, digest: &Digest, holders: Holders) {
        if let Some((_, marked)) = self.blobs.get_mut(digest) {
            *marked = *marked | holders;
        }
    }

    /// The snapshot, and who needs it.
    pub(crate) fn snapshot(&self, chain_id: &ChainId) -> Option<&(Snapshot, Holders)> {
        self.index.get(chain_id).map(|&i| &self.snapshots[i])
    }

    /// What one image needs.
    pub(crate) fn of_image(connection: &Connection, id: &ImageId) -> Sql<Selection> {
        let mut selection = Selection::default();
        let quoted = format!("'{id}'");
        let layers = format!("SELECT chain_id, 0 FROM image_layers WHERE image = {quoted}");
        for (chain_id, _) in rows::<i64>(connection, &layers)? {
            selection.snapshots.insert(parse(&chain_id)?);
        }
        for sql in IMAGE_BLOBS {
            let sql = sql.replace("{and}", &format!("AND image_id = {quoted}"));
            for (digest, _) in rows::<i64>(connection, &sql)? {
                selection.blobs.insert(parse(&digest)?);
            }
        }
        Ok(selection)
    }
}

/// The blobs that images need, with a place for a condition on the image.
const IMAGE_BLOBS: [&str; 7] = [
    "SELECT image_id, 0 FROM (SELECT id AS image_id FROM images) WHERE true {and}",
    "SELECT manifest, 0 FROM (SELECT manifest, id AS image_id FROM images) WHERE manifest NOT NULL {and}",
    "SELECT index_digest, 0 FROM (SELECT index_digest, id AS image_id FROM images) WHERE index_digest NOT NULL {and}",
    "SELECT digest, 0 FROM (SELECT digest, image AS image_id FROM repo_digests) WHERE true {and}",
    "SELECT digest, 0 FROM (SELECT l.digest, i.image AS image_id FROM image_layers i
         JOIN layer_blobs l ON l.diff_id = i.diff_id) WHERE true {and}",
    "SELECT digest, 0 FROM (SELECT m.digest, t.image AS image_id FROM manifests m
         LEFT JOIN tags t ON t.reference = m.reference) WHERE true {and}",
    "SELECT digest, 0 FROM (SELECT c.digest, t.image AS image_id FROM manifests m
         JOIN manifest_content c ON c.manifest = m.digest
         LEFT JOIN tags t ON t.reference = m.reference) WHERE true {and}",
];

fn rows<T: rusqlite::types::FromSql>(connection: &Connection, sql: &str) -> Sql<Vec<(String, T)>> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Deletes the rows of what nothing needs (of it, only what is in `only`), and notes the files as trash.
pub(crate) fn drop_unreached(tx: &Transaction, reach: &Reach, only: Option<&Selection>) -> Sql<Drops> {
    let mut drops = Drops::default();
    let mut parents_that_stay = HashSet::new();
    for (snapshot, holders) in reach.snapshots.iter().rev() {
        let goes = holders.is_none()
            && only.is_none_or(|o| o.snapshots.contains(&snapshot.chain_id))
            // A child that nothing needs either, but that is not ours to drop.
            && !parents_that_stay.contains(&snapshot.chain_id);
        if goes {
            drops.snapshots.push(snapshot.clone());
        } else {
            parents_that_stay.extend(snapshot.parent.clone());
        }
    }
    drops.snapshots.reverse();
    for (digest, (size, holders)) in &reach.blobs {
        if holders.is_none() && only.is_none_or(|o| o.blobs.contains(digest)) {
            drops.blobs.push((digest.clone(), *size));
        }
    }
    drops.blobs.sort();
    for snapshot in &drops.snapshots {
        delete_snapshot(tx, &snapshot.chain_id)?;
    }
    for (digest, _) in &drops.blobs {
        delete_blob(tx, digest)?;
    }
    if !drops.snapshots.is_empty() {
        tx.execute("DELETE FROM compressed WHERE diff_id NOT IN (SELECT diff_id FROM snapshots)", [])?;
    }
    Ok(drops)
}

/// Deletes a snapshot's row and notes its directory as trash.
pub(crate) fn delete_snapshot(tx: &Transaction, chain_id: &ChainId) -> Sql<()> {
    tx.prepare_cached("DELETE FROM snapshots WHERE chain_id = ?1")?.execute([chain_id.0.as_str()])?;
    unmark(tx, Kind::Snapshot, chain_id.0.as_str())?;
    note_trash(tx, &format!("{SNAPSHOTS}/{}", chain_id.hex()))
}

/// Deletes a blob's rows and notes its file as trash.
pub(crate) fn delete_blob(tx: &Transaction, digest: &Digest) -> Sql<()> {
    tx.prepare_cached("DELETE FROM blobs WHERE digest = ?1")?.execute([digest.as_str()])?;
    tx.prepare_cached("DELETE FROM layer_blobs WHERE digest = ?1")?.execute([digest.as_str()])?;
    unmark(tx, Kind::Blob, digest.as_str())?;
    note_trash(tx, &format!("{BLOBS}/{}", digest.hex()))
}

/// Notes a path under the store whose row goes with this transaction.
pub(crate) fn note_trash(tx: &Transaction, path: &str) -> Sql<()> {
    tx.prepare_cached("INSERT OR IGNORE INTO trash (path) VALUES (?1)")?.execute([path])?;
    Ok(())
}

/// Whether a row stands for the committed path `path` (relative to the store).
pub(crate) fn has_row(connection: &Connection, path: &str) -> Sql<bool> {
    let Some((dir, name)) = path.rsplit_once('/') else { return Ok(false) };
    let (sql, key) = match dir {
        SNAPSHOTS => ("SELECT 1 FROM snapshots WHERE chain_id = ?1", format!("sha256:{name}")),
        BLOBS => ("SELECT 1 FROM blobs WHERE digest = ?1", format!("sha256:{name}")),
        CONTAINERS => ("SELECT 1 FROM containers WHERE id = ?1", name.to_owned()),
        MOUNTS => ("SELECT 1 FROM cache_mounts WHERE id = ?1", name.to_owned()),
        UPLOADS => ("SELECT 1 FROM registry_uploads WHERE id = ?1", name.to_owned()),
        _ => return Ok(false),
    };
    Ok(connection.prepare_cached(sql)?.exists([key])?)
}

impl Store {
    /// Removes the files of what was dropped, and of what processes before us did not get to. Returns the
    /// bytes of `drops`.
    pub(crate) fn remove_dropped(&self, holding: &Holding, drops: &Drops) -> Result<u64> {
        self.remove_trash(holding)?;
        let snapshots: u64 = drops.snapshots.iter().map(|s| s.usage).sum();
        let blobs: u64 = drops.blobs.iter().map(|(_, size)| size).sum();
        Ok(snapshots + blobs)
    }

    /// When a transaction failed that gives files their committed name, it may have failed after that: at its
    /// commit, for want of space. Then they have no row, and are removed again.
    pub(crate) fn undo_on_error<T>(&self, holding: &Holding, path: &str, done: Result<T>) -> Result<T> {
        if done.is_err() && self.root().join(path).exists() {
            // What cannot be removed now is garbage that the next prune finds.
            let _ = self.remove_unowned(holding, &[path.to_owned()]);
        }
        done
    }

    /// Removes what is noted as trash.
    pub(crate) fn remove_trash(&self, holding: &Holding) -> Result<()> {
        loop {
            let batch: Vec<String> = self.db().read(|c| {
                let mut statement = c.prepare_cached("SELECT path FROM trash LIMIT 100")?;
                let rows = statement.query_map([], |row| row.get(0))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })?;
            if batch.is_empty() {
                self.restore_reserve();
                return Ok(());
            }
            self.remove_unowned(holding, &batch)?;
        }
    }

    /// Removes the committed paths that have no row, and forgets them as trash.
    pub(crate) fn remove_unowned(&self, holding: &Holding, paths: &[String]) -> Result<()> {
        let set_aside = |tx: &Transaction| {
            let mut aside: Vec<PathBuf> = Vec::new();
            for path in paths {
                // Somebody may have made the same thing again since.
                if !has_row(tx, path)? {
                    let full = self.root().join(path);
                    aside.extend(holding.trash(&full).map_err(io_fault("cannot move away", &full))?);
                }
                tx.prepare_cached("DELETE FROM trash WHERE path = ?1")?.execute([path])?;
            }
            Ok(aside)
        };
        let aside = self.with_reserve(|| self.db().write(set_aside))?;
        for path in aside {
            remove_tree(&path).map_err(|e| Error::io("cannot remove", &path, e))?;
        }
        Ok(())
    }
}
