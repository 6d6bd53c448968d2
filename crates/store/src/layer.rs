//! Which blobs hold a layer's tar, in which compressions.

use oci::{DiffId, Digest};
use rusqlite::{OptionalExtension, params};

use crate::db::parse;
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

impl Store {
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
