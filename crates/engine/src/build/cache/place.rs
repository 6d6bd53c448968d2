//! Where shared caches are: a registry, an OCI layout on disk, a bucket of S3.
//!
//! Whatever is read here is hostile: documents are bounded before they are fetched and compared with their digests.

use std::collections::HashMap;
use std::io::Read;

use oci::{Descriptor, Digest, Document, ImageConfig, Index, Manifest, media_type};
use registry::{Client, Repository};

use super::bucket::BucketCache;
use super::config::{self, CacheConfig, Contents, Made};
use super::request::{CacheFromPlace, CacheToPlace};
use crate::build::elsewhere::Holder;
use crate::transfer::layout::Layout;
use crate::transfer::{Raw, Source, Target, remote};
use crate::{Error, Result};

/// The largest image config taken, in bytes: what the store takes.
const IMAGE_CONFIG_LIMIT: u64 = 8 << 20;
/// Images of an index that are looked at for a cache within.
const MOST_IMAGES: usize = 16;

/// Where a cache is.
pub(crate) enum Place {
    Registry { repository: Repository, tag: String, name: String },
    Layout { layout: Layout, tag: String, name: String },
    Bucket(Box<BucketCache>),
}

impl Place {
    /// Where a cache is read.
    pub fn from(client: &Client, place: &CacheFromPlace) -> Result<Place> {
        Ok(match place {
            CacheFromPlace::Registry(reference) => Place::registry(client, reference),
            CacheFromPlace::Local { path, name } => Place::Layout {
                layout: Layout::open(path)?,
                tag: name.clone().unwrap_or_else(|| "latest".to_owned()),
                name: path.display().to_string(),
            },
            CacheFromPlace::S3(settings) => Place::Bucket(Box::new(BucketCache::new(client, settings)?)),
        })
    }

    /// Where a cache is written; `None`: in the image.
    pub fn to(client: &Client, place: &CacheToPlace) -> Result<Option<Place>> {
        Ok(Some(match place {
            CacheToPlace::Inline => return Ok(None),
            CacheToPlace::Registry(reference) => Place::registry(client, reference),
            CacheToPlace::Local { path, tag } => Place::Layout {
                layout: Layout::open_or_make(path)?,
                tag: tag.clone(),
                name: path.display().to_string(),
            },
            CacheToPlace::S3(settings) => Place::Bucket(Box::new(BucketCache::new(client, settings)?)),
        }))
    }

    fn registry(client: &Client, reference: &oci::Reference) -> Place {
        let repository = client.repository(reference);
        let tag = match (&reference.digest, &reference.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.clone().unwrap_or_else(|| oci::DEFAULT_TAG.to_owned()),
        };
        Place::Registry { repository, tag, name: reference.familiar() }
    }

    /// For people.
    pub fn name(&self) -> String {
        match self {
            Place::Registry { name, .. } | Place::Layout { name, .. } => name.clone(),
            Place::Bucket(bucket) => bucket.name(),
        }
    }

    /// Whom its blobs are asked of.
    pub fn holder(&self) -> Holder {
        let source: Box<dyn Source + Send> = match self {
            Place::Registry { repository, .. } => Box::new(repository.clone()),
            Place::Layout { layout, .. } => Box::new(layout.reader()),
            Place::Bucket(bucket) => bucket.clone(),
        };
        Holder { name: self.name(), source }
    }

    fn source(&self) -> &dyn Source {
        match self {
            Place::Registry { repository, .. } => repository,
            Place::Layout { layout, .. } => layout,
            Place::Bucket(bucket) => &**bucket,
        }
    }

    /// Whom blobs are sent to.
    pub fn target(&self) -> &dyn Target {
        match self {
            Place::Registry { repository, .. } => repository,
            Place::Layout { layout, .. } => layout,
            Place::Bucket(bucket) => &**bucket,
        }
    }

    /// Whether the cache there is just this one, whose blobs cannot be missing then.
    pub fn has(&self, manifest: &Raw) -> Result<bool> {
        Ok(match self {
            Place::Registry { repository, tag, .. } => {
                repository.head(tag)?.is_some_and(|head| head.digest == manifest.digest)
            }
            Place::Layout { layout, tag, .. } => {
                layout.find(Some(tag)).is_ok_and(|found| found.digest == manifest.digest)
                    && layout.has_document(&manifest.digest)?
            }
            // Objects may age and go one by one.
            Place::Bucket(_) => false,
        })
    }

    /// Lets the name there stand for this cache, whose blobs are there.
    pub fn publish(&self, manifest: &Raw, config: &[u8]) -> Result<()> {
        match self {
            Place::Registry { repository, tag, .. } => remote::put(repository, tag, manifest),
            Place::Layout { layout, tag, .. } => {
                layout.put_document(manifest)?;
                layout.list(&manifest.descriptor(), Some(tag))
            }
            Place::Bucket(bucket) => match bucket.config(config::LIMIT)? {
                Some(held) if held == config => Ok(()),
                _ => bucket.publish(config),
            },
        }
    }

