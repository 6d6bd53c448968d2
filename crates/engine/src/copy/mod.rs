//! `copy`: images from one place to another as they are, with all platforms and all that refers to them.
//!
//! Between registries and layouts nothing is unpacked and nothing kept: blobs stream from one side to the other, and
//! within a registry are mounted. To and from the store it is a pull, or a push, under another name.

mod place;

use oci::{DEFAULT_TAG, Descriptor, Digest, Platform, Reference};
use registry::{Client, Repository};

use crate::pull::{PullRequest, PullSource, pull};
use crate::push::{PushOptions, push_as};
use crate::transfer::layout::Layout;
use crate::transfer::{COPY, JOBS, Raw, Source, Target, Transfer, remote};
use crate::{Engine, Error, Event, Events, Result};

pub use place::Place;

/// What cosign calls what it keeps beside an image, by tags of the image's digest.
const COSIGN: [&str; 3] = ["sig", "att", "sbom"];

/// What to copy.
#[derive(Debug, Clone)]
pub struct CopyRequest {
    /// From where.
    pub from: Place,
    /// To where. A layout's name is the source's tag where it has none.
    pub to: Place,
    /// Of an index only this platform's image.
    pub platform: Option<Platform>,
    /// Without what refers to the image: signatures, attestations, bills of material.
    pub alone: bool,
    /// Blobs copied at once; `None`: four.
    pub jobs: Option<usize>,
    /// How images of the store are sent.
    pub options: PushOptions,
}

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Digest of the manifest or index.
    pub digest: Digest,
    /// How many manifests that refer to it went along.
    pub referrers: u64,
}

/// Copies. Digests stay.
pub fn copy(engine: &Engine, request: &CopyRequest, client: &Client, events: &dyn Events) -> Result<Copied> {
    match (&request.from, &request.to) {
        (Place::Store(local), Place::Registry(remote)) => {
            let pushed = push_as(engine, local, &tagged(remote)?, &request.options, client, events)?;
            Ok(Copied { digest: pushed.digest, referrers: 0 })
        }
        (from, Place::Store(local)) => into_store(engine, request, from, local, client, events),
        (Place::Store(local), Place::Layout { .. }) => Err(Error::unsupported(format!(
            "{} is of the store: its layers are compressed when they leave for a registry",
            local.familiar()
        ))
        .hint(format!("strake save --format oci-archive {} writes a layout", local.familiar()))),
        (Place::Registry(reference), to) => {
            let repository = client.repository(reference);
            let name = name_of(reference);
            let found = repository.manifest(&name)?;
            let root = Raw { media_type: found.media_type, digest: found.digest, bytes: found.bytes };
            let from = From { source: &repository, repository: Some(&repository) };
            between(&from, root, reference.tag.as_deref(), to, request, client, events)
        }
        (Place::Layout { path, tag }, to) => {
            let layout = Layout::open(path)?;
            let entry = layout.find(tag.as_deref())?;
            let root = layout.document(&entry)?.ok_or_else(|| {
                Error::invalid(format!("the layout {} lacks {}", path.display(), entry.digest))
            })?;
            let from = From { source: &layout, repository: None };
            between(&from, root, tag.as_deref(), to, request, client, events)
        }
    }
}

/// A source that is no store.
struct From<'a> {
    source: &'a dyn Source,
    repository: Option<&'a Repository>,
}

fn between(
    from: &From<'_>,
    root: Raw,
    tag: Option<&str>,
    to: &Place,
    request: &CopyRequest,
    client: &Client,
    events: &dyn Events,
) -> Result<Copied> {
    let jobs = request.jobs.unwrap_or(JOBS).clamp(1, 64);
    let root = match &request.platform {
        Some(platform) if root.is_index() => chosen(from.source, &root, platform)?,
        _ => root,
    };
    let digest = root.digest.clone();
    let run = |target: &dyn Target| -> Result<u64> {
        let transfer = Transfer { source: from.source, target, jobs, words: COPY, events };
        transfer.whole(&root)?;
        match request.alone {
            true => Ok(0),
            false => with_referrers(&transfer, &root),
        }
    };
    let referrers = match to {
        Place::Registry(reference) => {
            let repository = client.repository(reference);
            let named = name_of(reference);
            if reference.digest.as_ref().is_some_and(|wanted| *wanted != digest) {
                return Err(Error::invalid(format!(
                    "{named} is to be copied, but it is {digest} that is there"
                )));
            }
            let referrers = run(&repository)?;
            if repository.head(&named)?.is_none_or(|head| head.digest != digest) {
                remote::put(&repository, &named, &root)?;
            }
            referrers + signatures(from, &root, &repository, request, jobs, events)?
        }
        Place::Layout { path, tag: name } => {
            let layout = Layout::open_or_make(path)?;
            let referrers = run(&layout)?;
            layout.list(&root.descriptor(), Some(name.as_deref().or(tag).unwrap_or(DEFAULT_TAG)))?;
            referrers
        }
        Place::Store(_) => unreachable!("because the store was dealt with before"),
    };
    events.event(Event::Status(format!("Digest: {digest}")));
    Ok(Copied { digest, referrers })
}

