//! Paths of the two ends of a copy: what was written, and where it leads.
//!
//! Links are resolved here and not by the kernel, one name at a time, because a container that does not run has its
//! volumes beside its layers and not mounted in them. Every step is still taken inside the root that it is in
//! (`openat2`), so that a link or a rename made meanwhile leads nowhere else.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use runtime::beneath;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// As many links as the kernel follows.
const LINKS: usize = 40;

/// How a path ends, which says more than its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// In a name.
    Name,
    /// In a slash: it is a directory, and if it is a link, what it leads to.
    Slash,
    /// In `/.`: what is in the directory.
    Content,
}

/// A path as written, made absolute, without `.` and `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    /// Its names.
    pub names: Vec<OsString>,
    /// How it ended.
    pub ending: Ending,
}

impl Written {
    /// Reads `text`; relative paths begin at `base`. `..` takes a name away without regard to links, as in Docker.
    pub fn new(text: &OsStr, base: &Path) -> Written {
        let bytes = text.as_bytes();
        let ending = match bytes {
            _ if bytes.ends_with(b"/.") || bytes == b"." => Ending::Content,
            _ if bytes.ends_with(b"/") => Ending::Slash,
            _ => Ending::Name,
        };
        let mut names: Vec<OsString> = Vec::new();
        for component in base.join(text).components() {
            match component {
                Component::Normal(name) => names.push(name.to_owned()),
                Component::ParentDir => drop(names.pop()),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        let ending = if names.is_empty() { Ending::Content } else { ending };
        Written { names, ending }
    }

    /// The last name; none for `/`.
    pub fn name(&self) -> &OsStr {
        self.names.last().map_or(OsStr::new(""), OsString::as_os_str)
    }
}

/// A tree, and what is mounted in it.
pub(super) struct Tree {
    root: OwnedFd,
    /// Directories in place of those of the tree: by their paths, longest first.
    mounts: Vec<(PathBuf, OwnedFd)>,
}

impl Tree {
    /// The tree of that root alone.
    pub fn new(root: OwnedFd) -> Tree {
        Tree { root, mounts: Vec::new() }
    }

    /// Puts `directory` in place of `path`, which is absolute and clean.
    pub fn mount(&mut self, path: &Path, directory: OwnedFd) {
        self.mounts.push((path.to_owned(), directory));
        self.mounts.sort_by_key(|(path, _)| std::cmp::Reverse(path.as_os_str().len()));
    }

    /// Where `written` leads. All links on the way are followed; the last name too with `follow`, and where the ending
    /// says that it is a directory. A last name that is not there is no error.
    ///
    /// # Errors
    /// `ENOENT` and `ENOTDIR` of directories on the way, `ELOOP`.
    pub fn find(&self, written: &Written, follow: bool) -> io::Result<Place<'_>> {
        let follow = follow || written.ending != Ending::Name;
        let mut at = PathBuf::from("/");
        let mut rest: VecDeque<OsString> = written.names.iter().cloned().collect();
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                at.pop();
                continue;
            }
            at.push(&name);
            let place = self.place(&at);
            let stat = match place.stat() {
                Ok(stat) => stat,
                Err(error) if error.kind() == io::ErrorKind::NotFound && rest.is_empty() => break,
                Err(error) => return Err(error),
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink if follow || !rest.is_empty() => {
                    links += 1;
                    if links > LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    let target = beneath::readlink(place.root, place.at())?;
                    at.pop();
                    if target.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    for component in target.components().rev() {
                        match component {
                            Component::Normal(name) => rest.push_front(name.to_owned()),
                            Component::ParentDir => rest.push_front("..".into()),
                            _ => {}
                        }
                    }
                }
                FileType::Directory => {}
                _ if !rest.is_empty() => return Err(Errno::NOTDIR.into()),
                _ => {}
            }
        }
        Ok(self.place(&at))
    }

    fn place(&self, path: &Path) -> Place<'_> {
        for (mounted, directory) in &self.mounts {
            if let Ok(path) = path.strip_prefix(mounted) {
                return Place { root: directory.as_fd(), path: path.to_owned(), mounted: true };
            }
        }
        let path = path.strip_prefix("/").unwrap_or(path).to_owned();
        Place { root: self.root.as_fd(), path, mounted: false }
    }
}

