//! Layers held as blobs, unpacked into snapshots.

use std::path::PathBuf;

use oci::{ChainId, DiffId, Hasher};
use snapshot::ApplyOptions;
use store::{LayerBlob, SnapshotStat, Store};

use crate::error::Failure;

/// Makes sure that every layer of the stack `layers` (bottom layer first) is unpacked.
///
/// What is there already is not touched; what is missing is unpacked from a blob of the store and
/// its DiffID compared with the one named.
pub fn unpack(store: &Store, layers: &[DiffId]) -> Result<(), Failure> {
    for at in missing(store, layers)? {
        let blobs = store.layer_blobs(&layers[at])?;
        let blob = blobs.first().ok_or_else(|| Failure::MissingLayer(layers[at].clone()))?;
        one(store, layers, at, blob)?;
    }
    Ok(())
}

/// Unpacks a stack from `blobs`, one for each layer, which are in the store but not yet known to be
/// these layers; records each that proves to be what it should.
pub fn unpack_blobs(store: &Store, layers: &[DiffId], blobs: &[LayerBlob]) -> Result<(), Failure> {
    let missing = missing(store, layers)?;
    for (at, (layer, blob)) in layers.iter().zip(blobs).enumerate() {
        if missing.contains(&at) {
            one(store, layers, at, blob)?;
        } else if store.layer_blobs(layer)?.is_empty() {
            verify(store, layer, blob)?;
        } else {
            continue;
        }
        store.add_layer_blob(layer, blob)?;
    }
    Ok(())
}

/// The positions of the layers that are not unpacked: the topmost snapshot that is there has all
/// those below it.
fn missing(store: &Store, layers: &[DiffId]) -> Result<std::ops::Range<usize>, Failure> {
    let chains = ChainId::prefixes(layers);
    let mut have = layers.len();
    while have > 0 && store.snapshot(&chains[have - 1])?.is_none() {
        have -= 1;
    }
    Ok(have..layers.len())
}

/// Unpacks the layer at position `at` of `layers` from `blob`.
fn one(store: &Store, layers: &[DiffId], at: usize, blob: &LayerBlob) -> Result<(), Failure> {
    let lowers = store.lowers(&layers[..at])?;
    let source = store.open_blob(&blob.digest)?;
    let pending = store.begin_snapshot()?;
    // Its tar came from elsewhere and cannot be made again byte for byte, as that of a layer made here can: the
    // digest of the tree is what later tells whether something in it changed.
    let applied =
        snapshot::apply(source, pending.fs(), &ApplyOptions { tree_digest: true, ..options(lowers) })?;
    check(&layers[at], blob, applied.stat.diff_id.clone())?;
    let row = SnapshotStat { tree_digest: applied.tree_digest, ..row(&applied.stat) };
    store.commit_snapshot(pending, ChainId::of(&layers[..at]).as_ref(), &row)?;
    Ok(())
}

/// Inflates `blob` to see that it is `layer`.
fn verify(store: &Store, layer: &DiffId, blob: &LayerBlob) -> Result<(), Failure> {
    let mut hasher = Hasher::new();
    let read = snapshot::compress::reader(store.open_blob(&blob.digest)?)
        .and_then(|(_, mut source)| std::io::copy(&mut source, &mut hasher));
    read.map_err(Failure::io("inflate blob", blob.digest.to_string()))?;
    check(layer, blob, DiffId(hasher.finish()))
}

fn check(wanted: &DiffId, blob: &LayerBlob, found: DiffId) -> Result<(), Failure> {
    match found == *wanted {
        true => Ok(()),
        false => Err(Failure::WrongLayer { blob: blob.digest.clone(), wanted: wanted.clone(), found }),
    }
}

/// How a layer is applied on `lowers` (topmost first) in this process.
pub(crate) fn options(lowers: Vec<PathBuf>) -> ApplyOptions<'static> {
    ApplyOptions {
        lowers: lowers.into(),
        ..ApplyOptions::new(runtime::mode().unwrap_or(runtime::Mode::Root))
    }
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
