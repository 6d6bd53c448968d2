//! The layer directory being made: directories found or made beneath it, names replaced, whiteouts.
//!
//! Directories are opened one name at a time, so that every link met is ours to resolve: in the tree as the container
//! would see it, this layer over the lowers, with the destination as `/`. A directory that the layer has not yet, but
//! the lowers do, is made with what theirs says. A bounded number of open directories is remembered.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use runtime::{Mode as Ids, beneath};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, openat2};
use rustix::io::Errno;

use super::{DEFAULT_OWNER, Lowers, Notes, metadata};
use crate::error::{Doing as _, Error, Name};
use crate::owners::{Owners, Record};
use crate::view::{View, is_whiteout, non_empty};
use crate::xattrs::{self, OPAQUE, WHITEOUT, Xattrs};
use crate::{Entry, Kind, Mtime, Owner, path};

/// Open directories remembered: a tar goes through directories in order, mostly.
const MOST_OPEN: usize = 128;
/// Links followed for one path, as the kernel allows.
const MOST_LINKS: u32 = 40;

/// A directory of the layer.
pub(super) struct Dir {
    pub fd: OwnedFd,
    /// Where it is in the image, links resolved.
    pub path: Vec<u8>,
    /// Whether the layer hides what the lowers have here.
    pub hidden: bool,
}

/// Owner, mode and time of a directory that nobody said anything of.
type Made = (Owner, u32, Mtime);

/// What a directory gets at the end, when nothing is created in it any more.
#[derive(Default)]
struct Late {
    owner: Option<Owner>,
    mode: Option<u32>,
    mtime: Mtime,
    xattrs: Xattrs,
}

pub(super) struct Tree<'a> {
    /// The layer's root.
    root: Rc<Dir>,
    /// Where `/` is for paths and links of the archive.
    base: Rc<Dir>,
    /// By path as archives name it, links unresolved, from `base`.
    open: HashMap<Vec<u8>, Rc<Dir>>,
    late: BTreeMap<Vec<u8>, Late>,
    opaque: BTreeSet<Vec<u8>>,
    /// Whether the layer was empty at first: then all that is opaque is known.
    fresh: bool,
    lowers: &'a Lowers<'a>,
    view: OnceCell<View>,
    pub owners: Owners,
    pub ids: Ids,
    pub notes: Notes,
}

/// Why a name was taken from where it is needed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Was {
    Nothing,
    File,
    Directory,
}

