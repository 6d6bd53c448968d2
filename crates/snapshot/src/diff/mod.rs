//! Layer directory to canonical tar.
//!
//! The tar is a pure function of the directory's content: entries sorted by the bytes of their paths, headers as
//! `tar_writer` writes them, whiteouts as empty `.wh.` files of root at 1970, hard links to the first name in order,
//! overlayfs's own xattrs left out. So a layer made here need not be stored as a tar: it can be written again.
//!
//! One thread walks and reads, another hashes and writes, once there is enough to do for two. Sockets are left out,
//! as by Docker. The entry of the layer's root is left out: overlayfs always has one, so that it says nothing.

mod changes;
pub(crate) mod chunks;
mod compare;
pub(crate) mod walk;

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci::DiffId;
use rustix::fs::SeekFrom;

use crate::error::{Error, Name};
use crate::owners::Owners;
use crate::{Entry, Kind, LayerStat, Mtime, TarWriter};
pub use changes::{Said, changes};
pub use compare::{Difference, How, first_difference};
use walk::{Found, Walk};

/// How to read a layer directory.
#[derive(Clone, Debug, Default)]
pub struct DiffOptions {
    /// Owners that the directory could not hold; `None`: what the sidecar `owners` beside it says.
    pub owners: Option<Owners>,
}

/// Writes the layer directory `layer` to `out` as its canonical tar, uncompressed.
///
/// # Errors
/// [`Error::Io`] with the path; among them `InvalidInput` for what a tar cannot say (an xattr with `=` in its name).
pub fn diff(layer: &Path, out: impl Write + Send, opts: &DiffOptions) -> Result<LayerStat, Error> {
    let owners = match &opts.owners {
        Some(owners) => owners,
        None => &Owners::of_layer(layer)?,
    };
    let mut walk = Walk::new(layer, owners)?;
    let ((usage, inodes), hashed) = chunks::hash_and_write(out, |out| {
        let mut tar = TarWriter::new(out);
        let mut buffer = vec![0; BUFFER];
        while let Some(Found { entry, content }) = walk.next()? {
            let written = write_entry(&mut tar, &entry, content.as_ref(), &mut buffer);
            written.map_err(|e| Error::io(format!("adding {} to a layer", Name::from(&entry.path)), e))?;
        }
        let totals = tar.totals();
        tar.finish().map_err(|e| Error::io("writing a layer", e))?;
        Ok(totals)
    })?;
    Ok(LayerStat { diff_id: DiffId(hashed.digest), tar_size: hashed.len, usage, inodes })
}

/// A tree that becomes a part of an archive.
#[derive(Clone, Debug)]
pub struct Root {
    /// The directory on the host.
    pub path: PathBuf,
    /// Owners that it could not hold.
    pub owners: Owners,
    /// The directory of the archive that it is put in, without slashes around it; empty: its root.
    pub prefix: Vec<u8>,
}

/// Writes whole trees, not layers, to `out` as one uncompressed tar; with `mtime`, all files have that time.
///
/// # Errors
/// As [`diff`].
pub fn archive(roots: &[Root], mtime: Option<Mtime>, out: impl Write) -> Result<(), Error> {
    let mut tar = TarWriter::new(io::BufWriter::with_capacity(BUFFER, out));
    let mut buffer = vec![0; BUFFER];
    let beneath = |prefix: &[u8], path: &[u8]| match prefix {
        [] => path.to_vec(),
        prefix => [prefix, b"/", path].concat(),
    };
    for Root { path, owners, prefix } in roots {
        if !prefix.is_empty() {
            let mut top = Entry::new(prefix.clone(), Kind::Directory, 0o755);
            top.mtime = mtime.unwrap_or_default();
            tar.entry(&top).map_err(|e| Error::io("writing an archive", e))?;
        }
        let mut walk = Walk::new(path, owners)?;
        while let Some(Found { mut entry, content }) = walk.next()? {
            entry.path = beneath(prefix, &entry.path);
            if let Kind::HardLink(first) = &mut entry.kind {
                *first = beneath(prefix, first);
            }
            entry.mtime = mtime.unwrap_or(entry.mtime);
            let written = write_entry(&mut tar, &entry, content.as_ref(), &mut buffer);
            written.map_err(|e| Error::io(format!("adding {} to an archive", Name::from(&entry.path)), e))?;
        }
    }
    tar.finish().map_err(|e| Error::io("writing an archive", e))?;
    Ok(())
}

const BUFFER: usize = 128 << 10;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

fn write_entry(
    tar: &mut TarWriter<impl Write>,
    entry: &Entry,
    content: Option<&OwnedFd>,
    buffer: &mut [u8],
) -> io::Result<()> {
    tar.entry(entry)?;
    match content {
        Some(fd) => read_content(tar, fd, entry.size(), buffer),
        None => Ok(()),
    }
}

/// Writes `size` bytes of an open file to `out`; holes are not read.
pub(crate) fn read_content(
    out: &mut impl Write,
    fd: &OwnedFd,
    size: u64,
    buffer: &mut [u8],
) -> io::Result<()> {
    if is_sparse(fd, size)? {
        write_sparse(out, fd, size, buffer)
    } else {
        write_range(out, fd, 0, size, buffer)
    }
}

/// Whether the file has fewer blocks than its length needs, so that asking for holes is worth it.
fn is_sparse(fd: &OwnedFd, size: u64) -> io::Result<bool> {
    Ok(size > 64 << 10 && (rustix::fs::fstat(fd)?.st_blocks as u64) < size / 512)
}

/// Writes a file without reading its holes.
fn write_sparse(out: &mut impl Write, fd: &OwnedFd, size: u64, buffer: &mut [u8]) -> io::Result<()> {
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(fd, SeekFrom::Data(at)) {
            Ok(data) => data.min(size),
            // No more data: a hole to the end.
            Err(rustix::io::Errno::NXIO) => size,
            Err(rustix::io::Errno::INVAL) => return write_range(out, fd, at, size, buffer),
            Err(e) => return Err(e.into()),
        };
        write_zeros(out, data - at)?;
        if data == size {
            return Ok(());
        }
        let hole = rustix::fs::seek(fd, SeekFrom::Hole(data))?.min(size);
        write_range(out, fd, data, hole, buffer)?;
        at = hole;
    }
    Ok(())
}

fn write_range(out: &mut impl Write, fd: &OwnedFd, from: u64, to: u64, buffer: &mut [u8]) -> io::Result<()> {
    let mut at = from;
    while at < to {
        let most = buffer.len().min(usize::try_from(to - at).unwrap_or(usize::MAX));
        let n = rustix::io::retry_on_intr(|| rustix::io::pread(fd, &mut buffer[..most], at))?;
        if n == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read"));
        }
        out.write_all(&buffer[..n])?;
        at += n as u64;
    }
    Ok(())
}

fn write_zeros(out: &mut impl Write, mut count: u64) -> io::Result<()> {
    while count > 0 {
        let n = ZEROS.len().min(usize::try_from(count).unwrap_or(usize::MAX));
        out.write_all(&ZEROS[..n])?;
        count -= n as u64;
    }
    Ok(())
}