/// A path without links beneath a root: that of the tree, or of something mounted in it.
pub(super) struct Place<'a> {
    root: BorrowedFd<'a>,
    path: PathBuf,
    mounted: bool,
}

impl Place<'_> {
    fn at(&self) -> &Path {
        if self.path.as_os_str().is_empty() { Path::new(".") } else { &self.path }
    }

    /// Its path in the tree; `None` where it is in something mounted there.
    pub fn in_tree(&self) -> Option<&Path> {
        (!self.mounted).then_some(&self.path)
    }

    /// What is there, if it is a link the link itself.
    pub fn stat(&self) -> io::Result<Stat> {
        beneath::lstat(self.root, self.at())
    }

    /// Opens what is there as a handle (`O_PATH`), a link as itself.
    pub fn open(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        beneath::open_in_root(self.root, self.at(), flags, Mode::empty())
    }

    /// The directory that it is in, opened, and its name there. `EINVAL` for a root.
    pub fn parent(&self) -> io::Result<(OwnedFd, OsString)> {
        beneath::parent(self.root, &self.path)
    }
}

/// The names in an open directory, sorted.
pub(super) fn names(directory: BorrowedFd<'_>) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name.to_vec()));
        }
    }
    names.sort();
    Ok(names)
}

/// Opens `name` in `directory` as a handle (`O_PATH`), a link as itself, with what it is.
pub(super) fn handle(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<(OwnedFd, Stat)> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(directory, name, flags, Mode::empty())?;
    let stat = rustix::fs::statat(&handle, c"", AtFlags::EMPTY_PATH)?;
    Ok((handle, stat))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> (String, Ending) {
        let written = Written::new(OsStr::new(text), Path::new("/base"));
        (written.names.join(OsStr::new("/")).into_string().unwrap(), written.ending)
    }

    #[test]
    fn paths_as_written() {
        assert_eq!(written("a/b"), ("base/a/b".into(), Ending::Name));
        assert_eq!(written("/a/../b//"), ("b".into(), Ending::Slash));
        assert_eq!(written("./."), ("base".into(), Ending::Content));
        assert_eq!(written("."), ("base".into(), Ending::Content));
        assert_eq!(written("a/.."), ("base".into(), Ending::Name));
        assert_eq!(written("/../.."), (String::new(), Ending::Content));
        assert_eq!(written("/"), (String::new(), Ending::Content));
    }

    #[test]
    fn links_are_resolved_inside_and_across_mounts() {
        let top = std::env::temp_dir().join(format!("strake-place-{}", std::process::id()));
        let (tree, volume) = (top.join("tree"), top.join("volume"));
        std::fs::create_dir_all(tree.join("a/v")).unwrap();
        std::fs::create_dir_all(volume.join("in")).unwrap();
        std::fs::write(volume.join("in/file"), "volume").unwrap();
        let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, tree.join(at)).unwrap();
        link("/a/v/in", "abs");
        link("../../../a/./v", "a/up");
        link("loop", "loop");
        link("/nowhere", "dangling");
        let mut mounted = Tree::new(beneath::open_root(&tree).unwrap());
        mounted.mount(Path::new("/a/v"), beneath::open_root(&volume).unwrap());
        let find = |text: &str, follow| {
            let place = mounted.find(&Written::new(OsStr::new(text), Path::new("/")), follow)?;
            Ok((place.path.to_str().unwrap().to_owned(), place.stat().is_ok()))
        };
        let error = |text| find(text, true).map_err(|e: io::Error| Errno::from_io_error(&e)).unwrap_err();
        assert_eq!(find("/abs/file", false).unwrap(), ("in/file".into(), true));
        assert_eq!(find("/a/up/in", false).unwrap(), ("in".into(), true));
        assert_eq!(find("/a/up", false).unwrap(), ("a/up".into(), true));
        assert_eq!(find("/a/up", true).unwrap(), (String::new(), true));
        assert_eq!(find("/a/up/", false).unwrap(), (String::new(), true));
        assert_eq!(find("/dangling", true).unwrap(), ("nowhere".into(), false));
        assert_eq!(find("/a/new", true).unwrap(), ("a/new".into(), false));
        assert_eq!(error("/nowhere/x"), Some(Errno::NOENT));
        assert_eq!(error("/abs/file/x"), Some(Errno::NOTDIR));
        assert_eq!(error("/loop"), Some(Errno::LOOP));
        std::fs::remove_dir_all(top).unwrap();
    }
}
