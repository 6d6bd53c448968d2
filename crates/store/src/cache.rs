//! Build-cache records: which result a step had for which key. What a key is made of is the solver's business.

use oci::{ChainId, DiffId, Digest};

use crate::{Result, Store};

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
    /// What the step is, whatever its inputs hold: records of the same step share it, so that a miss can be explained by
    /// comparing parts.
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

impl Store {
    /// The record of `key`, if there is one whose result is still here. Under a lease the result then stays. Does not count
    /// as a use: see [`Store::cache_touch`].
    pub fn cache_get(&self, _key: &Digest) -> Result<Option<CacheRecord>> {
        Ok(None)
    }

    /// Adds or replaces a record. [`Error::MissingSnapshot`](crate::Error::MissingSnapshot) when its result is not here.
    pub fn cache_put(&self, _record: &CacheRecord) -> Result<()> {
        Ok(())
    }

    /// Marks records as used now, all at once.
    pub fn cache_touch(&self, _keys: &[Digest]) -> Result<()> {
        Ok(())
    }

    /// The records of one step, latest used first, at most `limit`.
    pub fn cache_nearest(&self, _identity: &str, _limit: usize) -> Result<Vec<CacheRecord>> {
        Ok(Vec::new())
    }

    /// All records, latest used first.
    pub fn cache_records(&self) -> Result<Vec<CacheRecord>> {
        Ok(Vec::new())
    }

    /// Removes a record; its result goes with the next prune.
    pub fn cache_remove(&self, _key: &Digest) -> Result<bool> {
        Ok(false)
    }
}
