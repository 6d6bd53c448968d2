//! What the tests share: tars written byte by byte, layers in temporary directories, trees as text.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use runtime::Mode;
use snapshot::{Applied, ApplyOptions, DiffOptions, Entry, Error, Kind, TarWriter, apply, diff};

/// Whether this test may do what only root may. Tests that need it say so and pass without.
pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("not root: skipped");
    }
    root
}

/// Whether overlays show an image's own `user.overlay.*` xattrs, which layers hold escaped: Linux 6.7. Before, they hide
/// whatever has that prefix, and do not copy it up.
pub fn overlays_unescape() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 7)
}

/// How ids map here: without namespaces, an ordinary user has one.
pub fn ids() -> Mode {
    if rustix::process::geteuid().is_root() { Mode::Root } else { Mode::SingleId }
}

/// Layers in a temporary directory.
pub struct Layers {
    pub dir: tempfile::TempDir,
    pub stack: Vec<PathBuf>,
    pub ids: Mode,
}

impl Layers {
    pub fn new() -> Layers {
        Layers { dir: tempfile::tempdir().unwrap(), stack: Vec::new(), ids: ids() }
    }

    /// An empty directory for one more layer.
    pub fn empty(&self) -> PathBuf {
        for n in 0.. {
            let fs = self.dir.path().join(format!("layers/{n}/fs"));
            if !fs.exists() {
                std::fs::create_dir_all(&fs).unwrap();
                return fs;
            }
        }
        unreachable!()
    }

    /// Applies `tar` over what is there, and puts it on top.
    pub fn push(&mut self, tar: &[u8]) -> (PathBuf, Applied) {
        let (fs, applied) = self.try_push(tar);
        (fs, applied.unwrap())
    }

    pub fn try_push(&mut self, tar: &[u8]) -> (PathBuf, Result<Applied, Error>) {
        let fs = self.empty();
        let options = ApplyOptions { lowers: self.stack.clone().into(), ..ApplyOptions::new(self.ids) };
        let applied = apply(tar, &fs, &options);
        if applied.is_ok() {
            self.stack.insert(0, fs.clone());
        }
        (fs, applied)
    }
}

/// Applies `tar` to a new layer.
pub fn apply_one(tar: &[u8]) -> Result<(Layers, PathBuf, Applied), Error> {
    let mut layers = Layers::new();
    let (fs, applied) = layers.try_push(tar);
    applied.map(|applied| (layers, fs, applied))
}

/// The canonical tar of a layer.
pub fn diff_bytes(fs: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let stat = diff(fs, &mut bytes, &DiffOptions::default()).unwrap();
    assert_eq!(stat.diff_id.0, oci::Digest::sha256(&bytes));
    assert_eq!(stat.tar_size, bytes.len() as u64);
    bytes
}

/// A canonical tar, of entries in the order given.
pub fn tar(entries: &[(Entry, &[u8])]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    for (entry, content) in entries {
        tar.entry(entry).unwrap();
        tar.write_all(content).unwrap();
    }
    tar.finish().unwrap()
}

pub fn dir(path: &str) -> (Entry, &'static [u8]) {
    (Entry::new(path, Kind::Directory, 0o755), b"")
}

pub fn file<'a>(path: &str, content: &'a str) -> (Entry, &'a [u8]) {
    (Entry::new(path, Kind::File { size: content.len() as u64 }, 0o644), content.as_bytes())
}

pub fn symlink(path: &str, target: &str) -> (Entry, &'static [u8]) {
    (Entry::new(path, Kind::Symlink(target.into()), 0o777), b"")
}

pub fn hard_link(path: &str, target: &str) -> (Entry, &'static [u8]) {
    (Entry::new(path, Kind::HardLink(target.into()), 0o644), b"")
}

/// A tar of raw headers, for what no decent writer writes.
#[derive(Default)]
pub struct Raw(pub Vec<u8>);

impl Raw {
    pub fn new() -> Raw {
        Raw::default()
    }

    /// A ustar header with these fields, and its content.
    pub fn entry(self, flag: u8, name: &[u8], link: &[u8], content: &[u8]) -> Raw {
        self.header(flag, name, link, content.len() as u64, |_| {}).content(content)
    }

