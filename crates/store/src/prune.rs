//! Pruning: what to drop on request, and what goes with it because nothing needs it any more.

use std::collections::{HashMap, HashSet};

use oci::{ChainId, Digest, ImageId, Reference};
use rusqlite::Transaction;

use crate::cache::{all_records, delete_record};
use crate::cache_mount::delete_cache_mount;
use crate::collect::{self, Drops, Holders, Reach, Selection};
use crate::container::all_containers;
use crate::db::{Sql, parse};
use crate::image::{all_images, delete_image};
use crate::lease::{Holding, is_live, owner};
use crate::manifest::is_listed;
use crate::remove::measure;
use crate::schema::{BUILDS, CONTEXTS, TMP, WORK};
use crate::sweep::names;
use crate::{CacheMount, CacheRecord, ContainerRecord, Error, Image, Result, Store, SweepReport};

/// Which images to drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PruneImages {
    /// None.
    #[default]
    None,
    /// Those without a tag that no container uses.
    Dangling,
    /// All that no container uses.
    Unused,
}

/// Which build-cache records and cache mounts to drop. None goes whose result a live process uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneCache {
    /// Also those whose result is part of an image (Docker's `builder prune --all`): no disk space comes free
    /// by them until the image goes.
    pub all: bool,
    /// Only those last used before this moment, in nanoseconds since the Unix epoch.
    pub unused_since: Option<i64>,
    /// Only as many, least recently used first, as bring the cache down to this size.
    pub keep: Option<CacheSpace>,
}

/// How much space the build cache may take, as BuildKit's policies say it. In bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSpace {
    /// So much it may always have, whatever else is asked.
    pub reserved: u64,
    /// More than this it never has.
    pub max_used: u64,
    /// So much is to be free on the disk.
    pub min_free: u64,
}

impl CacheSpace {
    /// At most so many bytes.
    pub fn at_most(bytes: u64) -> CacheSpace {
        CacheSpace { reserved: 0, max_used: bytes, min_free: 0 }
    }

    /// The bytes that a cache of `total` bytes may keep on a disk with `free` bytes.
    pub fn keep(&self, total: u64, free: u64) -> u64 {
        let for_free = total.saturating_sub(self.min_free.saturating_sub(free));
        let keep = if self.min_free > free { for_free.min(self.max_used) } else { self.max_used };
        keep.max(self.reserved)
    }
}

/// A thing of the build cache, for a filter.
#[derive(Debug, Clone, Copy)]
pub enum CacheItem<'a> {
    /// A record; whether an image has its result, too.
    Record(&'a CacheRecord, bool),
    /// A cache mount.
    Mount(&'a CacheMount),
}

/// What to drop.
#[derive(Default, Clone, Copy)]
pub struct PruneOptions<'a> {
    /// Containers whose lock is free and that this says yes to.
    pub containers: Option<&'a dyn Fn(&ContainerRecord) -> bool>,
    /// Images by use.
    pub images: PruneImages,
    /// Of these images, only those that this says yes to (`--filter`).
    pub image_filter: Option<&'a dyn Fn(&Image) -> bool>,
    /// Build-cache records and cache mounts.
    pub cache: Option<&'a PruneCache>,
    /// Of these, only those that this says yes to (`--filter`).
    pub cache_filter: Option<&'a dyn Fn(CacheItem<'_>) -> bool>,
    /// The stat caches of build contexts.
    pub contexts: bool,
    /// Parts of blobs that nobody is fetching: a pull that was interrupted begins anew.
    pub partial: bool,
    /// Give the database's and the directories' free space back to the disk.
    pub compact: bool,
}

/// What was dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Every item, in the order dropped.
    pub items: Vec<Pruned>,
}

/// One thing that was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// What.
    pub what: PrunedItem,
    /// Bytes freed by it, none of them counted in another item.
    pub bytes: u64,
}

/// What sort of thing was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrunedItem {
    /// A container, by ID.
    Container(String),
    /// A name, by tag or by digest, because its image went.
    Untagged(Reference),
    /// An image. Its bytes are in its snapshots and blobs.
    Image(ImageId),
    /// A build-cache record, by key. Its bytes are in its snapshots.
    Cache(Digest),
    /// A cache mount, by ID.
    CacheMount(String),
    /// A snapshot that nothing needs any more.
    Snapshot {
        /// Which.
        chain_id: ChainId,
        /// Whether an image that was dropped now had it; else a cache record or container had, or nothing.
        of_image: bool,
    },
    /// A blob that nothing needs any more.
    Blob(Digest),
    /// Stat caches of build contexts.
    Contexts,
    /// Left-overs of processes that died.
    Garbage,
    /// Free space in the database.
    Database,
}

