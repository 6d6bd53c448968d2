//! `manifest`: lists of images for several platforms (OCI index, Docker manifest list), put together here and pushed
//! under one name.
//!
//! A list is an index in the store that a name stands for, as soon as it is made; no image is compressed or copied for
//! it. So an entry may be an image of the store by its config, where it has no manifest yet, and an entry from a
//! registry has a note of where its layers are to be had. The push sends those, and what it sends lists manifests
//! alone.

mod annotate;
mod entry;
mod inspect;

use oci::{Descriptor, Digest, Document, ImageId, Index, Reference, media_type};
use registry::Client;

use crate::push::{ManifestFormat, PushOptions, Pushed};
use crate::transfer::{self, Raw};
use crate::{Engine, Error, Events, Result};

pub use annotate::{Annotations, annotate};
pub(crate) use entry::{origin, without_notes};
pub use inspect::{Inspected, inspect};

/// An index of images of the store: what `build` of several platforms makes.
///
/// # Errors
/// [`crate::Kind::NotFound`] for an image that is not here.
pub(crate) fn index_of_images(engine: &Engine, images: &[ImageId]) -> Result<Index> {
    let entries = images.iter().map(|id| entry::of_image(engine, id)).collect::<Result<Vec<_>>>()?;
    Ok(index_of(entries, ManifestFormat::Oci))
}

/// How a list is begun.
#[derive(Debug, Clone, Copy, Default)]
pub struct CreateOptions {
    /// Goes on with the list of that name, if there is one.
    pub amend: bool,
    /// Takes all images of what is a list itself.
    pub all: bool,
    /// Whose media type it has.
    pub format: ManifestFormat,
}

/// Begins the list `name` with `images`: names or IDs of images of the store, else references of a registry.
///
/// # Errors
/// [`crate::Kind::Conflict`] where there is one and it is not to be amended.
pub fn create(
    engine: &Engine,
    name: &Reference,
    images: &[String],
    options: CreateOptions,
    client: &Client,
) -> Result<Digest> {
    let _lease = engine.store.lease()?;
    let index = match find(engine, name)? {
        None => index_of(Vec::new(), options.format),
        Some(index) if options.amend => index,
        Some(_) => {
            return Err(Error::conflict("refusing to amend an existing manifest list with no --amend flag"));
        }
    };
    add_to(engine, name, index, images, options.all, &Annotations::default(), client)
}

/// Adds `images` to the list `name`; `with` is said of each of them.
pub fn add(
    engine: &Engine,
    name: &Reference,
    images: &[String],
    all: bool,
    with: &Annotations,
    client: &Client,
) -> Result<Digest> {
    let _lease = engine.store.lease()?;
    let index = find(engine, name)?.ok_or_else(|| no_list(name))?;
    add_to(engine, name, index, images, all, with, client)
}

fn add_to(
    engine: &Engine,
    name: &Reference,
    mut index: Index,
    images: &[String],
    all: bool,
    with: &Annotations,
    client: &Client,
) -> Result<Digest> {
    for image in images {
        for mut entry in entry::named(engine, image, all, client)? {
            with.apply(&mut entry);
            index.manifests.retain(|known| known.digest != entry.digest);
            index.manifests.push(entry);
        }
    }
    keep(engine, name, &index)
}

/// Takes the entry of that digest out of the list.
pub fn remove(engine: &Engine, name: &Reference, digest: &Digest) -> Result<Digest> {
    let _lease = engine.store.lease()?;
    let mut index = find(engine, name)?.ok_or_else(|| no_list(name))?;
    let before = index.manifests.len();
    index.manifests.retain(|entry| entry.digest != *digest);
    if index.manifests.len() == before {
        return Err(Error::not_found(format!("the manifest list {} has no {digest}", name.familiar())));
    }
    keep(engine, name, &index)
}

/// Drops the list. The images stay, and so does an image of that name.
pub fn rm(engine: &Engine, name: &Reference) -> Result<()> {
    find(engine, name)?.ok_or_else(|| no_list(name))?;
    engine.store.remove_manifest(name)?;
    Ok(())
}

/// Whether there is a list of that name.
pub fn exists(engine: &Engine, name: &Reference) -> Result<bool> {
    Ok(find(engine, name)?.is_some())
}

/// Pushes the list `name`, as `to` where that is given, with all images in it.
pub fn push(
    engine: &Engine,
    name: &Reference,
    to: Option<&Reference>,
    options: &PushOptions,
    client: &Client,
    events: &dyn Events,
) -> Result<Pushed> {
    let name = name.clone().with_default_tag();
    let index = find(engine, &name)?.ok_or_else(|| no_list(&name))?;
    if index.manifests.is_empty() {
        return Err(Error::invalid(format!("the manifest list {} is empty", name.familiar())));
    }
    for entry in &index.manifests {
        // Docker's words: who pulls it must be able to choose.
        if entry.platform.as_ref().is_none_or(|p| p.os.is_empty() || p.architecture.is_empty()) {
            return Err(Error::invalid(format!(
                "manifest {} must have an OS and Architecture to be pushed to a registry",
                entry.digest
            ))
            .hint(format!(
                "strake manifest annotate --os OS --arch ARCH {} {}",
                name.familiar(),
                entry.digest
            )));
        }
    }
    let to = to.cloned().unwrap_or_else(|| name.clone()).with_default_tag();
    crate::push::push_as(engine, &name, &to, options, client, events)
}

/// The index that `name` stands for.
fn find(engine: &Engine, name: &Reference) -> Result<Option<Index>> {
    let Some(digest) = engine.store.manifest(name)? else { return Ok(None) };
    let raw = Raw::new(engine.store.read_blob(&digest, transfer::MANIFEST_LIMIT)?, None)?;
    if raw.is_index() { raw.index().map(Some) } else { Ok(None) }
}

fn no_list(name: &Reference) -> Error {
    let name = name.clone().with_default_tag();
    Error::not_found(format!("No such manifest: {}", name.familiar()))
}

/// Lets `name` stand for the index. Which image the tag of that name runs is for [`store::Store::set_reference`], before.
pub(crate) fn keep(engine: &Engine, name: &Reference, index: &Index) -> Result<Digest> {
    let document = Document::of(index.clone());
    if document.bytes.len() as u64 > transfer::MANIFEST_LIMIT {
        return Err(Error::invalid(format!("the manifest list {} has become too long", name.familiar())));
    }
    engine.store.put_blob(&document.bytes)?;
    engine.store.set_manifest(name, &document.digest)?;
    Ok(document.digest)
}

fn index_of(manifests: Vec<Descriptor>, format: ManifestFormat) -> Index {
    let media_type = match format {
        ManifestFormat::Oci => media_type::OCI_INDEX,
        ManifestFormat::Docker => media_type::DOCKER_MANIFEST_LIST,
    };
    Index {
        schema_version: 2,
        media_type: Some(media_type.to_owned()),
        artifact_type: None,
        manifests,
        subject: None,
        annotations: Default::default(),
    }
}
