//! Kinds of file systems, by the number that `statfs` tells, as far as it matters to overlayfs.

use std::fmt;
use std::io;
use std::path::Path;

/// The kind of file system a path is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileSystem(u32);

/// Magic number (`linux/magic.h`), name, and whether a writable overlayfs layer may be on it.
const KNOWN: [(u32, &str, bool); 20] = [
    (0xEF53, "ext4", true),
    (0x5846_5342, "xfs", true),
    (0x9123_683E, "btrfs", true),
    (0x0102_1994, "tmpfs", true),
    (0xF2F5_2010, "f2fs", true),
    (0xCA45_1A4E, "bcachefs", true),
    (0x2FC1_2FC1, "zfs", true),
    (0x794C_7630, "overlayfs", false),
    (0x6969, "nfs", false),
    (0xFF53_4D42, "cifs", false),
    (0xFE53_4D42, "smb2", false),
    (0x6573_5546, "fuse", false),
    (0x0102_1997, "9p", false),
    (0x00C3_6400, "ceph", false),
    (0x4D44, "vfat", false),
    (0x2011_BAB0, "exfat", false),
    (0x7366_746E, "ntfs3", false),
    (0xF15F, "ecryptfs", false),
    (0x7371_7368, "squashfs", false),
    (0xE0F5_E1E2, "erofs", false),
];

impl FileSystem {
    /// What `path` is on.
    pub(crate) fn of(path: &Path) -> io::Result<FileSystem> {
        let status = rustix::fs::statfs(path)?;
        // The type of f_type differs by architecture, its 32 bits do not.
        Ok(FileSystem(status.f_type as u32))
    }

    /// False only where it is known that overlayfs refuses it, or mounts and then cannot keep whiteouts.
    pub(crate) fn can_hold_upper(self) -> bool {
        self.known().is_none_or(|(_, _, can)| *can)
    }

    fn known(self) -> Option<&'static (u32, &'static str, bool)> {
        KNOWN.iter().find(|(magic, _, _)| *magic == self.0)
    }
}

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some((_, name, _)) => f.write_str(name),
            None => write!(f, "a file system of type {:#x}", self.0),
        }
    }
}
