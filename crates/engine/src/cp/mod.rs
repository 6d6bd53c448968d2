//! `cp`: files copied between a container's file system and the host, or a tar stream.
//!
//! Paths in the container are resolved inside it: no link there leads to the host. One that runs is reached through
//! its process 1, with all that it has mounted; one that does not, through its layers and volumes.

mod place;
mod stream;
pub(crate) mod tree;

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat};
use store::ContainerLock;

use crate::container::{Container, MountKind, volume};
use crate::{Engine, Error, Kind, Result};
use place::{Ending, Place, Tree, Written};
use tree::Owners;

/// What `cp` is asked for.
#[derive(Debug, Clone, Default)]
pub struct CopyOptions {
    /// What goes into a container belongs there to the user that it runs as, if it names one (`-a`).
    pub archive: bool,
    /// Follow a link that is the source itself (`-L`).
    pub follow: bool,
}

/// The process 1 of the container that `name` names, if it runs. Only from within the user namespace of that process
/// can its files be reached: it is to be joined (`runtime::join`) before the other functions here are called.
pub fn process(engine: &Engine, name: &str) -> Result<Option<i32>> {
    let container = Container::find(engine, name)?;
    Ok(Some(container.state.pid).filter(|pid| container.running && *pid > 0))
}

/// Copies `source`, a path in the container that `name` names, to `dest` on the host. `here` is the working directory.
pub fn copy_out(
    engine: &Engine,
    name: &str,
    source: &str,
    dest: &Path,
    here: &Path,
    options: &CopyOptions,
) -> Result<()> {
    let opened = Opened::new(engine, name, Access::Read)?;
    let host = Tree::new(root_of_host()?);
    let from = opened.side(source);
    let to = Side::host(&host, dest, here);
    copy(&from, &to, options.follow, Owners::Root)
}

/// Copies `source` on the host to `dest`, a path in the container that `name` names. `here` is the working directory.
pub fn copy_in(
    engine: &Engine,
    source: &Path,
    here: &Path,
    name: &str,
    dest: &str,
    options: &CopyOptions,
) -> Result<()> {
    let opened = Opened::new(engine, name, Access::Write)?;
    let host = Tree::new(root_of_host()?);
    let from = Side::host(&host, source, here);
    let to = opened.side(dest);
    let owners = if options.archive { opened.owners(engine)? } else { Owners::Keep };
    copy(&from, &to, options.follow, owners)
}

/// Writes `source`, a path in the container that `name` names, to `out` as a tar.
pub fn stream_out(
    engine: &Engine,
    name: &str,
    source: &str,
    out: &mut dyn Write,
    options: &CopyOptions,
) -> Result<()> {
    let opened = Opened::new(engine, name, Access::Read)?;
    let from = opened.side(source);
    let (place, _) = from.source(options.follow)?;
    let root = from.written.ending == Ending::Content;
    let handle = place.open().map_err(|e| from.failed("cannot copy", &e))?;
    let shown = if root { OsStr::new("") } else { from.written.name() };
    stream::write(handle.as_fd(), shown, out).map_err(|e| from.failed("cannot copy", &e))
}

