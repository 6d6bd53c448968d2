//! What is remembered of a push, so that the next one of the same has nothing to do.

use oci::{ImageId, Reference};
use store::{ImageMeta, RepoDigest};

use super::Destination;
use crate::transfer::Raw;
use crate::{Engine, Result};

/// The image left as this manifest, under that name.
pub(super) fn sent(
    engine: &Engine,
    local: &Reference,
    remote: &Reference,
    id: &ImageId,
    manifest: &Raw,
) -> Result<()> {
    let store = &engine.store;
    let image = engine.image(id)?;
    if image.meta.manifest.as_ref() != Some(&manifest.digest) {
        store.put_blob(&manifest.bytes)?;
        let meta = ImageMeta { manifest: Some(manifest.digest.clone()), ..ImageMeta::default() };
        store.put_image(&image.config.bytes, &meta)?;
    }
    knows(engine, &remote.name(), id, manifest)?;
    stands_for(engine, local, manifest)
}

/// The name stands for this index; `image` is the one that the tag runs.
pub(super) fn sent_index(
    engine: &Engine,
    local: &Reference,
    target: &Destination,
    image: Option<&ImageId>,
    index: &Raw,
) -> Result<()> {
    if let Some(image) = image {
        knows(engine, &target.name, image, index)?;
    }
    stands_for(engine, local, index)
}

fn knows(engine: &Engine, name: &str, id: &ImageId, raw: &Raw) -> Result<()> {
    let known = RepoDigest { name: name.to_owned(), digest: raw.digest.clone() };
    if !engine.store.repo_digests(id)?.contains(&known) {
        engine.store.add_repo_digest(name, &raw.digest, id)?;
    }
    Ok(())
}

fn stands_for(engine: &Engine, local: &Reference, raw: &Raw) -> Result<()> {
    if local.digest.is_none() && engine.store.manifest(local)?.as_ref() != Some(&raw.digest) {
        engine.store.set_manifest(local, &raw.digest)?;
    }
    Ok(())
}
