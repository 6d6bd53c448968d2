//! The content digest of what a copy takes: names, kinds, permissions, owners where they count, link targets, xattrs
//! and file contents. No times and no inode numbers, so that a touched or newly checked out file is the same file.
//!
//! Beside the digest of it all, a shorter one of each file is kept, so that a difference can be told by name. Where
//! there are very many files, it is kept of the directories they are in.

use std::collections::BTreeMap;

use oci::{Digest, Hasher};

use crate::error::Name;
use crate::xattrs::Xattrs;
use crate::{Owner, path};

/// How many names [`Parts`] has at most.
const PARTS: usize = 4096;
/// Bytes of a digest that tell one version of a file from another.
const SHORT: usize = 6;

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
    files: Vec<(Vec<u8>, [u8; SHORT])>,
    line: Vec<u8>,
}

/// What a step takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The digest of it all.
    pub digest: Digest,
    files: Vec<(Vec<u8>, [u8; SHORT])>,
}

/// Names of files or directories with short digests, for telling what differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Parts(pub BTreeMap<String, String>);

/// A difference between two [`Parts`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not there before.
    Added(String),
    /// It is not there any more.
    Removed(String),
    /// It is another one.
    Changed(String),
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
        self.end_line(None);
    }

    /// Adds a file of the source. `shown` is its path as the user knows it. Files must come in an order that depends
    /// on their paths only.
    pub fn file(&mut self, file: &File<'_>, shown: &[u8]) {
        let rdev = |major: u32, minor: u32| [major.to_le_bytes(), minor.to_le_bytes()].concat();
        let (kind, what) = match file.what {
            Described::Directory => (b'd', Vec::new()),
            Described::File(digest) => (b'f', digest.to_vec()),
            Described::Again(first) => (b'h', first.to_vec()),
            Described::Symlink(target) => (b'l', target.to_vec()),
            Described::Fifo => (b'p', Vec::new()),
            Described::CharDevice(major, minor) => (b'c', rdev(major, minor)),
            Described::BlockDevice(major, minor) => (b'b', rdev(major, minor)),
        };
        self.begin_line(kind);
        self.field(file.path);
        self.field(&what);
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
        self.end_line(Some(shown));
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

    fn end_line(&mut self, shown: Option<&[u8]>) {
        let mut hasher = Hasher::new();
        hasher.update(&self.line);
        let digest = hasher.finish_bytes();
        self.hasher.update(&digest);
        if let Some(shown) = shown {
            let short = *digest.first_chunk().expect("because a digest is longer");
            self.files.push((shown.to_vec(), short));
        }
    }
}

impl Content {
    /// The parts, for telling what differs.
    pub fn parts(&self) -> Parts {
        let mut parts: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for (path, digest) in &self.files {
            parts.entry(path.clone()).or_default().extend_from_slice(digest);
        }
        Parts::of(parts)
    }
}

impl Parts {
    /// Goes from files to directories, the deepest first, until there are not too many.
    fn of(mut parts: BTreeMap<Vec<u8>, Vec<u8>>) -> Parts {
        while parts.len() > PARTS {
            let deepest = parts.keys().map(|path| path::depth(path)).max().unwrap_or(0);
            if deepest == 0 {
                parts = merge(parts, |_| Vec::new());
                break;
            }
            parts = merge(parts, |path| match path::depth(path) == deepest {
                true => path::parent(path).to_vec(),
                false => path.to_vec(),
            });
        }
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect();
        Parts(parts.iter().map(|(path, digest)| (Name::from(path).to_string(), hex(digest))).collect())
    }

    /// What is different in `self` from `before`.
    pub fn changes(&self, before: &Parts) -> Vec<Change> {
        let mut changes = Vec::new();
        for (name, digest) in &self.0 {
            match before.0.get(name) {
                None => changes.push(Change::Added(name.clone())),
                Some(other) if other != digest => changes.push(Change::Changed(name.clone())),
                Some(_) => {}
            }
        }
        let gone = before.0.keys().filter(|name| !self.0.contains_key(*name));
        changes.extend(gone.map(|name| Change::Removed(name.clone())));
        changes
    }
}

/// Gives parts other names, and one digest to those that get the same one.
fn merge(parts: BTreeMap<Vec<u8>, Vec<u8>>, name: impl Fn(&[u8]) -> Vec<u8>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut hashers: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for (path, digest) in parts {
        hashers.entry(name(&path)).or_default().extend([path.as_slice(), &digest].concat());
    }
    hashers
        .into_iter()
        .map(|(name, all)| {
            let mut hasher = Hasher::new();
            hasher.update(&all);
            (name, hasher.finish_bytes()[..SHORT].to_vec())
        })
        .collect()
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
            (content(&[&file("a", b"x", 0o644), &file("b", b"2", 0o644)]), vec![Change::Changed("a".into())]),
            (content(&[&file("a", b"1", 0o644), &file("b", b"2", 0o755)]), vec![Change::Changed("b".into())]),
            (content(&[&file("a", b"1", 0o644)]), vec![Change::Removed("b".into())]),
            (
                content(&[&file("a", b"1", 0o644), &file("c", b"2", 0o644)]),
                vec![Change::Added("c".into()), Change::Removed("b".into())],
            ),
        ] {
            assert_ne!(other.digest, base.digest);
            assert_eq!(other.parts().changes(&base.parts()), expected);
        }
    }

    #[test]
    fn many_files_are_told_by_directory() {
        let many = |changed: usize| {
            let mut all = ContentHasher::new();
            all.source(b"");
            for n in 0..20_000usize {
                let path = format!("d{:03}/e/f{n:05}", n % 100);
                let what = Described::File([u8::from(n == changed); 32]);
                let path = path.as_bytes();
                all.file(&File { path, what, mode: 0o644, owner: None, xattrs: &Xattrs::new() }, path);
            }
            all.finish()
        };
        let (before, after) = (many(usize::MAX), many(4242));
        assert_eq!(after.parts().0.len(), 100);
        assert_eq!(after.parts().changes(&before.parts()), [Change::Changed("d042/e".into())]);
        let text = serde_json::to_string(&after.parts()).unwrap();
        assert_eq!(serde_json::from_str::<Parts>(&text).unwrap(), after.parts());
    }
}
