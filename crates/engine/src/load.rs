//! `load`: images from an archive on a stream.

use std::io::Read;

use oci::{ImageId, Platform, Reference};

use crate::archive;
use crate::{Engine, Error, Result};

/// One image of an archive, now in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedImage {
    /// The image.
    pub image: ImageId,
    /// The names it got.
    pub references: Vec<Reference>,
}

/// Loads every image of the archive `source`, Docker's or an OCI layout, plain or compressed. Names
/// that other images had move to these.
pub fn load(engine: &Engine, source: impl Read + Send) -> Result<Vec<LoadedImage>> {
    let _lease = engine.store.lease()?;
    let loaded = archive::read(&engine.store, source, &Platform::host())?;
    if loaded.is_empty() {
        return Err(Error::invalid("the archive holds no image"));
    }
    let mut result = Vec::new();
    for item in loaded {
        for reference in &item.references {
            engine.store.set_reference(reference, &item.image)?;
        }
        result.push(LoadedImage { image: item.image, references: item.references });
    }
    Ok(result)
}
