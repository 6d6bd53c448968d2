//! The store as a source: blobs that are here, and layers that are compressed again to what they once left as.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use oci::{Descriptor, DiffId, Digest, Hasher, media_type};
use snapshot::compress::Method;
use store::Store;

use super::{MANIFEST_LIMIT, Open, Raw, Source, made};
use crate::Result;

/// The store.
pub(crate) struct Stored<'a> {
    store: &'a Store,
    threads: usize,
    /// Whether a layer was compressed again and became something else than it once did.
    changed: Arc<AtomicBool>,
}

impl<'a> Stored<'a> {
    /// Layers are compressed on `threads` threads each.
    pub fn new(store: &'a Store, threads: usize) -> Stored<'a> {
        Stored { store, threads, changed: Arc::default() }
    }

    /// Whether a layer does not become what it once did: another release of a compressor.
    pub fn has_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }

    /// The layer that is to be had as the blob `digest`, and how it is made unless that is here.
    fn layer(&self, digest: &Digest) -> Result<Option<(DiffId, Option<Method>)>> {
        if let Some(known) = self.store.compressed_to(digest)?
            && let Ok(method) = known.method.parse()
        {
            return Ok(Some((known.diff_id, Some(method))));
        }
        let plain = DiffId(digest.clone());
        Ok(self.store.snapshot_of_layer(&plain)?.map(|_| (plain, None)))
    }
}

impl Source for Stored<'_> {
    fn document(&self, descriptor: &Descriptor) -> Result<Option<Raw>> {
        if !self.store.has_blob(&descriptor.digest)? {
            return Ok(None);
        }
        let bytes = self.store.read_blob(&descriptor.digest, MANIFEST_LIMIT)?;
        Ok(Some(Raw::new(bytes, Some(&descriptor.media_type))?))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Option<Open<'_>>> {
        let digest = descriptor.digest.clone();
        if self.store.has_blob(&digest)? {
            return Ok(Some(Box::new(move |offset| {
                let mut file = self.store.open_blob(&digest).map_err(io::Error::other)?;
                file.seek(SeekFrom::Start(offset))?;
                Ok(Box::new(file) as Box<dyn Read + Send>)
            })));
        }
        let Some((diff_id, method)) = self.layer(&digest)? else { return Ok(None) };
        let size = descriptor.size;
        Ok(Some(Box::new(move |offset| {
            let made = made::stream(self.store, &diff_id, method, self.threads).map_err(io::Error::other)?;
            let mut made = Checked {
                inner: made,
                hasher: Hasher::new(),
                wanted: digest.clone(),
                size,
                changed: Arc::clone(&self.changed),
            };
            // Compressing again is the price of a cut; the bytes are not kept for it.
            io::copy(&mut (&mut made).take(offset), &mut io::sink())?;
            Ok(Box::new(made) as Box<dyn Read + Send>)
        })))
    }

    fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>> {
        let mut found = Vec::new();
        for (_, listed) in self.store.manifests()? {
            let Some(raw) = self.document(&Descriptor::new("", listed, 0))? else { continue };
            if raw.is_index() {
                continue;
            }
            if raw.manifest().is_ok_and(|manifest| manifest.subject.is_some_and(|s| s.digest == *digest)) {
                found.push(raw.descriptor());
            }
        }
        Ok(found)
    }

    fn mounted_at(&self, registry: &str, but: &str, descriptor: &Descriptor) -> Result<Option<String>> {
        if !media_type::is_layer(&descriptor.media_type) {
            return Ok(None);
        }
        let layer = match self.store.layer_of_blob(&descriptor.digest)? {
            Some(layer) => Some(layer),
            None => self.store.compressed_to(&descriptor.digest)?.map(|known| known.diff_id),
        };
        let Some(layer) = layer else { return Ok(None) };
        let known = self.store.repositories_with_layer(registry, &layer)?;
        Ok(known.into_iter().find(|repository| repository != but))
    }
}

/// Lets what is made again come to its last byte only if all of it is what was wanted.
struct Checked<R> {
    inner: R,
    hasher: Hasher,
    wanted: Digest,
    size: u64,
    changed: Arc<AtomicBool>,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let before = self.hasher.len();
        if before == self.size {
            return Ok(0);
        }
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        let ended = self.hasher.len() >= self.size || (n == 0 && !buffer.is_empty());
        if ended && self.hasher.clone().finish() != self.wanted {
            self.changed.store(true, Ordering::Relaxed);
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a layer that was {} once is compressed to other bytes now", self.wanted),
            ));
        }
        Ok(n)
    }
}
