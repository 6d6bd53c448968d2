//! Which blobs hold a layer's tar, in which compressions.

use oci::{ChainId, DiffId, Digest};
use rusqlite::{Connection, OptionalExtension, params};

use crate::db::{Sql, parse};
use crate::lease::Kind;
use crate::{Error, Result, Store};

/// A blob that holds a layer's tar, plain or compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerBlob {
    /// The blob's digest; equals the DiffID for a plain tar.
    pub digest: Digest,
    /// The blob's size in bytes.
    pub size: u64,
    /// Its media type, which says the compression.
    pub media_type: String,
}

/// What came of a layer that was compressed on its way out. The bytes are not here: the same method makes them again of
/// the layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compressed {
    /// The layer.
    pub diff_id: DiffId,
    /// How, in the words of whoever compresses.
    pub method: String,
    /// Digest of the compressed bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
}

const COMPRESSED: &str = "SELECT diff_id, method, digest, size FROM compressed";

impl Store {
    /// Remembers what a layer became by a compression. Forgotten with the layer's snapshot.
    pub fn add_compressed(&self, compressed: &Compressed) -> Result<()> {
        let Compressed { diff_id, method, digest, size } = compressed;
        self.db().write(|tx| {
            tx.prepare_cached(
                "INSERT OR REPLACE INTO compressed (diff_id, method, digest, size) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![diff_id.0.as_str(), method, digest.as_str(), size])?;
            Ok(())
        })
    }

    /// What the layer became by `method`, if it left so before.
    pub fn compressed(&self, diff_id: &DiffId, method: &str) -> Result<Option<Compressed>> {
        let sql = format!("{COMPRESSED} WHERE diff_id = ?1 AND method = ?2");
        self.db().read(|c| one_compressed(c, &sql, params![diff_id.0.as_str(), method]))
    }

    /// Of which layer, and how, the blob `digest` was made.
    pub fn compressed_to(&self, digest: &Digest) -> Result<Option<Compressed>> {
        let sql = format!("{COMPRESSED} WHERE digest = ?1 LIMIT 1");
        self.db().read(|c| one_compressed(c, &sql, params![digest.as_str()]))
    }

    /// The layer that the blob `digest` holds.
    pub fn layer_of_blob(&self, digest: &Digest) -> Result<Option<DiffId>> {
        self.db().read(|c| {
            let found: Option<String> = c
                .prepare_cached("SELECT diff_id FROM layer_blobs WHERE digest = ?1 LIMIT 1")?
                .query_row([digest.as_str()], |row| row.get(0))
                .optional()?;
            found.as_deref().map(parse).transpose()
        })
    }

    /// A snapshot of the layer, on whatever stack: the layer's directory is the same on each.
    pub fn snapshot_of_layer(&self, diff_id: &DiffId) -> Result<Option<ChainId>> {
        let found: Vec<String> = self.db().read(|c| {
            let mut statement = c.prepare_cached("SELECT chain_id FROM snapshots WHERE diff_id = ?1")?;
            let rows = statement.query_map([diff_id.0.as_str()], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })?;
        for chain_id in found {
            let chain_id: ChainId = parse(&chain_id).map_err(|fault| self.db().error(fault))?;
            // Under a lease it then stays.
            if self.snapshot(&chain_id)?.is_some() {
                return Ok(Some(chain_id));
            }
        }
        Ok(None)
    }

    /// Repositories (`repository` alone) of the registry that are known to have an image with the layer, the newest
    /// image's first, ten at most. In which compression they have it is not known.
    pub fn repositories_with_layer(&self, registry: &str, diff_id: &DiffId) -> Result<Vec<String>> {
        let prefix = format!("{registry}/");
        self.db().read(|c| {
            let mut statement = c.prepare_cached(
                "SELECT substr(d.name, length(?1) + 1) AS name FROM image_layers l
                 JOIN repo_digests d ON d.image = l.image JOIN images i ON i.id = l.image
                 WHERE l.diff_id = ?2 AND substr(d.name, 1, length(?1)) = ?1
                 GROUP BY d.name ORDER BY max(i.added) DESC, d.name LIMIT 10",
            )?;
            let rows = statement.query_map(params![prefix, diff_id.0.as_str()], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Remembers that `blob` holds the layer `diff_id`. The caller has verified that it does; the blob has to
    /// be here ([`Error::MissingBlob`]). It stays as long as an image has the layer.
    pub fn add_layer_blob(&self, diff_id: &DiffId, blob: &LayerBlob) -> Result<()> {
        self.hold()?.write(|tx, used| {
            let here: Option<u64> = tx
                .prepare_cached("SELECT size FROM blobs WHERE digest = ?1")?
                .query_row([blob.digest.as_str()], |row| row.get(0))
                .optional()?;
            if here.is_none() {
                return Err(Error::MissingBlob(blob.digest.clone()).into());
            }
            used.push((Kind::Blob, blob.digest.to_string()));
            tx.prepare_cached(
                "INSERT OR REPLACE INTO layer_blobs (diff_id, digest, media_type) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![diff_id.0.as_str(), blob.digest.as_str(), blob.media_type])?;
            Ok(())
        })
    }

    /// The blobs that hold the layer, smallest first. Under a lease they then stay.
    pub fn layer_blobs(&self, diff_id: &DiffId) -> Result<Vec<LayerBlob>> {
        let rows: Vec<(String, u64, String)> = self.db().read(|c| {
            let mut statement = c.prepare_cached(
                "SELECT l.digest, b.size, l.media_type FROM layer_blobs l JOIN blobs b ON b.digest = l.digest
                 WHERE l.diff_id = ?1 ORDER BY b.size, l.digest",
            )?;
            let rows = statement
                .query_map([diff_id.0.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })?;
        let mut blobs = Vec::with_capacity(rows.len());
        for (digest, size, media_type) in rows {
            let digest: Digest = parse(&digest).map_err(|fault| self.db().error(fault))?;
            // It may have gone since, or be one that an earlier boot left unsynced.
            if self.has_blob(&digest)? {
                blobs.push(LayerBlob { digest, size, media_type });
            }
        }
        Ok(blobs)
    }
}

fn one_compressed(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Sql<Option<Compressed>> {
    let found: Option<(String, String, String, u64)> = connection
        .prepare_cached(sql)?
        .query_row(params, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    found
        .map(|(diff_id, method, digest, size)| {
            Ok(Compressed { diff_id: parse(&diff_id)?, method, digest: parse(&digest)?, size })
        })
        .transpose()
}