/// What refers to the root, and to what it lists.
fn with_referrers(transfer: &Transfer<'_>, root: &Raw) -> Result<u64> {
    let mut sent = transfer.referrers(&root.digest)?;
    if root.is_index() {
        for entry in root.index()?.manifests {
            sent += transfer.referrers(&entry.digest)?;
        }
    }
    Ok(sent)
}

/// What cosign keeps beside the root, by tags.
fn signatures(
    from: &From<'_>,
    root: &Raw,
    to: &Repository,
    request: &CopyRequest,
    jobs: usize,
    events: &dyn Events,
) -> Result<u64> {
    let Some(repository) = from.repository.filter(|_| !request.alone) else { return Ok(0) };
    let mut sent = 0;
    for kind in COSIGN {
        let tag = format!("{}-{}.{kind}", root.digest.algorithm(), root.digest.hex());
        let Some(head) = repository.head(&tag)? else { continue };
        let Some(raw) = repository.document(&head)? else { continue };
        let transfer = Transfer { source: from.source, target: to, jobs, words: COPY, events };
        transfer.whole(&raw)?;
        remote::put(to, &tag, &raw)?;
        sent += 1;
    }
    Ok(sent)
}

fn chosen(source: &dyn Source, root: &Raw, platform: &Platform) -> Result<Raw> {
    let index = root.index()?;
    let entry: &Descriptor = index.select(platform).ok_or_else(|| {
        let offered: Vec<String> =
            index.manifests.iter().filter_map(|m| m.platform.as_ref()).map(Platform::to_string).collect();
        Error::not_found(format!("no matching manifest for {platform}: there are {}", offered.join(", ")))
    })?;
    source.document(entry)?.ok_or_else(|| {
        Error::not_found(format!("{} lists {}, which is not there", root.digest, entry.digest))
    })
}

fn into_store(
    engine: &Engine,
    request: &CopyRequest,
    from: &Place,
    local: &Reference,
    client: &Client,
    events: &dyn Events,
) -> Result<Copied> {
    let source = match from {
        Place::Registry(reference) => PullSource::Registry(reference.clone()),
        Place::Layout { path, tag } => PullSource::Layout { path: path.clone(), tag: tag.clone() },
        Place::Store(_) => {
            return Err(
                Error::invalid("both sides are the store").hint("strake tag gives an image another name")
            );
        }
    };
    let platform = request.platform.clone().unwrap_or_else(Platform::host);
    let mut asked = PullRequest::new(source, platform);
    asked.jobs = request.jobs;
    let pulled = pull(engine, &asked, client, events)?;
    let [pulled] = pulled.as_slice() else {
        return Err(Error::invalid(format!("{} images were found where one is to be named", pulled.len())));
    };
    engine.store.set_reference(local, &pulled.image)?;
    let digest = match &pulled.digest {
        Some(digest) => digest.clone(),
        None => engine.image(&pulled.image)?.meta.manifest.unwrap_or_else(|| pulled.image.0.clone()),
    };
    if engine.store.has_blob(&digest)? && digest != pulled.image.0 {
        engine.store.set_manifest(local, &digest)?;
    }
    Ok(Copied { digest, referrers: 0 })
}

fn name_of(reference: &Reference) -> String {
    match (&reference.digest, &reference.tag) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.clone().unwrap_or_else(|| DEFAULT_TAG.to_owned()),
    }
}

fn tagged(reference: &Reference) -> Result<Reference> {
    match &reference.digest {
        None => Ok(reference.clone().with_default_tag()),
        Some(_) => Err(Error::invalid("an image of the store is copied to a tag, not to a digest")),
    }
}
