//! Whose the files of a finished step are, where the step itself could not have been told.
//!
//! Known are what owners its processes asked for, by the identity of the file in the upper directory, and whose files
//! of the lowers were. A file that overlayfs copied up is still whose it was; one that the step made is the step's
//! user's; either is whose it was last asked to be.
//!
//! Copied up or made? Overlayfs marks what it copies up, but in a user namespace does not say from where: a file that
//! was also renamed is found by its looks ([`super::twin`]). It marks no links and pipes, nor files with several names:
//! those are taken for copies if they have the kind, the time and the target of the lowers' file of that name, or,
//! having had several names there, if nobody was asked to own them.
//!
//! Asked by whom? A program that makes a file and gives it to root mostly does not mean root: it hands on what stat
//! said of another file, and that is always root here. `sed -i` and `useradd` (for /etc/shadow) do, to replace a file;
//! so do `cp -a` and `mv`, if they ask at all, but those set the time too. Therefore a file that the step, run as root,
//! made and gave to root, or to a time before its birth, belongs to the first of these that there is:
//!
//! - whom a file of the same name, now gone, was given to in the step;
//! - the owner of the lowers' file of that name and kind;
//! - the owner of the file that it is a copy of;
//! - the owner of the file that it is, by its name, a backup of;
//! - root.
//!
//! That errs where a step run as root removes a file of another owner and makes one in its place that is given to root
//! in so many words (`install -o root`). A file that was there and is given to root (`chown root f`) is root's.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use runtime::beneath;
use runtime::owners::{FileId, OwnerRecord};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, major, minor, openat, statat};

use super::twin::{self, Candidate, Looks, Wanted};
use super::{Owners, Record};
use crate::error::{Doing as _, Error};
use crate::view::{View, is_whiteout, non_empty};
use crate::xattrs::{self, OPAQUE, ORIGIN};
use crate::{Kind, Owner, path};

/// Writes the sidecar of the upper directory `upper` of a step that ran over `lowers` (topmost first) as `user`, and
/// asked for the owners `asked`; also returns it. To be called before [`crate::normalize`], which removes the notes of
/// origin. A sidecar that is there, of an earlier run of the same container, is carried on by its paths.
///
/// # Errors
/// [`Error::Io`] with the path, and what mounting the lowers says.
pub fn settle(upper: &Path, lowers: &[PathBuf], asked: &[OwnerRecord], user: Owner) -> Result<Owners, Error> {
    let view = View::open(lowers)?;
    let mut settled = Owners::default();
    let earlier = Owners::of_layer(upper)?;
    if !asked.is_empty() || user != Owner::ROOT || !earlier.0.is_empty() || view.has_sidecars()? {
        let by_file = asked.iter().map(|record| (record.file, record)).collect();
        let earlier_until = super::written(upper);
        let mut step = Step {
            upper,
            view: &view,
            asked: by_file,
            earlier: &earlier,
            earlier_until,
            user,
            present: HashSet::new(),
            removed: HashSet::new(),
        };
        let found = step.look()?;
        step.decide(found, &mut settled)?;
    }
    settled.save(upper)?;
    Ok(settled)
}

struct Step<'a> {
    upper: &'a Path,
    view: &'a View,
    asked: HashMap<FileId, &'a OwnerRecord>,
    earlier: &'a Owners,
    /// When the earlier run ended.
    earlier_until: Option<(i64, u32)>,
    /// Whom the step ran as.
    user: Owner,
    /// The files there are.
    present: HashSet<FileId>,
    /// Paths of the lowers that are no more.
    removed: HashSet<Vec<u8>>,
}

/// A file of the upper directory.
struct Found {
    path: Vec<u8>,
    stat: Stat,
    id: FileId,
    past: Past,
}

impl Found {
    /// Whether its time was set to one before it was made, as copies have.
    fn has_time_of_another(&self) -> bool {
        self.id.born != (0, 0)
            && (self.stat.st_mtime, self.stat.st_mtime_nsec) < {
                let (seconds, nanoseconds) = self.id.born;
                (seconds, u64::from(nanoseconds))
            }
    }
}

/// Where a file of the upper directory comes from.
#[derive(Clone, Copy)]
enum Past {
    /// It was there, and whose.
    Old(Option<Record>),
    /// It was there, somewhere else.
    Moved,
    /// The step made it; if there was another of that name and kind, this was its owner.
    New(Option<Owner>),
}

