//! Layers and a config become an image, which is nowhere yet.

use dockerfile::lower::Lowered;
use oci::{ChainId, DiffId, Document, ImageConfig, ImageId, annotation};
use store::{Base, Image, ImageMeta};

use crate::build::cache;
use crate::build::elsewhere::Elsewhere;
use crate::{Engine, Result};

/// The image of these layers, bottom layer first.
/// They may be anywhere. `inline`: what is known of the image's own steps is put into its config.
pub(crate) fn image(
    engine: &Engine,
    lowered: &Lowered,
    layers: Vec<DiffId>,
    elsewhere: &Elsewhere<'_>,
    inline: bool,
) -> Result<Image> {
    let mut config = lowered.config.clone();
    config.rootfs.diff_ids = layers;
    if lowered.source_date_epoch.is_none() {
        date(engine, elsewhere, &mut config)?;
    }
    // The image is as old as its last change, so that building it again from the cache gives the same image.
    let last = config.history.last().and_then(|entry| entry.created.clone());
    config.created = Some(last.unwrap_or_else(|| timestamp(lowered.source_date_epoch)));
    if inline {
        cache::put_inline(engine, &mut config, elsewhere)?;
    }
    let document = Document::of(config);
    let base = lowered.base.clone();
    let mut meta = ImageMeta::default();
    if let Some(base) = &base {
        meta.annotations.insert(annotation::BASE_NAME.to_owned(), base.name.to_string());
        if let Some(digest) = &base.digest {
            meta.annotations.insert(annotation::BASE_DIGEST.to_owned(), digest.to_string());
        }
        meta.base = Some(Base { name: base.name.to_string(), digest: base.digest.clone() });
    }
    Ok(Image { id: ImageId(document.digest.clone()), config: document, meta, added: 0, size: 0 })
}

/// Stands for the time of a history entry of this build until it is known.
pub(crate) const UNDATED: &str = "undated";

/// Dates the history of this build: an entry with a layer when the layer was made, one without as its
/// neighbour, as BuildKit's exporter does.
fn date(engine: &Engine, elsewhere: &Elsewhere<'_>, config: &mut ImageConfig) -> Result<()> {
    let chains = ChainId::prefixes(&config.rootfs.diff_ids);
    let mut layers = chains.into_iter().zip(config.rootfs.diff_ids.clone());
    for entry in &mut config.history {
        let layer = if entry.empty_layer { None } else { layers.next() };
        if entry.created.as_deref() == Some(UNDATED) {
            let Some((chain, diff_id)) = layer else {
                entry.created = None;
                continue;
            };
            let here = engine.store.snapshot(&chain)?.map(|made| made.created);
            entry.created = here.or_else(|| elsewhere.created(&chain, &diff_id)).map(rfc3339);
        }
    }
    // A first change of the config alone is as old as the first layer made here, not as one of the base.
    let mut at: Option<String> = None;
    let mut ours = false;
    for entry in &config.history {
        match &entry.created {
            Some(created) => {
                at = Some(created.clone());
                if ours {
                    break;
                }
            }
            None => ours = true,
        }
    }
    let now = timestamp(None);
    let mut at = at.unwrap_or(now);
    let mut ours = false;
    for entry in &mut config.history {
        match &entry.created {
            Some(created) if ours => at.clone_from(created),
            Some(_) => {}
            None => {
                ours = true;
                entry.created = Some(at.clone());
            }
        }
    }
    Ok(())
}

fn rfc3339(nanoseconds: i64) -> String {
    jiff::Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

/// The time of everything a build makes, RFC 3339: now, or `epoch` seconds after 1970.
pub(crate) fn timestamp(epoch: Option<i64>) -> String {
    let time = match epoch {
        Some(seconds) => jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH),
        None => jiff::Timestamp::now(),
    };
    time.to_string()
}
