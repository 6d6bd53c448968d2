//! `system check`: whether every blob, snapshot and name in the store is what it says, and repair of what is not.
//!
//! Also what every verb that changes something does first: clear what dead processes left.

use std::path::Path;

use oci::{DiffId, Digest};
use snapshot::{Depth, DiffOptions};
use store::{CheckReport, HookError, Hooks, Snapshot, SweepReport};

use crate::{Engine, Result};

/// How the store has the content of a layer directory verified.
const HOOKS: Hooks<'static> = Hooks { diff_id: Some(&diff_id), tree_digest: Some(&tree_digest) };

/// Checks everything. With `repair`, drops what is broken and all that depends on it. Reads layers' files, so it has
/// to run where their owners are mapped.
pub fn check(engine: &Engine, repair: bool) -> Result<CheckReport> {
    Ok(engine.store.check(repair, &HOOKS)?)
}

/// Clears what processes left that died, and verifies what an earlier boot left unsynced. Cheap where there is
/// nothing to do.
pub fn sweep(engine: &Engine) -> Result<SweepReport> {
    Ok(engine.store.sweep(&HOOKS)?)
}

/// A layer made here: its tar is a function of the directory.
fn diff_id(layer: &Path, _snapshot: &Snapshot) -> Result<DiffId, HookError> {
    Ok(snapshot::diff(layer, std::io::sink(), &DiffOptions::default())?.diff_id)
}

/// A layer that came as a tar. The digest may have been made without reading files: the cheap one is tried first.
fn tree_digest(layer: &Path, recorded: &Snapshot) -> Result<Digest, HookError> {
    let by_metadata = snapshot::tree_digest(layer, Depth::Metadata)?;
    if recorded.tree_digest.as_ref() == Some(&by_metadata) {
        return Ok(by_metadata);
    }
    Ok(snapshot::tree_digest(layer, Depth::Content)?)
}
