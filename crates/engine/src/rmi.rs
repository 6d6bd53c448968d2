//! `rmi`: takes names away from images, and the image with the last one; Docker's rules of what needs force.
//!
//! A name goes alone while the image has others. By ID an image goes with its one name; with names in several
//! repositories that needs force. A stopped container of the image needs force, a running one cannot be forced.

use oci::{ChainId, ImageId, Reference};
use store::{ContainerRecord, RepoDigest};

use crate::{Engine, Error, Result, images};

/// One thing that went, in the order Docker tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name, in familiar form.
    Untagged(String),
    /// The image.
    Image(ImageId),
    /// A layer that nothing needs any more, by the ChainID of the stack up to it.
    Layer(ChainId),
}

/// Everything that names one image.
struct Names {
    tags: Vec<Reference>,
    digests: Vec<RepoDigest>,
}

impl Names {
    fn of(engine: &Engine, id: &ImageId) -> Result<Names> {
        Ok(Names { tags: engine.store.references_of(id)?, digests: engine.store.repo_digests(id)? })
    }

    fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.digests.is_empty()
    }

    /// At most one tag, and all in one repository.
    fn is_single(&self) -> bool {
        let mut repositories: Vec<String> = self
            .tags
            .iter()
            .map(Reference::name)
            .chain(self.digests.iter().map(|d| d.name.clone()))
            .collect();
        repositories.sort();
        repositories.dedup();
        self.tags.len() <= 1 && repositories.len() == 1
    }
}

/// Removes what `text` names: a tag, a digest of a repository, or an image by its ID or the beginning of one.
pub fn remove(engine: &Engine, text: &str, force: bool) -> Result<Vec<Removed>> {
    let id = engine.store.resolve(text)?;
    let names = Names::of(engine, &id)?;
    let containers: Vec<ContainerRecord> =
        engine.store.containers()?.into_iter().filter(|container| container.image == id).collect();
    let mut removed = Vec::new();
    let by_name = !is_id_prefix(&id, text);
    if by_name {
        if let Some(container) = containers.first()
            && !force
            && names.is_single()
        {
            return Err(Error::conflict(format!(
                "conflict: unable to remove repository reference {text:?} (must force) - container {} is using its referenced image {}",
                short(&container.id),
                id.short()
            )));
        }
        untag(engine, text, &id, names, &mut removed)?;
        if !Names::of(engine, &id)?.is_empty() {
            return Ok(removed);
        }
        // The name was what was asked for and is gone; the image itself may have to stay.
        if conflict(engine, &id, &containers, force)?.is_some() {
            return Ok(removed);
        }
    } else {
        if let Some(error) = conflict(engine, &id, &containers, force)? {
            return Err(error);
        }
        if !force && !names.is_empty() && !names.is_single() {
            return Err(Error::conflict(format!(
                "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
                id.short()
            )));
        }
    }
    let gone = engine.store.remove_image(&id)?;
    removed.extend(gone.untagged.iter().map(|name| Removed::Untagged(familiar(name))));
    removed.push(Removed::Image(id));
    removed.extend(gone.snapshots.into_iter().map(Removed::Layer));
    Ok(removed)
}

/// Takes one name away. With the last tag of a repository, that repository's digests go too.
fn untag(engine: &Engine, text: &str, id: &ImageId, names: Names, removed: &mut Vec<Removed>) -> Result<()> {
    let reference = Reference::parse(text)?.with_default_tag();
    if let Some(digest) = &reference.digest {
        // Named by the digest of a manifest: it is a repository digest, or the manifest the image came with.
        engine.store.remove_repo_digest(&reference.name(), digest)?;
        let shown = Reference { tag: None, ..reference.clone() };
        removed.push(Removed::Untagged(shown.familiar()));
        return Ok(());
    }
    engine.store.remove_reference(&reference)?;
    removed.push(Removed::Untagged(reference.familiar()));
    let more_tags = names.tags.iter().any(|tag| *tag != reference && tag.name() == reference.name());
    if !more_tags {
        for digest in names.digests.iter().filter(|digest| digest.name == reference.name()) {
            let named = engine.store.remove_repo_digest(&digest.name, &digest.digest)?;
            if named.as_ref() == Some(id) {
                let name = images::familiar_name(&digest.name);
                removed.push(Removed::Untagged(format!("{name}@{}", digest.digest)));
            }
        }
    }
    Ok(())
}

/// Why the image has to stay because of a container or a manifest list, if it has to.
fn conflict(
    engine: &Engine,
    id: &ImageId,
    containers: &[ContainerRecord],
    force: bool,
) -> Result<Option<Error>> {
    for container in containers {
        if engine.store.container_locked(&container.id)? {
            return Ok(Some(Error::conflict(format!(
                "conflict: unable to delete {} (cannot be forced) - image is being used by running container {}",
                id.short(),
                short(&container.id)
            ))));
        }
    }
    if force {
        return Ok(None);
    }
    if let Some(container) = containers.first() {
        return Ok(Some(Error::conflict(format!(
            "conflict: unable to delete {} (must be forced) - image is being used by stopped container {}",
            id.short(),
            short(&container.id)
        ))));
    }
    Ok(engine.store.is_listed(id)?.then(|| {
        Error::conflict(format!(
            "conflict: unable to delete {} (must be forced) - image is in a manifest list",
            id.short()
        ))
    }))
}

/// Whether `text` is the image's ID or the beginning of it, with or without `sha256:`.
fn is_id_prefix(id: &ImageId, text: &str) -> bool {
    !text.is_empty() && (id.hex().starts_with(text) || id.to_string().starts_with(text))
}

fn short(container: &str) -> &str {
    container.get(..12).unwrap_or(container)
}

fn familiar(name: &str) -> String {
    Reference::parse(name).map_or_else(|_| name.to_owned(), |reference| reference.familiar())
}
