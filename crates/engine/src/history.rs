//! `history`: the steps an image was made by, newest first, and which of them are its base's.

use oci::{ChainId, DiffId, ImageId, Reference};
use store::{Base, Image};

use crate::images::nanoseconds;
use crate::{Engine, Result};

/// The history of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// Which image.
    pub id: ImageId,
    /// Newest first.
    pub steps: Vec<HistoryStep>,
    /// The image it was built on, where known.
    pub base: Option<Base>,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryStep {
    /// The image that ends with this step; only known for the newest.
    pub image: Option<ImageId>,
    /// When, in seconds since the Unix epoch, where known.
    pub created: Option<i64>,
    /// The instruction, as its builder worded it.
    pub created_by: String,
    /// Bytes of the regular files of the step's layer; 0 for a step without one.
    pub size: u64,
    /// The step's remark.
    pub comment: String,
    /// The layer that the step made.
    pub layer: Option<DiffId>,
    /// For steps that came with the base image, where that is in the store too: its name, in familiar form.
    pub base: Option<String>,
}

/// The history of the image that `text` names.
pub fn history(engine: &Engine, text: &str) -> Result<History> {
    let id = engine.store.resolve(text)?;
    let image = engine.store.image(&id)?.ok_or(store::Error::MissingImage(id.clone()))?;
    let config = &image.config.value;
    let inherited = base_steps(engine, &image)?;
    let chain = ChainId::prefixes(image.layers());
    let mut layers = image.layers().iter().zip(&chain);
    let mut steps = Vec::with_capacity(config.history.len());
    for (index, entry) in config.history.iter().enumerate() {
        let layer = if entry.empty_layer { None } else { layers.next() };
        steps.push(HistoryStep {
            image: None,
            created: entry.created.as_deref().and_then(nanoseconds).map(|n| n.div_euclid(1_000_000_000)),
            created_by: entry.created_by.clone(),
            size: layer.map_or(Ok(0), |(diff_id, chain_id)| layer_size(engine, diff_id, chain_id))?,
            comment: entry.comment.clone(),
            layer: layer.map(|(diff_id, _)| diff_id.clone()),
            base: inherited.as_ref().filter(|(count, _)| index < *count).map(|(_, name)| name.clone()),
        });
    }
    // Layers that the config has no history for: shown all the same, since they take space.
    for (diff_id, chain_id) in layers {
        steps.push(HistoryStep {
            image: None,
            created: None,
            created_by: String::new(),
            size: layer_size(engine, diff_id, chain_id)?,
            comment: String::new(),
            layer: Some(diff_id.clone()),
            base: None,
        });
    }
    steps.reverse();
    if let Some(newest) = steps.first_mut() {
        newest.image = Some(id.clone());
    }
    Ok(History { id, steps, base: image.meta.base })
}

/// Bytes of the layer's regular files; for a layer that is not unpacked, the smallest blob that holds it.
fn layer_size(engine: &Engine, diff_id: &DiffId, chain_id: &ChainId) -> Result<u64> {
    if let Some(snapshot) = engine.store.snapshot(chain_id)? {
        return Ok(snapshot.usage);
    }
    Ok(engine.store.layer_blobs(diff_id)?.first().map_or(0, |blob| blob.size))
}

/// How many of the oldest steps came with the base image, and its name: where the base is known, is here, and the
/// image indeed begins with it.
fn base_steps(engine: &Engine, image: &Image) -> Result<Option<(usize, String)>> {
    let Some(base) = &image.meta.base else { return Ok(None) };
    let Some(found) = find_base(engine, base)? else { return Ok(None) };
    let steps = found.config.value.history.len();
    let begins = steps > 0
        && image.layers().starts_with(found.layers())
        && image.config.value.history.starts_with(&found.config.value.history);
    Ok(begins.then(|| (steps, familiar(base))))
}

fn find_base(engine: &Engine, base: &Base) -> Result<Option<Image>> {
    let Ok(reference) = Reference::parse(&base.name) else { return Ok(None) };
    let by_digest = match &base.digest {
        Some(digest) => {
            engine.store.reference(&Reference { digest: Some(digest.clone()), ..reference.clone() })?
        }
        None => None,
    };
    let id = match by_digest {
        Some(id) => Some(id),
        None => engine.store.reference(&reference.with_default_tag())?,
    };
    match id {
        Some(id) => Ok(engine.store.image(&id)?),
        None => Ok(None),
    }
}

fn familiar(base: &Base) -> String {
    Reference::parse(&base.name).map_or_else(|_| base.name.clone(), |reference| reference.familiar())
}