impl<'a> Tree<'a> {
    /// A tree in the empty directory `dest`.
    pub fn new(dest: &Path, lowers: &'a Lowers<'a>, ids: Ids) -> Result<Tree<'a>, Error> {
        Tree::with(dest, lowers, ids, true, Owners::default())
    }

    /// A tree that goes on in a layer directory where others have been at work.
    pub fn reopen(layer: &Path, lowers: &'a Lowers<'a>, ids: Ids) -> Result<Tree<'a>, Error> {
        Tree::with(layer, lowers, ids, false, Owners::of_layer(layer)?)
    }

    fn with(
        dest: &Path,
        lowers: &'a Lowers<'a>,
        ids: Ids,
        fresh: bool,
        owners: Owners,
    ) -> Result<Tree<'a>, Error> {
        let fd = beneath::open_root(dest).doing("opening", dest)?;
        let root = Rc::new(Dir { fd, path: Vec::new(), hidden: false });
        let mut tree = Tree {
            base: Rc::clone(&root),
            root,
            open: HashMap::new(),
            late: BTreeMap::new(),
            opaque: BTreeSet::new(),
            fresh,
            lowers,
            view: OnceCell::new(),
            owners,
            ids,
            notes: Notes::default(),
        };
        if !fresh {
            tree.keep_mtime(&Rc::clone(&tree.root))?;
        }
        Ok(tree)
    }

    /// Makes the directory at `path` (as the image reads it) the root of what follows. `made`: owner, mode and time
    /// of the directories that are nowhere yet.
    pub fn enter(&mut self, path: &[u8], made: Made) -> Result<(), Error> {
        let base = self.directory_with(path, made)?;
        self.open.clear();
        self.base = base;
        Ok(())
    }

    /// Path in the image of what the archive calls `path` in `dir`.
    pub fn path_in(dir: &Dir, name: &[u8]) -> Vec<u8> {
        path::join(&dir.path, name)
    }

    /// The directory that the archive calls `path`, made if need be.
    pub fn directory(&mut self, path: &[u8], mtime: Mtime) -> Result<Rc<Dir>, Error> {
        self.directory_with(path, (DEFAULT_OWNER, 0o755, mtime))
    }

    fn directory_with(&mut self, path: &[u8], made: Made) -> Result<Rc<Dir>, Error> {
        Ok(self.find_directory(path, Some(made))?.expect("because what is missing is made"))
    }

    /// The directory that the archive calls `path`, if this layer or the lowers have it.
    pub fn existing_directory(&mut self, path: &[u8]) -> Result<Option<Rc<Dir>>, Error> {
        self.find_directory(path, None)
    }

    fn find_directory(&mut self, path: &[u8], made: Option<Made>) -> Result<Option<Rc<Dir>>, Error> {
        if path.is_empty() {
            return Ok(Some(Rc::clone(&self.base)));
        }
        if let Some(dir) = self.open.get(path) {
            return Ok(Some(Rc::clone(dir)));
        }
        // From the deepest directory above that is still open.
        let mut known = path::parent(path);
        let mut dir = loop {
            if known.is_empty() {
                break Rc::clone(&self.base);
            }
            match self.open.get(known) {
                Some(dir) => break Rc::clone(dir),
                None => known = path::parent(known),
            }
        };
        let mut links = 0;
        let mut at = known.len();
        while at < path.len() {
            let start = if at == 0 { 0 } else { at + 1 };
            let end = path[start..].iter().position(|b| *b == b'/').map_or(path.len(), |n| start + n);
            match self.step(dir, &path[start..end], &mut links, path, made)? {
                Some(found) => dir = found,
                None => return Ok(None),
            }
            if self.open.len() >= MOST_OPEN {
                self.open.clear();
            }
            self.open.insert(path[..end].to_vec(), Rc::clone(&dir));
            at = end;
        }
        Ok(Some(dir))
    }

    /// The directory `name` in `dir`, a link to one resolved, a missing one made or, if it may not be, `None`.
    fn step(
        &mut self,
        dir: Rc<Dir>,
        name: &[u8],
        links: &mut u32,
        entry: &[u8],
        made: Option<Made>,
    ) -> Result<Option<Rc<Dir>>, Error> {
        let path = path::join(&dir.path, name);
        match open_child(&dir, name) {
            Ok(fd) => return self.found(&dir, fd, path).map(Some),
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let stat = stat_child(&dir, name).map_err(|e| at(&path, e))?;
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Symlink => {
                        let target =
                            rustix::fs::readlinkat(&dir.fd, name, Vec::new()).map_err(|e| at(&path, e))?;
                        return self.follow(dir, target.as_bytes(), links, entry, made);
                    }
                    _ if is_whiteout(&stat) || self.is_whiteout_file(&dir, name, &stat)? => {
                        let Some(made) = made else { return Ok(None) };
                        self.remove(&dir, name)?;
                        return self.make_directory(&dir, name, path, made, Xattrs::new(), true).map(Some);
                    }
                    _ if made.is_none() => return Ok(None),
                    _ => {
                        return Err(Error::archive(entry, format!("{} is no directory", path::shown(&path))));
                    }
                }
            }
            Err(e) => return Err(at(&path, e)),
        }
        let lower = self.lower(&dir, name)?;
        match lower.map(|e| (e.kind, e.owner, e.mode, e.mtime, e.xattrs)) {
            Some((Kind::Directory, owner, mode, mtime, xattrs)) => {
                self.make_directory(&dir, name, path, (owner, mode, mtime), xattrs, false).map(Some)
            }
            Some((Kind::Symlink(target), ..)) => self.follow(dir, &target, links, entry, made),
            // Nothing there, or something that a directory of this layer replaces.
            _ => match made {
                Some(made) => self.make_directory(&dir, name, path, made, Xattrs::new(), false).map(Some),
                None => Ok(None),
            },
        }
    }

    fn found(&mut self, dir: &Dir, fd: OwnedFd, path: Vec<u8>) -> Result<Rc<Dir>, Error> {
        let mut hidden = dir.hidden || self.opaque.contains(&path);
        if !self.fresh {
            let fd =
                beneath::reopen(fd.as_fd(), OFlags::RDONLY | OFlags::DIRECTORY).map_err(|e| at(&path, e))?;
            hidden |= xattrs::get(&fd, OPAQUE.as_bytes()).map_err(|e| at(&path, e))?.as_deref() == Some(b"y");
        }
        let dir = Rc::new(Dir { fd, path, hidden });
        if !self.fresh {
            self.keep_mtime(&dir)?;
        }
        Ok(dir)
    }

    /// What others made keeps its time of modification.
    fn keep_mtime(&mut self, dir: &Rc<Dir>) -> Result<(), Error> {
        if !self.late.contains_key(&dir.path) {
            let stat = rustix::fs::fstat(&dir.fd).map_err(|e| at(&dir.path, e))?;
            let mtime = Mtime { sec: stat.st_mtime, nsec: stat.st_mtime_nsec as u32 };
            self.late.insert(dir.path.clone(), Late { mtime, ..Late::default() });
        }
        Ok(())
    }

    fn follow(
        &mut self,
        dir: Rc<Dir>,
        target: &[u8],
        links: &mut u32,
        entry: &[u8],
        made: Option<Made>,
    ) -> Result<Option<Rc<Dir>>, Error> {
        *links += 1;
        if *links > MOST_LINKS {
            return Err(Error::archive(entry, "too many symbolic links in its path"));
        }
        let mut dir = if target.starts_with(b"/") { Rc::clone(&self.base) } else { dir };
        for name in target.split(|b| *b == b'/') {
            dir = match name {
                b"" | b"." => dir,
                b".." if dir.path == self.base.path => dir,
                b".." => self.reopen_at(path::parent(&dir.path))?,
                _ => match self.step(dir, name, links, entry, made)? {
                    Some(found) => found,
                    None => return Ok(None),
                },
            };
        }
        Ok(Some(dir))
    }

    /// A directory of the layer by its resolved path.
    fn reopen_at(&mut self, path: &[u8]) -> Result<Rc<Dir>, Error> {
        let mut dir = Rc::clone(&self.root);
        for name in path.split(|b| *b == b'/').filter(|name| !name.is_empty()) {
            let fd = open_child(&dir, name).map_err(|e| at(path, e))?;
            dir = self.found(&dir, fd, path::join(&dir.path, name))?;
        }
        Ok(dir)
    }

    fn make_directory(
        &mut self,
        dir: &Dir,
        name: &[u8],
        path: Vec<u8>,
        (owner, mode, mtime): Made,
        xattrs: Xattrs,
        opaque: bool,
    ) -> Result<Rc<Dir>, Error> {
        self.mkdir(dir, name, &path)?;
        self.late.insert(path.clone(), Late { owner: Some(owner), mode: Some(mode), mtime, xattrs });
        self.record(&path, &Kind::Directory, owner, mode);
        let fd = open_child(dir, name).map_err(|e| at(&path, e))?;
        let made = Rc::new(Dir { fd, path, hidden: dir.hidden || opaque });
        if opaque {
            self.set_opaque(&made)?;
        }
        Ok(made)
    }

    fn mkdir(&self, dir: &Dir, name: &[u8], path: &[u8]) -> Result<(), Error> {
        rustix::fs::mkdirat(&dir.fd, name, Mode::RWXU).map_err(|e| at(path, e))
    }

    /// Puts the directory `entry` at `name` in `dir`, or, if there is one, its metadata on that.
    pub fn put_directory(&mut self, dir: &Dir, name: &[u8], entry: &Entry) -> Result<bool, Error> {
        let path = path::join(&dir.path, name);
        let (mut new, mut opaque) = (true, false);
        match stat_child(dir, name) {
            Err(Errno::NOENT) => self.mkdir(dir, name, &path)?,
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => new = false,
            // A whiteout, or a file that hid the lowers' directory: what was below stays hidden.
            Ok(_) => {
                self.remove(dir, name)?;
                self.mkdir(dir, name, &path)?;
                opaque = true;
            }
            Err(e) => return Err(at(&path, e)),
        }
        if opaque {
            let fd = open_child(dir, name).map_err(|e| at(&path, e))?;
            self.set_opaque(&Dir { fd, path: path.clone(), hidden: true })?;
        }
        self.set_late(path, entry);
        Ok(new)
    }

    /// What the entry of a directory (`path` in the image) says of it, for the end.
    pub fn set_late(&mut self, path: Vec<u8>, entry: &Entry) {
        self.record(&path, &Kind::Directory, entry.owner, entry.mode);
        let late = Late {
            owner: Some(entry.owner),
            mode: Some(entry.mode),
            mtime: entry.mtime,
            xattrs: entry.xattrs.clone(),
        };
        self.late.insert(path, late);
    }

    /// Notes what the directory cannot hold here.
    pub fn record(&mut self, path: &[u8], kind: &Kind, owner: Owner, mode: u32) {
        let device = matches!(kind, Kind::CharDevice { .. } | Kind::BlockDevice { .. });
        if !device && (self.ids != Ids::SingleId || owner == Owner::ROOT) {
            // Something else may have had this name.
            if !self.owners.0.is_empty() {
                self.owners.0.remove(path);
            }
            return;
        }
        if let Some(record) = Record::of(kind, owner, mode) {
            self.owners.0.insert(path.to_vec(), record);
        }
    }

    /// Hides what the lowers have in `dir`.
    pub fn set_opaque(&mut self, dir: &Dir) -> Result<(), Error> {
        if !self.opaque.insert(dir.path.clone()) {
            return Ok(());
        }
        if !dir.path.is_empty() {
            let set = || {
                let fd = beneath::reopen(dir.fd.as_fd(), OFlags::RDONLY | OFlags::DIRECTORY)?;
                xattrs::set(fd, OPAQUE.as_bytes(), b"y")
            };
            set().map_err(|e| Error::io(format!("marking {} as opaque", path::shown(&dir.path)), e))?;
        }
        // Directories below, opened before, do not know.
        self.open.clear();
        Ok(())
    }

    /// Deletes `name` of the lowers from `dir`. What this layer itself has of that name stays.
    pub fn whiteout(&mut self, dir: &Dir, name: &[u8]) -> Result<(), Error> {
        let path = path::join(&dir.path, name);
        match stat_child(dir, name) {
            Err(Errno::NOENT) => {}
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                let fd = open_child(dir, name).map_err(|e| at(&path, e))?;
                return self.set_opaque(&Dir { fd, path, hidden: true });
            }
            Ok(_) => return Ok(()),
            Err(e) => return Err(at(&path, e)),
        }
        let mode = Mode::empty();
        match rustix::fs::mknodat(&dir.fd, name, FileType::CharacterDevice, mode, 0) {
            Ok(()) => Ok(()),
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL) => self.whiteout_file(dir, name, &path),
            Err(e) => Err(at(&path, e)),
        }
    }

    /// The form for file systems without device nodes: Linux 6.7.
    fn whiteout_file(&mut self, dir: &Dir, name: &[u8], path: &[u8]) -> Result<(), Error> {
        let make = || {
            let file = create_file(dir, name)?;
            xattrs::set(&file, WHITEOUT.as_bytes(), b"y")?;
            let parent = beneath::reopen(dir.fd.as_fd(), OFlags::RDONLY | OFlags::DIRECTORY)?;
            if xattrs::get(&parent, OPAQUE.as_bytes())?.is_none() {
                xattrs::set(&parent, OPAQUE.as_bytes(), b"x")?;
            }
            Ok::<_, std::io::Error>(())
        };
        make().map_err(|e| Error::io(format!("making a whiteout of {}", path::shown(path)), e))
    }

    fn is_whiteout_file(&self, dir: &Dir, name: &[u8], stat: &Stat) -> Result<bool, Error> {
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_size != 0 {
            return Ok(false);
        }
        let read = || {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(&dir.fd, name, flags, Mode::empty())?;
            xattrs::get(fd, WHITEOUT.as_bytes())
        };
        let mark = read().map_err(|e| at(&path::join(&dir.path, name), e))?;
        Ok(mark.is_some())
    }

    /// Removes whatever is called `name` in `dir`, so that something else can be.
    pub fn remove(&mut self, dir: &Dir, name: &[u8]) -> Result<Was, Error> {
        let path = path::join(&dir.path, name);
        match rustix::fs::unlinkat(&dir.fd, name, AtFlags::empty()) {
            Ok(()) => {
                self.owners.0.remove(&path);
                // It may have been a link that remembered directories were found by.
                self.open.clear();
                return Ok(Was::File);
            }
            Err(Errno::NOENT) => return Ok(Was::Nothing),
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(e) => return Err(at(&path, e)),
        }
        use std::os::unix::ffi::OsStrExt as _;
        let file_name = Path::new(std::ffi::OsStr::from_bytes(name));
        beneath::remove_all(dir.fd.as_fd(), file_name).map_err(|e| at(&path, e))?;
        self.open.clear();
        forget(&mut self.late, &path);
        forget(&mut self.owners.0, &path);
        self.opaque.retain(|opaque| !path::is_below(opaque, &path));
        Ok(Was::Directory)
    }

    /// What the layers below have at `name` in `dir`, as far as this layer lets it be seen.
    pub fn lower(&self, dir: &Dir, name: &[u8]) -> Result<Option<Entry>, Error> {
        // Without layers below there is nothing to mount, and no right to mount is needed.
        if dir.hidden || self.lowers.is_none() {
            Ok(None)
        } else {
            self.view()?.entry(&Tree::path_in(dir, name))
        }
    }

    /// The tree of the layers below.
    pub fn view(&self) -> Result<&View, Error> {
        if let Some(view) = self.view.get() {
            return Ok(view);
        }
        let view = View::open(self.lowers.get()?)?;
        Ok(self.view.get_or_init(|| view))
    }

    /// Sets what waited for the end, and writes the sidecar of the layer at `dest`.
    pub fn finish(mut self, dest: &Path) -> Result<Notes, Error> {
        if self.fresh {
            self.finish_root()?;
        }
        // Deepest first: a directory may deny what is below to whoever comes later.
        let late = std::mem::take(&mut self.late);
        for (path, late) in late.iter().rev() {
            let fd = open_beneath(&self.root, path, OFlags::RDONLY).map_err(|e| at(path, e))?;
            self.set_metadata(fd.as_fd(), path, late)?;
        }
        self.owners.save(dest)?;
        Ok(self.notes)
    }

    fn set_metadata(&mut self, fd: BorrowedFd<'_>, path: &[u8], late: &Late) -> Result<(), Error> {
        if let Some(owner) = late.owner {
            self.chown(fd, b"", owner, path)?;
        }
        metadata::set_xattrs(fd, &late.xattrs, path, self.ids, &mut self.notes)?;
        if let Some(mode) = late.mode {
            metadata::fchmod(fd, mode).map_err(|e| at(path, e))?;
        }
        rustix::fs::futimens(fd, &metadata::timestamps(late.mtime)).map_err(|e| at(path, e))
    }

    /// Sets an owner, where there is more than one to be had.
    pub fn chown(
        &self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        owner: Owner,
        path: &[u8],
    ) -> Result<(), Error> {
        if self.ids == Ids::SingleId {
            return Ok(());
        }
        metadata::chown(directory, name, owner).map_err(|e| metadata::explain_chown(e, owner, path))
    }

    fn finish_root(&mut self) -> Result<(), Error> {
        if self.opaque.contains(&b""[..]) {
            // Overlayfs does not look at the root of a layer for the mark: each name there is deleted by itself.
            let root = Rc::clone(&self.root);
            let names = if self.lowers.is_none() { Vec::new() } else { self.view()?.read_dir(b"")? };
            for entry in names {
                self.whiteout(&root, &entry.name)?;
            }
        }
        if !self.late.contains_key(&b""[..]) {
            let late = match self.lowers.get()? {
                [] => Late { owner: Some(DEFAULT_OWNER), mode: Some(0o755), ..Late::default() },
                [top, ..] => {
                    // The merged root is the topmost layer's: nothing to mount for.
                    let view = View::open(std::slice::from_ref(top))?;
                    let Some(entry) = view.entry(b"")? else {
                        return Err(Error::io(format!("opening {}", top.display()), Errno::NOTDIR));
                    };
                    self.record(b"", &Kind::Directory, entry.owner, entry.mode);
                    Late {
                        owner: Some(entry.owner),
                        mode: Some(entry.mode),
                        mtime: entry.mtime,
                        xattrs: entry.xattrs,
                    }
                }
            };
            self.late.insert(Vec::new(), late);
        }
        Ok(())
    }
}

