//! Where a build's result goes: into the store under names, to registries, into archives, layouts and directories.
//!
//! The kinds and what they do are buildx's `--output`. Each output is a step of the build that shows. The image of the
//! store alone becomes visible there; the others leave nothing in it.

mod annotations;
mod archive;
mod blobs;
mod files;
mod image;

use std::io::Write;
use std::path::PathBuf;

use oci::{Descriptor, Platform, Reference};
use snapshot::compress::Method;
use store::Image;

use crate::build::elsewhere::Elsewhere;
use crate::build::observe::Steps;
use crate::build::request::BuildRequest;
use crate::push::ManifestFormat;
use crate::{Engine, Result};

pub use crate::archive::Format;
pub use annotations::{Annotation, Annotations, Level};

/// One place where the result goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The store, and registries from there (`type=image`, `type=registry`, `type=docker` without a destination).
    Image(ImageOutput),
    /// An archive or a layout (`type=oci`, `type=docker` with a destination).
    Archive(ArchiveOutput),
    /// The files of the image, in a directory (`type=local`).
    Files {
        /// The directory on the host; made if it is not there. What is in it stays, unless a file takes its place.
        to: PathBuf,
        /// Whether each platform has a directory of its own in it, `linux_amd64`.
        split: bool,
    },
    /// The files of the image, as a tar (`type=tar`).
    Tar {
        /// The file.
        to: Destination,
        /// Whether each platform has a directory of its own in it.
        split: bool,
    },
    /// Nowhere: the cache is all that is wanted (`type=cacheonly`).
    Nothing,
}

/// How the image gets into the store, and on to registries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageOutput {
    /// The names that it gets, and is pushed by.
    pub names: Vec<Reference>,
    /// Where it is sent.
    pub push: Pushing,
    /// How its layers leave.
    pub layers: Layers,
    /// What its manifest and index say.
    pub annotations: Annotations,
    /// It does not stay in the store: neither does a name there stand for it (`store=false`).
    pub transient: bool,
}

/// Whether an image is sent to the registries of its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pushing {
    /// It stays here.
    #[default]
    No,
    /// It gets its names there.
    ByName,
    /// It is known by its digest alone there (`push-by-digest=true`).
    ByDigest,
}

/// How an archive or layout is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveOutput {
    /// Which kind.
    pub format: Format,
    /// Whether it is one file or a directory.
    pub shape: Shape,
    /// The names that the image has in it.
    pub names: Vec<Reference>,
    /// How its layers are written.
    pub layers: Layers,
    /// What its manifests and index say.
    pub annotations: Annotations,
}

/// A layout as one file, or as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// A tar.
    Tar(Destination),
    /// A directory (`tar=false`); a layout that is there keeps what it has.
    Directory(PathBuf),
}

/// A file that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// This one on the host; it appears when it is whole.
    File(PathBuf),
    /// The stream that the caller gave.
    Stream,
}

/// How layers are compressed that were made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layers {
    /// In which way; `None`: as they once left, else [`Method::GZIP`].
    pub compression: Option<Method>,
    /// Also layers that came compressed in another way.
    pub force: bool,
    /// Which kind of manifest lists them; `None`: OCI's.
    pub format: Option<ManifestFormat>,
}

/// What became of one output.
#[derive(Debug, Clone, PartialEq)]
pub struct Exported {
    /// The names that it has there.
    pub names: Vec<Reference>,
    /// Its manifest or index, where it has one: an image of the store gets it when it leaves.
    pub manifest: Option<Descriptor>,
}

/// The image of one platform.
pub(super) struct Made {
    pub platform: Platform,
    pub image: Image,
}

/// What all outputs are written from.
pub(super) struct Writing<'a> {
    pub engine: &'a Engine,
    pub request: &'a BuildRequest,
    pub steps: &'a Steps<'a>,
    /// For each platform, in the order in which they were asked for.
    pub made: &'a [Made],
    /// The one that is run here.
    pub host: usize,
    /// The time of files that leave alone; `SOURCE_DATE_EPOCH`.
    pub epoch: Option<i64>,
    /// Where layers are that are not in the store: of an image that only leaves.
    pub elsewhere: &'a Elsewhere<'a>,
}

impl Writing<'_> {
    /// Writes each output; `stream` is where those go that have no file.
    pub fn all(&self, outputs: &[Output], stream: &mut (dyn Write + Send)) -> Result<Vec<Exported>> {
        outputs
            .iter()
            .map(|output| match output {
                Output::Image(image) => self.image(image),
                Output::Archive(archive) => self.archive(archive, stream),
                Output::Files { to, split } => self.files(to, *split),
                Output::Tar { to, split } => self.tar(to, *split, stream),
                Output::Nothing => Ok(Exported { names: Vec::new(), manifest: None }),
            })
            .collect()
    }
}
