//! What the steps of past builds depended on, kept so that a step that runs again can be told why. Nothing is ever
//! decided by it, and losing it loses no result; a record outlives its result, so that a pruned one can be told from
//! one that never was. What a record says is the solver's business.
//!
//! A bounded number is kept, the latest seen.

use oci::Digest;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::db::Sql;
use crate::{Result, Store, now};

/// Records kept.
const KEPT: u32 = 4096;
/// Bytes of lists of files kept.
const ROOM: u64 = 32 << 20;

/// What one step depended on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRecord {
    /// The cache key that says it all.
    pub key: Digest,
    /// Which step of which build it was; the same step of the next build shares it.
    pub place: String,
    /// What it does, whatever it works on; equal steps anywhere share it.
    pub shape: String,
    /// What it depended on, by name.
    pub facts: String,
    /// The files that it took; empty for none. Not filled where a record is read: see [`Store::step_files`].
    pub files: Vec<u8>,
    /// When it was last made or found again, in nanoseconds since the Unix epoch; 0 for now.
    pub seen: i64,
}

impl Store {
    /// Adds or replaces a record.
    pub fn step_put(&self, record: &StepRecord) -> Result<()> {
        self.db().write(|tx| put(tx, record))
    }

    /// Whether there is a record of `key`.
    pub fn step_known(&self, key: &Digest) -> Result<bool> {
        let sql = "SELECT 1 FROM cache_steps WHERE key = ?1";
        self.db().read(|c| Ok(c.prepare_cached(sql)?.exists([key.as_str()])?))
    }

    /// The latest seen records of that shape and of that place, at most `limit` of each.
    pub fn steps_near(&self, place: &str, shape: &str, limit: u32) -> Result<Vec<StepRecord>> {
        self.db().read(|c| {
            let mut found: Vec<StepRecord> = Vec::new();
            for (column, value) in [("shape", shape), ("place", place)] {
                let sql = format!(
                    "SELECT key, place, shape, facts, seen FROM cache_steps WHERE {column} = ?1
                     ORDER BY seen DESC LIMIT ?2"
                );
                let mut statement = c.prepare_cached(&sql)?;
                for row in statement.query_map(params![value, limit], read_row)? {
                    let (key, record) = row?;
                    let record = StepRecord { key: crate::db::parse(&key)?, ..record };
                    if found.iter().all(|known| known.key != record.key) {
                        found.push(record);
                    }
                }
            }
            Ok(found)
        })
    }

    /// The files that the step of `key` took; `None` where they are not kept.
    pub fn step_files(&self, key: &Digest) -> Result<Option<Vec<u8>>> {
        self.db().read(|c| {
            let sql = "SELECT files FROM cache_steps WHERE key = ?1";
            let found = c.prepare_cached(sql)?.query_row([key.as_str()], |row| row.get(0)).optional()?;
            Ok(found.flatten())
        })
    }

    /// Drops what is too much. For the end of a build that added records.
    pub fn steps_trim(&self) -> Result<()> {
        self.db().write(|tx| {
            tx.prepare_cached(
                "DELETE FROM cache_steps WHERE key IN
                 (SELECT key FROM cache_steps ORDER BY seen DESC LIMIT -1 OFFSET ?1)",
            )?
            .execute([KEPT])?;
            tx.prepare_cached(
                "UPDATE cache_steps SET files = NULL, room = 0 WHERE key IN
                 (SELECT key FROM
                  (SELECT key, sum(room) OVER (ORDER BY seen DESC, key) AS total FROM cache_steps WHERE room > 0)
                  WHERE total > ?1)",
            )?
            .execute([ROOM])?;
            Ok(())
        })
    }
}

/// Adds or replaces a record.
pub(crate) fn put(connection: &Connection, record: &StepRecord) -> Sql<()> {
    let StepRecord { key, place, shape, facts, files, seen } = record;
    let files = (!files.is_empty()).then_some(files);
    let seen = if *seen == 0 { now() } else { *seen };
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO cache_steps (key, place, shape, facts, seen, room, files)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![key.as_str(), place, shape, facts, seen, files.map_or(0, Vec::len), files])?;
    Ok(())
}

/// Marks records as seen now.
pub(crate) fn seen(connection: &Connection, keys: &[Digest], now: i64) -> Sql<()> {
    let mut statement = connection.prepare_cached("UPDATE cache_steps SET seen = ?1 WHERE key = ?2")?;
    for key in keys {
        statement.execute(params![now, key.as_str()])?;
    }
    Ok(())
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<(String, StepRecord)> {
    let record = StepRecord {
        // Parsed by the caller.
        key: Digest::sha256(b""),
        place: row.get(1)?,
        shape: row.get(2)?,
        facts: row.get(3)?,
        files: Vec::new(),
        seen: row.get(4)?,
    };
    Ok((row.get(0)?, record))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, place: &str, shape: &str, seen: i64) -> StepRecord {
        StepRecord {
            key: Digest::sha256(key.as_bytes()),
            place: place.to_owned(),
            shape: shape.to_owned(),
            facts: format!("facts of {key}"),
            files: key.as_bytes().to_vec(),
            seen,
        }
    }

    #[test]
    fn the_nearest_are_found_by_shape_and_place() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("root")).unwrap();
        for (key, place, shape, seen) in
            [("a", "p", "s", 1), ("b", "p", "t", 2), ("c", "q", "s", 3), ("d", "q", "t", 4)]
        {
            store.step_put(&record(key, place, shape, seen)).unwrap();
        }
        let facts = |limit| {
            let near = store.steps_near("p", "s", limit).unwrap();
            near.into_iter().map(|record| record.facts.replace("facts of ", "")).collect::<Vec<_>>()
        };
        assert_eq!(facts(4), ["c", "a", "b"]);
        assert_eq!(facts(1), ["c", "b"]);
        let a = Digest::sha256(b"a");
        assert_eq!(store.step_files(&a).unwrap().unwrap(), b"a");
        assert!(store.step_known(&a).unwrap() && !store.step_known(&Digest::sha256(b"e")).unwrap());
        store.steps_trim().unwrap();
        assert_eq!(facts(4).len(), 3);
    }

    #[test]
    fn lists_of_files_have_limited_room() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("root")).unwrap();
        for (key, seen) in [("old", 1), ("new", 2)] {
            let files = vec![0; ROOM as usize * 2 / 3];
            store.step_put(&StepRecord { files, ..record(key, "p", "s", seen) }).unwrap();
        }
        store.steps_trim().unwrap();
        assert_eq!(store.step_files(&Digest::sha256(b"old")).unwrap(), None);
        assert!(store.step_files(&Digest::sha256(b"new")).unwrap().is_some());
    }
}