/// Creates a file that was not there.
pub(super) fn create_file(dir: &Dir, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(&dir.fd, name, flags, Mode::RUSR | Mode::WUSR)
}

pub(super) fn stat_child(dir: &Dir, name: &[u8]) -> Result<Stat, Errno> {
    rustix::fs::statat(&dir.fd, name, AtFlags::SYMLINK_NOFOLLOW)
}

fn open_child(dir: &Dir, name: &[u8]) -> Result<OwnedFd, Errno> {
    open_beneath(dir, name, OFlags::PATH)
}

fn open_beneath(dir: &Dir, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let how = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    loop {
        match openat2(&dir.fd, non_empty(path), flags, Mode::empty(), how) {
            // A rename or a mount somewhere on the machine came between.
            Err(Errno::AGAIN | Errno::INTR) => {}
            done => return done,
        }
    }
}

/// An errno at a path of the image.
pub(super) fn at(path: &[u8], error: impl Into<std::io::Error>) -> Error {
    let path = if path.is_empty() { Name(b"/".to_vec()) } else { Name(path.to_vec()) };
    Error::io(format!("unpacking {path}"), error)
}

fn forget<T>(map: &mut BTreeMap<Vec<u8>, T>, path: &[u8]) {
    map.retain(|key, _| !path::is_below(key, path));
}
