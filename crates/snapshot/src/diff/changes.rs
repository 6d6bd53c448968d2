//! What a layer directory changes, path by path, without reading any content.

use std::path::Path;

use super::walk::Walk;
use crate::error::Error;
use crate::owners::Owners;
use crate::path;

/// What a layer says of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It holds it: new, or instead of what is below.
    Holds,
    /// It is removed.
    Removes,
    /// The directory hides all that is below it.
    Hides,
}

/// All that the layer directory `layer` says, in the order of its tar. Paths are relative to the image's root.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn changes(layer: &Path) -> Result<Vec<(Vec<u8>, Said)>, Error> {
    let owners = Owners::default();
    let mut walk = Walk::new(layer, &owners)?;
    let mut changes = Vec::new();
    while let Some(found) = walk.next()? {
        let (directory, name) = path::split(&found.entry.path);
        changes.push(match name.strip_prefix(b".wh.") {
            Some(b".wh..opq") => (directory.to_vec(), Said::Hides),
            Some(removed) => (path::join(directory, removed), Said::Removes),
            None => (found.entry.path, Said::Holds),
        });
    }
    Ok(changes)
}
