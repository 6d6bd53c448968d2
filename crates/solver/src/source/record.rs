//! What is remembered of downloads: cache records whose parts say what was there, and the layers they stand for.

use std::time::{Instant, SystemTime};

use oci::{ChainId, DiffId, Digest};
use snapshot::DiffOptions;
use store::{CacheKind, CacheRecord, PendingSnapshot, Store};

use crate::error::Failure;
use crate::unpack::row;

/// What was noted of a download, by name.
pub(super) type Notes = Vec<(String, String)>;

/// What a download is found by. Credentials are no part of it.
pub(super) struct Memory<'a> {
    parts: Vec<(&'static str, &'a str)>,
    /// For listings.
    pub step: String,
}

impl<'a> Memory<'a> {
    pub fn new(kind: &'a str, step: String) -> Memory<'a> {
        Memory { parts: vec![("download", "1"), ("kind", kind)], step }
    }

    pub fn part(mut self, name: &'static str, value: &'a str) -> Memory<'a> {
        self.parts.push((name, value));
        self
    }

    fn key(&self) -> Digest {
        let text = serde_json::to_string(&self.parts).expect("because strings always serialise");
        Digest::sha256(text.as_bytes())
    }

    /// The layer that was remembered, and what was noted with it.
    pub fn recall(&self, store: &Store) -> Result<Option<(DiffId, Notes)>, Failure> {
        let key = self.key();
        let Some(record) = store.cache_get(&key)? else { return Ok(None) };
        let Some(layer) = record.diff_ids.into_iter().next() else { return Ok(None) };
        store.cache_touch(&[key])?;
        Ok(Some((layer, serde_json::from_str(&record.parts).unwrap_or_default())))
    }

    /// Remembers `layer`, with notes.
    pub fn keep(
        &self,
        store: &Store,
        layer: &DiffId,
        notes: &[(&str, &str)],
        began: Instant,
        size: u64,
    ) -> Result<(), Failure> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        let parts: Vec<_> = self.parts.iter().chain(notes).collect();
        store.cache_put(&CacheRecord {
            key: self.key(),
            kind: CacheKind::Fast,
            identity: self.key().to_string(),
            chain_id: ChainId::of(std::slice::from_ref(layer)),
            diff_ids: vec![layer.clone()],
            parts: serde_json::to_string(&parts).expect("because strings always serialise"),
            step: self.step.clone(),
            created: now,
            last_used: now,
            uses: 0,
            duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            size,
        })?;
        Ok(())
    }
}

/// Makes a layer on nothing of what `pending` holds; no file is younger than `epoch`. Also says how large it is.
pub(super) fn commit(store: &Store, pending: PendingSnapshot, epoch: i64) -> Result<(DiffId, u64), Failure> {
    snapshot::normalize(pending.fs(), Some(epoch))?;
    let stat = snapshot::diff(pending.fs(), std::io::sink(), &DiffOptions::default())?;
    store.commit_snapshot(pending, None, &row(&stat))?;
    Ok((stat.diff_id, stat.usage))
}
