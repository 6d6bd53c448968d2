//! `cp`: files copied between a container's file system and the host, or a tar stream.
//!
//! Paths in the container are resolved inside it: no link there leads to the host. The container may be
//! stopped; one that runs is read through its layers, and written through its process's root, which only
//! root may do.

mod stream;
mod tree;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use runtime::beneath;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use store::ContainerLock;

use crate::container::Container;
use crate::{Engine, Error, Kind, Result};

pub(crate) use tree::Owners;

/// What `cp` is asked for.
#[derive(Debug, Clone, Default)]
pub struct CopyOptions {
    /// Keep owners (`-a`); else files belong to whoever is root there.
    pub archive: bool,
    /// Follow a link that is the source itself (`-L`).
    pub follow: bool,
}

/// Copies `source`, a path in the container that `name` names, to `dest` on the host.
pub fn copy_out(engine: &Engine, name: &str, source: &str, dest: &Path, options: &CopyOptions) -> Result<()> {
    let opened = Opened::reading(engine, name)?;
    let host = root_of_host()?;
    copy(
        &Side { root: opened.root.as_fd(), path: Path::new(source), shown: format!("{name}:{source}") },
        &Side { root: host.as_fd(), path: &absolute(dest)?, shown: dest.display().to_string() },
        options,
    )
}

/// Copies `source` on the host to `dest`, a path in the container that `name` names.
pub fn copy_in(engine: &Engine, source: &Path, name: &str, dest: &str, options: &CopyOptions) -> Result<()> {
    let opened = Opened::writing(engine, name)?;
    let host = root_of_host()?;
    copy(
        &Side { root: host.as_fd(), path: &absolute(source)?, shown: source.display().to_string() },
        &Side { root: opened.root.as_fd(), path: Path::new(dest), shown: format!("{name}:{dest}") },
        options,
    )
}

/// Writes `source`, a path in the container that `name` names, to `out` as a tar.
pub fn stream_out(engine: &Engine, name: &str, source: &str, out: &mut dyn Write) -> Result<()> {
    let opened = Opened::reading(engine, name)?;
    stream::write(opened.root.as_fd(), Path::new(source), out)
}

/// Unpacks the tar `input` into `dest`, a directory in the container that `name` names.
pub fn stream_in(engine: &Engine, name: &str, dest: &str, input: &mut (dyn Read + Send)) -> Result<()> {
    let container = Container::find(engine, name)?;
    let lock = engine.store.lock_container(&container.record.id)?;
    let _lock = lock.ok_or_else(|| {
        Error::conflict(format!("container {name} is in use"))
            .hint("stop it before a tar is unpacked into it")
    })?;
    let options = snapshot::UnpackOptions {
        lowers: lowers(engine, &container)?,
        limits: snapshot::Limits::default(),
        ids: runtime::mode().unwrap_or(runtime::Mode::Root),
        chown: None,
        made: (snapshot::Owner::ROOT, 0o755, snapshot::Mtime::default()),
    };
    let upper = engine.store.container_dir(&container.record.id).join("fs");
    snapshot::unpack_into(input, &upper, dest.as_bytes(), &options)?;
    Ok(())
}

/// A container's file system, opened.
struct Opened {
    root: OwnedFd,
    /// Held while it is written, so that nobody starts or removes the container meanwhile.
    _lock: Option<ContainerLock>,
}

impl Opened {
    fn reading(engine: &Engine, name: &str) -> Result<Opened> {
        let container = Container::find(engine, name)?;
        let mut all = vec![engine.store.container_dir(&container.record.id).join("fs")];
        all.extend(lowers(engine, &container)?);
        let root = runtime::mount_overlay(&runtime::Overlay { lowers: &all, upper: None })?;
        Ok(Opened { root, _lock: None })
    }

    fn writing(engine: &Engine, name: &str) -> Result<Opened> {
        let container = Container::find(engine, name)?;
        if container.running {
            let path = format!("/proc/{}/root", container.state.pid);
            let root =
                rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
            let root = root.map_err(|e| {
                Error::io(format!("open the file system of the running container {name}"), &e.into())
                    .hint("stop the container first: one that runs can be written to by root only")
            })?;
            return Ok(Opened { root, _lock: None });
        }
        let lock = engine.store.lock_container(&container.record.id)?;
        let lock =
            lock.ok_or_else(|| Error::conflict(format!("container {name} is in use by another command")))?;
        let dir = engine.store.container_dir(&container.record.id);
        let (fs, work) = (dir.join("fs"), dir.join("work"));
        let upper = Some(runtime::Upper { fs: &fs, work: &work });
        let lowers = lowers(engine, &container)?;
        let root = runtime::mount_overlay(&runtime::Overlay { lowers: &lowers, upper })?;
        Ok(Opened { root, _lock: Some(lock) })
    }
}

