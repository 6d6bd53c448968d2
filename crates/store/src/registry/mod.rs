//! What the registry served from this store shows: which blobs, manifests and tags each repository has.
//!
//! The bytes are the store's blobs, each there once however many repositories and images have it. A repository only
//! says that it has one, under the digest that it is addressed by there: a sha512 as well, while the blob itself is
//! always kept by its sha256. Whatever a repository has is a root for collection. What the protocol makes of it is
//! not known here, nor what a manifest says.

mod manifests;
mod upkeep;
mod uploads;

use oci::Digest;
use rusqlite::{Connection, OptionalExtension, params};

use crate::db::{Sql, parse};
use crate::{Result, Store, now};

pub use manifests::{HostedManifest, NewManifest, PutManifest};
pub(crate) use upkeep::{drop_lost, drop_unlinked};
pub use uploads::Upload;

/// A blob of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostedBlob {
    /// The store's blob with its bytes: of the bytes, by sha256.
    pub blob: Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl Store {
    /// The blob that the repository has under `digest`, if it has one. It then stays for a manifest that may be on
    /// its way, even if the last one that needed it is gone.
    pub fn hosted_blob(&self, repository: &str, digest: &Digest) -> Result<Option<HostedBlob>> {
        let found = self.db().read(|c| {
            let row = c
                .prepare_cached(
                    "SELECT r.blob, b.size, r.added FROM registry_blobs r JOIN blobs b ON b.digest = r.blob
                     WHERE r.repository = ?1 AND r.digest = ?2",
                )?
                .query_row(params![repository, digest.as_str()], |row| {
                    Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, i64>(2)?))
                })
                .optional()?;
            row.map(|(blob, size, added)| Ok((HostedBlob { blob: parse(&blob)?, size }, added))).transpose()
        })?;
        match found {
            Some((_, 0)) if !self.mount_blob(repository, digest, Some(repository))? => Ok(None),
            other => Ok(other.map(|(blob, _)| blob)),
        }
    }

    /// Gives the repository the blob that `from` has (any repository where that is `None`) under `digest`. Returns
    /// whether there was one.
    pub fn mount_blob(&self, repository: &str, digest: &Digest, from: Option<&str>) -> Result<bool> {
        self.db().write(|tx| {
            let blob: Option<String> = tx
                .prepare_cached(
                    "SELECT blob FROM registry_blobs WHERE digest = ?1 AND (?2 IS NULL OR repository = ?2) LIMIT 1",
                )?
                .query_row(params![digest.as_str(), from], |row| row.get(0))
                .optional()?;
            let Some(blob) = blob else { return Ok(false) };
            add_blob(tx, repository, digest, &blob)?;
            Ok(true)
        })
    }

    /// Takes the blob from the repository; others that have it keep it. Returns whether it had it. The bytes are
    /// garbage for the next prune where nothing else needs them.
    pub fn delete_hosted_blob(&self, repository: &str, digest: &Digest) -> Result<bool> {
        self.db().write(|tx| {
            let gone = tx
                .prepare_cached("DELETE FROM registry_blobs WHERE repository = ?1 AND digest = ?2")?
                .execute(params![repository, digest.as_str()])?;
            Ok(gone > 0)
        })
    }

    /// The names of the repositories that have manifests, in the order of their bytes: at most `limit`, after
    /// `last`.
    pub fn repositories(&self, last: &str, limit: usize) -> Result<Vec<String>> {
        self.db().read(|c| {
            // One index look-up for each, however many manifests it has.
            let mut next = c.prepare_cached(
                "SELECT repository FROM registry_manifests WHERE repository > ?1 ORDER BY repository LIMIT 1",
            )?;
            let mut found: Vec<String> = Vec::new();
            while found.len() < limit {
                let after = found.last().map_or(last, String::as_str);
                let Some(name) = next.query_row([after], |row| row.get(0)).optional()? else { break };
                found.push(name);
            }
            Ok(found)
        })
    }

    /// Whether the repository has anything.
    pub fn has_repository(&self, repository: &str) -> Result<bool> {
        self.db().read(|c| has_repository(c, repository))
    }

    /// The tags of the repository in the order of their bytes: at most `limit`, after `last`. `None` where there is
    /// no such repository.
    pub fn hosted_tags(&self, repository: &str, last: &str, limit: usize) -> Result<Option<Vec<String>>> {
        self.db().read_all(|c| {
            if !has_repository(c, repository)? {
                return Ok(None);
            }
            let mut statement = c.prepare_cached(
                "SELECT tag FROM registry_tags WHERE repository = ?1 AND tag > ?2 ORDER BY tag LIMIT ?3",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = statement.query_map(params![repository, last, limit], |row| row.get(0))?;
            Ok(Some(rows.collect::<Result<_, _>>()?))
        })
    }
}

fn has_repository(connection: &Connection, repository: &str) -> Sql<bool> {
    for table in ["registry_manifests", "registry_blobs"] {
        let sql = format!("SELECT 1 FROM {table} WHERE repository = ?1 LIMIT 1");
        if connection.prepare_cached(&sql)?.exists([repository])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The repository has the blob from now on; had it it before, it counts as added anew.
fn add_blob(connection: &Connection, repository: &str, digest: &Digest, blob: &str) -> Sql<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO registry_blobs (repository, digest, blob, added) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![repository, digest.as_str(), blob, now()])?;
    Ok(())
}
