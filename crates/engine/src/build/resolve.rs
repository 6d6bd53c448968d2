//! What the front end asks: which image is this name?

use std::collections::BTreeSet;
use std::sync::Arc;

use dockerfile::lower::{ConfigResolver, NamedContext, ResolvedImage};
use oci::{Digest, ImageId, Platform, Reference};
use store::ResolveError;

use crate::build::elsewhere::{Elsewhere, Holder, RemoteLayer};
use crate::build::layout;
use crate::build::observe::{Steps, internal, internal_with};
use crate::build::request::BuildRequest;
use crate::build::sources::{NamedSource, context_name};
use crate::pull::Found;
use crate::{Engine, Error, Event, Events, Result};

/// Base images: those of the store first, without any connection; else, or with `--pull`, a registry.
pub(crate) struct Bases<'a> {
    engine: &'a Engine,
    request: &'a BuildRequest,
    steps: &'a Steps<'a>,
    events: &'a dyn Events,
    elsewhere: &'a Elsewhere<'a>,
    /// What registries have, as far as it was asked for.
    found: Vec<(Platform, Found)>,
    /// What advice was given on.
    noted: BTreeSet<String>,
}

impl ConfigResolver for Bases<'_> {
    fn resolve(&mut self, reference: &Reference, platform: &Platform) -> Result<ResolvedImage, String> {
        let found = self.find(reference, platform).map_err(in_one_line)?;
        self.advise(reference, &found);
        Ok(found)
    }

    fn context(&mut self, name: &str, platform: &Platform) -> Result<Option<NamedContext>, String> {
        // What can be no image's name was given to no context.
        let Ok(name) = context_name(name) else { return Ok(None) };
        let contexts = &self.request.sources.contexts;
        let with_platform = format!("{name}::{}", platform.clone().normalized());
        let Some((name, source)) =
            [with_platform, name].iter().find_map(|name| contexts.get_key_value(name.as_str()))
        else {
            return Ok(None);
        };
        Ok(Some(match source {
            NamedSource::Directory(_) => NamedContext::Local(name.clone()),
            NamedSource::Scratch => NamedContext::Scratch,
            NamedSource::Remote(remote) => NamedContext::Remote(remote.clone()),
            NamedSource::Image(reference) => {
                NamedContext::Image(Box::new(self.resolve(reference, platform)?))
            }
            NamedSource::Layout { path, image } => {
                let title = format!("[context {name}] OCI load from client");
                let found = internal(self.steps, &title, |_| {
                    layout::load(self.engine, name, path, image.as_deref(), platform)
                });
                NamedContext::Image(Box::new(found.map_err(in_one_line)?))
            }
            // Lowering knows those.
            NamedSource::Stage(_) => return Ok(None),
        }))
    }
}

fn in_one_line(error: Error) -> String {
    let mut text = error.message;
    for hint in error.hints {
        text.push_str("; ");
        text.push_str(&hint);
    }
    text
}

/// What to say of a base whose name can come to mean another image, where there is a better name.
fn advice(reference: &Reference, digest: &Digest) -> Option<String> {
    if reference.digest.is_some() {
        return None;
    }
    let why = match reference.tag.as_deref() {
        None | Some("latest") => "is whatever latest means today",
        Some(_) => "can come to mean another image",
    };
    let pinned = Reference { digest: Some(digest.clone()), ..reference.clone() }.familiar();
    Some(format!("note: base image {} {why}; to keep this one: FROM {pinned}", reference.familiar()))
}

