//! `push`: images of the store to a registry.
//!
//! A name that stands for a manifest or index is sent as exactly that; else the image is, with its layers as they came
//! or, where they were made here, compressed on their way out. What the registry has is not sent: a second push of the
//! same is one question.

mod image;
mod list;
mod record;
pub(crate) mod way;

use oci::{DEFAULT_TAG, Digest, Document, ImageId, Index, Reference, media_type};
use registry::Client;
pub use snapshot::compress::Method;
use store::Image;

use crate::build::Elsewhere;
use crate::transfer::{self, Raw};
use crate::{Engine, Error, Event, Events, Result};
pub(crate) use image::manifest_for;
pub(crate) use way::{Way, media_type as as_media_type, oci_layer, way};

/// What to push.
#[derive(Debug, Clone)]
pub struct PushRequest {
    /// The name, of an image here and at its registry; `latest` where it has no tag. Without a digest.
    pub name: Reference,
    /// Every tag of the repository that is here.
    pub all_tags: bool,
    /// How everything is sent.
    pub options: PushOptions,
}

/// How images are sent.
#[derive(Debug, Clone, Default)]
pub struct PushOptions {
    /// How layers are compressed that were made here; `None`: as they once left, else [`Method::GZIP`].
    pub method: Option<Method>,
    /// Also layers that came compressed in another way; `method` has to be given.
    pub force: bool,
    /// Which kind of manifest; `None`: the image's own, else OCI's.
    pub format: Option<ManifestFormat>,
    /// Layers sent at once; `None`: four, or three where some are compressed.
    pub jobs: Option<usize>,
}

/// Whose media types a manifest has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ManifestFormat {
    /// OCI image manifest and index.
    #[default]
    Oci,
    /// Docker's schema 2 and manifest list.
    Docker,
}

/// What was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The name at the registry.
    pub reference: Reference,
    /// Digest of the manifest or index that it stands for there now.
    pub digest: Digest,
    /// The number of its bytes.
    pub size: u64,
}

/// Pushes the image, or the index, that the request names.
///
/// # Errors
/// The first failure, which names the registry and what it was about. What was sent before it stays there.
pub fn push(
    engine: &Engine,
    request: &PushRequest,
    client: &Client,
    events: &dyn Events,
) -> Result<Vec<Pushed>> {
    if request.name.digest.is_some() {
        return Err(Error::invalid("cannot push a digest reference"));
    }
    let _lease = engine.store.lease()?;
    let names = match request.all_tags {
        false => vec![request.name.clone().with_default_tag()],
        true => {
            let mut names: Vec<Reference> =
                engine.store.references()?.into_iter().map(|(name, _)| name).collect();
            names.extend(engine.store.manifests()?.into_iter().map(|(name, _)| name));
            names.retain(|name| name.name() == request.name.name());
            names.sort();
            names.dedup();
            names
        }
    };
    if names.is_empty() {
        let name = request.name.familiar_name();
        return Err(Error::not_found(format!("An image does not exist locally with the tag: {name}")));
    }
    events.event(Event::Status(format!("The push refers to repository [{}]", request.name.name())));
    let push = Push { engine, client, options: &request.options, events, elsewhere: None };
    names.into_iter().map(|name| push.named(&name, &name)).collect()
}

/// Pushes what the store knows as `local` under the name `remote`.
pub(crate) fn push_as(
    engine: &Engine,
    local: &Reference,
    remote: &Reference,
    options: &PushOptions,
    client: &Client,
    events: &dyn Events,
) -> Result<Pushed> {
    let _lease = engine.store.lease()?;
    Push { engine, client, options, events, elsewhere: None }.named(local, remote)
}

/// Pushes an image of which layers may be elsewhere, and which is not in the store. Those are mounted where the registry
/// has them in another repository, else passed on.
#[allow(clippy::too_many_arguments, reason = "what is pushed, whereto, how")]
pub(crate) fn push_elsewhere(
    engine: &Engine,
    image: &Image,
    remote: &Reference,
    by_digest: bool,
    options: &PushOptions,
    elsewhere: &Elsewhere<'_>,
    client: &Client,
    events: &dyn Events,
) -> Result<Raw> {
    let push = Push { engine, client, options, events, elsewhere: Some(elsewhere) };
    let named = push.destination(remote);
    let target = if by_digest { named.untagged() } else { named };
    let sent = push.image(image, None, &target)?;
    push.done(remote, &target, &sent)?;
    Ok(sent)
}

/// What a build made, on its way to a registry.
pub(crate) struct Built<'a> {
    /// The images in the store, one for each platform.
    pub images: &'a [ImageId],
    /// Which of them is run here.
    pub host: usize,
    /// The index that lists them, where there are several.
    pub index: Option<&'a Index>,
    /// It gets no name there.
    pub by_digest: bool,
}

/// Pushes what was built as `name`. If it gets that name, the store's name stands for what was sent from then on.
pub(crate) fn push_built(
    engine: &Engine,
    built: &Built<'_>,
    name: &Reference,
    options: &PushOptions,
    client: &Client,
    events: &dyn Events,
) -> Result<Raw> {
    let _lease = engine.store.lease()?;
    let push = Push { engine, client, options, events, elsewhere: None };
    let tag = name.tag.clone().unwrap_or_else(|| DEFAULT_TAG.to_owned());
    let target = Destination {
        repository: client.repository(name),
        name: name.name(),
        tag: (!built.by_digest).then_some(tag),
    };
    let sent = match built.index {
        None => {
            let image = engine.image(&built.images[built.host])?;
            let sent = push.image(&image, None, &target)?;
            if !built.by_digest {
                record::sent(engine, name, name, &image.id, &sent)?;
            }
            sent
        }
        Some(index) => {
            let raw = Raw::new(Document::of(index.clone()).bytes, None)?;
            let sent = match push.list(raw, &target)? {
                list::Sent::Whole(sent) => sent,
                list::Sent::Missing(missing) => {
                    return Err(Error::not_found(format!(
                        "manifest {} is neither here nor at the registry",
                        missing.digest
                    )));
                }
            };
            if !built.by_digest {
                record::sent_index(engine, name, &target, Some(&built.images[built.host]), &sent)?;
            }
            sent
        }
    };
    events.event(Event::Status(format!(
        "{}: digest: {} size: {}",
        target.tag.as_deref().unwrap_or("untagged"),
        sent.digest,
        sent.bytes.len()
    )));
    Ok(sent)
}

