//! Manifests with all that they lead to, from one place to another, as they are: nothing is unpacked, and digests stay.
//!
//! What the other side has is not sent: a manifest that is there has its blobs there, too. Blobs go side by side, then
//! manifests, those that others lead to first, so that whoever looks finds whole images only. Naming the root is left
//! to the caller.

pub(crate) mod layout;
pub(crate) mod made;
pub(crate) mod remote;
mod side_by_side;
pub(crate) mod stored;

use std::collections::BTreeSet;
use std::io::{self, Read};

use oci::{Descriptor, Digest, Index, Manifest, media_type};

use crate::{Error, Event, Events, Result};
pub(crate) use side_by_side::side_by_side;

/// Blobs sent at once, unless said otherwise.
pub(crate) const JOBS: usize = 4;
/// The largest manifest or index, in bytes (the distribution specification, "Pushing Manifests").
pub(crate) const MANIFEST_LIMIT: u64 = 4 << 20;
/// Indexes within indexes.
const DEPTH: usize = 4;
/// Manifests and blobs of one transfer.
const MOST: usize = 20_000;
/// Referrers of referrers.
const REFERRER_DEPTH: usize = 3;

/// A manifest or index as it is.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    pub media_type: String,
    pub digest: Digest,
    pub bytes: Vec<u8>,
}

/// Gives a blob's bytes from an offset on; may be asked again, to retry.
pub(crate) type Open<'a> = Box<dyn FnMut(u64) -> io::Result<Box<dyn Read + Send>> + Send + 'a>;

/// Where things come from.
pub(crate) trait Source: Sync {
    /// The manifest or index that is described; `None`: it is not here.
    fn document(&self, descriptor: &Descriptor) -> Result<Option<Raw>>;
    /// The blob that is described; `None`: it is not here.
    fn blob(&self, descriptor: &Descriptor) -> Result<Option<Open<'_>>>;
    /// What refers to the manifest of that digest.
    fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>>;
    /// A repository of `registry`, other than `but`, that may have the blob.
    fn mounted_at(&self, registry: &str, but: &str, descriptor: &Descriptor) -> Result<Option<String>>;
}

/// Where they go.
pub(crate) trait Target: Sync {
    fn has_document(&self, digest: &Digest) -> Result<bool>;
    /// Has the blob come from `source`, unless it is there. `progress` is told the bytes that are over.
    fn take_blob(
        &self,
        descriptor: &Descriptor,
        source: &dyn Source,
        progress: &dyn Fn(u64),
    ) -> Result<Option<Taken>>;
    /// Stores a manifest or index that nothing names yet.
    fn put_document(&self, raw: &Raw) -> Result<()>;
}

/// How a blob came to be at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Was,
    Mounted,
    Sent,
}

/// What is said of a blob that moves, is over, was there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words {
    pub moving: &'static str,
    pub done: &'static str,
}

/// Docker's words for a push.
pub(crate) const PUSH: Words = Words { moving: "Pushing", done: "Pushed" };
/// As those, for what is only passed on.
pub(crate) const COPY: Words = Words { moving: "Copying", done: "Copied" };

/// One transfer.
pub(crate) struct Transfer<'a> {
    pub source: &'a dyn Source,
    pub target: &'a dyn Target,
    pub jobs: usize,
    pub words: Words,
    pub events: &'a dyn Events,
}

/// What a manifest leads to and the target lacks.
#[derive(Default)]
pub(crate) struct Tree {
    /// Manifests, those that others lead to first; without the root.
    documents: Vec<Raw>,
    blobs: Vec<Descriptor>,
    /// Manifests that neither side has.
    pub missing: Vec<Descriptor>,
    seen: BTreeSet<Digest>,
}

