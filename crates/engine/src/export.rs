//! `export`: a container's whole file system as a tar.

use std::io::Write;
use std::os::fd::AsRawFd;

use snapshot::DiffOptions;

use crate::container::Container;
use crate::{Engine, Result};

/// Writes the file system of the container that `name` names to `out`, as one plain tar without
/// whiteouts: the image's layers and what the container changed.
pub fn export(engine: &Engine, name: &str, out: &mut (dyn Write + Send)) -> Result<()> {
    let container = Container::find(engine, name)?;
    let mut all = vec![engine.store.container_dir(&container.record.id).join("fs")];
    if let Some(chain) = &container.record.chain_id {
        all.extend(engine.store.lowers(&engine.store.layers_of(chain)?)?);
    }
    let overlay = runtime::Overlay { lowers: &all, upper: None };
    let merged = runtime::mount_overlay(&overlay)?;
    let path = format!("/proc/self/fd/{}", merged.as_raw_fd());
    snapshot::diff(path.as_ref(), out, &DiffOptions::default())?;
    Ok(())
}
