//! How each layer of an image is to leave: as it came, as it left before, or for the first time.

use oci::{Descriptor, DiffId, Manifest, media_type};
use snapshot::compress::{Compression, Method};
use store::Store;

use super::{ManifestFormat, PushOptions};
use crate::Result;

/// How a layer leaves.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Way {
    /// As what is known: its bytes are here, or can be made again.
    Known(Box<Descriptor>),
    /// Compressed now, for the first time in this way.
    Make { diff_id: DiffId, method: Method },
}

/// The ways of all layers. `before` is the manifest that the image came with or last left by.
pub(crate) fn ways(
    store: &Store,
    layers: &[DiffId],
    before: Option<&Manifest>,
    options: &PushOptions,
) -> Result<Vec<Way>> {
    let before = before.filter(|manifest| manifest.layers.len() == layers.len());
    layers
        .iter()
        .enumerate()
        .map(|(at, diff_id)| way(store, diff_id, before.map(|manifest| &manifest.layers[at]), options))
        .collect()
}

/// The way of one layer, which `before` was the last time.
pub(crate) fn way(
    store: &Store,
    diff_id: &DiffId,
    before: Option<&Descriptor>,
    options: &PushOptions,
) -> Result<Way> {
    if let (None, Some(before)) = (options.method, before)
        && (store.has_blob(&before.digest)? || store.compressed_to(&before.digest)?.is_some())
    {
        return Ok(Way::Known(Box::new(before.clone())));
    }
    let method = options.method.unwrap_or(Method::GZIP);
    let held = store.layer_blobs(diff_id)?.into_iter().find(|blob| match compression(&blob.media_type) {
        held if held == method.compression() => true,
        // What came plain, because an archive was so, is not sent so unless that is asked for.
        held => !options.force && held != Compression::None,
    });
    if let Some(blob) = held {
        let descriptor = Descriptor::new(&blob.media_type, blob.digest, blob.size);
        return Ok(Way::Known(Box::new(descriptor)));
    }
    if method == Method::Uncompressed
        && let Some(chain) = store.snapshot_of_layer(diff_id)?
        && let Some(snapshot) = store.snapshot(&chain)?
    {
        // Its digest is known without reading it.
        let descriptor = Descriptor::new(media_type::OCI_LAYER, diff_id.0.clone(), snapshot.tar_size);
        return Ok(Way::Known(Box::new(descriptor)));
    }
    if let Some(known) = store.compressed(diff_id, &method.to_string())? {
        let descriptor = Descriptor::new(oci_layer(method.compression()), known.digest, known.size);
        return Ok(Way::Known(Box::new(descriptor)));
    }
    Ok(Way::Make { diff_id: diff_id.clone(), method })
}

/// By its media type.
fn compression(media_type: &str) -> Compression {
    match media_type {
        text if text.ends_with("gzip") => Compression::Gzip,
        text if text.ends_with("zstd") => Compression::Zstd,
        _ => Compression::None,
    }
}

/// OCI's media type of a layer.
pub(crate) fn oci_layer(compression: Compression) -> &'static str {
    match compression {
        Compression::Gzip => media_type::OCI_LAYER_GZIP,
        Compression::Zstd => media_type::OCI_LAYER_ZSTD,
        _ => media_type::OCI_LAYER,
    }
}

/// A layer's media type in the manner of `format`; foreign ones stay what they are.
pub(crate) fn media_type(held: &str, format: ManifestFormat) -> String {
    if media_type::is_foreign_layer(held) || !media_type::is_layer(held) {
        return held.to_owned();
    }
    let media_type = match (format, compression(held)) {
        (ManifestFormat::Oci, compression) => oci_layer(compression),
        (ManifestFormat::Docker, Compression::Gzip) => media_type::DOCKER_LAYER_GZIP,
        (ManifestFormat::Docker, Compression::Zstd) => media_type::DOCKER_LAYER_ZSTD,
        (ManifestFormat::Docker, _) => media_type::DOCKER_LAYER,
    };
    media_type.to_owned()
}
