//! `type=secret`: a secret's bytes as a file or a variable of one step. They are in no layer: the file lies in the
//! session's scratch directory, which goes with it.

use std::os::unix::fs::chown;
use std::path::Path;

use graph::MountKind;
use runtime::spec;

use super::Mounting;
use crate::error::Failure;
use crate::exec::bind_file;

/// The mount of a secret at `target`; `None` where the step gets no file. `place` is a path on the host for it.
pub(super) fn mount(
    mounting: &mut Mounting<'_>,
    kind: &MountKind,
    target: &str,
    place: &Path,
) -> Result<Option<spec::Mount>, Failure> {
    let MountKind::Secret { id, required, mode, uid, gid, env, file } = kind else { return Ok(None) };
    let Some(bytes) = mounting.step.session.secrets.secret(id) else {
        return match required {
            true => Err(Failure::Secret(id.clone())),
            false => Ok(None),
        };
    };
    if let Some(name) = env {
        mounting.spec.process.env.push(format!("{name}={}", String::from_utf8_lossy(&bytes)));
    }
    if !file {
        return Ok(None);
    }
    let made = bind_file(place, &bytes, *mode, target)?;
    // Where one id is mapped, everything is its own.
    if mounting.step.session.mode != runtime::Mode::SingleId {
        chown(place, Some(*uid), Some(*gid)).map_err(Failure::io("chown", place))?;
    }
    Ok(Some(made))
}
