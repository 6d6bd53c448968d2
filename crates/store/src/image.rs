//! Images: a config, its layers, and what is known of where it came from. Names are in `reference`.

use std::collections::BTreeMap;

use oci::{ChainId, DiffId, Digest, Document, ImageConfig, ImageId};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::collect::{self, Reach};
use crate::db::{Fault, Sql, parse};
use crate::lease::Kind;
use crate::manifest::delete_manifests_of;
use crate::{Error, Result, Store, now};

/// Docker's limit on a config, and far beyond any that was seen.
const CONFIG_LIMIT: u64 = 8 << 20;
/// More layers than any kernel mounts.
const LAYER_LIMIT: usize = 4096;

/// What is known of an image beside its config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageMeta {
    /// Digest of the manifest it was received with, or last sent with. The blob, where it is here, stays with
    /// the image.
    pub manifest: Option<Digest>,
    /// Digest of the index that the manifest was chosen from.
    pub index: Option<Digest>,
    /// The image it was built on.
    pub base: Option<Base>,
    /// The manifest's annotations.
    pub annotations: BTreeMap<String, String>,
}

/// The image that another was built on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Its reference in full form.
    pub name: String,
    /// Its manifest digest, where known.
    pub digest: Option<Digest>,
}

/// An image in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Digest of its config.
    pub id: ImageId,
    /// The config as received.
    pub config: Document<ImageConfig>,
    /// The rest.
    pub meta: ImageMeta,
    /// When it came into the store, in nanoseconds since the Unix epoch.
    pub added: i64,
    /// Bytes of the regular files of all layers, Docker's "size". For a layer that is not unpacked, its
    /// smallest blob's size.
    pub size: u64,
}

impl Image {
    /// The layers, bottom layer first.
    pub fn layers(&self) -> &[DiffId] {
        &self.config.value.rootfs.diff_ids
    }

    /// The whole stack; `None` for an image without layers.
    pub fn chain_id(&self) -> Option<ChainId> {
        ChainId::of(self.layers())
    }
}

/// What `remove_image` did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemovedImage {
    /// The references that named it, `name:tag` and `name@digest`, in full form, sorted.
    pub untagged: Vec<String>,
    /// The snapshots that nothing needs any more and that went with it, topmost first.
    pub snapshots: Vec<ChainId>,
    /// Bytes freed.
    pub freed: u64,
}

const COLUMNS: &str = "id, manifest, index_digest, base_name, base_digest, annotations, added,
    (SELECT total FROM snapshots s WHERE s.chain_id = images.chain_id)";

impl Store {
    /// Adds an image, or adds what `meta` knows to the one that is here. The layers have to be here already,
    /// unpacked or as blobs ([`Error::MissingLayer`]); manifest and index may be.
    pub fn put_image(&self, config: &[u8], meta: &ImageMeta) -> Result<ImageId> {
        let id = ImageId(Digest::sha256(config));
        let bad = |reason: String| Error::InvalidConfig { id: id.clone(), reason };
        if config.len() as u64 > CONFIG_LIMIT {
            return Err(bad(format!("it has more than {CONFIG_LIMIT} bytes")));
        }
        let document = Document::<ImageConfig>::parse("image config", config.to_vec())
            .map_err(|e| bad(e.to_string()))?;
        let layers = &document.value.rootfs.diff_ids;
        if layers.len() > LAYER_LIMIT {
            return Err(bad(format!("it has more than {LAYER_LIMIT} layers")));
        }
        let holding = self.hold()?;
        self.put_blob(config)?;
        let chain = ChainId::prefixes(layers);
        holding.write(|tx, used| {
            for (diff_id, chain_id) in layers.iter().zip(&chain) {
                if !self.has_layer(tx, diff_id, chain_id)? {
                    return Err(Error::MissingLayer(diff_id.clone()).into());
                }
            }
            used.push((Kind::Image, id.to_string()));
            upsert(tx, &id, chain.last(), meta)?;
            let mut statement = tx.prepare_cached(
                "INSERT OR REPLACE INTO image_layers (image, position, diff_id, chain_id) VALUES (?1, ?2, ?3, ?4)",
            )?;
            for (position, (diff_id, chain_id)) in layers.iter().zip(&chain).enumerate() {
                statement.execute(params![id.0.as_str(), position, diff_id.0.as_str(), chain_id.0.as_str()])?;
            }
            Ok(())
        })?;
        Ok(id)
    }

