//! Build-cache records: which result a step had for which key. What a key is made of is the solver's
//! business.

use oci::{ChainId, DiffId, Digest};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::db::{Fault, Sql, parse};
use crate::lease::Kind;
use crate::{Error, Result, StepRecord, Store, now};

/// Which of the solver's keys a record is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CacheKind {
    /// The definition and the inputs' ChainIDs.
    Fast,
    /// The content of what the step takes.
    Slow,
}

/// The result of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheRecord {
    /// The key.
    pub key: Digest,
    /// What sort of key it is.
    pub kind: CacheKind,
    /// What the step is, whatever its inputs hold: records of the same step share it, so that a miss can be
    /// explained by comparing parts.
    pub identity: String,
    /// The stack after the step; `None` for no layers (`scratch`). Its snapshots stay as long as the record.
    pub chain_id: Option<ChainId>,
    /// The layers that the step itself made, bottom layer first; none for a step that changed nothing.
    pub diff_ids: Vec<DiffId>,
    /// The key's parts as JSON, for explaining.
    pub parts: String,
    /// The step's text, for listings.
    pub step: String,
    /// When it was made, in nanoseconds since the Unix epoch.
    pub created: i64,
    /// When it was last made or hit, in nanoseconds since the Unix epoch.
    pub last_used: i64,
    /// How often it was hit.
    pub uses: u64,
    /// How long the step took.
    pub duration_ms: u64,
    /// Bytes of the regular files that the step added.
    pub size: u64,
}

/// A result that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheResult {
    /// The stack after the step; `None` for no layers (`scratch`).
    pub chain_id: Option<ChainId>,
    /// The layers that the step itself made, bottom layer first.
    pub diff_ids: Vec<DiffId>,
}

const COLUMNS: &str =
    "key, kind, identity, chain_id, diff_ids, parts, step, created, last_used, uses, duration_ms, size";

impl Store {
    /// The record of `key`, if there is one whose result is here. Under a lease the result then stays. Does
    /// not count as a use: see [`Store::cache_touch`].
    pub fn cache_get(&self, key: &Digest) -> Result<Option<CacheRecord>> {
        let sql = format!("SELECT {COLUMNS} FROM cache WHERE key = ?1");
        let found = self.db().read(|c| {
            let raw = c.prepare_cached(&sql)?.query_row([key.as_str()], read_row).optional()?;
            raw.map(Raw::check).transpose()
        })?;
        let Some(record) = found else { return Ok(None) };
        // The result may not count yet after a reboot, or go this very moment; with the lease it cannot go
        // after this.
        let here = match &record.chain_id {
            Some(chain_id) => self.snapshot(chain_id)?.is_some(),
            None => true,
        };
        Ok(here.then_some(record))
    }

    /// The result of `key` if it is here at this moment; nothing holds it and no use is counted until
    /// [`Store::cache_use`].
    pub fn cache_find(&self, key: &Digest) -> Result<Option<CacheResult>> {
        let sql = "SELECT chain_id, diff_ids FROM cache WHERE key = ?1";
        self.db().read(|c| {
            let read = |row: &Row<'_>| Ok((row.get::<_, Option<String>>(0)?, row.get::<_, String>(1)?));
            let raw = c.prepare_cached(sql)?.query_row([key.as_str()], read).optional()?;
            let Some((chain_id, diff_ids)) = raw else { return Ok(None) };
            let chain_id: Option<ChainId> = chain_id.as_deref().map(parse).transpose()?;
            if let Some(chain_id) = &chain_id
                && self.find_snapshot(c, chain_id)?.is_none()
            {
                return Ok(None);
            }
            let diff_ids = diff_ids.split_whitespace().map(parse).collect::<Sql<_>>()?;
            Ok(Some(CacheResult { chain_id, diff_ids }))
        })
    }

    /// Holds these snapshots under the lease, as [`Store::snapshot`] does with one, and marks the records as used now,
    /// all in one transaction. `false` where a snapshot is not here any more.
    pub fn cache_use(&self, keys: &[Digest], chain_ids: &[ChainId]) -> Result<bool> {
        if keys.is_empty() && chain_ids.is_empty() {
            return Ok(true);
        }
        let now = now();
        self.hold()?.write(|tx, used| {
            for chain_id in chain_ids {
                if self.find_snapshot(tx, chain_id)?.is_none() {
                    return Ok(false);
                }
                used.push((Kind::Snapshot, chain_id.to_string()));
            }
            touch(tx, keys, now)?;
            Ok(true)
        })
    }

    /// Adds or replaces a record. [`Error::MissingSnapshot`] when its result is not here.
    pub fn cache_put(&self, record: &CacheRecord) -> Result<()> {
        self.cache_put_all(std::slice::from_ref(record), None)
    }

    /// The same with several records of one step and with what it depended on, in one transaction.
    pub fn cache_put_all(&self, records: &[CacheRecord], step: Option<&StepRecord>) -> Result<()> {
        self.hold()?.write(|tx, used| {
            if let Some(step) = step {
                crate::step::put(tx, step)?;
            }
            for record in records {
                self.put_record(tx, used, record)?;
            }
            Ok(())
        })
    }

