//! The manifests of a repository, their tags, and which of them refer to which.

use std::fs;
use std::io::Write;

use oci::Digest;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::blob::create_temporary;
use crate::db::{Fault, Sql, parse};
use crate::schema::BLOBS;
use crate::{Error, Result, Store, now};

/// A manifest or index of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostedManifest {
    /// What it is addressed by: of its bytes, by sha256 or sha512.
    pub digest: Digest,
    /// The store's blob with its bytes: of the bytes, by sha256.
    pub blob: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The media type it was sent with.
    pub media_type: String,
    /// Of a referrer: what it says it is.
    pub artifact_type: Option<String>,
}

/// A manifest or index to put into a repository, with what its reader found in it.
#[derive(Debug, Clone, Copy)]
pub struct NewManifest<'a> {
    /// What it is addressed by; has to be of `bytes`.
    pub digest: &'a Digest,
    /// The manifest itself.
    pub bytes: &'a [u8],
    /// Its media type.
    pub media_type: &'a str,
    /// Digest of the manifest that it refers to, which need not be there.
    pub subject: Option<&'a Digest>,
    /// Of a referrer: what it says it is.
    pub artifact_type: Option<&'a str>,
    /// Blobs that it needs; kept as long as it is there.
    pub blobs: &'a [Digest],
    /// Manifests that it needs.
    pub manifests: &'a [Digest],
    /// Whether those have to be there, blobs and manifests.
    pub complete: bool,
    /// Tags that name it from now on.
    pub tags: &'a [String],
}

/// What came of putting a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutManifest {
    /// It is there.
    Done,
    /// Nothing was done, since the repository lacks these, which it needs.
    Missing(Vec<Digest>),
}

impl Store {
    /// Puts a manifest into the repository, with its tags, or says what is missing for it.
    pub fn put_hosted_manifest(&self, repository: &str, manifest: &NewManifest) -> Result<PutManifest> {
        let lease = self.lease()?;
        let holding = lease.holding();
        let blob = Digest::sha256(manifest.bytes);
        let (path, mut file) = create_temporary(holding)?;
        let mut put = || -> Result<PutManifest> {
            file.write_all(manifest.bytes).map_err(|e| Error::io("cannot write", &path, e))?;
            let done = self.db().write(|tx| {
                let missing = match manifest.complete {
                    true => missing(tx, repository, manifest)?,
                    false => Vec::new(),
                };
                if !missing.is_empty() {
                    return Ok(PutManifest::Missing(missing));
                }
                self.adopt_blob(tx, &path, &blob, manifest.bytes.len() as u64)?;
                insert(tx, repository, manifest, &blob)?;
                Ok(PutManifest::Done)
            });
            self.undo_on_error(holding, &format!("{BLOBS}/{}", blob.hex()), done)
        };
        let done = put();
        // Where its bytes were here before, they were not moved.
        let _ = fs::remove_file(&path);
        done
    }

    /// The manifest that the repository has under `digest`.
    pub fn hosted_manifest(&self, repository: &str, digest: &Digest) -> Result<Option<HostedManifest>> {
        self.db().read(|c| {
            c.prepare_cached(&format!("{SELECT} WHERE m.repository = ?1 AND m.digest = ?2"))?
                .query_row(params![repository, digest.as_str()], texts)
                .optional()?
                .map(hosted)
                .transpose()
        })
    }

    /// The manifest that the tag names in the repository.
    pub fn hosted_tag(&self, repository: &str, tag: &str) -> Result<Option<HostedManifest>> {
        self.db().read(|c| {
            c.prepare_cached(&format!(
                "{SELECT} JOIN registry_tags t ON t.repository = m.repository AND t.digest = m.digest
                 WHERE t.repository = ?1 AND t.tag = ?2"
            ))?
            .query_row(params![repository, tag], texts)
            .optional()?
            .map(hosted)
            .transpose()
        })
    }

    /// The manifests of the repository that refer to `subject`, of that artifact type where one is given, in the
    /// order of their digests: at most `limit`, after `last`.
    pub fn referrers(
        &self,
        repository: &str,
        subject: &Digest,
        artifact_type: Option<&str>,
        last: &str,
        limit: usize,
    ) -> Result<Vec<HostedManifest>> {
        self.db().read(|c| {
            let mut statement = c.prepare_cached(&format!(
                "{SELECT} WHERE m.repository = ?1 AND m.subject = ?2 AND m.digest > ?3
                 AND (?4 IS NULL OR m.artifact_type = ?4) ORDER BY m.digest LIMIT ?5"
            ))?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let given = params![repository, subject.as_str(), last, artifact_type, limit];
            let rows: Vec<Texts> = statement.query_map(given, texts)?.collect::<Result<_, _>>()?;
            rows.into_iter().map(hosted).collect()
        })
    }

