//! Which shared caches a build looks in and which it writes, as its caller says it.

use std::path::PathBuf;

use oci::Reference;
use registry::s3::BucketOptions;
use snapshot::compress::Method;

/// A shared cache to look results up in (`--cache-from`).
#[derive(Debug, Clone)]
pub struct CacheFrom {
    /// Where it is.
    pub place: CacheFromPlace,
    /// Ids of the cache mounts to be taken from it where they are empty here; `None`: all that it has.
    pub mounts: Option<Vec<String>>,
}

/// Where a cache is read.
#[derive(Debug, Clone)]
pub enum CacheFromPlace {
    /// A cache at a registry, or an image there that has one within.
    Registry(Reference),
    /// An OCI layout in a directory on the host.
    Local {
        /// The directory.
        path: PathBuf,
        /// Name or digest in the layout; `None`: `latest`.
        name: Option<String>,
    },
    /// Objects in a bucket.
    S3(S3Cache),
}

/// A shared cache to be written (`--cache-to`).
#[derive(Debug, Clone)]
pub struct CacheTo {
    /// Where to.
    pub place: CacheToPlace,
    /// Which steps.
    pub mode: CacheMode,
    /// How layers are compressed that were made here.
    pub compression: Method,
    /// Also layers that are known in another compression.
    pub force_compression: bool,
    /// Whose media types.
    pub oci_media_types: bool,
    /// An image manifest, which every registry takes, and not an index.
    pub image_manifest: bool,
    /// Whether the build fails where the cache cannot be written.
    pub required: bool,
    /// Ids of the cache mounts that go along.
    pub mounts: Vec<String>,
}

impl CacheTo {
    /// A cache there as it is written where nothing more is said.
    pub fn new(place: CacheToPlace) -> CacheTo {
        CacheTo {
            place,
            mode: CacheMode::Min,
            compression: Method::GZIP,
            force_compression: false,
            oci_media_types: true,
            image_manifest: true,
            required: false,
            mounts: Vec::new(),
        }
    }
}

/// Where a cache is written.
#[derive(Debug, Clone)]
pub enum CacheToPlace {
    /// In the config of the image itself, wherever that goes.
    Inline,
    /// A registry, under that name.
    Registry(Reference),
    /// An OCI layout in a directory on the host, made where there is none.
    Local {
        /// The directory.
        path: PathBuf,
        /// Its name in the layout.
        tag: String,
    },
    /// Objects in a bucket.
    S3(S3Cache),
}

/// Which steps a cache is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheMode {
    /// Those whose layers are in the image.
    Min,
    /// All.
    Max,
}

/// A cache in a bucket of S3, its objects laid out as BuildKit lays them out.
#[derive(Debug, Clone)]
pub struct S3Cache {
    /// The bucket, and who we are there.
    pub bucket: BucketOptions,
    /// What all keys begin with.
    pub prefix: String,
    /// What the keys of manifests begin with, after that.
    pub manifests_prefix: String,
    /// What the keys of blobs begin with, after that.
    pub blobs_prefix: String,
    /// The cache's names, at least one; it is read by the first.
    pub names: Vec<String>,
}