impl Transfer<'_> {
    /// Finds what is below `root` and has to go.
    pub fn survey(&self, root: &Raw) -> Result<Tree> {
        let mut tree = Tree::default();
        self.below(root, DEPTH, &mut tree)?;
        Ok(tree)
    }

    /// Sends it. What is missing on both sides is an error.
    pub fn send(&self, tree: &Tree) -> Result<()> {
        if let Some(missing) = tree.missing.first() {
            return Err(Error::not_found(format!("manifest {} is on neither side", missing.digest)));
        }
        side_by_side(self.jobs, &tree.blobs, |blob| self.blob(blob))?;
        tree.documents.iter().try_for_each(|document| self.target.put_document(document))
    }

    /// Sends all below `root` and then `root` itself, without a name.
    pub fn whole(&self, root: &Raw) -> Result<()> {
        if self.target.has_document(&root.digest)? {
            return Ok(());
        }
        self.send(&self.survey(root)?)?;
        self.target.put_document(root)
    }

    /// Sends what refers to `digest`, and to that, and so on, as far as it is an image's size of things.
    pub fn referrers(&self, digest: &Digest) -> Result<u64> {
        let mut sent = 0;
        let mut seen = BTreeSet::from([digest.clone()]);
        let mut level = vec![digest.clone()];
        for _ in 0..REFERRER_DEPTH {
            let mut next = Vec::new();
            for subject in &level {
                for referrer in self.source.referrers(subject)? {
                    if seen.len() >= MOST || !seen.insert(referrer.digest.clone()) {
                        continue;
                    }
                    if let Some(document) = self.source.document(&referrer)? {
                        self.whole(&document)?;
                        sent += 1;
                        next.push(referrer.digest);
                    }
                }
            }
            level = next;
        }
        Ok(sent)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<()> {
        let say = |status, done| {
            let id = descriptor.digest.short().to_owned();
            self.events.event(Event::Progress { id, status, done, total: Some(descriptor.size) });
        };
        say("Preparing", 0);
        let taken = self.target.take_blob(descriptor, self.source, &|done| say(self.words.moving, done))?;
        let taken = taken.ok_or_else(|| {
            Error::not_found(format!("blob {} is on neither side", descriptor.digest))
                .hint("the image has to be pulled or built again, whole")
        })?;
        say(
            match taken {
                Taken::Was => "Layer already exists",
                Taken::Mounted => "Mounted",
                Taken::Sent => self.words.done,
            },
            descriptor.size,
        );
        Ok(())
    }

    fn below(&self, document: &Raw, depth: usize, tree: &mut Tree) -> Result<()> {
        for entry in entries(document)? {
            if tree.seen.len() >= MOST {
                return Err(Error::invalid(format!(
                    "{} leads to more than {MOST} manifests and blobs",
                    document.digest
                )));
            }
            if !tree.seen.insert(entry.digest.clone()) {
                continue;
            }
            let is_document =
                media_type::is_index(&entry.media_type) || media_type::is_manifest(&entry.media_type);
            if !is_document {
                // Where it is to be had, its manifest says; a registry may not hold it.
                if !media_type::is_foreign_layer(&entry.media_type) || entry.urls.is_empty() {
                    tree.blobs.push(entry);
                }
                continue;
            }
            if self.target.has_document(&entry.digest)? {
                continue;
            }
            match self.source.document(&entry)? {
                None => tree.missing.push(entry),
                Some(_) if depth == 0 => {
                    return Err(Error::invalid(format!(
                        "{} is an index of too many indexes",
                        document.digest
                    )));
                }
                Some(child) => {
                    self.below(&child, depth - 1, tree)?;
                    tree.documents.push(child);
                }
            }
        }
        Ok(())
    }
}

impl Raw {
    /// Of bytes that say themselves what they are, or of which it was said.
    pub fn new(bytes: Vec<u8>, said: Option<&str>) -> Result<Raw> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Kind {
            media_type: Option<String>,
            manifests: Option<serde::de::IgnoredAny>,
        }
        let digest = Digest::sha256(&bytes);
        let kind: Kind =
            serde_json::from_slice(&bytes).map_err(|e| Error::invalid(format!("manifest {digest}: {e}")))?;
        let shape = match kind.manifests {
            Some(_) => media_type::OCI_INDEX,
            None => media_type::OCI_MANIFEST,
        };
        let media_type = kind.media_type.or(said.map(str::to_owned)).unwrap_or_else(|| shape.to_owned());
        Ok(Raw { media_type, digest, bytes })
    }

    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(&self.media_type, self.digest.clone(), self.bytes.len() as u64)
    }

    pub fn is_index(&self) -> bool {
        media_type::is_index(&self.media_type)
    }

    pub fn index(&self) -> Result<Index> {
        serde_json::from_slice(&self.bytes).map_err(|e| Error::invalid(format!("index {}: {e}", self.digest)))
    }

    pub fn manifest(&self) -> Result<Manifest> {
        serde_json::from_slice(&self.bytes)
            .map_err(|e| Error::invalid(format!("manifest {}: {e}", self.digest)))
    }
}

/// Why the bytes of a blob did not come, or did not go: what the registry said, where it was that.
pub(crate) fn made_error(digest: &Digest, error: io::Error) -> Error {
    match error.downcast::<registry::Error>() {
        Ok(error) => error.into(),
        Err(error) => Error::io(format!("blob {digest}"), &error),
    }
}

/// What a document leads to: manifests, or config and layers.
fn entries(document: &Raw) -> Result<Vec<Descriptor>> {
    if document.is_index() {
        return Ok(document.index()?.manifests);
    }
    let Manifest { config, layers, .. } = document.manifest()?;
    Ok([config].into_iter().chain(layers).collect())
}
