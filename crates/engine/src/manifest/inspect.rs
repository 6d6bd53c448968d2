//! What a name stands for, here or at a registry.

use oci::{DEFAULT_TAG, Descriptor, Document, Reference};
use registry::Client;

use super::entry::{is_meant, without_notes};
use super::{find, no_list};
use crate::transfer::{self, Raw};
use crate::{Engine, Error, Result};

/// A manifest or index, and what is in it.
#[derive(Debug, Clone)]
pub struct Inspected {
    /// The name it was asked for by, with its digest in place of the tag for what is listed.
    pub reference: Reference,
    /// What it is, with the platform where that is known.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Of an index what it lists, if that was asked for and can be had.
    pub listed: Vec<Inspected>,
}

/// What `name` stands for: a list that was put together here, else what its registry has, else an image of the store.
/// With `list`, the entry of that list. With `verbose` also what an index lists.
pub fn inspect(
    engine: &Engine,
    list: Option<&Reference>,
    name: &str,
    verbose: bool,
    client: &Client,
) -> Result<Inspected> {
    if let Some(list) = list {
        let index = find(engine, list)?.ok_or_else(|| no_list(list))?;
        let entry =
            index.manifests.into_iter().find(|entry| is_meant(entry, name)).ok_or_else(|| {
                Error::not_found(format!("No such manifest: {name} in {}", list.familiar()))
            })?;
        return listed(engine, list, entry, client);
    }
    let reference = Reference::parse(name.strip_prefix("docker://").unwrap_or(name))?.with_default_tag();
    if reference.digest.is_none()
        && let Some(index) = find(engine, &reference)?
    {
        let entries = index.manifests.clone();
        let mut shown = index;
        shown.manifests = shown.manifests.into_iter().map(without_notes).collect();
        let raw = Raw::new(Document::of(shown).bytes, None)?;
        return whole(engine, &reference, raw, verbose.then_some(entries), client);
    }
    let repository = client.repository(&reference);
    let asked = match (&reference.digest, &reference.tag) {
        (Some(digest), _) => digest.as_str(),
        (None, tag) => tag.as_deref().unwrap_or(DEFAULT_TAG),
    };
    let found = repository.manifest(asked)?;
    let raw = Raw { media_type: found.media_type, digest: found.digest, bytes: found.bytes };
    let entries = match verbose && raw.is_index() {
        true => Some(raw.index()?.manifests),
        false => None,
    };
    whole(engine, &reference, raw, entries, client)
}

fn whole(
    engine: &Engine,
    reference: &Reference,
    raw: Raw,
    entries: Option<Vec<Descriptor>>,
    client: &Client,
) -> Result<Inspected> {
    let listed = match entries {
        None => Vec::new(),
        Some(entries) => entries
            .into_iter()
            .map(|entry| listed(engine, reference, entry, client))
            .collect::<Result<_>>()?,
    };
    Ok(Inspected { reference: reference.clone(), descriptor: raw.descriptor(), bytes: raw.bytes, listed })
}

/// An entry with what it is: from the store, or from where it came.
fn listed(engine: &Engine, list: &Reference, entry: Descriptor, client: &Client) -> Result<Inspected> {
    let origin = super::origin(&entry).unwrap_or_else(|| list.clone());
    let bytes = match engine.store.has_blob(&entry.digest)? {
        true => engine.store.read_blob(&entry.digest, transfer::MANIFEST_LIMIT)?,
        false => client.repository(&origin).manifest(entry.digest.as_str())?.bytes,
    };
    let reference = Reference { tag: None, digest: Some(entry.digest.clone()), ..origin };
    Ok(Inspected { reference, descriptor: without_notes(entry), bytes, listed: Vec::new() })
}
