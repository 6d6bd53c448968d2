//! `export`: a container's whole file system as a tar.

use std::io::Write;
use std::os::fd::AsRawFd;

use snapshot::DiffOptions;

use crate::container::Container;
use crate::{Engine, Result};

/// Writes the file system of the container that `name` names to `out`, as one plain tar without
/// whiteouts: the image's layers and what the container changed, but not what is mounted in it.
pub fn export(engine: &Engine, name: &str, out: &mut (dyn Write + Send)) -> Result<()> {
    let container = Container::find(engine, name)?;
    let view = snapshot::View::open(&container.layers(engine)?)?;
    let options = DiffOptions { owners: Some(view.owners()?) };
    let path = format!("/proc/self/fd/{}", view.root().as_raw_fd());
    snapshot::diff(path.as_ref(), out, &options)?;
    Ok(())
}
