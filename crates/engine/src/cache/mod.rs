//! The build cache as people see it: records of steps, cache mounts, stat caches of contexts, in one list, as buildx's
//! `du` has it. Dropping is `prune`'s.

mod filter;
mod limit;

use std::collections::HashMap;

use store::{CacheRecord, Usage};

pub use filter::{CacheFilter, Fields};
pub use limit::{CacheLimit, keep_within_limit, limit, most, set_limit};

use crate::filter::Filters;
use crate::{Engine, Result};

/// Digits of an ID, as many as BuildKit's have.
const ID: usize = 25;

/// What an entry of the build cache is, in BuildKit's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheType {
    /// The result of a step.
    Regular,
    /// A cache mount.
    CacheMount,
    /// What is known of the files of build contexts.
    Local,
}

impl CacheType {
    /// BuildKit's name for it.
    pub fn name(self) -> &'static str {
        match self {
            CacheType::Regular => "regular",
            CacheType::CacheMount => "exec.cachemount",
            CacheType::Local => "source.local",
        }
    }
}

/// One thing of the build cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    /// By this it is named.
    pub id: String,
    /// What it is.
    pub kind: CacheType,
    /// The entries whose result it stands on.
    pub parents: Vec<String>,
    /// Nanoseconds since the Unix epoch.
    pub created: i64,
    /// Nanoseconds since the Unix epoch.
    pub last_used: i64,
    /// How often it was hit or mounted.
    pub uses: u64,
    /// Bytes.
    pub size: u64,
    /// Whether an image has it, too: dropping it frees nothing.
    pub shared: bool,
    /// Whether a live process uses it.
    pub in_use: bool,
    /// The step's text.
    pub description: String,
}

impl CacheEntry {
    /// Whether steps write into it.
    pub fn mutable(&self) -> bool {
        self.kind != CacheType::Regular
    }

    fn fields(&self) -> Fields<'_> {
        Fields {
            id: &self.id,
            kind: self.kind,
            description: &self.description,
            parents: &self.parents,
            shared: self.shared,
            in_use: self.in_use,
        }
    }
}

/// The ID of a record.
pub(crate) fn record_id(record: &CacheRecord) -> String {
    record.key.hex()[..ID].to_owned()
}

/// The build cache, latest used first, as far as it passes `filters`.
pub fn entries(engine: &Engine, filters: &Filters) -> Result<Vec<CacheEntry>> {
    let filter = CacheFilter::of(filters)?;
    let mut all = of_usage(engine.store.usage()?);
    all.retain(|entry| {
        filter.unused_since.is_none_or(|since| entry.last_used < since) && filter.passes(&entry.fields())
    });
    Ok(all)
}

/// A step may be found by several keys: it is one entry, and its result counts once.
fn of_usage(usage: Usage) -> Vec<CacheEntry> {
    let mut all: Vec<CacheEntry> = Vec::new();
    // By what the step is and what it made, and by what was made alone.
    let mut steps: HashMap<(String, String), usize> = HashMap::new();
    let mut results: HashMap<String, String> = HashMap::new();
    let mut bases: Vec<Option<String>> = Vec::new();
    for usage in usage.cache {
        let record = usage.record;
        let chain = record.chain_id.as_ref().map_or_else(String::new, ToString::to_string);
        let step = (record.identity.clone(), chain.clone());
        if let Some(&at) = steps.get(&step) {
            let entry = &mut all[at];
            entry.size = entry.size.max(record.size);
            entry.uses += record.uses;
            entry.created = entry.created.min(record.created);
            continue;
        }
        steps.insert(step, all.len());
        let id = record_id(&record);
        let first = !results.contains_key(&chain);
        if !record.diff_ids.is_empty() {
            results.entry(chain).or_insert_with(|| id.clone());
        }
        bases.push(base_of(&record));
        all.push(CacheEntry {
            id,
            kind: CacheType::Regular,
            parents: Vec::new(),
            created: record.created,
            last_used: record.last_used,
            uses: record.uses,
            size: if first { record.size } else { 0 },
            shared: usage.shared,
            in_use: usage.in_use,
            description: record.step,
        });
    }
    for (entry, base) in all.iter_mut().zip(bases) {
        let parent = base.and_then(|base| results.get(&base));
        entry.parents = parent.into_iter().filter(|parent| **parent != entry.id).cloned().collect();
    }
    for usage in usage.mounts {
        let mount = usage.mount;
        all.push(CacheEntry {
            id: mount.id,
            kind: CacheType::CacheMount,
            parents: Vec::new(),
            created: mount.created,
            last_used: mount.last_used,
            uses: mount.uses,
            size: usage.size,
            shared: false,
            in_use: usage.in_use,
            description: mount.description,
        });
    }
    all.sort_by(|a, b| b.last_used.cmp(&a.last_used).then_with(|| a.id.cmp(&b.id)));
    if usage.contexts_size > 0 {
        all.push(CacheEntry {
            id: "contexts".to_owned(),
            kind: CacheType::Local,
            parents: Vec::new(),
            created: 0,
            last_used: 0,
            uses: 0,
            size: usage.contexts_size,
            shared: false,
            in_use: false,
            description: "digests of the files of build contexts".to_owned(),
        });
    }
    all
}

/// The ChainID of the stack that a step was put on, from the parts of its key.
fn base_of(record: &CacheRecord) -> Option<String> {
    let parts: Vec<(String, String)> = serde_json::from_str(&record.parts).ok()?;
    parts.into_iter().find(|(name, _)| name == "base").map(|(_, value)| value)
}