/// Unpacks the tar `input` into `dest`, a directory in the container that `name` names. One that is no whole archive
/// changes nothing.
pub fn stream_in(engine: &Engine, name: &str, dest: &str, input: &mut (dyn Read + Send)) -> Result<()> {
    let opened = Opened::new(engine, name, Access::Write)?;
    let to = opened.side(dest);
    let place = to.find(true)?;
    let stat = place.stat().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Error::not_found(format!("could not find the directory {}", to.shown)),
        _ => to.failed("cannot copy to", &e),
    })?;
    if !is_directory(&stat) {
        return Err(Error::invalid(format!(
            "{} is no directory: a tar is unpacked into one that exists",
            to.shown
        )));
    }
    // First beside the store's layers, and only then, whole, to where it is to go.
    let _lease = engine.store.lease()?;
    let staged = engine.store.begin_snapshot()?;
    let options = snapshot::UnpackOptions {
        lowers: Vec::new(),
        limits: snapshot::Limits::default(),
        ids: runtime::mode().unwrap_or(runtime::Mode::Root),
        chown: None,
        made: (snapshot::Owner::ROOT, 0o755, snapshot::Mtime::default()),
    };
    snapshot::unpack_into(input, staged.fs(), b"", &options)?;
    let mut records = snapshot::owners::Owners::of_layer(staged.fs())?.0;
    for path in records.iter().filter(|(_, r)| matches!(r.kind, b'c' | b'b')).map(|(path, _)| path) {
        // A device that could not be made is a file there, and nothing in a container.
        let held = staged.fs().join(OsStr::from_bytes(path));
        std::fs::remove_file(&held).map_err(|e| Error::io(format!("remove {}", held.display()), &e))?;
    }
    records.retain(|_, record| !matches!(record.kind, b'c' | b'b'));
    let failed = |e: io::Error| to.failed("cannot copy to", &e);
    let source = runtime::beneath::open_root(staged.fs()).map_err(failed)?;
    let directory = place.open().map_err(failed)?;
    tree::children(source.as_fd(), directory.as_fd(), Owners::Keep).map_err(failed)?;
    if let Some(at) = place.in_tree().filter(|_| !opened.container.running && !records.is_empty()) {
        // What the writable layer cannot say of owners is said beside it.
        let upper = opened.container.upper(engine);
        let mut all = snapshot::owners::Owners::of_layer(&upper)?;
        for (path, record) in records {
            let path = at.join(OsStr::from_bytes(&path)).into_os_string().into_vec();
            all.0.insert(path, record);
        }
        all.save(&upper)?;
    }
    Ok(())
}

/// What is to be done with a container that does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Its files are read.
    Read,
    /// Its files are written, as it would do it.
    Write,
}

/// A container's file system, opened.
struct Opened {
    container: Container,
    name: String,
    tree: Tree,
    /// Held while it is written, so that nobody starts or removes the container meanwhile.
    _lock: Option<ContainerLock>,
}

impl Opened {
    fn new(engine: &Engine, name: &str, access: Access) -> Result<Opened> {
        let container = Container::find(engine, name)?;
        if container.running {
            return Opened::running(engine, name, container);
        }
        let layers = container.layers(engine)?;
        if access == Access::Read {
            let root = runtime::mount_overlay(&runtime::Overlay { lowers: &layers, upper: None })?;
            return Opened::stopped(engine, name, container, root, None);
        }
        let lock = engine.store.lock_container(&container.record.id)?;
        let lock =
            lock.ok_or_else(|| Error::conflict(format!("container {name} is in use by another command")))?;
        let dir = engine.store.container_dir(&container.record.id);
        volume::make(&container, &dir, &layers)?;
        let (fs, work) = (dir.join("fs"), dir.join("work"));
        let upper = Some(runtime::Upper { fs: &fs, work: &work });
        let root = runtime::mount_overlay(&runtime::Overlay { lowers: &layers[1..], upper })?;
        Opened::stopped(engine, name, container, root, Some(lock))
    }

    fn stopped(
        engine: &Engine,
        name: &str,
        container: Container,
        root: OwnedFd,
        lock: Option<ContainerLock>,
    ) -> Result<Opened> {
        let dir = engine.store.container_dir(&container.record.id);
        let mut tree = Tree::new(root);
        for (number, mount) in container.state.run.mounts.iter().enumerate() {
            let source = match &mount.kind {
                MountKind::Bind(source) => PathBuf::from(source),
                MountKind::Anonymous => volume::path(&dir, number),
                MountKind::Tmpfs(_) => continue,
            };
            // What is missing, or no directory, is not in the way of all else.
            if let Ok(directory) = runtime::beneath::open_root(&source) {
                tree.mount(Path::new(&mount.target), directory);
            }
        }
        Ok(Opened { container, name: name.to_owned(), tree, _lock: lock })
    }

    fn running(engine: &Engine, name: &str, container: Container) -> Result<Opened> {
        let pid = container.state.pid;
        let unknown = || Error::conflict(format!("container {name} is just starting or ending: try again"));
        if pid <= 0 {
            return Err(unknown());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path: &str| rustix::fs::open(path, flags, Mode::empty());
        let root = open(&format!("/proc/{pid}/root")).map_err(|e| {
            Error::io(format!("open the file system of the running container {name}"), &e.into())
                .hint("stop the container first, or copy as the user who runs it")
        })?;
        // Had the container ended and its number gone to another process, this would be some root of the host.
        let identity = |fd: &OwnedFd| rustix::fs::fstat(fd).map(|s| (s.st_dev, s.st_ino)).ok();
        let of_host = open("/").ok().and_then(|host| identity(&host));
        let again = Container::find(engine, &container.record.id)?;
        if identity(&root) == of_host || !again.running || again.state.pid != pid {
            return Err(unknown());
        }
        Ok(Opened { container, name: name.to_owned(), tree: Tree::new(root), _lock: None })
    }

    fn side(&self, path: &str) -> Side<'_> {
        Side {
            tree: &self.tree,
            written: Written::new(OsStr::new(path), Path::new("/")),
            shown: format!("{}:{path}", self.name),
        }
    }

