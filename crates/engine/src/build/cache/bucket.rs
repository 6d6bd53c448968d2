//! A cache in a bucket of S3: objects named as BuildKit names them.
//!
//! Blobs lie under their digests; the cache's names lead to cache configs, without manifests in between.

use std::io::{self, Read};

use oci::{Descriptor, Digest};
use registry::s3::Bucket;

use super::request::S3Cache;
use crate::transfer::{self, Open, Raw, Source, Taken, Target};
use crate::{Error, Result};

/// A cache in a bucket.
#[derive(Clone)]
pub(crate) struct BucketCache {
    bucket: Bucket,
    settings: S3Cache,
}

impl BucketCache {
    /// The cache that is described. Nothing is sent yet.
    pub fn new(client: &registry::Client, settings: &S3Cache) -> Result<BucketCache> {
        Ok(BucketCache { bucket: Bucket::new(client, &settings.bucket)?, settings: settings.clone() })
    }

    /// For people.
    pub fn name(&self) -> String {
        format!("{}/{}{}", self.bucket.shown(), self.settings.prefix, self.settings.names.join(";"))
    }

    /// The cache config that it is read by.
    pub fn config(&self, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(name) = self.settings.names.first() else { return Ok(None) };
        Ok(self.bucket.small(&self.manifest_key(name), limit)?)
    }

    /// Lets all the names lead to this cache config.
    pub fn publish(&self, config: &[u8]) -> Result<()> {
        for name in &self.settings.names {
            let mut open = || Ok(Box::new(io::Cursor::new(config.to_vec())) as Box<dyn Read + Send>);
            self.bucket.write(&self.manifest_key(name), config.len() as u64, &mut open)?;
        }
        Ok(())
    }

    fn manifest_key(&self, name: &str) -> String {
        format!("{}{}{name}", self.settings.prefix, self.settings.manifests_prefix)
    }

    fn blob_key(&self, digest: &Digest) -> String {
        format!("{}{}{digest}", self.settings.prefix, self.settings.blobs_prefix)
    }
}

impl Source for BucketCache {
    fn document(&self, _: &Descriptor) -> Result<Option<Raw>> {
        Ok(None)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Option<Open<'_>>> {
        let (key, size) = (self.blob_key(&descriptor.digest), descriptor.size);
        Ok(Some(Box::new(move |at| {
            let body = self.bucket.read(&key, at).map_err(io::Error::other)?;
            let bucket = self.bucket.clone();
            Ok(Box::new(ObjectReader { bucket, key: key.clone(), size, at, body, cuts: 0 }) as _)
        })))
    }

    fn referrers(&self, _: &Digest) -> Result<Vec<Descriptor>> {
        Ok(Vec::new())
    }

    fn mounted_at(&self, _: &str, _: &str, _: &Descriptor) -> Result<Option<String>> {
        Ok(None)
    }
}

impl Target for BucketCache {
    fn has_document(&self, _: &Digest) -> Result<bool> {
        Ok(false)
    }

    fn take_blob(
        &self,
        descriptor: &Descriptor,
        source: &dyn Source,
        progress: &dyn Fn(u64),
    ) -> Result<Option<Taken>> {
        let key = self.blob_key(&descriptor.digest);
        if self.bucket.size(&key)? == Some(descriptor.size) {
            return Ok(Some(Taken::Was));
        }
        let Some(mut open) = source.blob(descriptor)? else { return Ok(None) };
        self.bucket.write(&key, descriptor.size, &mut || open(0)).map_err(|error| match error {
            registry::Error::Local { source, .. } => transfer::made_error(&descriptor.digest, source),
            error => Error::from(error),
        })?;
        progress(descriptor.size);
        Ok(Some(Taken::Sent))
    }

    fn put_document(&self, raw: &Raw) -> Result<()> {
        Err(Error::internal(format!("a bucket has no manifests, and {} is one", raw.digest)))
    }
}

/// How often in a row a connection may be cut without bringing anything.
const CUTS: u32 = 3;

/// An object's bytes; where the connection is cut it is gone on with.
struct ObjectReader {
    bucket: Bucket,
    key: String,
    size: u64,
    at: u64,
    body: Box<dyn Read + Send>,
    cuts: u32,
}

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let cut = match self.body.read(buffer) {
                Ok(0) if self.at < self.size && !buffer.is_empty() => io::ErrorKind::UnexpectedEof.into(),
                Ok(n) => {
                    self.at += n as u64;
                    self.cuts = 0;
                    return Ok(n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            self.cuts += 1;
            if self.cuts > CUTS {
                return Err(cut);
            }
            self.body = self.bucket.read(&self.key, self.at).map_err(io::Error::other)?;
        }
    }
}