impl PruneReport {
    /// Bytes freed in all.
    pub fn freed(&self) -> u64 {
        self.items.iter().map(|i| i.bytes).sum()
    }

    fn add(&mut self, what: PrunedItem, bytes: u64) {
        self.items.push(Pruned { what, bytes });
    }
}

impl Store {
    /// Drops what the options say, then every snapshot and blob that nothing needs: no image, container,
    /// cache record, or lease of a live process. With default options it drops only the latter, and
    /// left-overs.
    pub fn prune(&self, options: &PruneOptions) -> Result<PruneReport> {
        self.let_go();
        let mut report = PruneReport::default();
        let holding = self.hold()?;
        self.prune_left_over(&mut report)?;
        if let Some(wanted) = options.containers {
            self.prune_containers(wanted, &mut report)?;
        }
        self.prune_rows(options, &holding, &mut report)?;
        self.prune_orphans(&holding, &mut report)?;
        if options.contexts {
            let mut bytes = 0;
            for dir in [CONTEXTS, BUILDS].map(|dir| self.root().join(dir)).into_iter().filter(|d| d.is_dir())
            {
                bytes += measure(&dir);
                for name in names(&dir)? {
                    let path = dir.join(name);
                    crate::remove::remove_tree(&path).map_err(|e| Error::io("cannot remove", &path, e))?;
                }
            }
            if bytes > 0 {
                report.add(PrunedItem::Contexts, bytes);
            }
        }
        if options.partial {
            let bytes = self.sweep_partial(true)?;
            if bytes > 0 {
                report.add(PrunedItem::Garbage, bytes);
            }
        }
        drop(holding);
        self.let_go();
        if options.compact {
            let freed = self.compact()?;
            if freed > 0 {
                report.add(PrunedItem::Database, freed);
            }
        }
        Ok(report)
    }

    /// What dead processes left: measured, then swept. What an earlier boot left is for `sweep`, which has
    /// the hooks.
    fn prune_left_over(&self, report: &mut PruneReport) -> Result<()> {
        let mut bytes = 0;
        for dir in [WORK, TMP] {
            let dir = self.root().join(dir);
            for name in names(&dir)? {
                if !owner(&name).is_some_and(|lease| is_live(self.root(), lease)) {
                    bytes += measure(&dir.join(name));
                }
            }
        }
        let mut swept = SweepReport::default();
        self.sweep_files(&mut swept)?;
        if bytes > 0 {
            report.add(PrunedItem::Garbage, bytes);
        }
        Ok(())
    }

    fn prune_containers(
        &self,
        wanted: &dyn Fn(&ContainerRecord) -> bool,
        report: &mut PruneReport,
    ) -> Result<()> {
        for record in self.containers()? {
            if !wanted(&record) {
                continue;
            }
            let lock = match self.lock_container(&record.id) {
                Ok(Some(lock)) => lock,
                Ok(None) | Err(Error::MissingContainer(_)) => continue,
                Err(error) => return Err(error),
            };
            let bytes = self.remove_container(&record.id, lock)?;
            report.add(PrunedItem::Container(record.id), bytes);
        }
        Ok(())
    }

