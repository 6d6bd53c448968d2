//! The entries of a list: what a name stands for, and the notes that an entry has until it is pushed.

use oci::{Descriptor, Document, ImageConfig, ImageId, Platform, Reference, media_type};
use registry::Client;

use crate::transfer::{self, Raw};
use crate::{Engine, Error, Result};

/// The name by which an image came into a list. Stays here: it is not in what is pushed.
const NAME: &str = "io.strake.reference";
/// The same, where it is the place that the image's layers are to be had from.
const ORIGIN: &str = "io.strake.origin";
/// The largest config, in bytes: what the store takes.
const CONFIG_LIMIT: u64 = 8 << 20;

/// The registry's name for an entry that came from one.
pub(crate) fn origin(entry: &Descriptor) -> Option<Reference> {
    Reference::parse(entry.annotations.get(ORIGIN)?).ok()
}

/// The entry as it is sent.
pub(crate) fn without_notes(mut entry: Descriptor) -> Descriptor {
    entry.annotations.remove(NAME);
    entry.annotations.remove(ORIGIN);
    entry
}

/// Whether `text`, a digest or a name, means this entry.
pub(super) fn is_meant(entry: &Descriptor, text: &str) -> bool {
    if entry.digest.as_str() == text {
        return true;
    }
    let wanted = Reference::parse(text).map(|reference| reference.with_default_tag().to_string());
    wanted.is_ok_and(|wanted| entry.annotations.get(NAME) == Some(&wanted))
}

/// An image of the store: its manifest where it has one, else its config, for which one is made when it leaves.
pub(super) fn of_image(engine: &Engine, id: &ImageId) -> Result<Descriptor> {
    let image = engine.image(id)?;
    let mut entry = match &image.meta.manifest {
        Some(digest) if says_the_same(engine, &image, digest)? => {
            Raw::new(engine.store.read_blob(digest, transfer::MANIFEST_LIMIT)?, None)?.descriptor()
        }
        _ => Descriptor::new(media_type::OCI_CONFIG, id.0.clone(), image.config.bytes.len() as u64),
    };
    entry.platform = known(image.config.value.platform());
    Ok(entry)
}

/// Whether the manifest is here and has the image's annotations: a build may have given it others since.
fn says_the_same(engine: &Engine, image: &store::Image, digest: &oci::Digest) -> Result<bool> {
    if !engine.store.has_blob(digest)? {
        return Ok(false);
    }
    let raw = Raw::new(engine.store.read_blob(digest, transfer::MANIFEST_LIMIT)?, None)?;
    Ok(raw.media_type == media_type::DOCKER_MANIFEST || raw.manifest()?.annotations == image.meta.annotations)
}

/// What `text` names: an image or list of the store, else one of a registry. With `all`, of a list all images.
pub(super) fn named(engine: &Engine, text: &str, all: bool, client: &Client) -> Result<Vec<Descriptor>> {
    let remote_only = text.strip_prefix("docker://");
    let reference = Reference::parse(remote_only.unwrap_or(text)).map(Reference::with_default_tag);
    let mut entries = match (remote_only, &reference) {
        (None, Ok(reference)) => of_list(engine, reference, all)?,
        _ => Vec::new(),
    };
    if entries.is_empty() && remote_only.is_none() {
        match engine.store.resolve(text) {
            Ok(id) => entries.push(of_image(engine, &id)?),
            Err(store::ResolveError::NotFound { .. } | store::ResolveError::Invalid(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let reference = match (reference, entries.is_empty()) {
        (Ok(reference), _) => reference,
        // An ID: there is no name to remember.
        (Err(_), false) => return Ok(entries),
        (Err(error), true) => return Err(error.into()),
    };
    if entries.is_empty() {
        entries = of_registry(engine, &reference, all, client)?;
        for entry in &mut entries {
            entry.annotations.insert(ORIGIN.to_owned(), reference.to_string());
        }
    }
    for entry in &mut entries {
        entry.annotations.insert(NAME.to_owned(), reference.to_string());
    }
    Ok(entries)
}

/// The images of a list of the store, if the name is one and all are wanted.
fn of_list(engine: &Engine, reference: &Reference, all: bool) -> Result<Vec<Descriptor>> {
    match all && reference.digest.is_none() {
        true => Ok(super::find(engine, reference)?.map(|index| index.manifests).unwrap_or_default()),
        false => Ok(Vec::new()),
    }
}

/// The image at a registry; of a list this machine's, or all.
fn of_registry(
    engine: &Engine,
    reference: &Reference,
    all: bool,
    client: &Client,
) -> Result<Vec<Descriptor>> {
    let repository = client.repository(reference);
    let name = match (&reference.digest, &reference.tag) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.clone().unwrap_or_else(|| oci::DEFAULT_TAG.to_owned()),
    };
    let found = repository.manifest(&name)?;
    let raw = Raw { media_type: found.media_type, digest: found.digest, bytes: found.bytes };
    if raw.is_index() {
        let index = raw.index()?;
        if all {
            return Ok(index.manifests);
        }
        let host = Platform::host();
        let chosen = index.select(&host).cloned().ok_or_else(|| {
            Error::not_found(format!("no matching manifest for {host} in {}", reference.familiar()))
                .hint("--all takes all images of a list")
        })?;
        return Ok(vec![chosen]);
    }
    let config = raw.manifest()?.config;
    let mut entry = raw.descriptor();
    if media_type::is_config(&config.media_type) {
        let bytes = repository.small_blob(&config, CONFIG_LIMIT)?;
        let config: Document<ImageConfig> =
            Document::parse("image config", bytes).map_err(|e| Error::invalid(e.to_string()))?;
        entry.platform = known(config.value.platform());
        // So that the list can be inspected, and annotated, without the registry.
        engine.store.put_blob(&config.bytes)?;
    }
    engine.store.put_blob(&raw.bytes)?;
    Ok(vec![entry])
}

fn known(platform: Platform) -> Option<Platform> {
    (!platform.os.is_empty() && !platform.architecture.is_empty()).then_some(platform)
}
