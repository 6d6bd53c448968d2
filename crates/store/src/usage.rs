//! Disk usage: every byte of the store in one of a few columns, as `docker system df` shows them.

use std::collections::{HashMap, HashSet};

use oci::{ChainId, ImageId};

use crate::cache::all_records;
use crate::collect::{Holders, Reach};
use crate::container::all_containers;
use crate::image::all_images;
use crate::lease::{is_live, owner};
use crate::remove::measure;
use crate::schema::{BUILDS, CONTEXTS, TMP, UPLOADS, WORK};
use crate::sweep::names;
use crate::{CacheMount, CacheRecord, ContainerRecord, Result, Store};

/// Where the store's bytes are, as sizes of regular files. The columns share no byte; `total` is their sum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Every image, newest first.
    pub images: Vec<ImageUsage>,
    /// Bytes of the snapshots of all images, each once.
    pub images_size: u64,
    /// What dropping every image without a container would free, were there no build cache.
    pub images_reclaimable: u64,
    /// Every container, newest first.
    pub containers: Vec<ContainerUsage>,
    /// Bytes of all containers' directories, and of snapshots of images removed by force that only containers
    /// have.
    pub containers_size: u64,
    /// Bytes of the directories of those that do not run.
    pub containers_reclaimable: u64,
    /// Every build-cache record, latest used first.
    pub cache: Vec<CacheUsage>,
    /// Every cache mount, latest used first.
    pub mounts: Vec<CacheMountUsage>,
    /// Bytes of the contexts' stat caches.
    pub contexts_size: u64,
    /// Bytes of the snapshots that only the build cache holds, each once, of cache mounts, and of the contexts' stat
    /// caches.
    pub cache_size: u64,
    /// What dropping every cache record and cache mount that no live process uses would free.
    pub cache_reclaimable: u64,
    /// Bytes of blobs that images need: configs, manifests, layers as received or sent.
    pub blobs_size: u64,
    /// Bytes of blobs that only the registry served from this store needs.
    pub registry_size: u64,
    /// Manifests in the repositories of that registry.
    pub registry_manifests: u64,
    /// Bytes being made by live processes, what only their leases hold, and unfinished uploads to the registry.
    pub in_progress: u64,
    /// Bytes of the database and its reserve.
    pub database: u64,
    /// Bytes that nothing needs: left-overs of dead processes, snapshots and blobs that the next prune drops; parts
    /// of blobs that wait for another pull.
    pub garbage: u64,
    /// All of it.
    pub total: u64,
}

/// What one image takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUsage {
    /// Which.
    pub id: ImageId,
    /// Bytes of all its layers.
    pub size: u64,
    /// Bytes of the layers that other images have too.
    pub shared: u64,
    /// Bytes of the layers that no other image has.
    pub unique: u64,
    /// How many containers, running or not, were made from it.
    pub containers: u64,
}

/// What one container takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerUsage {
    /// Which.
    pub record: ContainerRecord,
    /// Bytes of its writable layer (measured).
    pub size: u64,
    /// Bytes of the layers it stands on.
    pub size_root_fs: u64,
    /// Whether its lock is held.
    pub running: bool,
}

/// What one build-cache record takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheUsage {
    /// Which.
    pub record: CacheRecord,
    /// Whether an image has its result too: dropping the record frees nothing.
    pub shared: bool,
    /// Whether a container or a live process uses its result.
    pub in_use: bool,
}

/// What one cache mount takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMountUsage {
    /// Which.
    pub mount: CacheMount,
    /// Bytes of its regular files.
    pub size: u64,
    /// Whether a step uses it now.
    pub in_use: bool,
}

impl Store {
    /// Accounts for every byte. Recorded sizes are taken where there are any; the rest is measured on the
    /// disk.
    pub fn usage(&self) -> Result<Usage> {
        let mut usage = Usage::default();
        // Files before rows: what is made meanwhile has its row, and is not taken for garbage.
        let orphans = self.orphans()?;
        let (reach, images, layers, records, containers) = self.db().read_all(|c| {
            let mut statement = c.prepare("SELECT image, chain_id FROM image_layers")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let layers: Vec<(String, String)> = rows.collect::<Result<_, _>>()?;
            let reach = Reach::mark(c, self.root())?;
            Ok((reach, all_images(c)?, layers, all_records(c)?, all_containers(c)?))
        })?;
        let mut by_image: HashMap<String, Vec<String>> = HashMap::new();
        let mut images_of: HashMap<String, u64> = HashMap::new();
        for (image, chain_id) in layers {
            *images_of.entry(chain_id.clone()).or_default() += 1;
            by_image.entry(image).or_default().push(chain_id);
        }
        let sizes: HashMap<String, u64> =
            reach.snapshots.iter().map(|(s, _)| (s.chain_id.to_string(), s.usage)).collect();
        let size_of = |chain_id: &String| sizes.get(chain_id).copied().unwrap_or(0);
        let mut used = HashSet::new();
        for image in images {
            let stack = by_image.remove(image.id.0.as_str()).unwrap_or_default();
            let shared: u64 =
                stack.iter().filter(|c| images_of.get(*c).is_some_and(|n| *n > 1)).map(size_of).sum();
            let of_it = containers.iter().filter(|c| c.image == image.id).count() as u64;
            if of_it > 0 {
                used.extend(stack);
            }
            usage.images.push(ImageUsage {
                unique: image.size.saturating_sub(shared),
                size: image.size,
                shared,
                containers: of_it,
                id: image.id,
            });
        }
        self.add_snapshots(&reach, &used, &mut usage);
        self.add_blobs(&reach, &mut usage);
        for record in records {
            let held = record.chain_id.as_ref().and_then(|c| reach.snapshot(c));
            let held = held.map_or(Holders::default(), |(_, holders)| *holders);
            let in_use = held.has(Holders::LEASE) || held.has(Holders::CONTAINER);
            usage.cache.push(CacheUsage { record, shared: held.has(Holders::IMAGE), in_use });
        }
        self.add_containers(containers, &reach, &mut usage)?;
        self.add_files(&orphans, &mut usage)?;
        usage.total = usage.images_size
            + usage.containers_size
            + usage.cache_size
            + usage.blobs_size
            + usage.registry_size
            + usage.in_progress
            + usage.database
            + usage.garbage;
        Ok(usage)
    }