    fn prune_rows(&self, options: &PruneOptions, holding: &Holding, report: &mut PruneReport) -> Result<()> {
        let allowed: Option<HashSet<ImageId>> = match (options.images, options.image_filter) {
            (PruneImages::None, _) | (_, None) => None,
            (_, Some(filter)) => {
                let images = self.images()?;
                Some(images.into_iter().filter(|i| filter(i)).map(|i| i.id).collect())
            }
        };
        let mounts = match options.cache {
            Some(_) => self.measured_cache_mounts()?,
            None => Vec::new(),
        };
        let free = self.disk_space().map_or(u64::MAX, |(_, free)| free);
        // Held until their files are gone.
        let locks = std::cell::RefCell::new(Vec::new());
        let (items, of_images, drops) = self.write_to_free(|tx| {
            let mut items = PruneReport::default();
            let of_images = self.drop_images(tx, options.images, allowed.as_ref(), &mut items)?;
            if let Some(cache) = options.cache {
                let reach = Reach::mark(tx, self.root())?;
                let wanted = options.cache_filter;
                let drop_mount = |mount: &CacheMount| -> Sql<bool> {
                    let Some(lock) = self.lock_cache_mount(&mount.id, true)? else { return Ok(false) };
                    locks.borrow_mut().push(lock);
                    delete_cache_mount(tx, &mount.id)
                };
                let cache = Dropping { options: cache, wanted, reach: &reach, free, drop_mount: &drop_mount };
                cache.run(tx, &mounts, &mut items)?;
            }
            crate::registry::drop_unlinked(tx)?;
            let reach = Reach::mark(tx, self.root())?;
            Ok((items, of_images, collect::drop_unreached(tx, &reach, None)?))
        })?;
        report.items.extend(items.items);
        self.remove_dropped(holding, &drops)?;
        let Drops { snapshots, blobs } = drops;
        for snapshot in snapshots.into_iter().rev() {
            let of_image = of_images.snapshots.contains(&snapshot.chain_id);
            report.add(PrunedItem::Snapshot { chain_id: snapshot.chain_id, of_image }, snapshot.usage);
        }
        for (digest, size) in blobs {
            report.add(PrunedItem::Blob(digest), size);
        }
        Ok(())
    }

    fn drop_images(
        &self,
        tx: &Transaction,
        which: PruneImages,
        allowed: Option<&HashSet<ImageId>>,
        report: &mut PruneReport,
    ) -> Sql<Selection> {
        let mut all = Selection::default();
        if which == PruneImages::None {
            return Ok(all);
        }
        let in_use: HashSet<ImageId> = all_containers(tx)?.into_iter().map(|c| c.image).collect();
        let leased = Reach::mark(tx, self.root())?.leased_images;
        for image in all_images(tx)? {
            let id = image.id;
            if in_use.contains(&id) || leased.contains(&id) || allowed.is_some_and(|a| !a.contains(&id)) {
                continue;
            }
            let tagged = || tx.prepare_cached("SELECT 1 FROM tags WHERE image = ?1")?.exists([id.0.as_str()]);
            if which == PruneImages::Dangling && tagged()? || is_listed(tx, &id)? {
                continue;
            }
            let had = Reach::of_image(tx, &id)?;
            all.snapshots.extend(had.snapshots);
            all.blobs.extend(had.blobs);
            for name in delete_image(tx, &id)? {
                report.add(PrunedItem::Untagged(parse(&name)?), 0);
            }
            report.add(PrunedItem::Image(id), 0);
        }
        Ok(all)
    }

    fn prune_orphans(&self, holding: &Holding, report: &mut PruneReport) -> Result<()> {
        let orphans = self.orphans()?;
        if orphans.is_empty() {
            return Ok(());
        }
        let bytes = orphans.iter().map(|path| measure(&self.root().join(path))).sum();
        self.remove_unowned(holding, &orphans)?;
        report.add(PrunedItem::Garbage, bytes);
        Ok(())
    }
}

/// Dropping of the build cache, within a transaction.
struct Dropping<'a> {
    options: &'a PruneCache,
    wanted: Option<&'a dyn Fn(CacheItem<'_>) -> bool>,
    reach: &'a Reach,
    /// Free bytes of the disk.
    free: u64,
    /// Drops a cache mount, unless it is in use.
    drop_mount: &'a dyn Fn(&CacheMount) -> Sql<bool>,
}

