//! Bind mounts of stages and images by the content of what they show: a stage that was rebuilt and has the same files at
//! the mounted path leaves a step as it was.
//!
//! A step is recorded under the ChainIDs of what it mounts, which costs nothing. Only where those are other ones than
//! before, and all else is the same, are the files of then and now compared: names and sizes first, which differ for
//! most, then contents.

use std::path::PathBuf;

use graph::{Exec, MountKind};
use oci::{ChainId, Digest};

use crate::copy;
use crate::error::Failure;
use crate::file::{Input, Prepared};
use crate::key::Key;
use crate::step::{Step, Tree};
use crate::unpack::unpack;

/// Records of the step that are looked at.
const NEAR: usize = 4;

/// The key of an earlier run of the step whose mounts showed the same files; all but their trees is as in `key`.
pub(crate) fn same(step: &Step<'_>, exec: &Exec, key: &Key) -> Result<Option<Digest>, Failure> {
    let store = step.session.store;
    let mounted: Vec<(u32, &str)> = exec
        .mounts
        .iter()
        .filter_map(|mount| match &mount.kind {
            MountKind::Bind { input, source, .. }
                if *input != 0 && matches!(step.inputs[*input as usize], Tree::Stack(_)) =>
            {
                Some((*input, source.as_str()))
            }
            _ => None,
        })
        .collect();
    if mounted.is_empty() || step.vertex.ignore_cache {
        return Ok(None);
    }
    'records: for record in store.cache_nearest(&step.identity, NEAR)? {
        let Some(differing) = Key::from_json(&record.parts).and_then(|known| key.other_trees(&known)) else {
            continue;
        };
        for (input, chain) in differing {
            let sources = mounted.iter().filter(|(number, _)| *number as usize == input);
            for (number, source) in sources {
                if !shows_the_same(step, *number, source, &chain)? {
                    continue 'records;
                }
            }
        }
        return Ok(Some(record.key));
    }
    Ok(None)
}

/// Whether `source` in the tree of input `number` is what it was in the tree `before`.
fn shows_the_same(step: &Step<'_>, number: u32, source: &str, before: &ChainId) -> Result<bool, Failure> {
    let store = step.session.store;
    let Tree::Stack(now) = &step.inputs[number as usize] else { return Ok(false) };
    if store.snapshot(before)?.is_none() {
        return Ok(false);
    }
    let op = copy::whole(number, source, true);
    let look = |lowers: Vec<PathBuf>| {
        let mut inputs: Vec<Input<'_>> = step.inputs.iter().map(|_| Input::Unused).collect();
        inputs[number as usize] = Input::Image { lowers, label: String::new() };
        Prepared::new(&op, inputs)
    };
    let Ok(mut before) = look(store.lowers(&store.layers_of(before)?)?) else { return Ok(false) };
    unpack(store, &now.layers)?;
    // What is not there is for the mount to say.
    let Ok(mut now) = look(store.lowers(&now.layers)?) else { return Ok(false) };
    if before.outline() != now.outline() {
        return Ok(false);
    }
    let (before, now) = (before.content()?, now.content()?);
    Ok(before.is_some_and(|before| now.is_some_and(|now| before.digest == now.digest)))
}
