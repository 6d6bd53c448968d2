//! A repository of a registry as a source and as a target.

use std::io::{self, Read, Write};

use oci::{Descriptor, Digest, Document, Index, media_type};
use registry::{Mount, Repository, Upload};

use super::{Open, Raw, Source, Taken, Target};
use crate::{Error, Result};

/// Bytes read at once from the source of a blob.
const PIECE: usize = 256 << 10;
/// Entries of a referrers' tag, beyond which none is added.
const MOST_REFERRERS: usize = 5_000;

impl Source for Repository {
    fn document(&self, descriptor: &Descriptor) -> Result<Option<Raw>> {
        match self.manifest(descriptor.digest.as_str()) {
            Ok(found) => {
                Ok(Some(Raw { media_type: found.media_type, digest: found.digest, bytes: found.bytes }))
            }
            Err(registry::Error::NoManifest { .. } | registry::Error::NoRepository { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Option<Open<'_>>> {
        let descriptor = descriptor.clone();
        Ok(Some(Box::new(move |offset| {
            let reader = Repository::blob(self, &descriptor, offset).map_err(io::Error::other)?;
            Ok(Box::new(reader) as Box<dyn Read + Send>)
        })))
    }

    fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>> {
        Ok(Repository::referrers(self, digest, None)?.manifests)
    }

    fn mounted_at(&self, registry: &str, but: &str, _: &Descriptor) -> Result<Option<String>> {
        Ok((self.registry() == registry && self.name() != but).then(|| self.name().to_owned()))
    }
}

impl Target for Repository {
    fn has_document(&self, digest: &Digest) -> Result<bool> {
        Ok(self.head(digest.as_str())?.is_some())
    }

    fn take_blob(
        &self,
        descriptor: &Descriptor,
        source: &dyn Source,
        progress: &dyn Fn(u64),
    ) -> Result<Option<Taken>> {
        if self.has_blob(&descriptor.digest)?.is_some() {
            return Ok(Some(Taken::Was));
        }
        let mut begun = None;
        if let Some(from) = source.mounted_at(self.registry(), self.name(), descriptor)? {
            match self.mount(&descriptor.digest, &from) {
                Ok(Mount::Mounted) => return Ok(Some(Taken::Mounted)),
                Ok(Mount::Upload(upload)) => begun = Some(upload),
                // It may be that the other repository may not be read; then it is sent.
                Err(error) if !error.is_passing() => {}
                Err(error) => return Err(error.into()),
            }
        }
        let Some(mut open) = source.blob(descriptor)? else { return Ok(None) };
        match begun {
            Some(upload) => fill(upload, descriptor, &mut open, progress)?,
            None => self.push_blob(descriptor, &mut open, progress)?,
        }
        Ok(Some(Taken::Sent))
    }

    fn put_document(&self, raw: &Raw) -> Result<()> {
        put(self, raw.digest.as_str(), raw)
    }
}

/// Stores a manifest or index called `name`, a tag or its digest; where it refers to another and the registry does not
/// keep account of that, the tag that stands for it does (distribution specification, "Referrers Tag Schema").
///
/// # Errors
/// Of kind `Unsupported` where the registry does not take such a document (400 or 415), perhaps for its media type.
pub(crate) fn put(repository: &Repository, name: &str, raw: &Raw) -> Result<()> {
    let answer = repository.put_manifest(name, &raw.media_type, &raw.bytes).map_err(|error| match error {
        registry::Error::Status { status: 400 | 415, .. } => Error::unsupported(error.to_string()),
        error => error.into(),
    })?;
    if answer.subject_seen {
        return Ok(());
    }
    let Some(subject) = subject(raw) else { return Ok(()) };
    let tag = format!("{}-{}", subject.algorithm(), subject.hex());
    let mut index = match repository.manifest(&tag) {
        Ok(found) => serde_json::from_slice::<Index>(&found.bytes).ok(),
        Err(registry::Error::NoManifest { .. } | registry::Error::NoRepository { .. }) => None,
        Err(error) => return Err(error.into()),
    }
    .unwrap_or_else(|| Index {
        schema_version: 2,
        media_type: Some(media_type::OCI_INDEX.to_owned()),
        artifact_type: None,
        manifests: Vec::new(),
        subject: None,
        annotations: Default::default(),
    });
    let known = index.manifests.iter().any(|entry| entry.digest == raw.digest);
    if known || index.manifests.len() >= MOST_REFERRERS {
        return Ok(());
    }
    index.manifests.push(as_referrer(raw)?);
    let document = Document::of(index);
    repository.put_manifest(&tag, media_type::OCI_INDEX, &document.bytes)?;
    Ok(())
}

/// What a manifest or index refers to.
pub(crate) fn subject(raw: &Raw) -> Option<Digest> {
    let subject = match raw.is_index() {
        true => raw.index().ok()?.subject,
        false => raw.manifest().ok()?.subject,
    };
    subject.map(|subject| subject.digest)
}

/// Its descriptor among the referrers of its subject, with the type and the annotations that it has itself.
pub(crate) fn as_referrer(raw: &Raw) -> Result<Descriptor> {
    let mut entry = raw.descriptor();
    (entry.artifact_type, entry.annotations) = match raw.is_index() {
        true => {
            let index = raw.index()?;
            (index.artifact_type, index.annotations)
        }
        false => {
            let manifest = raw.manifest()?;
            (manifest.artifact_type.or(Some(manifest.config.media_type)), manifest.annotations)
        }
    };
    Ok(entry)
}

/// Sends a blob by an upload that is begun.
fn fill(
    mut upload: Upload,
    descriptor: &Descriptor,
    open: &mut Open<'_>,
    progress: &dyn Fn(u64),
) -> Result<()> {
    let failed = |e: io::Error| super::made_error(&descriptor.digest, e);
    let mut source = open(0).map_err(failed)?;
    let mut buffer = vec![0; PIECE];
    let mut done = 0;
    loop {
        match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                upload.write_all(&buffer[..n]).map_err(failed)?;
                done += n as u64;
                progress(done);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(upload.finish(&descriptor.digest)?)
}
