//! `load`: images from an archive on a stream.

use oci::{ImageId, Platform, Reference};
use store::PruneOptions;

use crate::archive;
pub use crate::archive::Source;
use crate::{Engine, Error, Result};

/// One image of an archive, now in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedImage {
    /// The image.
    pub image: ImageId,
    /// The names it got.
    pub references: Vec<Reference>,
    /// Which of the names another image had until now.
    pub replaced: Vec<(Reference, ImageId)>,
}

/// Loads every image of the archive `source`, Docker's or an OCI layout, plain or compressed. Names that other images
/// had move to these. If anything in it is wrong, nothing gets a name and nothing stays.
pub fn load(engine: &Engine, source: Source) -> Result<Vec<LoadedImage>> {
    let loaded = load_leased(engine, source);
    // What was read and belongs to no image: of a bad archive all of it, of a good one what is not needed. Whether
    // that can be dropped now does not change what the archive was.
    let swept = engine.store.prune(&PruneOptions::default());
    let loaded = loaded?;
    swept?;
    Ok(loaded)
}

fn load_leased(engine: &Engine, source: Source) -> Result<Vec<LoadedImage>> {
    let _lease = engine.store.lease()?;
    let loaded = archive::read(&engine.store, source, &Platform::host())?;
    if loaded.is_empty() {
        return Err(Error::invalid("the archive holds no image"));
    }
    let mut result = Vec::new();
    for item in loaded {
        let mut replaced = Vec::new();
        for reference in &item.references {
            let before = engine.store.set_reference(reference, &item.image)?;
            replaced.extend(before.filter(|id| *id != item.image).map(|id| (reference.clone(), id)));
        }
        result.push(LoadedImage { image: item.image, references: item.references, replaced });
    }
    Ok(result)
}