    pub fn header(
        mut self,
        flag: u8,
        name: &[u8],
        link: &[u8],
        size: u64,
        change: impl FnOnce(&mut [u8; 512]),
    ) -> Raw {
        let mut block = [0u8; 512];
        block[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
        block[157..157 + link.len().min(100)].copy_from_slice(&link[..link.len().min(100)]);
        let mode = if flag == b'5' { "0000755" } else { "0000644" };
        block[100..107].copy_from_slice(mode.as_bytes());
        block[108..115].copy_from_slice(b"0000000");
        block[116..123].copy_from_slice(b"0000000");
        block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        block[136..147].copy_from_slice(b"00000000000");
        block[156] = flag;
        block[257..265].copy_from_slice(b"ustar\x0000");
        change(&mut block);
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.0.extend_from_slice(&block);
        self
    }

    pub fn content(mut self, content: &[u8]) -> Raw {
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn file(self, name: &str, content: &str) -> Raw {
        self.entry(b'0', name.as_bytes(), b"", content.as_bytes())
    }

    pub fn dir(self, name: &str) -> Raw {
        self.entry(b'5', name.as_bytes(), b"", b"")
    }

    pub fn symlink(self, name: &str, target: &str) -> Raw {
        self.entry(b'2', name.as_bytes(), target.as_bytes(), b"")
    }

    pub fn hard_link(self, name: &str, target: &str) -> Raw {
        self.entry(b'1', name.as_bytes(), target.as_bytes(), b"")
    }

    /// A PAX header of these records for the next entry.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Raw {
        let mut body = Vec::new();
        for (key, value) in records {
            let mut len = key.len() + value.len() + 4;
            while len != key.len() + value.len() + 3 + len.to_string().len() {
                len = key.len() + value.len() + 3 + len.to_string().len();
            }
            body.extend_from_slice(format!("{len} {key}=").as_bytes());
            body.extend_from_slice(value);
            body.push(b'\n');
        }
        self.entry(b'x', b"PaxHeaders.0/x", b"", &body)
    }

    pub fn gnu(block: &mut [u8; 512]) {
        block[257..265].copy_from_slice(b"ustar  \0");
    }

    pub fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// Every file of a directory as a line of text, by path: type, mode, owner, time, content, xattrs; hard links by
/// their first name.
pub fn tree(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut found = BTreeMap::new();
    let mut links = BTreeMap::new();
    describe(root, b"", &mut found, &mut links);
    // The other names may be in a lower layer, or deleted.
    for first in links.values() {
        let mark = format!(" = {}", first.escape_ascii());
        if found.values().filter(|line| line.contains(&mark)).count() == 1 {
            let line = found.get_mut(first).unwrap();
            *line = line.replace(&mark, "");
        }
    }
    found
}

/// The same without times of directories, which creating a file beside changes.
pub fn tree_text(root: &Path) -> String {
    tree(root).into_iter().map(|(path, line)| format!("{} {line}\n", path.escape_ascii())).collect()
}

fn describe(
    root: &Path,
    path: &[u8],
    found: &mut BTreeMap<Vec<u8>, String>,
    links: &mut BTreeMap<(u64, u64), Vec<u8>>,
) {
    let host = root.join(std::ffi::OsStr::from_bytes(path));
    let meta = std::fs::symlink_metadata(&host).unwrap();
    let kind = meta.file_type();
    let mut line =
        format!("{:o} {}:{} {}.{:09}", meta.mode(), meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec());
    if kind.is_file() {
        let bytes = std::fs::read(&host).unwrap();
        line += &format!(" {} {}", bytes.len(), oci::Digest::sha256(&bytes).short());
    } else if kind.is_symlink() {
        line += &format!(" -> {}", std::fs::read_link(&host).unwrap().display());
    } else if kind.is_char_device() || kind.is_block_device() {
        line += &format!(" {:#x}", meta.rdev());
    }
    let is_whiteout = kind.is_char_device() && meta.rdev() == 0;
    if is_whiteout {
        // All else of it means nothing.
        line = "whiteout".to_owned();
    }
    if meta.nlink() > 1 && !kind.is_dir() && !is_whiteout {
        let first = links.entry((meta.dev(), meta.ino())).or_insert_with(|| path.to_vec());
        line += &format!(" = {}", first.escape_ascii());
    }
    for (name, value) in xattrs(&host) {
        line += &format!(" {}={}", name.escape_ascii(), value.escape_ascii());
    }
    found.insert(path.to_vec(), line);
    if kind.is_dir() {
        let mut names: Vec<_> = std::fs::read_dir(&host).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            let below = if path.is_empty() {
                name.as_bytes().to_vec()
            } else {
                [path, b"/", name.as_bytes()].concat()
            };
            describe(root, &below, found, links);
        }
    }
}

pub fn xattrs(host: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 65536];
    let Ok(len) = rustix::fs::llistxattr(host, &mut names[..]) else { return BTreeMap::new() };
    let mut found = BTreeMap::new();
    for name in names[..len].split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let mut value = vec![0; 65536];
        if let Ok(len) = rustix::fs::lgetxattr(host, name, &mut value[..]) {
            found.insert(name.to_vec(), value[..len].to_vec());
        }
    }
    found
}

pub fn is_whiteout(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_char_device() && m.rdev() == 0)
}

pub fn is_opaque(path: &Path) -> bool {
    xattrs(path).get(&b"user.overlay.opaque"[..]).is_some_and(|v| v == b"y")
}