struct Push<'a> {
    engine: &'a Engine,
    client: &'a Client,
    options: &'a PushOptions,
    events: &'a dyn Events,
    /// Where layers are that are not in the store.
    elsewhere: Option<&'a Elsewhere<'a>>,
}

impl Push<'_> {
    fn named(&self, local: &Reference, remote: &Reference) -> Result<Pushed> {
        let store = &self.engine.store;
        let target = self.destination(remote);
        let held = match local.digest {
            None => store.manifest(local)?,
            Some(_) => None,
        };
        let held = match held {
            Some(digest) if store.has_blob(&digest)? => {
                Some(Raw::new(store.read_blob(&digest, transfer::MANIFEST_LIMIT)?, None)?)
            }
            _ => None,
        };
        let image = store.reference(local)?;
        let sent = match (held, image) {
            (Some(index), image) if index.is_index() => self.index(index, image, local, &target)?,
            (held, Some(image)) => {
                let image = self.engine.image(&image)?;
                let sent = self.image(&image, held.map(|raw| raw.digest), &target)?;
                record::sent(self.engine, local, remote, &image.id, &sent)?;
                sent
            }
            (Some(manifest), None) => self.as_it_is(manifest, &target)?,
            (None, None) => {
                let name = local.familiar_name();
                return Err(Error::not_found(format!(
                    "An image does not exist locally with the tag: {name}"
                )));
            }
        };
        self.done(remote, &target, &sent)
    }

    fn destination(&self, remote: &Reference) -> Destination {
        Destination {
            repository: self.client.repository(remote),
            name: remote.name(),
            tag: Some(remote.tag.clone().unwrap_or_else(|| DEFAULT_TAG.to_owned())),
        }
    }

    fn done(&self, remote: &Reference, target: &Destination, sent: &Raw) -> Result<Pushed> {
        let tag = target.tag.as_deref().unwrap_or_default();
        let size = sent.bytes.len() as u64;
        self.events.event(Event::Status(format!("{tag}: digest: {} size: {size}", sent.digest)));
        Ok(Pushed { reference: remote.clone(), digest: sent.digest.clone(), size })
    }

    /// An index, whole where it is whole here or there; else, as Docker does, the image of it that is here.
    fn index(
        &self,
        index: Raw,
        image: Option<ImageId>,
        local: &Reference,
        target: &Destination,
    ) -> Result<Raw> {
        let sent = self.list(index, target)?;
        match (sent, image) {
            (list::Sent::Whole(sent), image) => {
                record::sent_index(self.engine, local, target, image.as_ref(), &sent)?;
                Ok(sent)
            }
            (list::Sent::Missing(_), Some(id)) => {
                let image = self.engine.image(&id)?;
                let platform = image.config.value.platform();
                self.events.event(Event::Warning(format!(
                    "not all of the platforms of {} are here: only the image for {platform} is pushed",
                    local.familiar()
                )));
                self.image(&image, None, target)
            }
            (list::Sent::Missing(missing), None) => Err(Error::not_found(format!(
                "{} lists the manifest {}, which is neither here nor at the registry",
                local.familiar(),
                missing.digest
            ))),
        }
    }

    fn jobs(&self) -> usize {
        self.options.jobs.unwrap_or(transfer::JOBS).clamp(1, 64)
    }

    /// Whether the kind of manifest that is asked for is that of `media_type`, or none is asked for.
    fn takes(&self, media_type: &str) -> bool {
        let docker = matches!(media_type, media_type::DOCKER_MANIFEST | media_type::DOCKER_MANIFEST_LIST);
        match self.options.format {
            None => true,
            Some(ManifestFormat::Docker) => docker,
            Some(ManifestFormat::Oci) => !docker,
        }
    }
}

/// Where a push goes.
struct Destination {
    repository: registry::Repository,
    /// `registry/repository`.
    name: String,
    /// `None`: it is known by its digest alone.
    tag: Option<String>,
}

impl Destination {
    /// The same repository, for what has no name there.
    fn untagged(&self) -> Destination {
        Destination { repository: self.repository.clone(), name: self.name.clone(), tag: None }
    }

    /// Whether the registry has `raw` by its name already; or by its digest, and then it gets the name.
    fn has(&self, raw: &Raw) -> Result<bool> {
        let Some(tag) = &self.tag else {
            return Ok(self.repository.head(raw.digest.as_str())?.is_some());
        };
        match self.repository.head(tag)? {
            Some(head) if head.digest == raw.digest => Ok(true),
            _ if self.repository.head(raw.digest.as_str())?.is_some() => {
                self.put(raw)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn put(&self, raw: &Raw) -> Result<()> {
        transfer::remote::put(&self.repository, self.tag.as_deref().unwrap_or(raw.digest.as_str()), raw)
    }
}

/// Threads that compress one layer.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).min(16)
}
