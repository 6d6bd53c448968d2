//! `type=ssh`: the socket of an SSH agent.

use std::path::Path;

use graph::MountKind;
use runtime::spec;

use super::Mounting;
use crate::error::Failure;

/// The mount of an agent's socket at `target`.
pub(super) fn mount(
    _mounting: &mut Mounting<'_>,
    _kind: &MountKind,
    _target: &str,
    _place: &Path,
) -> Result<Option<spec::Mount>, Failure> {
    Err(Failure::Unsupported(
        "RUN --mount=type=ssh is not supported yet: pass what it needs as a secret".into(),
    ))
}