    /// Takes a tag from the repository; the manifest stays. Returns whether there was one.
    pub fn delete_hosted_tag(&self, repository: &str, tag: &str) -> Result<bool> {
        self.db().write(|tx| {
            let gone = tx
                .prepare_cached("DELETE FROM registry_tags WHERE repository = ?1 AND tag = ?2")?
                .execute(params![repository, tag])?;
            Ok(gone > 0)
        })
    }

    /// Takes a manifest from the repository, with the tags that name it. Returns whether there was one.
    pub fn delete_hosted_manifest(&self, repository: &str, digest: &Digest) -> Result<bool> {
        self.db().write(|tx| delete(tx, repository, digest.as_str()))
    }
}

/// All columns of [`HostedManifest`].
const SELECT: &str =
    "SELECT m.digest, m.blob, b.size, m.media_type, m.artifact_type FROM registry_manifests m
     JOIN blobs b ON b.digest = m.blob";

type Texts = (String, String, u64, String, Option<String>);

fn texts(row: &Row<'_>) -> rusqlite::Result<Texts> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
}

fn hosted((digest, blob, size, media_type, artifact_type): Texts) -> Sql<HostedManifest> {
    Ok::<_, Fault>(HostedManifest {
        digest: parse(&digest)?,
        blob: parse(&blob)?,
        size,
        media_type,
        artifact_type,
    })
}

fn missing(connection: &Connection, repository: &str, manifest: &NewManifest) -> Sql<Vec<Digest>> {
    let mut missing = Vec::new();
    for (table, digests) in [("registry_blobs", manifest.blobs), ("registry_manifests", manifest.manifests)] {
        let sql = format!("SELECT 1 FROM {table} WHERE repository = ?1 AND digest = ?2");
        let mut statement = connection.prepare_cached(&sql)?;
        for digest in digests {
            if !statement.exists(params![repository, digest.as_str()])? {
                missing.push(digest.clone());
            }
        }
    }
    Ok(missing)
}

fn insert(tx: &Transaction, repository: &str, manifest: &NewManifest, blob: &Digest) -> Sql<()> {
    let digest = manifest.digest.as_str();
    tx.prepare_cached(
        "INSERT OR REPLACE INTO registry_manifests
         (repository, digest, blob, media_type, subject, artifact_type, added) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        repository,
        digest,
        blob.as_str(),
        manifest.media_type,
        manifest.subject.map(Digest::as_str),
        manifest.artifact_type,
        now()
    ])?;
    let mut link = tx.prepare_cached(
        "INSERT OR IGNORE INTO registry_links (repository, digest, manifest) VALUES (?1, ?2, ?3)",
    )?;
    for needed in manifest.blobs {
        link.execute(params![repository, needed.as_str(), digest])?;
    }
    let mut name = tx.prepare_cached(
        "INSERT OR REPLACE INTO registry_tags (repository, tag, digest) VALUES (?1, ?2, ?3)",
    )?;
    for tag in manifest.tags {
        name.execute(params![repository, tag, digest])?;
    }
    Ok(())
}

/// Deletes a manifest's rows; whether there was one. Blobs that only it needed wait for no other manifest.
pub(super) fn delete(tx: &Transaction, repository: &str, digest: &str) -> Sql<bool> {
    tx.prepare_cached(
        "UPDATE registry_blobs SET added = 0 WHERE repository = ?1
         AND digest IN (SELECT digest FROM registry_links WHERE repository = ?1 AND manifest = ?2)
         AND NOT EXISTS (SELECT 1 FROM registry_links l WHERE l.repository = ?1
             AND l.digest = registry_blobs.digest AND l.manifest <> ?2)",
    )?
    .execute([repository, digest])?;
    tx.prepare_cached("DELETE FROM registry_tags WHERE repository = ?1 AND digest = ?2")?
        .execute([repository, digest])?;
    tx.prepare_cached("DELETE FROM registry_links WHERE repository = ?1 AND manifest = ?2")?
        .execute([repository, digest])?;
    let gone = tx
        .prepare_cached("DELETE FROM registry_manifests WHERE repository = ?1 AND digest = ?2")?
        .execute([repository, digest])?;
    Ok(gone > 0)
}
