//! `COPY --link`: layers made on nothing, put on top of another stack.
//!
//! A layer's DiffID is that of its content, whatever is below it, so the layer keeps it; only the
//! snapshot, which is known by the ChainID of the whole stack, is made anew.

use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use oci::{ChainId, DiffId};
use snapshot::{DiffOptions, LayerStat};

use crate::error::Failure;
use crate::session::Session;
use crate::step::Stack;
use crate::unpack::{missing, options, row};
use snapshot::ApplyOptions;

/// Puts `layer`, the one layer of `from`, on `base`.
pub(crate) fn restack(
    session: &Session<'_>,
    base: &Stack,
    from: &Stack,
    layer: &DiffId,
) -> Result<Stack, Failure> {
    let stack = base.with(layer.clone());
    let chain = ChainId::extend(base.chain.as_ref(), layer);
    if session.store.snapshot(&chain)?.is_some() {
        return Ok(stack);
    }
    let at = from.layers.iter().position(|l| l == layer).expect("because the layer is one of the stack's");
    let Some(made) = ChainId::of(&from.layers[..=at]) else {
        return Ok(stack);
    };
    // Where one of the two is not here the layer waits until a step needs the stack.
    if session.store.snapshot(&made)?.is_none() || !missing(session.store, &base.layers)?.is_empty() {
        return Ok(stack);
    }
    let source = session.store.snapshot_dir(&made);
    let pending = session.store.begin_snapshot()?;
    let stat = clone_layer(&source, pending.fs(), session.store.lowers(&base.layers)?)?;
    let restacked = session.store.commit_snapshot(pending, base.chain.as_ref(), &row(&stat))?;
    // The layer is as old as it was before: so it is on every machine.
    if let Some(made) = session.store.snapshot(&made)? {
        session.store.date_snapshot(&restacked, made.created)?;
    }
    Ok(stack)
}

/// Copies the layer directory `source` to the empty one `dest`, on `lowers` (topmost first). All paths are
/// on the host.
pub fn clone_layer(source: &Path, dest: &Path, lowers: Vec<PathBuf>) -> Result<LayerStat, Failure> {
    let (reader, mut writer) = io::pipe().map_err(Failure::io("open", "a pipe between two layers"))?;
    thread::scope(|scope| {
        let diff = scope.spawn(move || snapshot::diff(source, &mut writer, &DiffOptions::default()));
        let applied = snapshot::apply(reader, dest, &ApplyOptions { lowers: lowers.into(), ..options() });
        match diff.join() {
            Ok(Ok(_)) => Ok(applied?.stat),
            // One end's error is the other end's broken pipe, or end of the stream: that is not what happened.
            Ok(Err(snapshot::Error::Io { source, .. })) if source.kind() == io::ErrorKind::BrokenPipe => {
                Ok(applied?.stat)
            }
            Ok(Err(error)) => Err(error.into()),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