    /// What the cache has; `None`: there is none.
    ///
    /// # Errors
    /// For one that cannot be reached, or is not what it should be.
    pub fn load(&self) -> Result<Option<Contents>> {
        let document = match self {
            Place::Registry { repository, tag, .. } => match repository.manifest(tag) {
                Ok(found) => Raw { media_type: found.media_type, digest: found.digest, bytes: found.bytes },
                Err(registry::Error::NoManifest { .. } | registry::Error::NoRepository { .. }) => {
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            },
            Place::Layout { layout, tag, .. } => {
                let found = layout.find(Some(tag))?;
                layout.document(&found)?.ok_or_else(|| missing(&found))?
            }
            Place::Bucket(bucket) => {
                let Some(bytes) = bucket.config(config::LIMIT)? else { return Ok(None) };
                return Ok(Some(CacheConfig::parse(&bytes)?.contents(&HashMap::new())));
            }
        };
        match document.is_index() {
            true => self.load_index(&document.index()?),
            false => self.load_manifest(&document.manifest()?),
        }
    }

    fn load_manifest(&self, manifest: &Manifest) -> Result<Option<Contents>> {
        if manifest.config.media_type == config::MEDIA_TYPE {
            return self.load_config(&manifest.config, &manifest.layers).map(Some);
        }
        if !media_type::is_config(&manifest.config.media_type) {
            return Err(Error::invalid(format!(
                "it is neither a cache nor an image: its config has media type {}",
                manifest.config.media_type
            )));
        }
        let bytes = self.read(&manifest.config, IMAGE_CONFIG_LIMIT)?;
        let image: Document<ImageConfig> =
            Document::parse("image config", bytes).map_err(|e| Error::invalid(e.to_string()))?;
        config::inline(&image.value, &manifest.layers)
    }

    /// An index that is a cache; else the caches within its images.
    fn load_index(&self, index: &Index) -> Result<Option<Contents>> {
        let is_config = |entry: &&Descriptor| entry.media_type == config::MEDIA_TYPE;
        if let Some(found) = index.manifests.iter().find(is_config) {
            return self.load_config(found, &index.manifests).map(Some);
        }
        let mut all: Option<Contents> = None;
        let images = index.manifests.iter().filter(|entry| media_type::is_manifest(&entry.media_type));
        for image in images.take(MOST_IMAGES) {
            let Some(document) = self.source().document(image)? else { continue };
            if document.is_index() || !media_type::is_config(&document.manifest()?.config.media_type) {
                continue;
            }
            let Some(found) = self.load_manifest(&document.manifest()?)? else { continue };
            let all = all.get_or_insert_default();
            let first = all.layers.len();
            all.layers.extend(found.layers);
            let moved = |made: Made| Made { layer: first + made.layer, ..made };
            all.by_key.extend(found.by_key.into_iter().map(|(key, made)| (key, moved(made))));
        }
        Ok(all)
    }

    fn load_config(&self, config: &Descriptor, blobs: &[Descriptor]) -> Result<Contents> {
        let bytes = self.read(config, config::LIMIT)?;
        let blobs = blobs.iter().map(|blob| (blob.digest.clone(), blob.clone())).collect();
        Ok(CacheConfig::parse(&bytes)?.contents(&blobs))
    }

    /// A small blob, whole and verified.
    pub fn read(&self, blob: &Descriptor, limit: u64) -> Result<Vec<u8>> {
        read_small(self.source(), blob, limit)
    }
}

/// A blob of at most `limit` bytes, whole and verified.
pub(crate) fn read_small(source: &dyn Source, blob: &Descriptor, limit: u64) -> Result<Vec<u8>> {
    let digest = &blob.digest;
    if blob.size > limit {
        let size = blob.size;
        return Err(Error::invalid(format!("blob {digest} has {size} bytes, more than the {limit} allowed")));
    }
    let failed = |e| crate::transfer::made_error(digest, e);
    let mut open = source.blob(blob)?.ok_or_else(|| missing(blob))?;
    let mut bytes = Vec::new();
    open(0).map_err(failed)?.take(blob.size + 1).read_to_end(&mut bytes).map_err(failed)?;
    let found = Digest::sha256(&bytes);
    match found == *digest {
        true => Ok(bytes),
        false => Err(Error::invalid(format!("what came as blob {digest} is {found}"))),
    }
}

fn missing(blob: &Descriptor) -> Error {
    Error::not_found(format!("{} is not there", blob.digest))
}