fn lowers(engine: &Engine, container: &Container) -> Result<Vec<PathBuf>> {
    match &container.record.chain_id {
        Some(chain) => Ok(engine.store.lowers(&engine.store.layers_of(chain)?)?),
        None => Ok(Vec::new()),
    }
}

fn root_of_host() -> Result<OwnedFd> {
    rustix::fs::openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::io("open /", &e.into()))
}

/// A host path from `/`, with its trailing `/` or `/.` kept.
fn absolute(path: &Path) -> Result<PathBuf> {
    let here = std::env::current_dir().map_err(|e| Error::io("find the working directory", &e))?;
    Ok(here.join(path))
}

/// One end of a copy.
struct Side<'a> {
    root: std::os::fd::BorrowedFd<'a>,
    path: &'a Path,
    shown: String,
}

impl Side<'_> {
    fn ends_with(&self, end: &[u8]) -> bool {
        self.path.as_os_str().as_bytes().ends_with(end)
    }

    fn failed(&self, doing: &str, error: &std::io::Error) -> Error {
        Error::io(format!("{doing} {}", self.shown), error)
    }

    fn is_directory(&self) -> Result<Option<bool>> {
        match beneath::stat(self.root, self.path) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("look at", &error)),
        }
    }

    fn open_directory(&self) -> Result<OwnedFd> {
        beneath::open_in_root(self.root, self.path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
            .map_err(|e| self.failed("open", &e))
    }

    /// The directory that holds the path's last name, and that name.
    fn parent(&self) -> Result<(OwnedFd, OsString)> {
        beneath::parent(self.root, self.path).map_err(|e| self.failed("find the directory of", &e))
    }
}

/// Docker's rules of what lands where.
fn copy(from: &Side<'_>, to: &Side<'_>, options: &CopyOptions) -> Result<()> {
    let owners = if options.archive { Owners::Keep } else { Owners::Root };
    let content_only = from.ends_with(b"/.") || from.path == Path::new("/") || from.path == Path::new(".");
    let lstat = match options.follow || content_only || from.ends_with(b"/") {
        true => beneath::stat(from.root, from.path),
        false => beneath::lstat(from.root, from.path),
    };
    let stat = lstat.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::not_found(format!("could not find the file {}", from.shown)),
        _ => from.failed("look at", &e),
    })?;
    let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let dest_dir = to.is_directory()?;
    if is_dir && content_only {
        let source = from.open_directory()?;
        let dest = match dest_dir {
            Some(true) => to.open_directory()?,
            Some(false) => return Err(into_file(to)),
            None => {
                let (parent, name) = to.parent()?;
                tree::make_directory(parent.as_fd(), &name, &stat, owners)
                    .map_err(|e| to.failed("create", &e))?
            }
        };
        return tree::children(source.as_fd(), dest.as_fd(), owners).map_err(|e| to.failed("copy to", &e));
    }
    let (source, name) = from.parent()?;
    let follow = options.follow || from.ends_with(b"/");
    let (source, name) = match follow {
        // The link's own target, under the link's name.
        true => match tree::resolve(from.root, from.path) {
            Ok(found) => found,
            Err(_) => (source, name),
        },
        false => (source, name),
    };
    let shown_name = from.path.file_name().map_or_else(|| name.clone(), |n| n.to_owned());
    let (dest, dest_name) = match dest_dir {
        Some(true) => (to.open_directory()?, shown_name),
        Some(false) if is_dir => return Err(into_file(to)),
        None if !is_dir && to.ends_with(b"/") => {
            return Err(Error::new(
                Kind::NotFound,
                format!("the destination directory {} must exist", to.shown),
            ));
        }
        _ => to.parent()?,
    };
    tree::one(source.as_fd(), &name, dest.as_fd(), &dest_name, owners)
        .map_err(|e| to.failed(&format!("copy {} to", from.shown), &e))
}

fn into_file(to: &Side<'_>) -> Error {
    Error::invalid(format!("cannot copy a directory to {}, which is a file", to.shown))
}
