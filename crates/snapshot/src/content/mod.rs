//! The content digest of what a copy takes: names, kinds, permissions, owners where they count, link targets, xattrs
//! and file contents. No times and no inode numbers, so that a touched or newly checked out file is the same file.
//!
//! Beside the digest of it all, [`Files`] keeps a little of each file, so that a difference can be told by name.

mod files;

use oci::{Digest, Hasher};

use crate::Owner;
use crate::xattrs::Xattrs;

pub use files::{Change, Changed, FileChange, Files, changes};

/// What a file is, for its content's digest.
#[derive(Clone, Copy, Debug)]
pub enum Described<'a> {
    /// A directory.
    Directory,
    /// A regular file with the SHA-256 of its content.
    File([u8; 32]),
    /// Another name of the file at this path of the same source.
    Again(&'a [u8]),
    /// A symbolic link and what it holds.
    Symlink(&'a [u8]),
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice(u32, u32),
    /// A block device.
    BlockDevice(u32, u32),
}

/// One file.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// Where it goes, relative to the destination of its source.
    pub path: &'a [u8],
    /// What it is.
    pub what: Described<'a>,
    /// Permission bits, `0o7777`.
    pub mode: u32,
    /// Its owner, where the copy keeps that.
    pub owner: Option<Owner>,
    /// Its xattrs that images keep.
    pub xattrs: &'a Xattrs,
}

/// The digest of everything that a step takes, as it is put together.
#[derive(Default)]
pub struct ContentHasher {
    hasher: Hasher,
    files: Files,
    line: Vec<u8>,
}

/// What a step takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The digest of it all.
    pub digest: Digest,
    /// What it is made of.
    pub files: Files,
}

impl ContentHasher {
    /// Nothing yet.
    pub fn new() -> ContentHasher {
        ContentHasher::default()
    }

    /// Begins the next source. `name` is what a copy of it is called below a directory. Files added from here on are
    /// its.
    pub fn source(&mut self, name: &[u8]) {
        self.begin_line(b's');
        self.field(name);
        self.end_line();
    }

    /// Adds a file of the source. `shown` is its path as the user knows it. Files must come in an order that depends
    /// on their paths only.
    pub fn file(&mut self, file: &File<'_>, shown: &[u8]) {
        let rdev: [u8; 8];
        let numbers = |major: u32, minor: u32| (u64::from(minor) << 32 | u64::from(major)).to_le_bytes();
        let (kind, what): (u8, &[u8]) = match &file.what {
            Described::Directory => (b'd', b""),
            Described::File(digest) => (b'f', digest),
            Described::Again(first) => (b'h', first),
            Described::Symlink(target) => (b'l', target),
            Described::Fifo => (b'p', b""),
            Described::CharDevice(major, minor) => {
                rdev = numbers(*major, *minor);
                (b'c', &rdev)
            }
            Described::BlockDevice(major, minor) => {
                rdev = numbers(*major, *minor);
                (b'b', &rdev)
            }
        };
        self.begin_line(kind);
        self.field(file.path);
        self.field(what);
        // A link's permissions are never looked at.
        let mode = if kind == b'l' { 0 } else { file.mode & 0o7777 };
        self.field(&mode.to_le_bytes());
        if let Some(owner) = file.owner {
            self.field(&owner.uid.to_le_bytes());
            self.field(&owner.gid.to_le_bytes());
        }
        for (name, value) in file.xattrs {
            self.field(name);
            self.field(value);
        }
        self.end_line();
        self.files.add(shown, kind, what, mode, file.owner, file.xattrs);
    }

    /// The digest of all that was added.
    pub fn finish(self) -> Content {
        Content { digest: self.hasher.finish(), files: self.files }
    }

    fn begin_line(&mut self, kind: u8) {
        self.line.clear();
        self.line.push(kind);
    }

    fn field(&mut self, bytes: &[u8]) {
        // Lengths first, so that no two files read the same.
        self.line.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.line.extend_from_slice(bytes);
    }

    fn end_line(&mut self) {
        let mut hasher = Hasher::new();
        hasher.update(&self.line);
        self.hasher.update(&hasher.finish_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &'static str, content: &[u8], mode: u32) -> impl Fn(&mut ContentHasher) {
        let mut hasher = Hasher::new();
        hasher.update(content);
        let digest = hasher.finish_bytes();
        move |all| {
            let what = Described::File(digest);
            let file = File { path: path.as_bytes(), what, mode, owner: None, xattrs: &Xattrs::new() };
            all.file(&file, path.as_bytes());
        }
    }

    fn content(files: &[&dyn Fn(&mut ContentHasher)]) -> Content {
        let mut all = ContentHasher::new();
        all.source(b"src");
        files.iter().for_each(|add| add(&mut all));
        all.finish()
    }

    #[test]
    fn what_counts() {
        let base = content(&[&file("a", b"1", 0o644), &file("b", b"2", 0o644)]);
        assert_eq!(base, content(&[&file("a", b"1", 0o644), &file("b", b"2", 0o644)]));
        for (other, expected) in [
            (content(&[&file("a", b"x", 0o644), &file("b", b"2", 0o644)]), "a: content changed"),
            (content(&[&file("a", b"1", 0o644), &file("b", b"2", 0o755)]), "b: mode 0644 -> 0755"),
            (content(&[&file("a", b"1", 0o644)]), "b: removed"),
            (content(&[&file("a", b"1", 0o644), &file("c", b"2", 0o644)]), "b: removed; c: added"),
        ] {
            assert_ne!(other.digest, base.digest);
            let (changes, _) = changes(&base.files, &other.files, 10);
            let shown: Vec<String> = changes.iter().map(ToString::to_string).collect();
            assert_eq!(shown.join("; "), expected);
        }
    }
}
