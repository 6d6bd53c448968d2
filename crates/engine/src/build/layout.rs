//! Images of OCI layouts as named contexts (`oci-layout://`): read into the store, without a name.

use std::path::Path;

use dockerfile::lower::ResolvedImage;
use oci::{Digest, ImageId, Index, Manifest, Platform, Reference, media_type};

use crate::transfer::layout::Layout;
use crate::transfer::{Raw, Source as _};
use crate::{Engine, Error, Result, archive};

/// The image that `wanted` (a name or digest) is in the layout in `path` (on the host), for the context `name`.
pub(crate) fn load(
    engine: &Engine,
    name: &str,
    path: &Path,
    wanted: Option<&str>,
    platform: &Platform,
) -> Result<ResolvedImage> {
    let layout = Layout::open(path)?;
    let descriptor = layout.find(wanted)?;
    let digest = descriptor.digest.clone();
    let document = |digest: &oci::Descriptor| -> Result<Raw> {
        let found = layout.document(digest)?;
        found.ok_or_else(|| {
            Error::not_found(format!("the OCI layout {} lacks {}", path.display(), digest.digest))
        })
    };
    let mut raw = document(&descriptor)?;
    if media_type::is_index(&raw.media_type) {
        let index: Index = serde_json::from_slice(&raw.bytes).map_err(|e| malformed(path, &digest, &e))?;
        let chosen = index.select(platform).ok_or_else(|| {
            Error::not_found(format!(
                "{digest} in the OCI layout {} has no image for {platform}",
                path.display()
            ))
        })?;
        raw = document(chosen)?;
    }
    let manifest: Manifest = serde_json::from_slice(&raw.bytes).map_err(|e| malformed(path, &digest, &e))?;
    let id = ImageId(manifest.config.digest);
    if engine.store.image(&id)?.is_none() {
        // Of several entries of one name, each is read.
        let loaded = archive::read_layout(&engine.store, path, Some(digest.as_str()), platform)?;
        if !loaded.iter().any(|loaded| loaded.image == id) {
            return Err(Error::invalid(format!("{digest} in the OCI layout {} is no image", path.display())));
        }
    }
    let image = engine.image(&id)?;
    let bare = name.split("::").next().unwrap_or(name);
    let reference = Reference::parse(bare).map_err(|error| Error::invalid(error.to_string()))?;
    Ok(ResolvedImage { image_id: id, config: image.config.value, digest: Some(digest), reference })
}

fn malformed(path: &Path, digest: &Digest, error: &serde_json::Error) -> Error {
    Error::invalid(format!("{digest} in the OCI layout {}: {error}", path.display()))
}