    fn put_record(&self, tx: &Connection, used: &mut Vec<(Kind, String)>, record: &CacheRecord) -> Sql<()> {
        if let Some(chain_id) = &record.chain_id {
            if self.find_snapshot(tx, chain_id)?.is_none() {
                return Err(Error::MissingSnapshot(chain_id.clone()).into());
            }
            used.push((Kind::Snapshot, chain_id.to_string()));
        }
        let diff_ids: Vec<&str> = record.diff_ids.iter().map(|d| d.0.as_str()).collect();
        let sql = format!(
            "INSERT OR REPLACE INTO cache ({COLUMNS})
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
        );
        tx.prepare_cached(&sql)?.execute(params![
            record.key.as_str(),
            match record.kind {
                CacheKind::Fast => 0,
                CacheKind::Slow => 1,
            },
            record.identity,
            record.chain_id.as_ref().map(|c| c.0.as_str()),
            diff_ids.join(" "),
            record.parts,
            record.step,
            record.created,
            record.last_used,
            record.uses,
            record.duration_ms,
            record.size,
        ])?;
        Ok(())
    }

    /// Marks records as used now, all at once.
    pub fn cache_touch(&self, keys: &[Digest]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let now = now();
        self.db().write(|tx| touch(tx, keys, now))
    }

    /// The records of one step, latest used first, at most `limit`. Their results may be gone.
    pub fn cache_nearest(&self, identity: &str, limit: usize) -> Result<Vec<CacheRecord>> {
        let sql =
            format!("SELECT {COLUMNS} FROM cache WHERE identity = ?1 ORDER BY last_used DESC, key LIMIT ?2");
        self.db().read(|c| collect(c, &sql, params![identity, limit]))
    }

    /// All records, latest used first.
    pub fn cache_records(&self) -> Result<Vec<CacheRecord>> {
        self.db().read(all_records)
    }

    /// Removes a record, and says whether it was there; its result goes with the next prune.
    pub fn cache_remove(&self, key: &Digest) -> Result<bool> {
        self.db().write(|tx| delete_record(tx, key))
    }
}

/// All records, latest used first.
pub(crate) fn all_records(connection: &Connection) -> Sql<Vec<CacheRecord>> {
    collect(connection, &format!("SELECT {COLUMNS} FROM cache ORDER BY last_used DESC, key"), [])
}

fn touch(connection: &Connection, keys: &[Digest], now: i64) -> Sql<()> {
    let mut statement =
        connection.prepare_cached("UPDATE cache SET last_used = ?1, uses = uses + 1 WHERE key = ?2")?;
    for key in keys {
        statement.execute(params![now, key.as_str()])?;
    }
    crate::step::seen(connection, keys, now)
}

pub(crate) fn delete_record(connection: &Connection, key: &Digest) -> Sql<bool> {
    Ok(connection.prepare_cached("DELETE FROM cache WHERE key = ?1")?.execute([key.as_str()])? > 0)
}

fn collect(connection: &Connection, sql: &str, params: impl rusqlite::Params) -> Sql<Vec<CacheRecord>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut records = Vec::new();
    for raw in statement.query_map(params, read_row)? {
        records.push(raw?.check()?);
    }
    Ok(records)
}

/// A row as text.
struct Raw {
    key: String,
    kind: i64,
    identity: String,
    chain_id: Option<String>,
    diff_ids: String,
    parts: String,
    step: String,
    created: i64,
    last_used: i64,
    uses: u64,
    duration_ms: u64,
    size: u64,
}

fn read_row(row: &Row) -> rusqlite::Result<Raw> {
    Ok(Raw {
        key: row.get(0)?,
        kind: row.get(1)?,
        identity: row.get(2)?,
        chain_id: row.get(3)?,
        diff_ids: row.get(4)?,
        parts: row.get(5)?,
        step: row.get(6)?,
        created: row.get(7)?,
        last_used: row.get(8)?,
        uses: row.get(9)?,
        duration_ms: row.get(10)?,
        size: row.get(11)?,
    })
}

impl Raw {
    fn check(self) -> Sql<CacheRecord> {
        Ok(CacheRecord {
            key: parse(&self.key)?,
            kind: match self.kind {
                0 => CacheKind::Fast,
                1 => CacheKind::Slow,
                other => return Err(Fault::Sql(rusqlite::Error::IntegralValueOutOfRange(1, other))),
            },
            identity: self.identity,
            chain_id: self.chain_id.as_deref().map(parse).transpose()?,
            diff_ids: self.diff_ids.split_whitespace().map(parse).collect::<Sql<_>>()?,
            parts: self.parts,
            step: self.step,
            created: self.created,
            last_used: self.last_used,
            uses: self.uses,
            duration_ms: self.duration_ms,
            size: self.size,
        })
    }
}
