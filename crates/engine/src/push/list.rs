//! An index on its way out: the manifests that it lists, then itself.
//!
//! An index that was put together here may list images that have no manifest yet, and images that are still at another
//! place; see [`crate::manifest`]. Those are sent first, and what is sent in the end lists what they became.

use oci::{Descriptor, Document, ImageId, Index, Reference, media_type};

use super::{Destination, ManifestFormat, Push, threads};
use crate::manifest::{origin, without_notes};
use crate::transfer::stored::Stored;
use crate::transfer::{Open, PUSH, Raw, Source, Target as _, Transfer};
use crate::{Error, Result};

/// What became of an index.
pub(super) enum Sent {
    Whole(Raw),
    /// A manifest that it lists is on neither side. Nothing was sent.
    Missing(Box<Descriptor>),
}

impl Push<'_> {
    /// Sends an index with all that it lists.
    pub(super) fn list(&self, raw: Raw, target: &Destination) -> Result<Sent> {
        let index = raw.index()?;
        let final_already = self.takes(&raw.media_type) && index.manifests.iter().all(is_final);
        if final_already && target.has(&raw)? {
            return Ok(Sent::Whole(raw));
        }
        let sent = match final_already {
            true => raw,
            false => self.settle(index, target)?,
        };
        let stored = Stored::new(&self.engine.store, threads());
        let mut tree = self.transfer(&stored, target).survey(&sent)?;
        let beside = match tree.missing.is_empty() {
            true => None,
            false => self.beside(&sent, target)?,
        };
        let both = beside.map(|then| Both { first: Stored::new(&self.engine.store, threads()), then });
        let source: &dyn Source = match &both {
            Some(both) => both,
            None => &stored,
        };
        let transfer = self.transfer(source, target);
        if both.is_some() {
            tree = transfer.survey(&sent)?;
        }
        if let Some(missing) = tree.missing.first() {
            return Ok(Sent::Missing(Box::new(missing.clone())));
        }
        transfer.send(&tree)?;
        target.put(&sent)?;
        Ok(Sent::Whole(sent))
    }

    /// Another repository of the same registry that is known to have the index: what is not here is mounted from there.
    fn beside(&self, index: &Raw, target: &Destination) -> Result<Option<registry::Repository>> {
        let at = format!("{}/", target.repository.registry());
        for (known, _) in self.engine.store.all_repo_digests()? {
            if known.digest == index.digest && known.name.starts_with(&at) && known.name != target.name {
                return Ok(Some(self.client.repository(&Reference::parse(&known.name)?)));
            }
        }
        Ok(None)
    }

    /// A manifest that is no image of the store, or an index, as it is.
    pub(super) fn as_it_is(&self, raw: Raw, target: &Destination) -> Result<Raw> {
        if !target.has(&raw)? {
            let source = Stored::new(&self.engine.store, threads());
            let transfer = self.transfer(&source, target);
            transfer.send(&transfer.survey(&raw)?)?;
            target.put(&raw)?;
        }
        Ok(raw)
    }

    fn transfer<'a>(&'a self, source: &'a dyn Source, target: &'a Destination) -> Transfer<'a> {
        Transfer { source, target: &target.repository, jobs: self.jobs(), words: PUSH, events: self.events }
    }

    /// Sends the images that have no manifest yet, and what is at other registries, and lists what they are.
    fn settle(&self, mut index: Index, target: &Destination) -> Result<Raw> {
        for entry in &mut index.manifests {
            if media_type::is_config(&entry.media_type) {
                let id = ImageId(entry.digest.clone());
                let image = self.engine.store.image(&id)?.ok_or_else(|| {
                    Error::not_found(format!("the image {id} of the manifest list is no longer here"))
                })?;
                let sent = self.image(&image, None, &target.untagged())?;
                (entry.media_type, entry.digest, entry.size) =
                    (sent.media_type.clone(), sent.digest.clone(), sent.bytes.len() as u64);
            } else if let Some(origin) = origin(entry)
                && !target.repository.has_document(&entry.digest)?
            {
                let source = Both {
                    first: Stored::new(&self.engine.store, threads()),
                    then: self.client.repository(&origin),
                };
                let raw = source.document(entry)?.ok_or_else(|| {
                    Error::not_found(format!("manifest {} is no longer at {}", entry.digest, origin.name()))
                })?;
                self.transfer(&source, target).whole(&raw)?;
            }
            *entry = without_notes(entry.clone());
        }
        index.media_type = Some(
            match self.options.format {
                Some(ManifestFormat::Docker) => media_type::DOCKER_MANIFEST_LIST,
                Some(ManifestFormat::Oci) => media_type::OCI_INDEX,
                None => index.media_type.as_deref().unwrap_or(media_type::OCI_INDEX),
            }
            .to_owned(),
        );
        let document = Document::of(index);
        self.engine.store.put_blob(&document.bytes)?;
        Raw::new(document.bytes, None)
    }
}

/// Whether an entry is what is to be sent.
fn is_final(entry: &Descriptor) -> bool {
    !media_type::is_config(&entry.media_type) && origin(entry).is_none()
}

/// What is here, and else what is there.
struct Both<'a> {
    first: Stored<'a>,
    then: registry::Repository,
}

impl Source for Both<'_> {
    fn document(&self, descriptor: &Descriptor) -> Result<Option<Raw>> {
        match self.first.document(descriptor)? {
            None => self.then.document(descriptor),
            found => Ok(found),
        }
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Option<Open<'_>>> {
        match self.first.blob(descriptor)? {
            None => Source::blob(&self.then, descriptor),
            found => Ok(found),
        }
    }

    fn referrers(&self, digest: &oci::Digest) -> Result<Vec<Descriptor>> {
        Source::referrers(&self.then, digest)
    }

    fn mounted_at(&self, registry: &str, but: &str, descriptor: &Descriptor) -> Result<Option<String>> {
        self.then.mounted_at(registry, but, descriptor)
    }
}