impl Step<'_> {
    /// Lists the upper directory, each directory before what is in it.
    fn look(&mut self) -> Result<Vec<Found>, Error> {
        let root = beneath::open_root(self.upper).doing("opening", self.upper)?;
        let mut all = Vec::new();
        let mut todo = vec![Vec::new()];
        while let Some(at) = todo.pop() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let directory = beneath::open_without_links(root.as_fd(), non_empty(&at), flags, Mode::empty());
            let directory = directory.map_err(|e| self.failed(&at, e))?;
            let listing = Dir::read_from(&directory).map_err(|e| self.failed(&at, e))?;
            for entry in listing {
                let entry = entry.map_err(|e| self.failed(&at, e))?;
                let name = entry.file_name().to_bytes();
                if matches!(name, b"." | b"..") {
                    continue;
                }
                let path = path::join(&at, name);
                let stat =
                    statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| self.failed(&path, e))?;
                if is_whiteout(&stat) {
                    self.removed.insert(path);
                    continue;
                }
                let id = FileId::of(&directory, name).map_err(|e| self.failed(&path, e))?;
                let past = self.past(&directory, name, &path, &stat, id)?;
                self.present.insert(id);
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    todo.push(path.clone());
                }
                all.push(Found { path, stat, id, past });
            }
        }
        Ok(all)
    }

    fn decide(&self, found: Vec<Found>, settled: &mut Owners) -> Result<(), Error> {
        let replaced = self.replaced();
        let mut linked: HashMap<u64, Vec<Vec<u8>>> = HashMap::new();
        let mut wanted = Vec::new();
        let mut known = Vec::new();
        // Sorted, so that a file comes before its backup.
        let mut open = BTreeMap::new();
        for file in &found {
            let (path, stat) = (&file.path, &file.stat);
            if stat.st_nlink > 1 && FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                linked.entry(stat.st_ino).or_default().push(path.clone());
            }
            let (looks, mode) = (Looks::of(stat), stat.st_mode & 0o7777);
            let Some(owner) = self.owner(file, settled, &replaced) else {
                let moved = matches!(file.past, Past::Moved);
                wanted.push(Wanted { path: path.clone(), looks, mode, moved });
                open.insert(path.clone(), file);
                continue;
            };
            known.push(Candidate { path: path.clone(), looks, mode, owner });
            self.note(file, owner, settled);
        }
        let sources = twin::owners(self.view, &wanted, known, &self.removed)?;
        for (path, file) in open {
            let was = match sources.get(&path) {
                Some(owner) => *owner,
                None => self.of_original(&path, settled)?.unwrap_or(Owner::ROOT),
            };
            // What was moved and then given away is no longer whose it was.
            let owner = if matches!(file.past, Past::Moved) { self.given(file.id, was) } else { was };
            self.note(file, owner, settled);
        }
        // What is known of one name of a file is true of all.
        for names in linked.into_values() {
            if let Some(record) = names.iter().find_map(|name| settled.0.get(name).copied()) {
                settled.0.extend(names.into_iter().map(|name| (name, record)));
            }
        }
        Ok(())
    }

    /// Whom files that are gone were last given to, by their paths; `None` where several were, and not to the same.
    fn replaced(&self) -> HashMap<&[u8], Option<Owner>> {
        use std::os::unix::ffi::OsStrExt as _;
        let mut replaced: HashMap<&[u8], Option<Owner>> = HashMap::new();
        for (id, record) in &self.asked {
            let owner = Owner { uid: record.uid.unwrap_or(0), gid: record.gid.unwrap_or(0) };
            if owner == Owner::ROOT || self.present.contains(id) {
                continue;
            }
            let path = record.path.as_os_str().as_bytes();
            let known = replaced.entry(path.strip_prefix(b"/").unwrap_or(path)).or_insert(Some(owner));
            if *known != Some(owner) {
                *known = None;
            }
        }
        replaced
    }

    /// Whose the file is that this one, by its name, is a backup of: `passwd-`, `f~`, `f.bak`.
    fn of_original(&self, path: &[u8], settled: &Owners) -> Result<Option<Owner>, Error> {
        for suffix in [&b"-"[..], b"~", b".bak", b".orig", b".old"] {
            let Some(original) = path.strip_suffix(suffix).filter(|name| !path::split(name).1.is_empty())
            else {
                continue;
            };
            if let Some(record) = settled.0.get(original) {
                return Ok(Some(record.owner));
            }
            if let Some(record) = self.view.record(original)? {
                return Ok(Some(record.owner));
            }
        }
        Ok(None)
    }

    /// Whose a file was asked to be, that was `was`'s.
    fn given(&self, id: FileId, was: Owner) -> Owner {
        let asked = self.asked.get(&id);
        Owner {
            uid: asked.and_then(|record| record.uid).unwrap_or(was.uid),
            gid: asked.and_then(|record| record.gid).unwrap_or(was.gid),
        }
    }

    /// Whose the file is; `None` if that is to be told by what it is a copy of.
    fn owner(
        &self,
        file: &Found,
        settled: &Owners,
        replaced: &HashMap<&[u8], Option<Owner>>,
    ) -> Option<Owner> {
        let before = match file.past {
            Past::Old(record) => {
                return Some(self.given(file.id, record.map_or(Owner::ROOT, |record| record.owner)));
            }
            Past::Moved => return None,
            Past::New(before) => before,
        };
        let asked = self.asked.get(&file.id).map(|record| (record.uid, record.gid));
        let own = Owner { uid: self.user.uid, gid: self.group(file, settled) };
        match asked.unwrap_or_default() {
            (None | Some(0), None | Some(0)) if self.user.uid != 0 => Some(own),
            // `cp -a` asks for no owner that the file seems to have already.
            (None, None) if own == Owner::ROOT && file.has_time_of_another() => None,
            (None, None) => Some(own),
            (None | Some(0), None | Some(0)) => {
                let of_replaced = replaced.get(file.path.as_slice()).copied().flatten();
                of_replaced.or(before)
            }
            (uid, gid) => Some(Owner { uid: uid.unwrap_or(own.uid), gid: gid.unwrap_or(own.gid) }),
        }
    }

    /// The group of what the step makes there: the user's, or the directory's where that has the setgid bit.
    fn group(&self, file: &Found, settled: &Owners) -> u32 {
        let (parent, _) = path::split(&file.path);
        match settled.0.get(parent) {
            Some(record) if record.mode & 0o2000 != 0 => record.owner.gid,
            _ => self.user.gid,
        }
    }

    /// Writes down what is to be said of a file: nothing, where it is root's and what it looks like.
    fn note(&self, file: &Found, owner: Owner, settled: &mut Owners) {
        let kind = FileType::from_raw_mode(file.stat.st_mode);
        let is_empty_file = kind == FileType::RegularFile && file.stat.st_size == 0;
        let inherited = match file.past {
            Past::Old(record) => record,
            Past::Moved | Past::New(_) => None,
        };
        let asked = self.asked.get(&file.id).copied();
        let device = if is_empty_file { self.device(asked, inherited) } else { None };
        if owner == Owner::ROOT && device.is_none() {
            return;
        }
        let kind = device.unwrap_or(match kind {
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink(Vec::new()),
            FileType::Fifo => Kind::Fifo,
            _ => Kind::File { size: 0 },
        });
        if let Some(record) = Record::of(&kind, owner, file.stat.st_mode & 0o7777) {
            settled.0.insert(file.path.clone(), record);
        }
    }

    /// The device that an empty file stands for.
    fn device(&self, asked: Option<&OwnerRecord>, inherited: Option<Record>) -> Option<Kind> {
        if let Some(device) = asked.and_then(|record| record.device) {
            let (major, minor) = (major(device.rdev), minor(device.rdev));
            return Some(match FileType::from_raw_mode(device.mode) {
                FileType::BlockDevice => Kind::BlockDevice { major, minor },
                _ => Kind::CharDevice { major, minor },
            });
        }
        match inherited?.kind_over(Kind::Fifo) {
            Kind::Fifo => None,
            device => Some(device),
        }
    }

    /// Where a file of the upper directory comes from, and what the lowers, or the earlier run, say of it.
    fn past(
        &self,
        directory: &OwnedFd,
        name: &[u8],
        at: &[u8],
        stat: &Stat,
        id: FileId,
    ) -> Result<Past, Error> {
        if let Some(earlier) = self.earlier.0.get(at) {
            let is_newer = id.born != (0, 0) && self.earlier_until.is_some_and(|until| id.born > until);
            return Ok(if is_newer { Past::New(Some(earlier.owner)) } else { Past::Old(Some(*earlier)) });
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        let fd = match kind {
            FileType::Directory | FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                Some(openat(directory, name, flags, Mode::empty()).map_err(|e| self.failed(at, e))?)
            }
            _ => None,
        };
        let mark = |name: &str| match &fd {
            Some(fd) => xattrs::get(fd, name.as_bytes()).map_err(|e| self.failed(at, e)),
            None => Ok(None),
        };
        let lower = self.view.lstat(at)?;
        if mark(ORIGIN)?.is_some() {
            return match lower {
                Some(_) => Ok(Past::Old(self.view.record(at)?)),
                None => Ok(Past::Moved),
            };
        }
        let Some(lower) = lower else { return Ok(Past::New(None)) };
        let record = self.view.record(at)?;
        if (lower.st_mode ^ stat.st_mode) & 0o170_000 != 0 {
            return Ok(Past::New(None));
        }
        let is_copy = if kind == FileType::Directory {
            // One that the step made hides what was there.
            mark(OPAQUE)?.as_deref() != Some(b"y")
        } else {
            let same_time = (lower.st_mtime, lower.st_mtime_nsec) == (stat.st_mtime, stat.st_mtime_nsec);
            let same = same_time && lower.st_size == stat.st_size;
            let is_link = kind == FileType::Symlink;
            let unmarked =
                kind == FileType::RegularFile && lower.st_nlink > 1 && !self.asked.contains_key(&id);
            same && (!is_link || self.same_target(directory, name, at)?) || unmarked
        };
        Ok(if is_copy {
            Past::Old(record)
        } else {
            Past::New(Some(record.map_or(Owner::ROOT, |record| record.owner)))
        })
    }

    fn same_target(&self, directory: &OwnedFd, name: &[u8], at: &[u8]) -> Result<bool, Error> {
        let ours = rustix::fs::readlinkat(directory, name, Vec::new()).map_err(|e| self.failed(at, e))?;
        Ok(self.view.readlink(at)? == ours.as_bytes())
    }

    fn failed(&self, at: &[u8], error: impl Into<std::io::Error>) -> Error {
        use std::os::unix::ffi::OsStrExt as _;
        let path = self.upper.join(std::ffi::OsStr::from_bytes(at));
        Error::io(format!("looking at {}", path.display()), error)
    }
}
