//! Layers held as blobs, unpacked into snapshots.

mod schedule;
mod stack;

use std::io::Read;

use oci::{ChainId, DiffId, Digest};
use snapshot::ApplyOptions;
use store::{LayerBlob, SnapshotStat, Store};

use crate::error::Failure;
pub use stack::{LayerBytes, Verified, unpack_stack};

/// Makes sure that every layer of the stack `layers` (bottom layer first) is unpacked.
///
/// What is there already is not touched; what is missing is unpacked from a blob of the store and
/// its DiffID compared with the one named.
pub fn unpack(store: &Store, layers: &[DiffId]) -> Result<(), Failure> {
    let missing = missing(store, layers)?;
    if missing.is_empty() {
        return Ok(());
    }
    let mut blobs = vec![None; layers.len()];
    for at in missing {
        let held = store.layer_blobs(&layers[at])?.into_iter().next();
        blobs[at] = Some(held.ok_or_else(|| Failure::MissingLayer(layers[at].clone()))?);
    }
    unpack_stack(store, layers, &Held { store, blobs }, at_once())
}

/// How many layers are best at work at a time: each keeps up to two cores busy, but not all the time.
pub fn at_once() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8)
}

/// Blobs of the store, by position; `None` where there is nothing to unpack.
struct Held<'a> {
    store: &'a Store,
    blobs: Vec<Option<LayerBlob>>,
}

impl Held<'_> {
    fn blob(&self, at: usize) -> &LayerBlob {
        self.blobs[at].as_ref().expect("because every layer that is missing has one")
    }
}

impl LayerBytes for Held<'_> {
    fn open(&self, at: usize) -> Result<Box<dyn Read + Send + '_>, Failure> {
        Ok(Box::new(self.store.open_blob(&self.blob(at).digest)?))
    }

    fn verified(&self, at: usize) -> Result<Verified, Failure> {
        Ok(Verified::Blob(self.blob(at).clone()))
    }
}

/// The positions of the layers that are not unpacked: the topmost snapshot that is there has all
/// those below it.
pub fn missing(store: &Store, layers: &[DiffId]) -> Result<std::ops::Range<usize>, Failure> {
    let chains = ChainId::prefixes(layers);
    let mut have = layers.len();
    while have > 0 && store.snapshot(&chains[have - 1])?.is_none() {
        have -= 1;
    }
    Ok(have..layers.len())
}

fn check(wanted: &DiffId, blob: &Digest, found: DiffId) -> Result<(), Failure> {
    match found == *wanted {
        true => Ok(()),
        false => Err(Failure::WrongLayer { blob: blob.clone(), wanted: wanted.clone(), found }),
    }
}

/// How a layer is applied in this process.
pub(crate) fn options() -> ApplyOptions<'static> {
    ApplyOptions::new(runtime::mode().unwrap_or(runtime::Mode::Root))
}

/// What the store records of a layer.
pub fn row(stat: &snapshot::LayerStat) -> SnapshotStat {
    SnapshotStat {
        diff_id: stat.diff_id.clone(),
        tar_size: stat.tar_size,
        usage: stat.usage,
        inodes: stat.inodes,
        tree_digest: None,
    }
}
