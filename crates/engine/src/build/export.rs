//! Layers and a config become an image with names.

use dockerfile::lower::Lowered;
use oci::{DiffId, Digest, Document, ImageId, annotation};
use store::{Base, ImageMeta};

use crate::build::request::BuildRequest;
use crate::{Engine, Result};

/// Writes the config, records the image, sets its references: the last of these is the moment the
/// image becomes visible by name.
pub(crate) fn export(
    engine: &Engine,
    request: &BuildRequest,
    lowered: &Lowered,
    layers: Vec<DiffId>,
    say: &dyn Fn(&str),
) -> Result<(ImageId, Option<(String, Option<Digest>)>)> {
    let mut config = lowered.config.clone();
    config.rootfs.diff_ids = layers;
    config.created = Some(timestamp(lowered.source_date_epoch));
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
    let image = engine.store.put_image(&document.bytes, &meta)?;
    say(&format!("writing image {image} done"));
    for reference in &request.tags {
        engine.store.set_reference(reference, &image)?;
        say(&format!("naming to {reference} done"));
    }
    Ok((image, base.map(|b| (b.name.to_string(), b.digest))))
}

/// The time of everything a build makes, RFC 3339: now, or `epoch` seconds after 1970.
pub(crate) fn timestamp(epoch: Option<i64>) -> String {
    let time = match epoch {
        Some(seconds) => jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH),
        None => jiff::Timestamp::now(),
    };
    time.to_string()
}
