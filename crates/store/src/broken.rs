//! Dropping what is broken, and then, step by step, every row that cannot stand without it.

use std::collections::BTreeMap;

use oci::{ChainId, DiffId, Digest, ImageId};
use rusqlite::{Connection, Transaction};

use crate::collect::{delete_blob, delete_snapshot};
use crate::container::{all_containers, delete_container};
use crate::db::{Sql, parse};
use crate::image::delete_image;
use crate::manifest::delete_manifest;
use crate::{Problem, Store};

/// Why a thing is broken.
#[derive(Debug, Clone)]
pub(crate) struct Why {
    text: String,
    /// Its file or directory was not there: true only as long as it is not.
    missing: bool,
}

impl Why {
    pub(crate) fn missing(text: String) -> Why {
        Why { text, missing: true }
    }

    pub(crate) fn content(text: String) -> Why {
        Why { text, missing: false }
    }
}

/// What was found broken on the disk.
#[derive(Debug, Default)]
pub(crate) struct Broken {
    blobs: BTreeMap<Digest, Why>,
    snapshots: BTreeMap<ChainId, Why>,
    images: BTreeMap<ImageId, Why>,
    containers: BTreeMap<String, Why>,
}

impl Broken {
    pub(crate) fn add_blob(&mut self, digest: Digest, why: Why) {
        self.blobs.insert(digest, why);
    }

    pub(crate) fn has_blob(&self, digest: &Digest) -> bool {
        self.blobs.contains_key(digest)
    }

    pub(crate) fn add_snapshot(&mut self, chain_id: ChainId, why: Why) {
        self.snapshots.insert(chain_id, why);
    }

    pub(crate) fn add_image(&mut self, id: ImageId, why: Why) {
        self.images.insert(id, why);
    }

    pub(crate) fn add_container(&mut self, id: String, why: Why) {
        self.containers.insert(id, why);
    }

    /// Keeps only what `keep` says yes to, asked with the blobs' and snapshots' keys.
    pub(crate) fn retain(
        &mut self,
        mut blob: impl FnMut(&Digest) -> Sql<bool>,
        mut snapshot: impl FnMut(&ChainId) -> Sql<bool>,
    ) -> Sql<()> {
        let mut kept = BTreeMap::new();
        for (digest, why) in std::mem::take(&mut self.blobs) {
            if blob(&digest)? {
                kept.insert(digest, why);
            }
        }
        self.blobs = kept;
        let mut kept = BTreeMap::new();
        for (chain_id, why) in std::mem::take(&mut self.snapshots) {
            if snapshot(&chain_id)? {
                kept.insert(chain_id, why);
            }
        }
        self.snapshots = kept;
        Ok(())
    }

    /// Forgets what other processes removed or made anew since it was looked at. Under the write lock.
    pub(crate) fn retain_current(&mut self, store: &Store, connection: &Connection) -> Sql<()> {
        let row = |sql: &str, key: &str| -> Sql<bool> { Ok(connection.prepare_cached(sql)?.exists([key])?) };
        let mut missing = self.blobs.clone();
        missing.retain(|_, why| why.missing);
        let mut missing_snapshots = self.snapshots.clone();
        missing_snapshots.retain(|_, why| why.missing);
        self.retain(
            |digest| {
                let back = missing.contains_key(digest) && store.blob_path(digest).exists();
                Ok(!back && row("SELECT 1 FROM blobs WHERE digest = ?1", digest.as_str())?)
            },
            |chain_id| {
                let back = missing_snapshots.contains_key(chain_id) && store.snapshot_dir(chain_id).exists();
                Ok(!back && row("SELECT 1 FROM snapshots WHERE chain_id = ?1", chain_id.0.as_str())?)
            },
        )?;
        let mut gone = Vec::new();
        for id in self.images.keys() {
            if !row("SELECT 1 FROM images WHERE id = ?1", id.0.as_str())? {
                gone.push(id.clone());
            }
        }
        gone.iter().for_each(|id| drop(self.images.remove(id)));
        let mut gone = Vec::new();
        for id in self.containers.keys() {
            if !row("SELECT 1 FROM containers WHERE id = ?1", id)?
                || store.container_dir(id).join("fs").exists()
            {
                gone.push(id.clone());
            }
        }
        gone.iter().for_each(|id| drop(self.containers.remove(id)));
        Ok(())
    }
}

/// Drops what is broken and all that cannot stand without it; tells of each. Also finds rows that refer to
/// nothing.
pub(crate) fn apply_broken(store: &Store, tx: &Transaction, broken: &Broken) -> Sql<Vec<Problem>> {
    let mut problems = Vec::new();
    for (digest, why) in &broken.blobs {
        delete_blob(tx, digest)?;
        problems.push(dropped(format!("blob {digest}"), why.text.clone()));
    }
    drop_snapshots(tx, broken, &mut problems)?;
    drop_images(store, tx, broken, &mut problems)?;
    drop_names(tx, &mut problems)?;
    drop_cache(tx, &mut problems)?;
    drop_containers(store, tx, broken, &mut problems)?;
    for lost in crate::registry::drop_lost(tx)? {
        problems.push(dropped(lost, "its bytes are gone".to_owned()));
    }
    tx.execute("DELETE FROM layer_blobs WHERE digest NOT IN (SELECT digest FROM blobs)", [])?;
    Ok(problems)
}

