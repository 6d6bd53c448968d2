//! What leaves a build: blobs of the store, layers that are still elsewhere, and what was only just made for it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use oci::{Descriptor, Digest};

use crate::Result;
use crate::build::elsewhere::Holder;
use crate::transfer::stored::Stored;
use crate::transfer::{Open, Raw, Source};

/// Blobs by digest, wherever they are; those that are in none of the maps are the store's.
pub(crate) struct Sent<'a> {
    pub stored: Stored<'a>,
    /// Blobs that are with others.
    pub holders: HashMap<Digest, Arc<Holder>>,
    /// Files on the host.
    pub files: HashMap<Digest, PathBuf>,
    /// Small ones.
    pub bytes: HashMap<Digest, Vec<u8>>,
}

impl<'a> Sent<'a> {
    /// The store's blobs.
    pub fn new(stored: Stored<'a>) -> Sent<'a> {
        Sent { stored, holders: HashMap::new(), files: HashMap::new(), bytes: HashMap::new() }
    }
}

impl Source for Sent<'_> {
    fn document(&self, descriptor: &Descriptor) -> Result<Option<Raw>> {
        self.stored.document(descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Option<Open<'_>>> {
        if let Some(bytes) = self.bytes.get(&descriptor.digest) {
            return Ok(Some(Box::new(move |offset| {
                let at = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Ok(Box::new(io::Cursor::new(bytes[at..].to_vec())) as Box<dyn Read + Send>)
            })));
        }
        if let Some(path) = self.files.get(&descriptor.digest) {
            return Ok(Some(Box::new(move |offset| {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(offset))?;
                Ok(Box::new(file) as Box<dyn Read + Send>)
            })));
        }
        if let Some(held) = self.stored.blob(descriptor)? {
            return Ok(Some(held));
        }
        match self.holders.get(&descriptor.digest) {
            Some(holder) => holder.source.blob(descriptor),
            None => Ok(None),
        }
    }

    fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>> {
        self.stored.referrers(digest)
    }

    fn mounted_at(&self, registry: &str, but: &str, descriptor: &Descriptor) -> Result<Option<String>> {
        if let Some(holder) = self.holders.get(&descriptor.digest)
            && let Some(found) = holder.source.mounted_at(registry, but, descriptor)?
        {
            return Ok(Some(found));
        }
        self.stored.mounted_at(registry, but, descriptor)
    }
}