    /// The image, if it is here.
    pub fn image(&self, id: &ImageId) -> Result<Option<Image>> {
        let sql = format!("SELECT {COLUMNS} FROM images WHERE id = ?1");
        let found = self.db().read(|c| {
            let raw = c.prepare_cached(&sql)?.query_row([id.0.as_str()], read_row).optional()?;
            raw.map(|raw| raw.check(c)).transpose()
        })?;
        let Some(row) = found else { return Ok(None) };
        self.read_image(row)
    }

    /// All images, newest first (by when they came into the store).
    pub fn images(&self) -> Result<Vec<Image>> {
        let rows = self.db().read_all(all_images)?;
        let mut images = Vec::with_capacity(rows.len());
        for row in rows {
            images.extend(self.read_image(row)?);
        }
        Ok(images)
    }

    /// Removes the image with all its references, and the snapshots and blobs that nothing else needs.
    /// Whether containers use it is for the caller to ask before.
    pub fn remove_image(&self, id: &ImageId) -> Result<RemovedImage> {
        self.let_go();
        let holding = self.hold()?;
        let (untagged, drops) = self.write_to_free(|tx| {
            let exists = tx
                .prepare_cached("SELECT 1 FROM images WHERE id = ?1")?
                .query_row([id.0.as_str()], |_| Ok(()))
                .optional()?;
            if exists.is_none() {
                return Err(Error::MissingImage(id.clone()).into());
            }
            let before = Reach::of_image(tx, id)?;
            let untagged = delete_image(tx, id)?;
            // This lease's own use of the image ends here: who removes it does not build on it.
            tx.execute(
                "DELETE FROM leases WHERE lease = ?1 AND kind = 'i' AND key = ?2",
                params![holding.id(), id.0.as_str()],
            )?;
            let reach = Reach::mark(tx, self.root())?;
            Ok((untagged, collect::drop_unreached(tx, &reach, Some(&before))?))
        })?;
        let freed = self.remove_dropped(&holding, &drops)?;
        let mut snapshots: Vec<ChainId> = drops.snapshots.into_iter().map(|s| s.chain_id).collect();
        snapshots.reverse();
        Ok(RemovedImage { untagged, snapshots, freed })
    }

    /// Whether a layer of an image is here, unpacked on its stack or as a blob.
    pub(crate) fn has_layer(
        &self,
        connection: &Connection,
        diff_id: &DiffId,
        chain_id: &ChainId,
    ) -> Sql<bool> {
        if self.find_snapshot(connection, chain_id)?.is_some() {
            return Ok(true);
        }
        Ok(connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM layer_blobs l JOIN blobs b ON b.digest = l.digest
                 WHERE l.diff_id = ?1)",
            )?
            .query_row([diff_id.0.as_str()], |row| row.get(0))?)
    }

    /// `None` when the image was removed since its row was read.
    fn read_image(&self, row: ImageRow) -> Result<Option<Image>> {
        let bytes = match self.read_blob(&row.id.0, CONFIG_LIMIT) {
            Ok(bytes) => bytes,
            Err(error) => {
                let still = self.db().read(|c| {
                    let mut statement = c.prepare_cached("SELECT 1 FROM images WHERE id = ?1")?;
                    Ok(statement.exists([row.id.0.as_str()])?)
                })?;
                return if still { Err(error) } else { Ok(None) };
            }
        };
        let config = Document::parse("image config", bytes)
            .map_err(|e| Error::InvalidConfig { id: row.id.clone(), reason: e.to_string() })?;
        Ok(Some(Image { id: row.id, config, meta: row.meta, added: row.added, size: row.size }))
    }
}

/// Deletes the image's rows; returns the names it had.
pub(crate) fn delete_image(tx: &Transaction, id: &ImageId) -> Sql<Vec<String>> {
    let mut untagged = Vec::new();
    delete_manifests_of(tx, id)?;
    for sql in [
        "DELETE FROM tags WHERE image = ?1 RETURNING reference",
        "DELETE FROM repo_digests WHERE image = ?1 RETURNING name || '@' || digest",
    ] {
        let mut statement = tx.prepare_cached(sql)?;
        for name in statement.query_map([id.0.as_str()], |row| row.get::<_, String>(0))? {
            untagged.push(name?);
        }
    }
    for sql in ["DELETE FROM image_layers WHERE image = ?1", "DELETE FROM images WHERE id = ?1"] {
        tx.prepare_cached(sql)?.execute([id.0.as_str()])?;
    }
    untagged.sort();
    Ok(untagged)
}