    /// Bytes of a container's writable layer, measured (`ps --size`).
    pub fn container_size(&self, id: &str) -> Result<u64> {
        Ok(measure(&self.container_dir(id).join("fs")))
    }

    fn add_snapshots(&self, reach: &Reach, used: &HashSet<String>, usage: &mut Usage) {
        for (snapshot, holders) in &reach.snapshots {
            let bytes = snapshot.usage;
            if holders.has(Holders::IMAGE) {
                usage.images_size += bytes;
                if !used.contains(snapshot.chain_id.0.as_str())
                    && !holders.has(Holders::CONTAINER)
                    && !holders.has(Holders::LEASE)
                {
                    usage.images_reclaimable += bytes;
                }
            } else if holders.has(Holders::CONTAINER) {
                usage.containers_size += bytes;
            } else if holders.has(Holders::CACHE) {
                usage.cache_size += bytes;
                if !holders.has(Holders::LEASE) {
                    usage.cache_reclaimable += bytes;
                }
            } else if holders.has(Holders::LEASE) {
                usage.in_progress += bytes;
            } else {
                usage.garbage += bytes;
            }
        }
    }

    fn add_blobs(&self, reach: &Reach, usage: &mut Usage) {
        for (size, holders) in reach.blobs.values() {
            if holders.has(Holders::IMAGE) {
                usage.blobs_size += size;
            } else if holders.has(Holders::REGISTRY) {
                usage.registry_size += size;
            } else if holders.has(Holders::LEASE) {
                usage.in_progress += size;
            } else {
                usage.garbage += size;
            }
        }
    }

    fn add_containers(
        &self,
        containers: Vec<ContainerRecord>,
        reach: &Reach,
        usage: &mut Usage,
    ) -> Result<()> {
        let root_fs = |chain_id: Option<&ChainId>| {
            let mut bytes = 0;
            let mut at = chain_id;
            while let Some((snapshot, _)) = at.and_then(|c| reach.snapshot(c)) {
                bytes += snapshot.usage;
                at = snapshot.parent.as_ref();
            }
            bytes
        };
        for record in containers {
            let all = measure(&self.container_dir(&record.id));
            let running = self.container_locked(&record.id)?;
            usage.containers_size += all;
            if !running {
                usage.containers_reclaimable += all;
            }
            let size = self.container_size(&record.id)?;
            let size_root_fs = root_fs(record.chain_id.as_ref());
            usage.containers.push(ContainerUsage { record, size, size_root_fs, running });
        }
        Ok(())
    }

    fn add_files(&self, orphans: &[String], usage: &mut Usage) -> Result<()> {
        usage.garbage += orphans.iter().map(|path| measure(&self.root().join(path))).sum::<u64>();
        for dir in [WORK, TMP] {
            let dir = self.root().join(dir);
            for name in names(&dir)? {
                let bytes = measure(&dir.join(&name));
                if owner(&name).is_some_and(|lease| is_live(self.root(), lease)) {
                    usage.in_progress += bytes;
                } else {
                    usage.garbage += bytes;
                }
            }
        }
        let (live, waiting) = self.partial_usage()?;
        usage.in_progress += live;
        usage.garbage += waiting;
        // Those without a row are among the orphans already.
        for name in names(&self.root().join(UPLOADS))? {
            let path = format!("{UPLOADS}/{name}");
            if !orphans.contains(&path) {
                usage.in_progress += measure(&self.root().join(path));
            }
        }
        usage.registry_manifests = self
            .db()
            .read(|c| Ok(c.query_row("SELECT count(*) FROM registry_manifests", [], |row| row.get(0))?))?;
        usage.contexts_size = measure(&self.root().join(CONTEXTS)) + measure(&self.root().join(BUILDS));
        usage.cache_size += usage.contexts_size;
        for (mount, in_use) in self.measured_cache_mounts()? {
            let size = mount.size.unwrap_or(0);
            usage.cache_size += size;
            if !in_use {
                usage.cache_reclaimable += size;
            }
            usage.mounts.push(CacheMountUsage { mount, size, in_use });
        }
        usage.database = self.database_size();
        Ok(())
    }
}
