//! `save`: images as an archive on a stream.

use std::io::Write;

use oci::{ImageId, Reference};

use crate::archive;
use crate::{Engine, Result};

pub use crate::archive::Format;

/// Writes the images that `names` name to `out`, in `format`.
///
/// A name with a tag is written with that tag; a repository name alone with all its tags; an ID
/// without any name, as Docker does.
pub fn save(engine: &Engine, names: &[String], format: Format, out: &mut (dyn Write + Send)) -> Result<()> {
    let _lease = engine.store.lease()?;
    let mut items: Vec<archive::Item> = Vec::new();
    for name in names {
        for (id, references) in named(engine, name)? {
            match items.iter_mut().find(|item| item.image.id == id) {
                Some(item) => {
                    for reference in references {
                        if !item.references.contains(&reference) {
                            item.references.push(reference);
                        }
                    }
                }
                None => items.push(archive::Item { image: engine.image(&id)?, references }),
            }
        }
    }
    archive::write(&engine.store, &items, format, out)
}

fn named(engine: &Engine, name: &str) -> Result<Vec<(ImageId, Vec<Reference>)>> {
    if let Ok(reference) = Reference::parse(name)
        && reference.tag.is_none()
        && reference.digest.is_none()
    {
        let all: Vec<(ImageId, Vec<Reference>)> = engine
            .store
            .references()?
            .into_iter()
            .filter(|(known, _)| known.name() == reference.name())
            .map(|(known, id)| (id, vec![known]))
            .collect();
        if !all.is_empty() {
            return Ok(all);
        }
    }
    let id = engine.resolve(name)?;
    // What is not one of its names is its ID, or a digest.
    let known = engine.store.references_of(&id)?;
    let reference = Reference::parse(name).ok().filter(|reference| known.contains(reference));
    Ok(vec![(id, reference.into_iter().collect())])
}