impl<'a> Bases<'a> {
    pub fn new(
        engine: &'a Engine,
        request: &'a BuildRequest,
        steps: &'a Steps<'a>,
        events: &'a dyn Events,
        elsewhere: &'a Elsewhere<'a>,
    ) -> Bases<'a> {
        Bases { engine, request, steps, events, elsewhere, found: Vec::new(), noted: BTreeSet::new() }
    }

    /// Says once of each base that came from a registry under a name without a digest what its digest is.
    fn advise(&mut self, reference: &Reference, found: &ResolvedImage) {
        let Some(advice) = found.digest.as_ref().and_then(|digest| advice(reference, digest)) else { return };
        // A manifest that came in an archive is not to be had by that name.
        let known = self.engine.store.repo_digests(&found.image_id).unwrap_or_default();
        let at_registry = self.found.iter().any(|(_, at)| Some(at.digest()) == found.digest.as_ref())
            || known
                .iter()
                .any(|at| at.name == reference.name() && Some(&at.digest) == found.digest.as_ref());
        if at_registry && self.noted.insert(reference.to_string()) {
            self.events.event(Event::Status(advice));
        }
    }

    fn find(&mut self, reference: &Reference, platform: &Platform) -> Result<ResolvedImage> {
        let here = self.in_store(reference)?;
        if !self.request.pull {
            let named = here.as_ref().map(|id| self.resolved(reference, id)).transpose()?;
            if let Some(named) = &named
                && named.config.platform().matches(platform)
            {
                return Ok(named.clone());
            }
            if let Some(id) = self.engine.listed(Some(reference), here.as_ref(), platform)? {
                return self.resolved(reference, &id);
            }
            if let Some(other) = named {
                return self.fetch(reference, platform).map_err(|error| {
                    Error::not_found(format!(
                        "{} in the store is for {}, not for {platform}, and it could not be pulled: {}",
                        reference.familiar(),
                        other.config.platform(),
                        error.message
                    ))
                });
            }
        }
        match (self.fetch(reference, platform), here) {
            (Ok(found), _) => Ok(found),
            (Err(error), Some(_)) => Err(error.hint("without --pull the image in the store is used")),
            (Err(error), None) => Err(error.hint(
                "images that are in the store are found without a registry: strake images lists them, strake load and strake import add to them",
            )),
        }
    }

    /// The image of that name here. A name with tag and digest means the digest.
    fn in_store(&self, reference: &Reference) -> Result<Option<ImageId>> {
        match self.engine.store.resolve(&reference.familiar()) {
            Ok(id) => Ok(Some(id)),
            Err(ResolveError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What the reference is at its registry. Its layers stay there until a step needs them.
    fn fetch(&mut self, reference: &Reference, platform: &Platform) -> Result<ResolvedImage> {
        if let Some((_, found)) =
            self.found.iter().find(|(of, found)| of == platform && found.reference() == reference)
        {
            return Ok(resolved_of(found));
        }
        let name = format!("[internal] load metadata for {reference}");
        let names = platform.matches(&Platform::host());
        let (engine, client) = (self.engine, &self.request.registry);
        let found = internal_with(self.steps, &name, |within| {
            Found::find(engine, reference, platform, names, client, within)
        })?;
        let resolved = resolved_of(&found);
        let repository = &found.repository;
        let name = format!("{}/{}", repository.registry(), repository.name());
        let holder = Arc::new(Holder { name, source: Box::new(repository.clone()) });
        for (diff_id, blob) in found.layers() {
            let (blob, holder) = (blob.clone(), holder.clone());
            self.elsewhere.add_layer(diff_id, RemoteLayer { blob, holder, created: None, cache: None });
        }
        self.found.push((platform.clone(), found));
        Ok(resolved)
    }

    /// Adds the bases that came from registries to the store, those whose layers are all there now: the next build
    /// asks nobody for them.
    pub fn keep(&mut self) -> Result<()> {
        for (_, found) in std::mem::take(&mut self.found) {
            if self.elsewhere.is_here(&found.config().rootfs.diff_ids)? {
                found.keep(&self.engine.store)?;
            }
        }
        Ok(())
    }

    fn resolved(&self, reference: &Reference, id: &ImageId) -> Result<ResolvedImage> {
        let image = self.engine.image(id)?;
        let digest = image.meta.index.clone().or(image.meta.manifest.clone());
        Ok(ResolvedImage {
            image_id: id.clone(),
            config: image.config.value,
            digest,
            reference: reference.clone(),
        })
    }
}

/// An image of a registry, as the front end knows it.
fn resolved_of(found: &Found) -> ResolvedImage {
    ResolvedImage {
        image_id: found.image(),
        config: found.config().clone(),
        digest: Some(found.digest().clone()),
        reference: found.reference().clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_change_is_noted_with_what_cannot() {
        let digest = Digest::sha256(b"manifest");
        let said = |text: &str| advice(&text.parse().unwrap(), &digest);
        assert_eq!(
            said("debian:12").unwrap(),
            format!(
                "note: base image debian:12 can come to mean another image; to keep this one: FROM debian:12@{digest}"
            )
        );
        assert!(said("localhost:5000/app").unwrap().contains("is whatever latest means today"));
        assert_eq!(said(&format!("debian:12@{digest}")), None);
    }
}