fn dropped(subject: String, detail: String) -> Problem {
    Problem { subject, detail, action: Some("dropped".to_owned()) }
}

fn drop_snapshots(tx: &Transaction, broken: &Broken, problems: &mut Vec<Problem>) -> Sql<()> {
    for (chain_id, why) in &broken.snapshots {
        delete_snapshot(tx, chain_id)?;
        problems.push(dropped(format!("snapshot {chain_id}"), why.text.clone()));
    }
    loop {
        let lost = texts(
            tx,
            "SELECT chain_id FROM snapshots s WHERE parent NOT NULL
             AND NOT EXISTS (SELECT 1 FROM snapshots p WHERE p.chain_id = s.parent)",
        )?;
        if lost.is_empty() {
            return Ok(());
        }
        for chain_id in lost {
            let chain_id: ChainId = parse(&chain_id)?;
            delete_snapshot(tx, &chain_id)?;
            problems.push(dropped(format!("snapshot {chain_id}"), "a snapshot below it is gone".to_owned()));
        }
    }
}

fn drop_images(store: &Store, tx: &Transaction, broken: &Broken, problems: &mut Vec<Problem>) -> Sql<()> {
    let mut lost: BTreeMap<ImageId, String> =
        broken.images.iter().map(|(id, why)| (id.clone(), why.text.clone())).collect();
    for id in texts(tx, "SELECT id FROM images WHERE id NOT IN (SELECT digest FROM blobs)")? {
        lost.entry(parse(&id)?).or_insert_with(|| "its config is gone".to_owned());
    }
    let mut statement = tx.prepare(
        "SELECT image, diff_id, chain_id FROM image_layers i
         WHERE NOT EXISTS (SELECT 1 FROM snapshots s WHERE s.chain_id = i.chain_id) ORDER BY image, position",
    )?;
    let rows = statement.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
    })?;
    for row in rows {
        let (image, diff_id, chain_id) = row?;
        let (image, diff_id): (ImageId, DiffId) = (parse(&image)?, parse(&diff_id)?);
        if !store.has_layer(tx, &diff_id, &parse(&chain_id)?)? {
            lost.entry(image).or_insert_with(|| format!("its layer {diff_id} is gone"));
        }
    }
    for (id, why) in lost {
        for name in delete_image(tx, &id)? {
            problems.push(dropped(format!("reference {name}"), format!("it named {id}")));
        }
        problems.push(dropped(format!("image {id}"), why));
    }
    tx.execute("DELETE FROM image_layers WHERE image NOT IN (SELECT id FROM images)", [])?;
    Ok(())
}

fn drop_names(tx: &Transaction, problems: &mut Vec<Problem>) -> Sql<()> {
    for sql in [
        "DELETE FROM tags WHERE image NOT IN (SELECT id FROM images) RETURNING reference",
        "DELETE FROM repo_digests WHERE image NOT IN (SELECT id FROM images) RETURNING name || '@' || digest",
    ] {
        for name in texts(tx, sql)? {
            problems.push(dropped(format!("reference {name}"), "it names no image".to_owned()));
        }
    }
    for name in texts(tx, "SELECT reference FROM manifests WHERE digest NOT IN (SELECT digest FROM blobs)")? {
        delete_manifest(tx, &name)?;
        problems.push(dropped(format!("manifest of {name}"), "it is gone".to_owned()));
    }
    Ok(())
}

fn drop_cache(tx: &Transaction, problems: &mut Vec<Problem>) -> Sql<()> {
    let sql = "DELETE FROM cache WHERE chain_id NOT NULL AND chain_id NOT IN (SELECT chain_id FROM snapshots)
               RETURNING key || ' (' || step || ')'";
    for key in texts(tx, sql)? {
        problems.push(dropped(format!("cache record {key}"), "its result is gone".to_owned()));
    }
    Ok(())
}

fn drop_containers(store: &Store, tx: &Transaction, broken: &Broken, problems: &mut Vec<Problem>) -> Sql<()> {
    for record in all_containers(tx)? {
        let mut reason = broken.containers.get(&record.id).map(|why| why.text.clone());
        if let Some(chain_id) = &record.chain_id
            && !tx
                .prepare_cached("SELECT 1 FROM snapshots WHERE chain_id = ?1")?
                .exists([chain_id.0.as_str()])?
        {
            reason.get_or_insert_with(|| format!("the snapshot {chain_id} it stands on is gone"));
        }
        let Some(detail) = reason else { continue };
        let subject = format!("container {} ({})", record.id, record.name);
        if store.container_locked(&record.id)? {
            problems.push(Problem { subject, detail, action: None });
        } else {
            delete_container(tx, &record.id)?;
            problems.push(dropped(subject, detail));
        }
    }
    Ok(())
}

fn texts(connection: &Connection, sql: &str) -> Sql<Vec<String>> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
