//! Mount attributes: `mount_setattr(2)`, and what does its work before Linux 5.12.
//!
//! The older way knows attached mounts only, so a detached one is attached to a place in the supervisor's tmpfs first,
//! which the caller, who is about to attach it elsewhere, does not notice; and it knows single mounts only, so those
//! below are found in /proc/self/mountinfo.

use super::staging::Staging;
use crate::sys::{MountAttr, mount_setattr};
use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, fstat, fstatvfs, statvfs, statx};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, mount_change, mount_remount, move_mount,
};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Sets and clears attributes of the mount whose top `mount` is, with everything below it if `recursive`.
pub(super) fn set_attributes(mount: impl AsFd, recursive: bool, attr: &MountAttr) -> io::Result<()> {
    match mount_setattr(mount.as_fd(), recursive, attr) {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            before_setattr(mount.as_fd(), recursive, attr)
        }
        done => done,
    }
}

fn before_setattr(mount: BorrowedFd<'_>, recursive: bool, attr: &MountAttr) -> io::Result<()> {
    match one_by_one(mount, recursive, attr) {
        // It is detached.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            let is_directory = FileType::from_raw_mode(fstat(mount)?.st_mode) == FileType::Directory;
            let place = if is_directory { Staging::SOURCE } else { Staging::FILE };
            move_mount(mount, c"", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
            one_by_one(mount, recursive, attr)
        }
        done => done,
    }
}

fn one_by_one(mount: BorrowedFd<'_>, recursive: bool, attr: &MountAttr) -> io::Result<()> {
    let top = format!("/proc/self/fd/{}", mount.as_raw_fd());
    let depth = if recursive { MountPropagationFlags::REC } else { MountPropagationFlags::empty() };
    if attr.propagation != 0 {
        let kind = MountPropagationFlags::from_bits_retain(attr.propagation as u32);
        mount_change(top.as_str(), kind | depth)?;
    }
    if attr.set | attr.clear == 0 {
        return Ok(());
    }
    remount(top.into(), fstatvfs(mount)?.f_flag.bits(), attr)?;
    if recursive {
        for path in below(mount)? {
            let present = statvfs(&path)?.f_flag.bits();
            remount(path, present, attr)?;
        }
    }
    Ok(())
}

/// `present`: `ST_*` flags, which have to be said again or are lost, and may be locked.
fn remount(path: PathBuf, present: u64, attr: &MountAttr) -> io::Result<()> {
    // These have the same values in all three families.
    let simple =
        libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    let mut flags = present & simple & !attr.clear | attr.set & simple;
    let times: [(u64, u64, u64); 3] = [
        (libc::ST_NOATIME, libc::MOUNT_ATTR_NOATIME, libc::MS_NOATIME),
        (libc::ST_NODIRATIME, libc::MOUNT_ATTR_NODIRATIME, libc::MS_NODIRATIME),
        (libc::ST_RELATIME, 0, libc::MS_RELATIME),
    ];
    for (status, attribute, mount) in times {
        if present & status & !attr.clear != 0 || attr.set & attribute != 0 {
            flags |= mount;
        }
    }
    if attr.set & libc::MOUNT_ATTR__ATIME == libc::MOUNT_ATTR_STRICTATIME {
        flags = flags & !(libc::MS_NOATIME | libc::MS_RELATIME) | libc::MS_STRICTATIME;
    }
    let flags = MountFlags::from_bits_retain(flags as u32) | MountFlags::BIND;
    Ok(mount_remount(path, flags, c"")?)
}

/// The mounts below `mount`, as paths from our working directory, the supervisor's tmpfs: what we make attributes of
/// is in there, and what mountinfo calls its paths are from there.
fn below(mount: BorrowedFd<'_>) -> io::Result<Vec<PathBuf>> {
    let id = statx(mount, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?.stx_mnt_id;
    let table = std::fs::read("/proc/self/mountinfo")?;
    let mut above = vec![id];
    let mut paths = Vec::new();
    // A mount is listed after the one that it is on.
    for line in table.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b' ');
        let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse::<u64>().ok();
        let (Some(own), Some(parent)) = (number(), number()) else { continue };
        let Some(path) = fields.nth(2) else { continue };
        if above.contains(&parent) {
            above.push(own);
            let path = unescape(path);
            let relative = path.strip_prefix(b"/").unwrap_or(&path).to_vec();
            paths.push(PathBuf::from(OsString::from_vec(relative)));
        }
    }
    Ok(paths)
}

/// Undoes mountinfo's octal escapes of blanks and backslashes.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| first == b'\\');
        match code.and_then(|c| u8::from_str_radix(std::str::from_utf8(c).ok()?, 8).ok()) {
            Some(byte) => {
                plain.push(byte);
                rest = &after[3..];
            }
            None => {
                plain.push(first);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    #[test]
    fn mountinfo_escapes() {
        assert_eq!(super::unescape(br"/a\040b\134c\"), br"/a b\c\".to_vec());
    }
}
