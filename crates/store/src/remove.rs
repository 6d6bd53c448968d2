//! Removing and measuring trees whatever they hold: unwritable directories, nesting beyond any path length,
//! names that are not text. Never follows a link, and never leaves the tree.
//!
//! Other processes may be removing the same tree at once: what is gone already is fine.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

/// Deeper directories are moved up before they are emptied, so that open directories stay few.
const DEPTH: usize = 100;
/// How often a directory that does not get empty is gone through again: a dying process may still write to
/// it.
const ROUNDS: u32 = 50;

struct Level {
    dir: Dir,
    /// Name in the level above.
    name: CString,
    opened_up: bool,
    rounds: u32,
}

/// Removes `path` and all below it; fine when it is not there.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = match rustix::fs::open(parent, dir_flags() | OFlags::PATH, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    let name = CString::new(name.as_bytes())?;
    match rustix::fs::unlinkat(&parent, &name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // What unlink says of a directory: Linux EISDIR, POSIX EPERM.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(e) => return Err(e.into()),
    }
    match open_dir(parent.as_fd(), &name) {
        Ok(dir) => empty_and_remove(parent.as_fd(), Level { dir, name, opened_up: false, rounds: 0 })
            .map_err(io::Error::from),
        Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

fn empty_and_remove(parent: BorrowedFd, top: Level) -> Result<(), Errno> {
    let mut levels = vec![top];
    let mut moved = 0u64;
    while let Some(level) = levels.last_mut() {
        if let Some(entry) = level.dir.read() {
            let entry = match entry {
                Ok(entry) => entry,
                // The directory itself was removed by another.
                Err(Errno::NOENT) => continue,
                Err(e) => return Err(e),
            };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let is_dir = match entry.file_type() {
                FileType::Directory => true,
                FileType::Unknown => is_directory(level.dir.fd()?, name)?,
                _ => false,
            };
            if !is_dir {
                unlink(level, name)?;
                continue;
            }
            let name = name.to_owned();
            if levels.len() < DEPTH {
                descend(&mut levels, name)?;
            } else {
                moved += 1;
                move_up(&mut levels, &name, moved)?;
            }
            continue;
        }
        let Some(done) = levels.pop() else { break };
        match remove_empty(&mut levels, parent, &done.name) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) if done.rounds < ROUNDS => {
                let mut again = done;
                again.rounds += 1;
                if again.rounds > 3 {
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
                again.dir.rewind();
                levels.push(again);
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn descend(levels: &mut Vec<Level>, name: CString) -> Result<(), Errno> {
    let level = levels.last_mut().expect("because the loop runs only while there is a level");
    match open_dir(level.dir.fd()?, &name) {
        Ok(dir) => levels.push(Level { dir, name, opened_up: false, rounds: 0 }),
        Err(Errno::NOENT) => {}
        Err(e) => return Err(e),
    }
    Ok(())
}

/// Moves a directory to the top of the tree, which will be gone through again since it does not get empty.
fn move_up(levels: &mut [Level], name: &CStr, number: u64) -> Result<(), Errno> {
    let to = CString::new(format!(".deep-{}-{number}", std::process::id()))
        .expect("because a number holds no zero byte");
    levels[0].rounds = 0;
    let at = levels.len() - 1;
    for attempt in 0..2 {
        let moved = rustix::fs::renameat(levels[at].dir.fd()?, name, levels[0].dir.fd()?, &to);
        match moved {
            Err(Errno::ACCESS) if attempt == 0 => {
                open_up(&mut levels[at])?;
                open_up(&mut levels[0])?;
                // Moving a directory changes its `..`.
                let dir = levels[at].dir.fd()?;
                rustix::fs::chmodat(dir, name, Mode::RWXU, AtFlags::empty())?;
            }
            Err(Errno::NOENT) => return Ok(()),
            other => return other,
        }
    }
    Ok(())
}

fn unlink(level: &mut Level, name: &CStr) -> Result<(), Errno> {
    let mut result = rustix::fs::unlinkat(level.dir.fd()?, name, AtFlags::empty());
    if matches!(result, Err(Errno::ACCESS | Errno::PERM)) && open_up(level)? {
        result = rustix::fs::unlinkat(level.dir.fd()?, name, AtFlags::empty());
    }
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn remove_empty(levels: &mut [Level], parent: BorrowedFd, name: &CStr) -> Result<(), Errno> {
    let Some(above) = levels.last_mut() else {
        return rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR);
    };
    let mut result = rustix::fs::unlinkat(above.dir.fd()?, name, AtFlags::REMOVEDIR);
    if matches!(result, Err(Errno::ACCESS | Errno::PERM)) && open_up(above)? {
        result = rustix::fs::unlinkat(above.dir.fd()?, name, AtFlags::REMOVEDIR);
    }
    result
}

/// Lets the owner write and search the directory; whether that was not tried before.
fn open_up(level: &mut Level) -> Result<bool, Errno> {
    if level.opened_up {
        return Ok(false);
    }
    level.opened_up = true;
    rustix::fs::fchmod(level.dir.fd()?, Mode::RWXU)?;
    Ok(true)
}

fn open_dir(at: BorrowedFd, name: &CStr) -> Result<Dir, Errno> {
    let open = || rustix::fs::openat(at, name, dir_flags(), Mode::empty());
    let fd = match open() {
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(at, name, Mode::RWXU, AtFlags::empty())?;
            open()?
        }
        other => other?,
    };
    Dir::new(fd)
}

fn dir_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn is_directory(at: BorrowedFd, name: &CStr) -> Result<bool, Errno> {
    match rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode).is_dir()),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Bytes of the regular files at and below `path`, each hard-linked file once. What cannot be read counts
/// nothing.
pub(crate) fn measure(path: &Path) -> u64 {
    let Ok(stat) = rustix::fs::lstat(path) else { return 0 };
    if !FileType::from_raw_mode(stat.st_mode).is_dir() {
        return regular(&stat, &mut HashSet::new());
    }
    let Ok(top) = rustix::fs::open(path, dir_flags(), Mode::empty()) else { return 0 };
    let mut seen = HashSet::new();
    let mut bytes = 0;
    let mut levels = vec![(top, Vec::<CString>::new(), false)];
    loop {
        let depth = levels.len();
        let Some((fd, subdirs, listed)) = levels.last_mut() else { break };
        if !*listed {
            *listed = true;
            bytes += list(fd, subdirs, &mut seen);
        }
        match subdirs.pop() {
            None => {
                levels.pop();
            }
            // Beyond any sane nesting: an undercount is better than running out of descriptors.
            Some(_) if depth >= 500 => {}
            Some(name) => {
                if let Ok(child) = rustix::fs::openat(&*fd, &name, dir_flags(), Mode::empty()) {
                    levels.push((child, Vec::new(), false));
                }
            }
        }
    }
    bytes
}

fn list(fd: &OwnedFd, subdirs: &mut Vec<CString>, seen: &mut HashSet<(u64, u64)>) -> u64 {
    let mut bytes = 0;
    let mut buffer = Vec::with_capacity(16 * 1024);
    let mut entries = RawDir::new(fd, buffer.spare_capacity_mut());
    while let Some(Ok(entry)) = entries.next() {
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let Ok(stat) = rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if FileType::from_raw_mode(stat.st_mode).is_dir() {
            subdirs.push(name.to_owned());
        } else {
            bytes += regular(&stat, seen);
        }
    }
    bytes
}

fn regular(stat: &rustix::fs::Stat, seen: &mut HashSet<(u64, u64)>) -> u64 {
    let counts = FileType::from_raw_mode(stat.st_mode).is_file()
        && (stat.st_nlink == 1 || seen.insert((stat.st_dev, stat.st_ino)));
    if counts { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn removes_unwritable_and_deep_trees_and_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let outside = base.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "x").unwrap();

        let tree = base.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::write(tree.join("a/b/file"), "12345").unwrap();
        fs::hard_link(tree.join("a/b/file"), tree.join("a/link")).unwrap();
        symlink(&outside, tree.join("a/out")).unwrap();
        fs::set_permissions(tree.join("a/b"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(tree.join("a"), fs::Permissions::from_mode(0o500)).unwrap();
        assert_eq!(measure(&tree.join("a/link")), 5);

        // 600 levels of 20 bytes: beyond PATH_MAX, so made one by one from inside.
        let mut at = rustix::fs::open(&tree, dir_flags(), Mode::empty()).unwrap();
        for _ in 0..600 {
            rustix::fs::mkdirat(&at, "twenty-bytes-of-name", Mode::RUSR | Mode::XUSR | Mode::WUSR).unwrap();
            let next = rustix::fs::openat(&at, "twenty-bytes-of-name", dir_flags(), Mode::empty()).unwrap();
            at = next;
        }
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert!(outside.join("kept").exists());
        remove_tree(&tree).unwrap();
    }
}