impl Dropping<'_> {
    fn run(&self, tx: &Transaction, mounts: &[(CacheMount, bool)], report: &mut PruneReport) -> Sql<()> {
        let mut stacks = Stacks::new(self.reach, self.options.all);
        let records = all_records(tx)?;
        for record in &records {
            stacks.add(record.chain_id.as_ref());
        }
        let mut in_mounts: u64 = mounts.iter().filter_map(|(mount, _)| mount.size).sum();
        let keep = self.options.keep.map(|space| space.keep(stacks.bytes + in_mounts, self.free));
        // Least recently used first; of one build, whose records have one time, the upper ones.
        let mut order: Vec<(i64, std::cmp::Reverse<usize>, What<'_>)> = Vec::new();
        for record in &records {
            let depth = record.chain_id.as_ref().map_or(0, |c| stacks.depth(c));
            order.push((record.last_used, std::cmp::Reverse(depth), What::Record(record)));
        }
        for (mount, _) in mounts.iter().filter(|(_, in_use)| !in_use) {
            order.push((mount.last_used, std::cmp::Reverse(usize::MAX), What::Mount(mount)));
        }
        order.sort_by_key(|(used, depth, _)| (*used, *depth));
        for (last_used, _, what) in order {
            if keep.is_some_and(|keep| stacks.bytes + in_mounts <= keep) {
                break;
            }
            if self.options.unused_since.is_some_and(|since| last_used >= since) {
                continue;
            }
            match what {
                What::Record(record) => {
                    let found = record.chain_id.as_ref().and_then(|c| self.reach.snapshot(c));
                    let held = found.map_or(Holders::default(), |(_, holders)| *holders);
                    let shared = held.has(Holders::IMAGE);
                    if held.has(Holders::LEASE)
                        || (!self.options.all && shared)
                        || self.wanted.is_some_and(|wanted| !wanted(CacheItem::Record(record, shared)))
                    {
                        continue;
                    }
                    delete_record(tx, &record.key)?;
                    stacks.remove(record.chain_id.as_ref());
                    report.add(PrunedItem::Cache(record.key.clone()), 0);
                }
                What::Mount(mount) => {
                    if self.wanted.is_some_and(|wanted| !wanted(CacheItem::Mount(mount)))
                        || !(self.drop_mount)(mount)?
                    {
                        continue;
                    }
                    let size = mount.size.unwrap_or(0);
                    in_mounts -= size;
                    report.add(PrunedItem::CacheMount(mount.id.clone()), size);
                }
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum What<'a> {
    Record(&'a CacheRecord),
    Mount(&'a CacheMount),
}

impl Store {
    /// Bytes of the disk that the store is on, and how many of them are free; `None` where nobody says.
    pub fn disk_space(&self) -> Option<(u64, u64)> {
        let stat = rustix::fs::statvfs(self.root()).ok()?;
        Some((stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize))
    }

    /// Brings the build cache down to what `space` allows, if it is over it: least recently used first, and never what
    /// an image, a container or a live process has. Asking costs a look at the rows.
    pub fn keep_cache_within(&self, space: &CacheSpace) -> Result<PruneReport> {
        let mut total: u64 = self.measured_cache_mounts()?.iter().filter_map(|(mount, _)| mount.size).sum();
        let reach = self.db().read_all(|c| Reach::mark(c, self.root()))?;
        total += reach
            .snapshots
            .iter()
            .filter(|(_, holders)| holders.has(Holders::CACHE) && !holders.has(Holders::IMAGE))
            .map(|(snapshot, _)| snapshot.usage)
            .sum::<u64>();
        let free = self.disk_space().map_or(u64::MAX, |(_, free)| free);
        if total <= space.keep(total, free) {
            return Ok(PruneReport::default());
        }
        let cache = PruneCache { all: false, unused_since: None, keep: Some(*space) };
        self.prune(&PruneOptions { cache: Some(&cache), ..PruneOptions::default() })
    }
}

/// The snapshots under the cache's records, and how many records each is under.
struct Stacks<'a> {
    reach: &'a Reach,
    /// Whether what images have too counts.
    all: bool,
    counts: HashMap<ChainId, u64>,
    /// Bytes of the snapshots under any record.
    bytes: u64,
}

impl<'a> Stacks<'a> {
    fn new(reach: &'a Reach, all: bool) -> Stacks<'a> {
        Stacks { reach, all, counts: HashMap::new(), bytes: 0 }
    }

    fn stack(&self, chain_id: Option<&ChainId>) -> Vec<(ChainId, u64)> {
        let mut stack = Vec::new();
        let mut at = chain_id;
        while let Some((snapshot, holders)) = at.and_then(|c| self.reach.snapshot(c)) {
            let counts = self.all || !holders.has(Holders::IMAGE);
            stack.push((snapshot.chain_id.clone(), if counts { snapshot.usage } else { 0 }));
            at = snapshot.parent.as_ref();
        }
        stack
    }

    fn depth(&self, chain_id: &ChainId) -> usize {
        self.stack(Some(chain_id)).len()
    }

    fn add(&mut self, chain_id: Option<&ChainId>) {
        for (chain_id, usage) in self.stack(chain_id) {
            let count = self.counts.entry(chain_id).or_default();
            *count += 1;
            if *count == 1 {
                self.bytes += usage;
            }
        }
    }

    fn remove(&mut self, chain_id: Option<&ChainId>) {
        for (chain_id, usage) in self.stack(chain_id) {
            if let Some(count) = self.counts.get_mut(&chain_id) {
                *count -= 1;
                if *count == 0 {
                    self.bytes -= usage;
                }
            }
        }
    }
}
