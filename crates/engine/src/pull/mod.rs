//! `pull`: images from a registry or from an OCI layout on disk.
//!
//! `resolve` finds out what is to come, [`crate::layers`] has it come. What has come stays as it came: the blobs beside the
//! snapshots, so that the image can leave again under the same digests.

mod resolve;
mod source;

use std::io::{self, Read};
use std::path::Path;

use oci::{Descriptor, DiffId, Digest, ImageConfig, ImageId, Manifest, Platform, Reference};
use registry::{Client, Repository};
use store::{ImageMeta, PruneOptions, Store};

use crate::archive;
use crate::layers::{Blobs, Fetch};
use crate::{Engine, Error, Event, Events, Kind, Result};
use resolve::Resolved;
pub use source::{PullRequest, PullSource, Pulled};

/// The most tags of one repository that are pulled at once.
const MOST_TAGS: usize = 10_000;

/// Pulls the images that are asked for and names them.
///
/// # Errors
/// The first failure, which names the registry and what it was about. Images pulled before it stay.
pub fn pull(
    engine: &Engine,
    request: &PullRequest<'_>,
    client: &Client,
    events: &dyn Events,
) -> Result<Vec<Pulled>> {
    match &request.source {
        PullSource::Registry(reference) => {
            let pulled = from_registry(engine, reference, request, client, events);
            // What was wrong is not kept; what merely did not come is gone on with by the next pull.
            if pulled.as_ref().is_err_and(|error| error.kind != Kind::Unavailable) {
                let _ = engine.store.prune(&PruneOptions::default());
            }
            pulled
        }
        PullSource::Layout { path, tag } => {
            if request.all_tags && tag.is_some() {
                return Err(tag_and_all());
            }
            let pulled = layout(engine, path, tag.as_deref(), &request.platform);
            // What was read and belongs to no image.
            let swept = engine.store.prune(&PruneOptions::default());
            let pulled = pulled?;
            swept?;
            Ok(pulled)
        }
    }
}

fn layout(engine: &Engine, path: &Path, tag: Option<&str>, platform: &Platform) -> Result<Vec<Pulled>> {
    let _lease = engine.store.lease()?;
    let mut pulled = Vec::new();
    for item in archive::read_layout(&engine.store, path, tag, platform)? {
        for reference in &item.references {
            engine.store.set_reference(reference, &item.image)?;
        }
        let references = item.references;
        pulled.push(Pulled { image: item.image, digest: None, references, up_to_date: false });
    }
    Ok(pulled)
}

fn from_registry(
    engine: &Engine,
    reference: &Reference,
    request: &PullRequest<'_>,
    client: &Client,
    events: &dyn Events,
) -> Result<Vec<Pulled>> {
    let _lease = engine.store.lease()?;
    let repository = client.repository(reference);
    let one = |reference: &Reference| {
        let tag = match (&reference.digest, &reference.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, tag) => tag.as_deref().unwrap_or(oci::DEFAULT_TAG),
        };
        events.event(Event::Status(format!("{tag}: Pulling from {}", reference.repository)));
        let pulled = image(engine, reference, &repository, request, events)?;
        if let Some(digest) = &pulled.digest {
            events.event(Event::Status(format!("Digest: {digest}")));
        }
        Ok::<Pulled, Error>(pulled)
    };
    let mut pulled = Vec::new();
    if !request.all_tags {
        pulled.push(one(reference)?);
    } else {
        if reference.digest.is_some() || reference.tag.as_deref().is_some_and(|tag| tag != oci::DEFAULT_TAG) {
            return Err(tag_and_all());
        }
        for tag in repository.tags().take(MOST_TAGS) {
            pulled.push(one(&Reference { tag: Some(tag?), ..reference.clone() })?);
        }
        if pulled.is_empty() {
            let what = format!("repository {} has no tags", reference.familiar_name());
            return Err(Error::not_found(what));
        }
    }
    let name = if request.all_tags { reference.familiar_name() } else { reference.familiar() };
    events.event(Event::Status(match pulled.iter().all(|pulled| pulled.up_to_date) {
        true => format!("Status: Image is up to date for {name}"),
        false => format!("Status: Downloaded newer image for {name}"),
    }));
    Ok(pulled)
}

fn tag_and_all() -> Error {
    Error::invalid("a tag cannot be given with --all-tags: either one is pulled, or all are")
}

/// One image of a registry.
fn image(
    engine: &Engine,
    reference: &Reference,
    repository: &Repository,
    request: &PullRequest<'_>,
    events: &dyn Events,
) -> Result<Pulled> {
    let store = &engine.store;
    let before = store.reference(reference)?;
    let resolved = resolve::resolve(engine, repository, reference, &request.platform)?;
    let Resolved { whole, index, manifest, config } = resolved;
    let id = ImageId(config.digest.clone());
    let up_to_date = before.as_ref() == Some(&id);
    let pulled = Pulled {
        image: id.clone(),
        digest: Some(whole.clone()),
        references: vec![reference.clone()],
        up_to_date,
    };
    let here = store.image(&id)?;
    if up_to_date
        && here.as_ref().is_some_and(|image| image.meta.manifest.as_ref() == Some(&manifest.digest))
        && is_known_as(engine, reference, &whole, &id)?
        && (reference.digest.is_some() || store.manifest(reference)?.as_ref() == Some(&whole))
    {
        return Ok(pulled);
    }
    if here.is_none() {
        archive::check_config(&config, manifest.value.layers.len())?;
        warn_of_platform(&config.value, reference, &request.platform, events);
        let jobs = request.jobs.unwrap_or(PullRequest::JOBS);
        let fetch = Fetch {
            store,
            blobs: &Remote(repository),
            events,
            jobs,
            keeps_parts: true,
            interrupted: request.interrupted,
        };
        fetch.run(&manifest.value.layers, &config.value.rootfs.diff_ids)?;
    }
    record(store, reference, &Resolved { whole, index, manifest, config }, request.names)?;
    Ok(pulled)
}

