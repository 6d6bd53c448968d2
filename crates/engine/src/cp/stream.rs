//! A container's files as a tar stream.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use runtime::beneath;
use rustix::fs::{FileType, OFlags, Stat, fstat, major, minor, readlinkat};
use snapshot::{Entry, Kind, Mtime, Owner, TarWriter};

use super::place::{handle, names};

const DEPTH: usize = 400;

/// Writes what `source` is a handle of, and what is below it, under the name `name`; with an empty name as `./`.
pub(super) fn write(source: BorrowedFd<'_>, name: &OsStr, out: &mut dyn Write) -> io::Result<()> {
    let mut stream = Stream { tar: TarWriter::new(out), linked: HashMap::new() };
    stream.entry(source, &fstat(source)?, name.as_bytes().to_vec(), 0)?;
    stream.tar.finish()?;
    Ok(())
}

struct Stream<'a> {
    tar: TarWriter<&'a mut dyn Write>,
    /// Paths of files with several names.
    linked: HashMap<(u64, u64), Vec<u8>>,
}

impl Stream<'_> {
    fn entry(&mut self, source: BorrowedFd<'_>, stat: &Stat, path: Vec<u8>, depth: usize) -> io::Result<()> {
        if depth > DEPTH {
            return Err(io::Error::other(format!("directories are nested more than {DEPTH} deep")));
        }
        let (major, minor) = (major(stat.st_rdev), minor(stat.st_rdev));
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Directory,
            FileType::RegularFile => Kind::File { size },
            FileType::Symlink => Kind::Symlink(readlinkat(source, c"", Vec::new())?.into_bytes()),
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice => Kind::CharDevice { major, minor },
            FileType::BlockDevice => Kind::BlockDevice { major, minor },
            // A socket is nothing without the process behind it.
            _ => return Ok(()),
        };
        let several = stat.st_nlink > 1 && kind != Kind::Directory;
        let kind = match self.linked.get(&(stat.st_dev, stat.st_ino)) {
            Some(first) => Kind::HardLink(first.clone()),
            None => kind,
        };
        if several {
            self.linked.entry((stat.st_dev, stat.st_ino)).or_insert_with(|| path.clone());
        }
        let entry = Entry {
            path,
            mode: stat.st_mode & 0o7777,
            owner: Owner { uid: stat.st_uid, gid: stat.st_gid },
            mtime: Mtime { sec: stat.st_mtime, nsec: u32::try_from(stat.st_mtime_nsec).unwrap_or(0) },
            xattrs: BTreeMap::new(),
            kind,
        };
        self.tar.entry(&entry)?;
        match entry.kind {
            Kind::File { size } => {
                let file = File::from(beneath::reopen(source, OFlags::RDONLY | OFlags::NONBLOCK)?);
                // A file that shrinks meanwhile is filled up, one that grows is cut: the tar stays one.
                io::copy(&mut file.chain(io::repeat(0)).take(size), &mut self.tar)?;
                Ok(())
            }
            Kind::Directory => self.below(source, entry.path, depth),
            _ => Ok(()),
        }
    }

    fn below(&mut self, directory: BorrowedFd<'_>, path: Vec<u8>, depth: usize) -> io::Result<()> {
        let directory = beneath::reopen(directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
        for name in names(directory.as_fd())? {
            let (child, stat) = match handle(directory.as_fd(), &name) {
                // It went away while we looked, as in a container that runs.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                found => found?,
            };
            let path = if path.is_empty() { b".".as_slice() } else { &path };
            self.entry(child.as_fd(), &stat, [path, b"/", name.as_bytes()].concat(), depth + 1)?;
        }
        Ok(())
    }
}
