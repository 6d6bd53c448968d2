//! Layer tar to layer directory.
//!
//! One thread inflates and hashes the stream, the caller's creates files: on two cores a further creator gains
//! nothing. `extract` says what each entry means, `tree` where it goes: every file is created by name in a directory
//! that was opened beneath the destination, no link is ever followed by the kernel on our behalf, and directories get
//! their modes, times and xattrs last.
//!
//! What it deliberately does not do: trust the tar, sync to disk, or clean up after a failure (the caller drops the
//! whole destination).

mod extract;
mod lowers;
mod metadata;
mod tree;
mod unpack;

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use oci::{DiffId, Digest};
use runtime::Mode;

use crate::compress::Compression;
use crate::error::Error;
use crate::stream::{self, Bounds};
use crate::tar_reader::TarReader;
use crate::{LayerStat, Owner};
use extract::{Extractor, Purpose};
pub use lowers::Lowers;
pub(crate) use metadata::{explain_chown, timestamps};
use tree::Tree;
pub use unpack::{UnpackOptions, is_archive, unpack_into};

/// What a layer may be at most. An archive that goes further is refused with the entry at which it did.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries.
    pub entries: u64,
    /// Bytes of the uncompressed archive, and bytes of all its files with their holes.
    pub bytes: u64,
    /// Directories above a file.
    pub depth: usize,
    /// Bytes of one PAX or GNU extension header (long names, xattrs).
    pub header: u64,
    /// Bytes of the xattrs of one file, names and values.
    pub xattrs: usize,
    /// Uncompressed bytes for each compressed byte, counted once there are `ratio_from` uncompressed.
    pub ratio: u64,
    /// See `ratio`.
    pub ratio_from: u64,
}

impl Default for Limits {
    /// Far beyond images in use: 4 million entries, 256 GiB, and 250 to 1 beyond 2 GiB.
    fn default() -> Limits {
        Limits {
            entries: 4_000_000,
            bytes: 256 << 30,
            depth: 1000,
            header: 1 << 20,
            xattrs: 256 << 10,
            ratio: 250,
            ratio_from: 2 << 30,
        }
    }
}

impl Limits {
    fn bounds(&self) -> Bounds {
        Bounds { bytes: self.bytes, ratio: self.ratio, ratio_from: self.ratio_from }
    }
}

/// How to apply a layer.
#[derive(Clone, Debug)]
pub struct ApplyOptions<'a> {
    /// The layers below, topmost first. Looked at only if the tar takes something of them for granted: a directory
    /// that it does not have itself, a hard link to a file of theirs.
    pub lowers: Lowers<'a>,
    /// What to refuse.
    pub limits: Limits,
    /// How ids map where this runs: as [`runtime::enter`] said.
    pub ids: Mode,
    /// Whether to make the [`crate::tree_digest`] of the content on the way, for less than reading it again takes.
    pub tree_digest: bool,
    /// Whether to take what no registry has for a layer too: bzip2 and xz.
    pub any_compression: bool,
}

impl ApplyOptions<'_> {
    /// Default limits, no layers below.
    pub fn new(ids: Mode) -> Self {
        ApplyOptions {
            lowers: Lowers::none(),
            limits: Limits::default(),
            ids,
            tree_digest: false,
            any_compression: false,
        }
    }
}

/// A layer applied.
#[derive(Debug)]
pub struct Applied {
    /// Its DiffID and sizes.
    pub stat: LayerStat,
    /// What could not be kept.
    pub notes: Notes,
    /// The directory's [`crate::tree_digest`] of the content, if it was asked for.
    pub tree_digest: Option<Digest>,
}

/// What of an archive could not be kept as it is; worth a warning each, and no error, as with Docker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Device nodes that this user may not make. They are recorded in the `owners` sidecar and held as empty files,
    /// so that a diff of the layer has them again.
    pub devices: u64,
    /// Extended attributes refused by the file system or the kernel (`EOPNOTSUPP`, `EPERM`).
    pub xattrs: u64,
    /// One of these, for the message.
    pub xattr_example: Option<String>,
}

impl Notes {
    /// As lines for a person; none if all is well.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.devices > 0 {
            lines.push(format!(
                "{} device nodes are recorded and not made: only root may make them",
                self.devices
            ));
        }
        if let Some(example) = &self.xattr_example {
            lines.push(format!("{} extended attributes could not be set, such as {example}", self.xattrs));
        }
        lines
    }
}

/// Applies the layer tar `src` (plain, gzip or zstd) to the empty directory `dest`, which becomes a layer directory
/// (`fs`, with the sidecar `owners` beside it if there is something to record).
///
/// The DiffID is of the stream to its end, whatever follows the archive included.
///
/// # Errors
/// [`Error::Archive`] for what is malformed, cut short, or leads out of the root; [`Error::Limit`];
/// [`Error::UnmappedOwner`]; [`Error::Io`], which [`Error::is_no_space`] tells apart. `dest` is then in no good state.
pub fn apply(src: impl Read + Send, dest: &Path, opts: &ApplyOptions<'_>) -> Result<Applied, Error> {
    let bounds = opts.limits.bounds();
    let mut tree = Tree::new(dest, &opts.lowers, opts.ids)?;
    let (inflater, chunks) = stream::pipe();
    let allowed =
        &[Compression::None, Compression::Gzip, Compression::Zstd, Compression::Bzip2, Compression::Xz];
    let allowed = if opts.any_compression { allowed.as_slice() } else { &allowed[..3] };
    let (extracted, inflated) = std::thread::scope(|scope| {
        let inflating = scope.spawn(move || inflater.run(src, allowed, bounds));
        let mut tar = TarReader::new(chunks, opts.limits.header);
        let mut extractor = Extractor::new(&mut tree, Purpose::Layer, &opts.limits);
        if opts.tree_digest {
            extractor.digest_contents();
        }
        let extracted = extractor.run(&mut tar).map(|()| extractor.finish());
        // The inflater waits for room; without a reader it gives up.
        drop(tar);
        (extracted, inflating.join())
    });
    let (totals, contents) = extracted?;
    let inflated = inflated
        .ok()
        .flatten()
        .ok_or_else(|| Error::archive("(stream)", "the thread that inflates it ended early"))?;
    let notes = tree.finish(dest)?;
    let stat = LayerStat {
        diff_id: DiffId(inflated.digest),
        tar_size: inflated.len,
        usage: totals.usage,
        inodes: totals.inodes,
    };
    let tree_digest = match contents {
        Some(contents) => Some(digest_of(dest, &contents)?),
        None => None,
    };
    Ok(Applied { stat, notes, tree_digest })
}

/// The digest of the tree, from those of its files' contents by inode number.
fn digest_of(dest: &Path, contents: &HashMap<u64, Digest>) -> Result<Digest, Error> {
    crate::tree::digest_with(dest, |_, fd| {
        let Some(fd) = fd else { return Ok(Some(Digest::sha256(b""))) };
        let stat = rustix::fs::fstat(fd).map_err(|e| Error::io("looking at a file just unpacked", e))?;
        Ok(contents.get(&stat.st_ino).cloned())
    })
}

/// Owner of what nobody says an owner of.
const DEFAULT_OWNER: Owner = Owner::ROOT;