/// The image whose layers are all here gets its names, if it is to have them.
fn record(store: &Store, reference: &Reference, resolved: &Resolved, names: bool) -> Result<()> {
    let Resolved { whole, index, manifest, config } = resolved;
    let meta = ImageMeta {
        manifest: Some(manifest.digest.clone()),
        index: index.clone(),
        base: None,
        annotations: manifest.value.annotations.clone(),
    };
    let id = archive::record(store, config, meta)?;
    if !names {
        // By the image's own digest: that of the index is the name of this machine's image.
        store.add_repo_digest(&reference.name(), &manifest.digest, &id)?;
        if reference.digest.is_none() && store.reference(reference)?.is_none() {
            store.set_manifest(reference, whole)?;
        }
        return Ok(());
    }
    if reference.digest.is_none() {
        store.set_reference(reference, &id)?;
        stand_for(store, reference, whole, &manifest.value)?;
    }
    Ok(store.add_repo_digest(&reference.name(), whole, &id)?)
}

/// An image at its registry, of which manifest and config are known: its layers may come later, or never.
pub(crate) struct Found {
    reference: Reference,
    names: bool,
    resolved: Resolved,
    /// Where its layers are.
    pub repository: Repository,
}

impl Found {
    /// Finds out what `reference` is for `platform`. `names`: whether the name is to stand for it when it is here.
    ///
    /// # Errors
    /// What the registry said, and what is wrong with the image.
    pub fn find(
        engine: &Engine,
        reference: &Reference,
        platform: &Platform,
        names: bool,
        client: &Client,
        events: &dyn Events,
    ) -> Result<Found> {
        let repository = client.repository(reference);
        let resolved = resolve::resolve(engine, &repository, reference, platform)?;
        archive::check_config(&resolved.config, resolved.manifest.value.layers.len())?;
        warn_of_platform(&resolved.config.value, reference, platform, events);
        Ok(Found { reference: reference.clone(), names, resolved, repository })
    }

    /// The name that it was found by.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Digest of the manifest or index that the reference names.
    pub fn digest(&self) -> &Digest {
        &self.resolved.whole
    }

    /// The image's ID.
    pub fn image(&self) -> ImageId {
        ImageId(self.resolved.config.digest.clone())
    }

    /// The image's config.
    pub fn config(&self) -> &ImageConfig {
        &self.resolved.config.value
    }

    /// Its layers, bottom layer first: what they are and the blobs that they come as.
    pub fn layers(&self) -> impl Iterator<Item = (&DiffId, &Descriptor)> {
        self.config().rootfs.diff_ids.iter().zip(&self.resolved.manifest.value.layers)
    }

    /// Adds it to the store by its name. Its layers have to be there.
    pub fn keep(&self, store: &Store) -> Result<()> {
        record(store, &self.reference, &self.resolved, self.names)
    }
}

/// Lets the tag stand for just what was received, if that can be sent again: every layer is here as the blob that the
/// manifest names, or can be made into it.
fn stand_for(store: &Store, tag: &Reference, whole: &Digest, manifest: &Manifest) -> Result<()> {
    for layer in &manifest.layers {
        if !store.has_blob(&layer.digest)? && store.compressed_to(&layer.digest)?.is_none() {
            store.remove_manifest(tag)?;
            return Ok(());
        }
    }
    Ok(store.set_manifest(tag, whole)?)
}

/// The blobs of a repository.
struct Remote<'a>(&'a Repository);

impl Blobs for Remote<'_> {
    fn open(&self, blob: &Descriptor, offset: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.0.blob(blob, offset).map_err(io::Error::other)?))
    }

    fn place(&self) -> (String, &'static str) {
        let place = format!("{}/{}", self.0.registry(), self.0.name());
        (place, "the registry, or the way to it, is damaged")
    }
}

/// Whether the repository is known to have the image by that digest.
fn is_known_as(engine: &Engine, reference: &Reference, whole: &Digest, id: &ImageId) -> Result<bool> {
    let name = Reference { tag: None, digest: Some(whole.clone()), ..reference.clone() };
    Ok(engine.store.reference(&name)?.as_ref() == Some(id))
}

/// A name that stands for one image alone stands for it whatever was asked for; as Docker does, it is said.
fn warn_of_platform(config: &ImageConfig, reference: &Reference, wanted: &Platform, events: &dyn Events) {
    let found = config.platform();
    if !found.architecture.is_empty() && !found.matches(wanted) {
        events.event(Event::Warning(format!(
            "image with reference {} was found but does not match the specified platform: wanted {wanted}, actual: {found}",
            reference.familiar()
        )));
    }
}
