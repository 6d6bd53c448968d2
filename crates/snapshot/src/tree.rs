//! A digest of a whole layer directory, to tell later whether anything in it changed.
//!
//! Over what a layer is made of: names, kinds, modes, owners, times, sizes, targets, xattrs, and, if asked for, every
//! byte: the SHA-256 of the canonical tar's headers, the root's first, each file's followed by the SHA-256 of its
//! content. Not over inode numbers, notes of overlayfs or access times, so that a copy has the same one.

use std::os::fd::OwnedFd;
use std::path::Path;

use oci::{Digest, Hasher};
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::diff::walk::{Found, Walk};
use crate::error::{Doing as _, Error, Name};
use crate::owners::Owners;
use crate::{Entry, Kind, Mtime, Owner, diff, tar_writer, xattrs};

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What `stat` and the xattrs say: no file is read.
    Metadata,
    /// Also every byte.
    Content,
}

/// The digest of the layer directory `layer` with its sidecar.
///
/// # Errors
/// [`Error::Io`] with the path of what could not be read.
pub fn tree_digest(layer: &Path, depth: Depth) -> Result<Digest, Error> {
    let mut buffer = vec![0; 128 << 10];
    match depth {
        Depth::Metadata => digest_with(layer, |_, _| Ok(None)),
        Depth::Content => digest_with(layer, |entry, fd| {
            let mut hasher = Hasher::new();
            if let Some(fd) = fd {
                diff::read_content(&mut hasher, fd, entry.size(), &mut buffer)
                    .map_err(|e| Error::io(format!("reading {}", Name::from(&entry.path)), e))?;
            }
            Ok(Some(hasher.finish()))
        }),
    }
}

/// The digest, given the one of each file's content (`fd`, unless it is empty).
pub(crate) fn digest_with(
    layer: &Path,
    mut content: impl FnMut(&Entry, Option<&OwnedFd>) -> Result<Option<Digest>, Error>,
) -> Result<Digest, Error> {
    let owners = Owners::of_layer(layer)?;
    let mut hasher = Hasher::new();
    let mut header = Vec::new();
    let mut add = |entry: &Entry, hasher: &mut Hasher| {
        header.clear();
        let encoded = tar_writer::encode(entry, &mut header);
        encoded.map_err(|e| Error::io(format!("describing {}", Name::from(&entry.path)), e))?;
        hasher.update(&header);
        Ok::<_, Error>(())
    };
    // The root, which no layer's tar has, is part of the directory all the same.
    add(&root(layer, &owners)?, &mut hasher)?;
    let mut walk = Walk::new(layer, &owners)?;
    while let Some(Found { entry, content: fd }) = walk.next()? {
        add(&entry, &mut hasher)?;
        if let Kind::File { .. } = entry.kind
            && let Some(digest) = content(&entry, fd.as_ref())?
        {
            hasher.update(digest.as_str().as_bytes());
        }
    }
    Ok(hasher.finish())
}

fn root(layer: &Path, owners: &Owners) -> Result<Entry, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = openat(CWD, layer, flags, Mode::empty()).doing("opening", layer)?;
    let stat = rustix::fs::fstat(&fd).doing("looking at", layer)?;
    let owner = Owner { uid: stat.st_uid, gid: stat.st_gid };
    Ok(Entry {
        path: Vec::new(),
        kind: Kind::Directory,
        mode: stat.st_mode & 0o7777,
        owner: owners.0.get(&b""[..]).map_or(owner, |record| record.owner),
        mtime: Mtime { sec: stat.st_mtime, nsec: stat.st_mtime_nsec as u32 },
        xattrs: xattrs::image_xattrs(&fd).doing("reading the xattrs of", layer)?,
    })
}
