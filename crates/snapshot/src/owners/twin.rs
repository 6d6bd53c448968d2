//! Which file of an image, or of the step itself, a file of the step was copied or moved from: told by its looks.
//!
//! A process that copies a file with its owner (`cp -a`, and `mv` of a directory, which overlayfs does not rename)
//! reads the owner with stat, and where one id is mapped that says root. What such a copy does keep is the kind, the
//! time to the nanosecond, the size, the permissions, and all of its path below the directory that was copied. The
//! file that is most alike in these is taken for the source; where several are and do not agree, none is.

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd as _;

use runtime::beneath;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, statat};

use crate::error::{Doing as _, Error};
use crate::view::{View, is_whiteout, non_empty};
use crate::{Owner, path};

/// What a copy keeps, whatever it is called and allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Looks {
    kind: u32,
    time: (i64, u64),
    size: i64,
}

impl Looks {
    pub(super) fn of(stat: &Stat) -> Looks {
        let kind = stat.st_mode & 0o170_000;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let size = if is_directory { 0 } else { stat.st_size };
        Looks { kind, time: (stat.st_mtime, stat.st_mtime_nsec), size }
    }

    /// Whether no two files would have them by chance: layers often have one time for all of their files.
    fn are_unusual(&self) -> bool {
        FileType::from_raw_mode(self.kind) == FileType::RegularFile && self.size > 0 && self.time.1 != 0
    }
}

/// A file whose source is looked for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) path: Vec<u8>,
    pub(super) looks: Looks,
    /// `0o7777`.
    pub(super) mode: u32,
    /// Renamed by the kernel: permissions may have been changed since, and the source is gone.
    pub(super) moved: bool,
}

/// A file that may be a source.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) path: Vec<u8>,
    pub(super) looks: Looks,
    pub(super) mode: u32,
    pub(super) owner: Owner,
}

/// Whose the wanted files' sources are, by the wanted files' paths. `ours` are the step's own files, of known owners;
/// `gone` are paths that the step removed.
///
/// # Errors
/// [`Error::Io`] with the path in the image.
pub(super) fn owners(
    view: &View,
    wanted: &[Wanted],
    ours: Vec<Candidate>,
    gone: &HashSet<Vec<u8>>,
) -> Result<HashMap<Vec<u8>, Owner>, Error> {
    let looks: HashSet<Looks> = wanted.iter().map(|wanted| wanted.looks).collect();
    let mut candidates: HashMap<Looks, Vec<Candidate>> = HashMap::new();
    let mut add = |candidate: Candidate| candidates.entry(candidate.looks).or_default().push(candidate);
    let mut of_others = false;
    for candidate in ours.into_iter().filter(|candidate| looks.contains(&candidate.looks)) {
        of_others |= candidate.owner != Owner::ROOT;
        add(candidate);
    }
    // Where nothing is anyone's but root's, neither is a copy.
    if !looks.is_empty() && (of_others || view.has_sidecars()?) {
        walk(view, &looks, &mut add)?;
    }
    let mut found: HashMap<Vec<u8>, Owner> = HashMap::new();
    // What is below a directory comes before it.
    let mut sorted: Vec<&Wanted> = wanted.iter().collect();
    sorted.sort_by(|a, b| b.path.cmp(&a.path));
    let mut parents: HashMap<&[u8], &[u8]> = HashMap::new();
    for wanted in sorted {
        let Some(candidates) = candidates.get(&wanted.looks) else { continue };
        let of_below = parents.get(wanted.path.as_slice()).and_then(|source| {
            candidates.iter().find(|candidate| candidate.path == *source && candidate.mode == wanted.mode)
        });
        let Some(source) = choose(wanted, candidates, gone).or(of_below) else { continue };
        found.insert(wanted.path.clone(), source.owner);
        parents.insert(path::split(&wanted.path).0, path::split(&source.path).0);
    }
    // Links are often copied without their time, but beside files whose source is known.
    for wanted in wanted.iter().filter(|wanted| !wanted.moved) {
        let (directory, name) = path::split(&wanted.path);
        let Some(source) = parents.get(directory).filter(|_| !found.contains_key(&wanted.path)) else {
            continue;
        };
        if let Some(stat) = view.lstat(&path::join(source, name))?
            && (Looks { time: wanted.looks.time, ..Looks::of(&stat) }) == wanted.looks
        {
            found.insert(wanted.path.clone(), Owner { uid: stat.st_uid, gid: stat.st_gid });
        }
    }
    Ok(found)
}

