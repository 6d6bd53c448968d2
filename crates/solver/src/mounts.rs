//! `RUN --mount`: what a step sees besides its tree, and what of it belongs in the step's key.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use graph::{Exec, Mount, MountKind};
use runtime::spec::{self, Spec};
use runtime::{Overlay, Source, Upper};

use crate::copy;
use crate::error::Failure;
use crate::exec::bind_file;
use crate::key::Key;
use crate::step::{Step, Tree};
use crate::unpack;

/// Adds what the step's mounts read to its key: bound trees by ChainID, bound contexts by content.
/// Cache mounts, secrets and agents are no part of a result's identity.
pub(crate) fn add_inputs(step: &Step<'_>, exec: &Exec, key: &mut Key) -> Result<(), Failure> {
    for mount in &exec.mounts {
        let MountKind::Bind { input, source, .. } = &mount.kind else { continue };
        match &step.inputs[*input as usize] {
            Tree::Stack(stack) => key.tree(*input as usize, stack.chain.as_ref()),
            Tree::Context(_) => {
                key.part(
                    &format!("mount {}", mount.target),
                    copy::mount_digest(step, *input, source)?.to_string(),
                );
            }
        }
    }
    Ok(())
}

/// Adds the step's mounts to its container. `files` is a directory on the host for this step.
pub(crate) fn add(
    step: &Step<'_>,
    exec: &Exec,
    spec: &mut Spec,
    sources: &mut Vec<Source>,
    files: &Path,
) -> Result<(), Failure> {
    for (number, mount) in exec.mounts.iter().enumerate() {
        let place = files.join(format!("mount{number}"));
        if let Some(made) = one(step, mount, spec, sources, &place)? {
            spec.mounts.push(made);
        }
    }
    Ok(())
}

fn one(
    step: &Step<'_>,
    mount: &Mount,
    spec: &mut Spec,
    sources: &mut Vec<Source>,
    place: &Path,
) -> Result<Option<spec::Mount>, Failure> {
    match &mount.kind {
        MountKind::Bind { input, source, writable } => {
            sources.push(bound_tree(step, *input, source, &mount.target, place)?);
            // The source is the opened one.
            Ok(Some(spec::Mount::bind("", &mount.target, !writable)))
        }
        MountKind::Tmpfs { size } => {
            let mut made =
                spec::Mount::new(&mount.target, "tmpfs", "tmpfs", &["nosuid", "nodev", "mode=1777"]);
            made.options.extend(size.map(|bytes| format!("size={bytes}")));
            Ok(Some(made))
        }
        MountKind::Cache { id, read_only, mode, uid, gid, .. } => {
            let dir = step.session.secrets.cache_dir(id);
            if !dir.exists() {
                fs::create_dir_all(&dir).map_err(Failure::io("create", &dir))?;
                fs::set_permissions(&dir, fs::Permissions::from_mode(*mode))
                    .map_err(Failure::io("chmod", &dir))?;
                chown(&dir, Some(*uid), Some(*gid)).map_err(Failure::io("chown", &dir))?;
            }
            Ok(Some(spec::Mount::bind(dir, &mount.target, *read_only)))
        }
        MountKind::Secret { id, required, mode, uid, gid, env, file } => {
            let Some(bytes) = step.session.secrets.secret(id) else {
                return match required {
                    true => Err(Failure::Secret(id.clone())),
                    false => Ok(None),
                };
            };
            if let Some(name) = env {
                spec.process.env.push(format!("{name}={}", String::from_utf8_lossy(&bytes)));
            }
            if !file {
                return Ok(None);
            }
            let made = bind_file(place, &bytes, *mode, &mount.target)?;
            chown(place, Some(*uid), Some(*gid)).map_err(Failure::io("chown", place))?;
            Ok(Some(made))
        }
        MountKind::Ssh { .. } => Err(Failure::Unsupported(
            "RUN --mount=type=ssh is not supported yet: pass what it needs as a secret".into(),
        )),
    }
}

/// The part `source` of an input's tree, as the source of a bind mount. What is written there, if it
/// may be, is dropped with the step. A context is bound as a copy of what is bound, so that what
/// `.dockerignore` leaves out stays out.
fn bound_tree(
    step: &Step<'_>,
    input: u32,
    source: &str,
    target: &str,
    place: &Path,
) -> Result<Source, Failure> {
    let (lowers, path) = match &step.inputs[input as usize] {
        Tree::Stack(stack) => {
            unpack(step.session.store, &stack.layers)?;
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