fn upsert(tx: &Transaction, id: &ImageId, chain_id: Option<&ChainId>, meta: &ImageMeta) -> Sql<()> {
    let annotations = serde_json::to_string(&meta.annotations)
        .map_err(|e| Fault::Sql(rusqlite::Error::ToSqlConversionFailure(Box::new(e))))?;
    tx.prepare_cached(
        "INSERT INTO images (id, chain_id, manifest, index_digest, base_name, base_digest, annotations, added)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (id) DO UPDATE SET
             manifest = coalesce(excluded.manifest, manifest),
             index_digest = coalesce(excluded.index_digest, index_digest),
             base_digest = CASE WHEN excluded.base_name IS NULL THEN base_digest ELSE excluded.base_digest END,
             base_name = coalesce(excluded.base_name, base_name),
             annotations = CASE excluded.annotations WHEN '{}' THEN annotations ELSE excluded.annotations END",
    )?
    .execute(params![
        id.0.as_str(),
        chain_id.map(|c| c.0.as_str()),
        meta.manifest.as_ref().map(Digest::as_str),
        meta.index.as_ref().map(Digest::as_str),
        meta.base.as_ref().map(|b| b.name.as_str()),
        meta.base.as_ref().and_then(|b| b.digest.as_ref()).map(Digest::as_str),
        annotations,
        now(),
    ])?;
    Ok(())
}

/// An image without its config.
pub(crate) struct ImageRow {
    pub(crate) id: ImageId,
    pub(crate) meta: ImageMeta,
    pub(crate) added: i64,
    pub(crate) size: u64,
}

pub(crate) fn all_images(connection: &Connection) -> Sql<Vec<ImageRow>> {
    let sql = format!("SELECT {COLUMNS} FROM images ORDER BY added DESC, id");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut images = Vec::new();
    for raw in statement.query_map([], read_row)? {
        images.push(raw?.check(connection)?);
    }
    Ok(images)
}

/// A row as text.
struct Raw {
    id: String,
    manifest: Option<String>,
    index: Option<String>,
    base_name: Option<String>,
    base_digest: Option<String>,
    annotations: String,
    added: i64,
    total: Option<u64>,
}

fn read_row(row: &Row) -> rusqlite::Result<Raw> {
    Ok(Raw {
        id: row.get(0)?,
        manifest: row.get(1)?,
        index: row.get(2)?,
        base_name: row.get(3)?,
        base_digest: row.get(4)?,
        annotations: row.get(5)?,
        added: row.get(6)?,
        total: row.get(7)?,
    })
}

impl Raw {
    fn check(self, connection: &Connection) -> Sql<ImageRow> {
        let digest = |text: Option<String>| text.as_deref().map(parse::<Digest>).transpose();
        let base_digest = digest(self.base_digest)?;
        let annotations = serde_json::from_str(&self.annotations).map_err(|e| {
            rusqlite::Error::FromSqlConversionFailure(5, rusqlite::types::Type::Text, Box::new(e))
        })?;
        let size = match self.total {
            Some(total) => total,
            None => size_layer_by_layer(connection, &self.id)?,
        };
        Ok(ImageRow {
            id: parse(&self.id)?,
            meta: ImageMeta {
                manifest: digest(self.manifest)?,
                index: digest(self.index)?,
                base: self.base_name.map(|name| Base { name, digest: base_digest }),
                annotations,
            },
            added: self.added,
            size,
        })
    }
}

/// For an image whose top layer is not unpacked.
fn size_layer_by_layer(connection: &Connection, id: &str) -> Sql<u64> {
    let size: Option<u64> = connection
        .prepare_cached(
            "SELECT sum(coalesce(
                 (SELECT usage FROM snapshots s WHERE s.chain_id = i.chain_id),
                 (SELECT min(size) FROM layer_blobs l JOIN blobs b ON b.digest = l.digest
                  WHERE l.diff_id = i.diff_id),
                 0))
             FROM image_layers i WHERE image = ?1",
        )?
        .query_row([id], |row| row.get(0))?;
    Ok(size.unwrap_or(0))
}
