//! `RUN --mount`: what a step sees besides its tree, and what of it belongs in the step's key. A kind of mount, a file.
//!
//! Cache mounts, secrets and agents are no part of a result's identity.

mod bind;
mod cache;
mod secret;
mod ssh;
mod tmpfs;

use std::any::Any;
use std::path::Path;

use graph::{Exec, MountKind};
use runtime::Source;
use runtime::spec::{self, Spec};

use crate::copy;
use crate::error::Failure;
use crate::explain::Contents;
use crate::key::Key;
use crate::step::{Step, Tree};

/// A container that gets its mounts.
pub(crate) struct Mounting<'a> {
    /// The step that they are for.
    pub step: &'a Step<'a>,
    /// What the container is to be: mounts and variables are added.
    pub spec: &'a mut Spec,
    /// Sources of bind mounts that are open already.
    pub sources: &'a mut Vec<Source>,
    /// What has to last as long as the container: locks, agents' sockets.
    pub held: &'a mut Held,
}

/// What has to last as long as a step's container; dropped with it.
#[derive(Default)]
pub struct Held(Vec<Box<dyn Any + Send>>);

impl Held {
    /// Keeps `thing` until the container is gone.
    pub(crate) fn keep(&mut self, thing: impl Any + Send) {
        self.0.push(Box::new(thing));
    }

    /// What of this type is kept.
    pub(crate) fn find<T: Any>(&self, wanted: impl Fn(&T) -> bool) -> Option<&T> {
        self.0.iter().filter_map(|kept| kept.downcast_ref()).find(|thing| wanted(thing))
    }
}

/// Adds what the step's mounts read to its key: bound trees by ChainID, bound contexts by content. Gives those
/// contents, by target.
pub(crate) fn add_inputs(step: &Step<'_>, exec: &Exec, key: &mut Key) -> Result<Contents, Failure> {
    let mut contents = Contents::new();
    for mount in &exec.mounts {
        let MountKind::Bind { input, source, .. } = &mount.kind else { continue };
        match &step.inputs[*input as usize] {
            Tree::Stack(stack) => key.tree(*input as usize, stack.chain.as_ref()),
            Tree::Context(_) => {
                let content = copy::mount_content(step, *input, source)?;
                key.part(&format!("mount {}", mount.target), content.digest.to_string());
                contents.push((mount.target.clone(), content));
            }
        }
    }
    Ok(contents)
}

/// Adds the step's mounts to its container. `files` is a directory on the host for this step.
pub(crate) fn add(mounting: &mut Mounting<'_>, exec: &Exec, files: &Path) -> Result<(), Failure> {
    cache::take_all(mounting, exec)?;
    for (number, mount) in exec.mounts.iter().enumerate() {
        let place = files.join(format!("mount{number}"));
        let target = mount.target.as_str();
        let made: Option<spec::Mount> = match &mount.kind {
            MountKind::Bind { input, source, writable } => {
                Some(bind::mount(mounting, *input, source, *writable, target, &place)?)
            }
            MountKind::Cache(cache) => Some(cache::mount(mounting, cache, target)?),
            MountKind::Tmpfs { size } => Some(tmpfs::mount(*size, target)),
            MountKind::Secret { .. } => secret::mount(mounting, &mount.kind, target, &place)?,
            MountKind::Ssh { .. } => ssh::mount(mounting, &mount.kind, target, &place)?,
        };
        mounting.spec.mounts.extend(made);
    }
    Ok(())
}
