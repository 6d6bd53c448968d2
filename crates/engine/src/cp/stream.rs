//! A container's files as a tar stream.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use runtime::beneath;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, readlinkat, statat};

use crate::{Error, Result};

const DEPTH: usize = 400;

/// Writes `path` and what is below it; names in the tar begin with the path's last name, as Docker's do.
pub(super) fn write(root: BorrowedFd<'_>, path: &Path, out: &mut dyn Write) -> Result<()> {
    let failed = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => Error::not_found(format!("could not find the file {}", path.display())),
        _ => Error::io(format!("read {}", path.display()), &e),
    };
    let mut builder = tar::Builder::new(out);
    let whole = path == Path::new("/") || path == Path::new(".");
    if whole {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = beneath::open_in_root(root, "/", flags, Mode::empty()).map_err(failed)?;
        below(&mut builder, directory.as_fd(), Path::new("."), 0).map_err(failed)?;
    } else {
        let (parent, name) = beneath::parent(root, path).map_err(failed)?;
        one(&mut builder, parent.as_fd(), name.as_ref(), Path::new(&name), 0).map_err(failed)?;
    }
    builder.finish().map_err(failed)
}

fn below(
    builder: &mut tar::Builder<&mut dyn Write>,
    directory: BorrowedFd<'_>,
    path: &Path,
    depth: usize,
) -> io::Result<()> {
    if depth > DEPTH {
        return Err(io::Error::other(format!("directories are nested more than {DEPTH} deep")));
    }
    let mut names: Vec<PathBuf> = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            use std::os::unix::ffi::OsStringExt;
            names.push(std::ffi::OsString::from_vec(name.to_vec()).into());
        }
    }
    names.sort();
    for name in names {
        one(builder, directory, &name, &path.join(&name), depth)?;
    }
    Ok(())
}

fn one(
    builder: &mut tar::Builder<&mut dyn Write>,
    directory: BorrowedFd<'_>,
    name: &Path,
    path: &Path,
    depth: usize,
) -> io::Result<()> {
    let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let mut header = tar::Header::new_gnu();
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(stat.st_uid.into());
    header.set_gid(stat.st_gid.into());
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header.set_size(0);
    let open = |flags| openat(directory, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            header.set_entry_type(tar::EntryType::Directory);
            builder.append_data(&mut header, path.join(""), io::empty())?;
            let opened = open(OFlags::RDONLY | OFlags::DIRECTORY)?;
            below(builder, opened.as_fd(), path, depth + 1)
        }
        FileType::RegularFile => {
            let size = u64::try_from(stat.st_size).unwrap_or(0);
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(size);
            // A file that shrinks meanwhile is filled up, one that grows is cut: the tar stays one.
            let content = File::from(open(OFlags::RDONLY)?).chain(io::repeat(0)).take(size);
            builder.append_data(&mut header, path, content)
        }
        FileType::Symlink => {
            header.set_entry_type(tar::EntryType::Symlink);
            let target = readlinkat(directory, name, Vec::new())?;
            use std::os::unix::ffi::OsStrExt;
            let target = std::ffi::OsStr::from_bytes(target.to_bytes());
            builder.append_link(&mut header, path, target)
        }
        FileType::Fifo => {
            header.set_entry_type(tar::EntryType::Fifo);
            builder.append_data(&mut header, path, io::empty())
        }
        // Devices and sockets mean nothing elsewhere.
        _ => Ok(()),
    }
}
