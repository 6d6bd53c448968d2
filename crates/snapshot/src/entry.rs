//! One file of a layer, as tar headers and file trees both describe it.
//!
//! No I/O and no formats: `tar_writer` and `apply` turn these into bytes and files.

use std::collections::BTreeMap;

use oci::DiffId;

/// A file's user and group, as the image says: ids inside the container, not on the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Owner {
    /// `root:root`.
    pub const ROOT: Owner = Owner { uid: 0, gid: 0 };
}

/// A time of last modification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mtime {
    /// Seconds since 1970; negative before.
    pub sec: i64,
    /// Nanoseconds after `sec`, below 1,000,000,000, also when `sec` is negative.
    pub nsec: u32,
}

/// What a file is, with what only that kind has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file with so many bytes.
    File {
        /// Length in bytes, holes included.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link and the text it holds.
    Symlink(Vec<u8>),
    /// Another name of the file at this path of the same layer (root-relative, without leading slash).
    HardLink(Vec<u8>),
    /// A character device. 0:0 is a whiteout in a layer directory and never appears in a tar.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// One entry of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path from the image's root: no leading slash, no trailing one, no `.` or `..`. Any bytes but NUL. The root
    /// itself is the empty path.
    pub path: Vec<u8>,
    /// File, directory, link, …
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky (`0o7777`).
    pub mode: u32,
    /// User and group.
    pub owner: Owner,
    /// Time of last modification.
    pub mtime: Mtime,
    /// Extended attributes as the image has them (unescaped); values are raw bytes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Entry {
    /// An entry of root's, at 1970, without xattrs.
    pub fn new(path: impl Into<Vec<u8>>, kind: Kind, mode: u32) -> Entry {
        Entry {
            path: path.into(),
            kind,
            mode,
            owner: Owner::ROOT,
            mtime: Mtime::default(),
            xattrs: BTreeMap::new(),
        }
    }

    /// Bytes of content that follow the header in a tar.
    pub fn size(&self) -> u64 {
        match self.kind {
            Kind::File { size } => size,
            _ => 0,
        }
    }
}

/// What a layer amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerStat {
    /// Digest of the uncompressed tar.
    pub diff_id: DiffId,
    /// Length of the uncompressed tar in bytes.
    pub tar_size: u64,
    /// Bytes of regular files, each hard-linked file once.
    pub usage: u64,
    /// Files, directories, links and devices; further names of a hard-linked file and whiteouts not counted.
    pub inodes: u64,
}
