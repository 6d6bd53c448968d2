//! Names that stand for exactly one manifest or index, byte for byte: as it was received, sent or made.
//!
//! Beside a tag, such a name says what is sent when the tag is pushed; without one it is an index that was put together
//! here. It goes with its tag when that comes to name another image. What the manifest leads to is kept as long as it
//! is, as far as it is here. Documents are read here for the digests in them alone: whether they make sense is for who
//! sends them.

use std::collections::BTreeSet;

use oci::{Digest, ImageId, Reference, media_type};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::Deserialize;

use crate::db::{Sql, parse};
use crate::lease::Kind;
use crate::{Error, Result, Store, now};

/// The largest manifest or index, in bytes.
const LIMIT: u64 = 16 << 20;
/// Manifests, configs and layers that an index may lead to.
const MOST: usize = 100_000;
/// Indexes within indexes.
const DEPTH: u32 = 4;

impl Store {
    /// Lets `reference` (`latest` is added where it has no tag; without a digest) stand for the manifest or index
    /// `digest`, whose blob has to be here ([`Error::MissingBlob`]). Tags are not touched: set those before.
    pub fn set_manifest(&self, reference: &Reference, digest: &Digest) -> Result<()> {
        let name = key(reference)?;
        let mut content = BTreeSet::new();
        self.collect_content(digest, DEPTH, &mut content)?;
        self.hold()?.write(|tx, used| {
            let here =
                tx.prepare_cached("SELECT 1 FROM blobs WHERE digest = ?1")?.exists([digest.as_str()])?;
            if !here {
                return Err(Error::MissingBlob(digest.clone()).into());
            }
            used.push((Kind::Blob, digest.to_string()));
            delete_manifest(tx, &name)?;
            tx.prepare_cached("INSERT INTO manifests (reference, digest, added) VALUES (?1, ?2, ?3)")?
                .execute(params![name, digest.as_str(), now()])?;
            let mut add = tx.prepare_cached(
                "INSERT OR IGNORE INTO manifest_content (manifest, digest) VALUES (?1, ?2)",
            )?;
            for child in &content {
                add.execute(params![digest.as_str(), child.as_str()])?;
            }
            Ok(())
        })
    }

    /// The manifest or index that `reference` stands for.
    pub fn manifest(&self, reference: &Reference) -> Result<Option<Digest>> {
        let name = key(reference)?;
        self.db().read(|c| {
            let found: Option<String> = c
                .prepare_cached("SELECT digest FROM manifests WHERE reference = ?1")?
                .query_row([name], |row| row.get(0))
                .optional()?;
            found.as_deref().map(parse).transpose()
        })
    }

    /// All of them, sorted by name.
    pub fn manifests(&self) -> Result<Vec<(Reference, Digest)>> {
        self.db().read(|c| {
            let mut statement =
                c.prepare_cached("SELECT reference, digest FROM manifests ORDER BY reference")?;
            let rows =
                statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
            rows.map(|row| row.map_err(Into::into).and_then(|(r, d)| Ok((parse(&r)?, parse(&d)?)))).collect()
        })
    }

    /// Whether a list has the image, other than under a tag of the image itself.
    pub fn is_listed(&self, id: &ImageId) -> Result<bool> {
        self.db().read(|c| is_listed(c, id))
    }

    /// Forgets what `reference` stands for, and returns it. A tag of that name stays.
    pub fn remove_manifest(&self, reference: &Reference) -> Result<Option<Digest>> {
        let name = key(reference)?;
        self.db().write(|tx| delete_manifest(tx, &name)?.as_deref().map(parse).transpose())
    }

    /// Adds the digests that a manifest or index names, and those that its manifests do as far as they are here.
    fn collect_content(&self, digest: &Digest, depth: u32, content: &mut BTreeSet<Digest>) -> Result<()> {
        #[derive(Deserialize)]
        struct Document {
            #[serde(default)]
            manifests: Vec<Entry>,
            config: Option<Entry>,
            #[serde(default)]
            layers: Vec<Entry>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Entry {
            #[serde(default)]
            media_type: String,
            digest: Digest,
        }
        let bytes = self.read_blob(digest, LIMIT)?;
        let Ok(document) = serde_json::from_slice::<Document>(&bytes) else { return Ok(()) };
        for entry in document.config.into_iter().chain(document.layers) {
            if content.len() < MOST {
                content.insert(entry.digest);
            }
        }
        for entry in document.manifests {
            let is_manifest =
                media_type::is_manifest(&entry.media_type) || media_type::is_index(&entry.media_type);
            if content.len() < MOST
                && content.insert(entry.digest.clone())
                && is_manifest
                && depth > 0
                && self.has_blob(&entry.digest)?
            {
                self.collect_content(&entry.digest, depth - 1, content)?;
            }
        }
        Ok(())
    }
}

fn key(reference: &Reference) -> Result<String> {
    if reference.digest.is_some() {
        return Err(Error::InvalidReference {
            reference: reference.familiar(),
            reason: "a name with a digest stands for that already, only a tag can be given",
        });
    }
    Ok(reference.clone().with_default_tag().to_string())
}

/// Forgets what the name (in full) stands for; returns the digest.
pub(crate) fn delete_manifest(tx: &Transaction, name: &str) -> Sql<Option<String>> {
    let digest: Option<String> = tx
        .prepare_cached("DELETE FROM manifests WHERE reference = ?1 RETURNING digest")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    if let Some(digest) = &digest {
        tx.prepare_cached(
            "DELETE FROM manifest_content WHERE manifest = ?1
             AND NOT EXISTS (SELECT 1 FROM manifests WHERE digest = ?1)",
        )?
        .execute([digest])?;
    }
    Ok(digest)
}

/// Forgets what the tags of the image stand for.
pub(crate) fn delete_manifests_of(tx: &Transaction, id: &ImageId) -> Sql<()> {
    let mut statement = tx.prepare_cached("SELECT reference FROM tags WHERE image = ?1")?;
    let names: Vec<String> =
        statement.query_map([id.0.as_str()], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for name in names {
        delete_manifest(tx, &name)?;
    }
    Ok(())
}

/// Whether an index under another name than one of its own has the image.
pub(crate) fn is_listed(connection: &Connection, id: &ImageId) -> Sql<bool> {
    let mut statement = connection.prepare_cached(
        "SELECT 1 FROM manifest_content c JOIN manifests m ON m.digest = c.manifest
         WHERE c.digest = ?1
         AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.reference = m.reference AND t.image = ?1)",
    )?;
    Ok(statement.exists([id.0.as_str()])?)
}
