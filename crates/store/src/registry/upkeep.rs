//! Keeping the repositories sound: rows whose bytes are gone go, and so do blobs that no manifest came for.

use rusqlite::Transaction;

use super::manifests::delete;
use crate::db::Sql;
use crate::now;

/// So long a blob waits for the manifest it was pushed for, in nanoseconds.
const WAIT: i64 = 24 * 60 * 60 * 1_000_000_000;

/// Deletes the rows whose blob is not there, and what cannot stand without them; tells of each.
pub(crate) fn drop_lost(tx: &Transaction) -> Sql<Vec<String>> {
    let mut lost = Vec::new();
    for (repository, digest) in pairs(
        tx,
        "DELETE FROM registry_blobs WHERE blob NOT IN (SELECT digest FROM blobs) RETURNING repository, digest",
    )? {
        lost.push(format!("blob {digest} of the served repository {repository}"));
    }
    for (repository, digest) in pairs(
        tx,
        "SELECT repository, digest FROM registry_manifests WHERE blob NOT IN (SELECT digest FROM blobs)",
    )? {
        delete(tx, &repository, &digest)?;
        lost.push(format!("manifest {digest} of the served repository {repository}"));
    }
    for (repository, tag) in pairs(
        tx,
        "DELETE FROM registry_tags WHERE NOT EXISTS (SELECT 1 FROM registry_manifests m
             WHERE m.repository = registry_tags.repository AND m.digest = registry_tags.digest)
         RETURNING repository, tag",
    )? {
        lost.push(format!("tag {tag} of the served repository {repository}"));
    }
    Ok(lost)
}

/// Deletes the rows of blobs that no manifest of their repository needs: the last one that did was deleted, or they
/// were pushed so long ago that none will come.
pub(crate) fn drop_unlinked(tx: &Transaction) -> Sql<()> {
    tx.prepare_cached(
        "DELETE FROM registry_blobs WHERE added < ?1 AND NOT EXISTS (SELECT 1 FROM registry_links l
             WHERE l.repository = registry_blobs.repository AND l.digest = registry_blobs.digest)",
    )?
    .execute([now() - WAIT])?;
    Ok(())
}

fn pairs(tx: &Transaction, sql: &str) -> Sql<Vec<(String, String)>> {
    let mut statement = tx.prepare(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
