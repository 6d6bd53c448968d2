//! A container's own volumes (`VOLUME` in its image, `-v PATH`): directories beside its writable layer, made when it
//! is first started. Each begins as a copy of what the image has at that path, as Docker has it.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use runtime::beneath;
use rustix::fs::{Mode, OFlags};

use super::Container;
use super::state::MountKind;
use crate::cp::tree::{self, Owners};
use crate::{Error, Result};

/// The directory of the volume that is mount number `number` of the container in `dir` (both on the host).
pub(crate) fn path(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("volume{number}"))
}

/// Makes the volumes that are not there yet, from the container's file system of `layers` (topmost first).
pub(crate) fn make(container: &Container, dir: &Path, layers: &[PathBuf]) -> Result<()> {
    let mut view = None;
    for (number, mount) in container.state.run.mounts.iter().enumerate() {
        let path = path(dir, number);
        if mount.kind != MountKind::Anonymous || path.exists() {
            continue;
        }
        let view = match &view {
            Some(view) => view,
            None => view.insert(snapshot::View::open(layers)?),
        };
        // Under another name until it is whole: a kill must not leave half a copy.
        let part = path.with_extension("part");
        let failed = |e: &io::Error| Error::io(format!("make the volume {}", mount.target), e);
        match fs::remove_dir_all(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&error)),
            _ => {}
        }
        fs::create_dir(&part).map_err(|e| failed(&e))?;
        fill(view, &mount.target, &part).map_err(|e| failed(&e))?;
        fs::rename(&part, &path).map_err(|e| failed(&e))?;
    }
    Ok(())
}

fn fill(view: &snapshot::View, target: &str, to: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let source = match beneath::open_in_root(view.root(), target, flags, Mode::empty()) {
        Ok(source) => source,
        // Nothing is there, or a file: an empty directory, then.
        Err(_) => return tree::plain_directory(to),
    };
    let to = rustix::fs::open(to, flags | OFlags::CLOEXEC, Mode::empty())?;
    tree::children(source.as_fd(), to.as_fd(), Owners::Keep)?;
    tree::directory_like(to.as_fd(), source.as_fd())
}
