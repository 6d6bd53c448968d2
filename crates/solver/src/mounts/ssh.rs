//! `type=ssh`: the socket of an SSH agent, made for one step. What is behind it is in [`crate::ssh`].

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use graph::MountKind;
use runtime::spec;

use super::Mounting;
use crate::error::Failure;

/// The mount of an agent's socket at `target`; `None` where none was given and none is required. `place` is a path on
/// the host for it.
pub(super) fn mount(
    mounting: &mut Mounting<'_>,
    kind: &MountKind,
    target: &str,
    place: &Path,
) -> Result<Option<spec::Mount>, Failure> {
    let MountKind::Ssh { id, required, mode, uid, gid } = kind else { return Ok(None) };
    let session = mounting.step.session;
    let Some(forward) = session.downloads.agents.forward(id, place, session.store)? else {
        return match required {
            true => Err(Failure::NoAgent(id.clone())),
            false => Ok(None),
        };
    };
    fs::set_permissions(place, fs::Permissions::from_mode(mode & 0o777))
        .map_err(Failure::io("chmod", place))?;
    // Where one id is mapped, everything is its own.
    if session.mode != runtime::Mode::SingleId {
        chown(place, Some(*uid), Some(*gid)).map_err(Failure::io("chown", place))?;
    }
    mounting.held.keep(forward);
    Ok(Some(spec::Mount::bind(place, target, false)))
}