fn choose<'a>(
    wanted: &Wanted,
    candidates: &'a [Candidate],
    gone: &HashSet<Vec<u8>>,
) -> Option<&'a Candidate> {
    let mut pool: Vec<&Candidate> = candidates
        .iter()
        .filter(|candidate| candidate.path != wanted.path)
        .filter(|candidate| wanted.moved || candidate.mode == wanted.mode)
        .collect();
    let is_gone = |candidate: &Candidate| ancestors(&candidate.path).any(|path| gone.contains(path));
    if wanted.moved && pool.iter().any(|candidate| is_gone(candidate)) {
        pool.retain(|candidate| is_gone(candidate));
    }
    let best = pool.iter().map(|candidate| names_in_common(&candidate.path, &wanted.path)).max()?;
    if best == 0 && !wanted.moved && !wanted.looks.are_unusual() {
        // Under another name, and nothing to tell by, but that one like it went.
        pool.retain(|candidate| is_gone(candidate));
    }
    pool.retain(|candidate| names_in_common(&candidate.path, &wanted.path) == best);
    // Of two that do not agree, the one that went.
    if pool.iter().any(|candidate| candidate.owner != pool[0].owner)
        && pool.iter().any(|candidate| is_gone(candidate))
    {
        pool.retain(|candidate| is_gone(candidate));
    }
    let first = *pool.first()?;
    pool.iter().all(|candidate| candidate.owner == first.owner).then_some(first)
}

/// How many names the ends of two paths share.
fn names_in_common(one: &[u8], other: &[u8]) -> usize {
    let names = |path| <[u8]>::rsplit(path, |byte: &u8| *byte == b'/');
    names(one).zip(names(other)).take_while(|(one, other)| one == other).count()
}

/// A path and the directories it is in.
fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(path), |path| Some(path::split(path).0).filter(|parent| !parent.is_empty()))
}

/// Passes the view's files that look like one of `looks` on.
fn walk(view: &View, looks: &HashSet<Looks>, add: &mut dyn FnMut(Candidate)) -> Result<(), Error> {
    let failed = |at: &[u8], error: std::io::Error| {
        Err::<(), _>(error)
            .doing("looking at", std::path::Path::new(&*String::from_utf8_lossy(at)))
            .unwrap_err()
    };
    let mut todo = vec![Vec::new()];
    while let Some(at) = todo.pop() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = beneath::open_without_links(view.root(), non_empty(&at), flags, Mode::empty())
            .map_err(|error| failed(&at, error))?;
        for entry in Dir::read_from(&directory).map_err(|error| failed(&at, error.into()))? {
            let entry = entry.map_err(|error| failed(&at, error.into()))?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let below = path::join(&at, name);
            let stat = statat(directory.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| failed(&below, error.into()))?;
            if is_whiteout(&stat) {
                continue;
            }
            let own = Looks::of(&stat);
            if looks.contains(&own) {
                let owner = view.record(&below)?.map_or(Owner::ROOT, |record| record.owner);
                add(Candidate { path: below.clone(), looks: own, mode: stat.st_mode & 0o7777, owner });
            }
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                todo.push(below);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOKS: Looks = Looks { kind: 0o100_000, time: (5, 0), size: 3 };

    fn candidate(path: &str, uid: u32) -> Candidate {
        let owner = Owner { uid, gid: uid };
        Candidate { path: path.into(), looks: LOOKS, mode: 0o644, owner }
    }

    fn chosen(path: &str, moved: bool, candidates: &[Candidate], gone: &[&str]) -> Option<u32> {
        let wanted = Wanted { path: path.into(), looks: LOOKS, mode: 0o644, moved };
        let gone = gone.iter().map(|path| path.as_bytes().to_vec()).collect();
        choose(&wanted, candidates, &gone).map(|candidate| candidate.owner.uid)
    }

    #[test]
    fn the_source_is_the_one_most_alike() {
        let all = [candidate("src/a/__init__.py", 5), candidate("usr/lib/b/__init__.py", 0)];
        assert_eq!(chosen("opt/a/__init__.py", false, &all, &[]), Some(5));
        assert_eq!(chosen("opt/b/__init__.py", false, &all, &[]), Some(0));
        assert_eq!(chosen("opt/c/__init__.py", false, &all, &[]), None, "they do not agree");
        assert_eq!(chosen("opt/c/__init__.py", false, &all, &["src"]), Some(5), "the one that went");
        assert_eq!(chosen("opt/c/other.py", false, &all[..1], &[]), None, "another name, and ordinary looks");
        assert_eq!(chosen("opt/c/other.py", false, &all, &["src"]), Some(5), "but one that went");
        assert_eq!(chosen("src/a/__init__.py", false, &all[..1], &[]), None, "not its own source");
    }

    #[test]
    fn what_was_moved_is_gone_from_where_it_was() {
        let all = [candidate("x/a", 5), candidate("x/b", 6)];
        assert_eq!(chosen("y", true, &all, &["x/a"]), Some(5));
        assert_eq!(chosen("y", true, &all[1..], &["x"]), Some(6));
        assert_eq!(chosen("y", true, &all, &["x"]), None);
    }
}
