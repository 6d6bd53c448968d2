//! The files of the image: copied into a directory, or as a tar.
//!
//! A directory keeps what it has; a file takes the place of a file of its name, and never that of a directory. Links are
//! copied and not followed, so that nothing is written outside. As with BuildKit the copies belong to who builds, and
//! have modes, links, times and attributes of the image; devices are left out where they cannot be made. A tar has the
//! owners, too. With an epoch, all files have that time.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use oci::Platform;
use snapshot::{Mtime, View};

use super::{Destination, Exported, Made, Writing};
use crate::build::observe::internal;
use crate::cp::tree::{self, Owners};
use crate::{Error, Result, whole_file};

impl Writing<'_> {
    pub(super) fn files(&self, to: &Path, split: bool) -> Result<Exported> {
        let failed = |error: std::io::Error| {
            let error = Error::io(format!("copy to {}", to.display()), &error);
            match error.message.contains("in the way") {
                true => error.hint("nothing is removed from the directory: build into an empty one"),
                false => error,
            }
        };
        internal(self.steps, "exporting to client directory", |say| {
            fs::create_dir_all(to).map_err(failed)?;
            let top = File::open(to).map_err(failed)?;
            for made in self.made {
                if split {
                    let own = tree::directory(top.as_fd(), OsStr::new(&directory_of(&made.platform)));
                    self.copy(made, own.map_err(failed)?.as_fd()).map_err(|e| self.told(e, to))?;
                } else {
                    self.copy(made, top.as_fd()).map_err(|e| self.told(e, to))?;
                }
                say(&format!("copying files {} done", made.platform));
            }
            Ok(Exported { names: Vec::new(), manifest: None })
        })
    }

    fn told(&self, error: Error, to: &Path) -> Error {
        let error = error.context(format!("copy to {}", to.display()));
        match error.message.contains("in the way") {
            true => error.hint("nothing is removed from the directory: build into an empty one"),
            false => error,
        }
    }

    fn copy(&self, made: &Made, to: BorrowedFd<'_>) -> Result<()> {
        let Some(view) = self.view(made)? else { return Ok(()) };
        tree::children_dated(view.root(), to, Owners::Root, self.epoch)
            .map_err(|e| Error::io("copy files", &e))
    }

    pub(super) fn tar(
        &self,
        to: &Destination,
        split: bool,
        stream: &mut (dyn Write + Send),
    ) -> Result<Exported> {
        internal(self.steps, "exporting to client tarball", |say| {
            let views = self.made.iter().map(|made| self.view(made)).collect::<Result<Vec<_>>>()?;
            let mut roots = Vec::with_capacity(views.len());
            for (made, view) in self.made.iter().zip(&views) {
                let prefix = if split { directory_of(&made.platform).into_bytes() } else { Vec::new() };
                if let Some(view) = view {
                    let path = format!("/proc/self/fd/{}", view.root().as_raw_fd()).into();
                    roots.push(snapshot::Root { path, owners: view.owners()?, prefix });
                }
            }
            let mtime = self.epoch.map(|sec| Mtime { sec, nsec: 0 });
            whole_file::write(to, stream, |out| Ok(snapshot::archive(&roots, mtime, out)?))?;
            say("sending tarball done");
            Ok(Exported { names: Vec::new(), manifest: None })
        })
    }

    /// The whole file system of an image; `None` for one without layers.
    fn view(&self, made: &Made) -> Result<Option<View>> {
        let layers = made.image.layers();
        if layers.is_empty() {
            return Ok(None);
        }
        solver::unpack(&self.engine.store, layers)?;
        Ok(Some(View::open(&self.engine.store.lowers(layers)?)?))
    }
}

/// `linux_arm_v7`.
fn directory_of(platform: &Platform) -> String {
    platform.to_string().replace('/', "_")
}
