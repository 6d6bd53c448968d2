//! Archives added to a layer, as ADD does: files and not a layer, in any compression, into a directory of the image.
//!
//! After BuildKit's unpacking: a directory's entry goes through a link to a directory, `.wh.` names are plain names,
//! the archive's own root says nothing of the destination, links inside the archive are resolved with the destination
//! as `/`, owners are the archive's unless told otherwise.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::extract::{Extractor, Purpose};
use super::tree::Tree;
use super::{Limits, Lowers, Notes};
use crate::compress::Compression;
use crate::error::Error;
use crate::stream;
use crate::tar_reader::TarReader;
use crate::{Mtime, Owner};

/// How to add an archive.
#[derive(Clone, Debug)]
pub struct UnpackOptions {
    /// The layers below, topmost first.
    pub lowers: Vec<PathBuf>,
    /// What to refuse.
    pub limits: Limits,
    /// How ids map where this runs.
    pub ids: runtime::Mode,
    /// `--chown`: whose all files become; without it, whose the archive says.
    pub chown: Option<Owner>,
    /// Owner, mode and time of the destination and directories above it, where neither the layer nor the lowers have
    /// them.
    pub made: (Owner, u32, Mtime),
}

/// Unpacks the archive `src` (a tar: plain, gzip, bzip2, xz or zstd) into `dest`, a path of the image, in the layer
/// directory `layer` over `opts.lowers`. Other files of the layer stay; the sidecar `owners` is read and written.
///
/// # Errors
/// As [`super::apply`].
pub fn unpack_into(
    src: impl Read + Send,
    layer: &Path,
    dest: &[u8],
    opts: &UnpackOptions,
) -> Result<Notes, Error> {
    let lowers = Lowers::from(opts.lowers.clone());
    let mut tree = Tree::reopen(layer, &lowers, opts.ids)?;
    tree.enter(&crate::path::clean(dest, dest)?, opts.made)?;
    let (inflater, chunks) = stream::pipe();
    let allowed =
        &[Compression::None, Compression::Gzip, Compression::Zstd, Compression::Bzip2, Compression::Xz];
    let bounds = opts.limits.bounds();
    std::thread::scope(|scope| {
        scope.spawn(move || inflater.run(src, allowed, bounds));
        let mut tar = TarReader::new(chunks, opts.limits.header);
        Extractor::new(&mut tree, Purpose::Files(opts.chown), &opts.limits).run(&mut tar)
    })?;
    tree.finish(layer)
}

/// Whether the file that starts with `start` (some 512 bytes will not do for compressed ones: give it all, it reads
/// no more than it needs) is an archive that ADD unpacks: a tar with at least one entry, whatever it is called.
pub fn is_archive(src: impl Read + Send) -> bool {
    let Ok((_, mut plain)) = crate::compress::reader(src) else { return false };
    // Only the first header counts, and some extension headers before it.
    let mut start = Vec::new();
    // An error in what comes later does not make the start any less of an archive.
    let _ = plain.by_ref().take(START).read_to_end(&mut start);
    let mut tar = TarReader::new(start.as_slice(), START);
    matches!(tar.next(), Ok(Some(_)))
}

/// Where the first entry must have its header.
const START: u64 = 64 << 10;
