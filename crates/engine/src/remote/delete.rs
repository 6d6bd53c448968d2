//! `rmi --remote`: takes a tag away from a repository at its registry, or a manifest with all its tags.
//!
//! Registries may leave out the deletion of tags alone (distribution specification, "Deleting tags"), and most do: then
//! the manifest has to go, and with it other tags. That is done where there are none, or where force is used.

use registry::{Client, Repository};

use crate::remote::{name, reference};
use crate::{Error, Kind, Result};

/// The most tags that are looked at for another name of the same manifest.
const TAGS_LIMIT: usize = 1_000;

/// What went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deleted {
    /// The tag, in familiar form; its manifest stays.
    Tag(String),
    /// The manifest, `repository@digest` in familiar form.
    Manifest(String),
}

/// Deletes what `text` names: by a digest the manifest; by a tag (`latest` where there is neither) the tag.
///
/// # Errors
/// [`Kind::Conflict`] where other tags would go too, unless `force`; [`Kind::Unsupported`] where the registry deletes
/// nothing.
pub fn delete(client: &Client, text: &str, force: bool) -> Result<Vec<Deleted>> {
    let reference = reference(text)?.with_default_tag();
    let repository = client.repository(&reference).without_mirrors();
    let familiar = reference.familiar_name();
    let missing = || Error::not_found(format!("No such image at its registry: {}", reference.familiar()));
    if let Some(digest) = &reference.digest {
        repository.delete_manifest(digest).map_err(|error| refused(error, &repository))?;
        return Ok(vec![Deleted::Manifest(format!("{familiar}@{digest}"))]);
    }
    let tag = name(&reference);
    let found = repository.head(tag)?.ok_or_else(missing)?;
    match repository.delete_tag(tag) {
        Ok(()) => return Ok(vec![Deleted::Tag(reference.familiar())]),
        Err(error) if is_unsupported(&error) => {}
        Err(error) => return Err(refused(error, &repository)),
    }
    if !force {
        let others = others(&repository, tag, &found.digest)?;
        if !others.is_empty() {
            return Err(Error::new(
                Kind::Conflict,
                format!(
                    "{} has no tags deleted alone, and its manifest {} is also {}",
                    repository.registry(),
                    found.digest,
                    others.join(", ")
                ),
            )
            .hint("with --force it is deleted under all its names"));
        }
    }
    repository.delete_manifest(&found.digest).map_err(|error| refused(error, &repository))?;
    Ok(vec![Deleted::Tag(reference.familiar()), Deleted::Manifest(format!("{familiar}@{}", found.digest))])
}

/// Other tags of the same manifest.
fn others(repository: &Repository, tag: &str, digest: &oci::Digest) -> Result<Vec<String>> {
    let mut others = Vec::new();
    for (seen, other) in repository.tags().enumerate() {
        let other = other?;
        if seen >= TAGS_LIMIT {
            others.push("perhaps other tags (there are too many to look at each)".to_owned());
            break;
        }
        if other != tag && repository.head(&other)?.is_some_and(|found| found.digest == *digest) {
            others.push(other);
        }
    }
    Ok(others)
}

/// What registries answer that do not delete tags: a word that they do not, or that a digest is wanted.
fn is_unsupported(error: &registry::Error) -> bool {
    match error {
        registry::Error::Status { status, .. } => matches!(status, 400 | 405 | 501),
        registry::Error::NoManifest { .. } => true,
        _ => false,
    }
}

fn refused(error: registry::Error, repository: &Repository) -> Error {
    match &error {
        registry::Error::Status { status: 405, .. } => Error::new(
            Kind::Unsupported,
            format!("registry {} deletes nothing: {error}", repository.registry()),
        )
        .hint("deletion is often switched off: see the registry's configuration"),
        _ => error.into(),
    }
}