    /// The user that the container runs as, if it names one.
    fn owners(&self, engine: &Engine) -> Result<Owners> {
        let user = &self.container.state.run.user;
        if user.is_empty() {
            return Ok(Owners::Keep);
        }
        let view = snapshot::View::open(&self.container.layers(engine)?)?;
        let found = solver::find_user(&view, user).map_err(|e| Error::invalid(e.to_string()))?;
        Ok(Owners::Set(found.uid, found.gid))
    }
}

fn root_of_host() -> Result<OwnedFd> {
    rustix::fs::openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::io("open /", &e.into()))
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// One end of a copy.
struct Side<'a> {
    tree: &'a Tree,
    written: Written,
    shown: String,
}

impl Side<'_> {
    fn host<'a>(tree: &'a Tree, path: &Path, here: &Path) -> Side<'a> {
        Side { tree, written: Written::new(path.as_os_str(), here), shown: path.display().to_string() }
    }

    fn failed(&self, doing: &str, error: &io::Error) -> Error {
        Error::io(format!("{doing} {}", self.shown), error)
    }

    fn find(&self, follow: bool) -> Result<Place<'_>> {
        self.tree.find(&self.written, follow).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::not_found(format!("could not find the file {}", self.shown)),
            _ => self.failed("cannot copy", &e),
        })
    }

    /// Where the source is, and what: it has to be there.
    fn source(&self, follow: bool) -> Result<(Place<'_>, Stat)> {
        let place = self.find(follow)?;
        let stat = place.stat().map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::not_found(format!("could not find the file {}", self.shown)),
            _ => self.failed("cannot copy", &e),
        })?;
        if self.written.ending != Ending::Name && !is_directory(&stat) {
            return Err(self.failed("cannot copy", &rustix::io::Errno::NOTDIR.into()));
        }
        Ok((place, stat))
    }
}

/// Docker's rules of what lands where.
fn copy(from: &Side<'_>, to: &Side<'_>, follow: bool, owners: Owners) -> Result<()> {
    let (source, stat) = from.source(follow)?;
    let source = source.open().map_err(|e| from.failed("cannot copy", &e))?;
    let failed = |e: io::Error| to.failed(&format!("cannot copy {} to", from.shown), &e);
    let dest = to.find(true).map_err(|e| match e.kind {
        Kind::NotFound => Error::not_found(format!("the directory of {} does not exist", to.shown)),
        _ => e,
    })?;
    let there = match dest.stat() {
        Ok(there) => Some(is_directory(&there)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(to.failed("cannot copy to", &error)),
    };
    match (is_directory(&stat), there) {
        (true, Some(true)) if from.written.ending == Ending::Content => {
            let dest = dest.open().map_err(failed)?;
            tree::children(source.as_fd(), dest.as_fd(), owners).map_err(failed)
        }
        (_, Some(true)) => {
            let dest = dest.open().map_err(failed)?;
            tree::one(source.as_fd(), dest.as_fd(), from.written.name(), owners).map_err(failed)
        }
        (true, Some(false)) => {
            Err(Error::invalid(format!("cannot copy a directory to {}, which is a file", to.shown)))
        }
        (false, _) if to.written.ending == Ending::Slash && there.is_none() => {
            Err(Error::not_found(format!("the destination directory {} does not exist", to.shown)))
        }
        (false, Some(false)) if to.written.ending != Ending::Name => {
            Err(to.failed("cannot copy to", &rustix::io::Errno::NOTDIR.into()))
        }
        _ => {
            let (parent, name) = dest.parent().map_err(failed)?;
            tree::one(source.as_fd(), parent.as_fd(), &name, owners).map_err(failed)
        }
    }
}
