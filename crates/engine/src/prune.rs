//! `image prune`, `container prune`, `builder prune`, `system prune`: what nothing uses goes.

use oci::{ChainId, Digest, ImageId};
pub use store::CacheSpace;
use store::{
    CacheItem, ContainerRecord, Image, PruneCache, PruneImages, PruneOptions, PruneReport, PrunedItem,
};

use crate::cache::{CacheFilter, CacheType, Fields, record_id};

use crate::filter::Filters;
use crate::images::created_nanoseconds;
use crate::{Engine, Result};

/// What `image prune` is asked for.
#[derive(Debug, Clone, Default)]
pub struct PruneImagesRequest {
    /// Also images with names, where no container uses them.
    pub all: bool,
    /// Docker's `label`, `label!`, `until` (and `dangling`, the same as not `all`).
    pub filters: Filters,
}

/// What `builder prune` is asked for.
#[derive(Debug, Clone, Default)]
pub struct PruneCacheRequest {
    /// Also records whose result is part of an image.
    pub all: bool,
    /// buildx's: `until`, `id`, `type`, `description`, `inuse`, `mutable`, `shared`, `private`.
    pub filters: Filters,
    /// Only as many, least recently used first, as bring the cache down to this.
    pub keep: Option<CacheSpace>,
}

/// What `system prune` is asked for.
#[derive(Debug, Clone, Default)]
pub struct PruneSystemRequest {
    /// Also images with names, and build-cache records whose result is part of an image.
    pub all: bool,
    /// Docker's `label`, `label!`, `until`.
    pub filters: Filters,
}

/// What went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Every item, in the order dropped.
    pub items: Vec<Item>,
    /// Bytes freed in all, also those of items without a name.
    pub freed: u64,
}

/// One thing that went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A container, by ID.
    Container(String),
    /// A name of an image that went, in familiar form.
    Untagged(String),
    /// An image.
    Image(ImageId),
    /// A layer that an image had.
    Layer(ChainId),
    /// A build-cache record, by key.
    Cache(Digest),
    /// A cache mount, by ID.
    CacheMount(String),
}

/// Drops images that no container uses: those without a name, or all.
pub fn images(engine: &Engine, request: &PruneImagesRequest) -> Result<Pruned> {
    request.filters.only(&["dangling", "label", "label!", "until"])?;
    let dangling = request.filters.boolean("dangling")?.unwrap_or(!request.all);
    let until = request.filters.until()?;
    let keep = |image: &Image| passes_image(image, &request.filters, until);
    let report = engine.store.prune(&PruneOptions {
        images: if dangling { PruneImages::Dangling } else { PruneImages::Unused },
        image_filter: Some(&keep),
        ..PruneOptions::default()
    })?;
    Ok(told(report))
}

/// Drops containers that do not run.
pub fn containers(engine: &Engine, filters: &Filters) -> Result<Pruned> {
    filters.only(&["label", "label!", "until"])?;
    let until = filters.until()?;
    let stopped = |record: &ContainerRecord| passes_container(record, filters, until);
    let report =
        engine.store.prune(&PruneOptions { containers: Some(&stopped), ..PruneOptions::default() })?;
    Ok(told(report))
}

/// Drops build-cache records and cache mounts, least recently used first.
pub fn cache(engine: &Engine, request: &PruneCacheRequest) -> Result<Pruned> {
    let filter = CacheFilter::of(&request.filters)?;
    let cache = PruneCache { all: request.all, unused_since: filter.unused_since, keep: request.keep };
    let wanted = |item: CacheItem<'_>| passes_cache(item, &filter);
    let local = Fields {
        id: "contexts",
        kind: CacheType::Local,
        description: "",
        parents: &[],
        shared: false,
        in_use: false,
    };
    let whole = filter.unused_since.is_none() && request.keep.is_none();
    let contexts = whole && filter.passes(&local) && (request.all || !filter.is_plain());
    let report = engine.store.prune(&PruneOptions {
        cache: Some(&cache),
        cache_filter: Some(&wanted),
        contexts,
        compact: whole && request.all && filter.is_plain(),
        ..PruneOptions::default()
    })?;
    Ok(told(report))
}

fn passes_cache(item: CacheItem<'_>, filter: &CacheFilter) -> bool {
    match item {
        CacheItem::Record(record, shared) => filter.passes(&Fields {
            id: &record_id(record),
            kind: CacheType::Regular,
            description: &record.step,
            parents: &[],
            shared,
            in_use: false,
        }),
        CacheItem::Mount(mount) => filter.passes(&Fields {
            id: &mount.id,
            kind: CacheType::CacheMount,
            description: &mount.description,
            parents: &[],
            shared: false,
            in_use: false,
        }),
    }
}

/// Drops stopped containers, images that nothing uses, and the build cache: with `all`, everything but what runs.
pub fn system(engine: &Engine, request: &PruneSystemRequest) -> Result<Pruned> {
    request.filters.only(&["label", "label!", "until"])?;
    let until = request.filters.until()?;
    let keep = |image: &Image| passes_image(image, &request.filters, until);
    let stopped = |record: &ContainerRecord| passes_container(record, &request.filters, until);
    let cache = PruneCache { all: request.all, unused_since: until, keep: None };
    // Build-cache records have no labels: a filter by label leaves them alone, as in Docker.
    let by_label = !request.filters.get("label").is_empty() || !request.filters.get("label!").is_empty();
    let report = engine.store.prune(&PruneOptions {
        containers: Some(&stopped),
        images: if request.all { PruneImages::Unused } else { PruneImages::Dangling },
        image_filter: Some(&keep),
        cache: (!by_label).then_some(&cache),
        cache_filter: None,
        contexts: request.all && request.filters.is_empty(),
        partial: request.filters.is_empty(),
        compact: true,
    })?;
    Ok(told(report))
}

fn passes_image(image: &Image, filters: &Filters, until: Option<i64>) -> bool {
    let made = created_nanoseconds(image).unwrap_or(i64::MIN);
    until.is_none_or(|until| made < until) && filters.labels(image.config.value.config.labels.as_ref())
}

/// A container's labels are in its own record, which is JSON of the engine's making.
fn passes_container(record: &ContainerRecord, filters: &Filters, until: Option<i64>) -> bool {
    let labels = serde_json::from_str::<serde_json::Value>(&record.state)
        .ok()
        .and_then(|state| serde_json::from_value(state.get("run")?.get("labels")?.clone()).ok());
    until.is_none_or(|until| record.created < until) && filters.labels(labels.as_ref())
}

fn told(report: PruneReport) -> Pruned {
    let freed = report.freed();
    let items = report
        .items
        .into_iter()
        .filter_map(|pruned| match pruned.what {
            PrunedItem::Container(id) => Some(Item::Container(id)),
            PrunedItem::Untagged(reference) => Some(Item::Untagged(reference.familiar())),
            PrunedItem::Image(id) => Some(Item::Image(id)),
            PrunedItem::Snapshot { chain_id, of_image: true } => Some(Item::Layer(chain_id)),
            PrunedItem::Cache(key) => Some(Item::Cache(key)),
            PrunedItem::CacheMount(id) => Some(Item::CacheMount(id)),
            PrunedItem::Snapshot { of_image: false, .. }
            | PrunedItem::Blob(_)
            | PrunedItem::Contexts
            | PrunedItem::Garbage
            | PrunedItem::Database => None,
        })
        .collect();
    Pruned { items, freed }
}
