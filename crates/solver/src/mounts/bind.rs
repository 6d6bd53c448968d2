//! `type=bind`: part of an image, a stage or a build context. What a step writes there, if it may, is dropped with it.

use std::fs;
use std::path::{Path, PathBuf};

use runtime::{Overlay, Source, Upper, spec};

use super::Mounting;
use crate::copy;
use crate::error::Failure;
use crate::step::{Step, Tree};

/// The mount of `source` of input number `input` at `target`. `place` is a path on the host for what is made for it.
pub(super) fn mount(
    mounting: &mut Mounting<'_>,
    input: u32,
    source: &str,
    writable: bool,
    target: &str,
    place: &Path,
) -> Result<spec::Mount, Failure> {
    mounting.sources.push(tree(mounting.step, input, source, target, place)?);
    // The source is the opened one.
    Ok(spec::Mount::bind("", target, !writable))
}

/// The part `source` of an input's tree, as the source of a bind mount. A context is bound as a copy of what is bound,
/// so that what `.dockerignore` leaves out stays out.
fn tree(step: &Step<'_>, input: u32, source: &str, target: &str, place: &Path) -> Result<Source, Failure> {
    let (lowers, path) = match &step.inputs[input as usize] {
        Tree::Stack(stack) => {
            step.session.unpack(&stack.layers)?;
            (step.session.store.lowers(&stack.layers)?, PathBuf::from(source))
        }
        Tree::Context(_) => {
            let dir = place.with_extension("context");
            fs::create_dir_all(&dir).map_err(Failure::io("create", &dir))?;
            copy::mount_copy(step, input, source, &dir)?;
            (vec![dir], PathBuf::from("/").join(source.trim_start_matches('/')))
        }
    };
    let upper = place.with_extension("upper");
    let work = place.with_extension("work");
    for dir in [&upper, &work] {
        fs::create_dir_all(dir).map_err(Failure::io("create", dir))?;
    }
    let overlay = Overlay { lowers: &lowers, upper: Some(Upper { fs: &upper, work: &work }) };
    let root = runtime::mount_overlay(&overlay)?;
    Ok(Source { destination: target.into(), root, path })
}
