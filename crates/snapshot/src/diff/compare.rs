//! Two directories of the same layer, made twice: the first file that is not the same in both, and how.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::BUFFER;
use super::walk::{Found, Walk};
use crate::error::{Error, Name};
use crate::owners::Owners;
use crate::{Entry, Kind, Mtime};

/// A file that two layers do not have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its path in the image, without leading slash.
    pub path: Vec<u8>,
    /// In what it differs; at least one.
    pub how: Vec<How>,
}

/// In what a file differs, with what the first layer has and what the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// Only one has it: the first, or else the second.
    Only {
        /// Whether it is the first that does.
        first: bool,
    },
    /// File, directory, link, …
    Kind(&'static str, &'static str),
    /// What a link says.
    Target(Name, Name),
    /// The numbers of a device.
    Device,
    /// Sizes in bytes, and the first byte that is another.
    Content {
        /// Bytes in each.
        sizes: (u64, u64),
        /// Offset of the first byte that is another.
        at: u64,
    },
    /// Permission bits.
    Mode(u32, u32),
    /// `uid:gid`.
    Owner(String, String),
    /// An extended attribute.
    Xattr(Name),
    /// The time of modification.
    Mtime(Mtime, Mtime),
}

impl Difference {
    /// Whether the time of modification is all.
    pub fn is_time_alone(&self) -> bool {
        self.how.iter().all(|how| matches!(how, How::Mtime(..)))
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            How::Only { first: true } => f.write_str("only in the first build"),
            How::Only { first: false } => f.write_str("only in the second build"),
            How::Kind(a, b) => write!(f, "a {a}, then a {b}"),
            How::Target(a, b) => write!(f, "links to {a}, then to {b}"),
            How::Device => f.write_str("another device"),
            How::Content { sizes: (a, b), at } if a == b => write!(f, "content differs from byte {at} on"),
            How::Content { sizes: (a, b), at } => {
                write!(f, "content differs from byte {at} on: {a} bytes, then {b}")
            }
            How::Mode(a, b) => write!(f, "mode {a:04o}, then {b:04o}"),
            How::Owner(a, b) => write!(f, "owner {a}, then {b}"),
            How::Xattr(name) => write!(f, "attribute {name} differs"),
            How::Mtime(a, b) => write!(f, "mtime {}.{:09}, then {}.{:09}", a.sec, a.nsec, b.sec, b.nsec),
        }
    }
}

/// The first file of the layer directories `first` and `second`, by path, that differs in more than its time; if there is
/// none, the first that differs in that.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn first_difference(first: &Path, second: &Path) -> Result<Option<Difference>, Error> {
    let owners = (Owners::of_layer(first)?, Owners::of_layer(second)?);
    let (mut one, mut two) = (Walk::new(first, &owners.0)?, Walk::new(second, &owners.1)?);
    let (mut a, mut b) = (one.next()?, two.next()?);
    let mut by_time = None;
    loop {
        let order = match (&a, &b) {
            (None, None) => return Ok(by_time),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(a), Some(b)) => a.entry.path.cmp(&b.entry.path),
        };
        let only = |found: &Option<Found>, first| {
            let path = found.as_ref().map(|found| found.entry.path.clone()).unwrap_or_default();
            Ok(Some(Difference { path, how: vec![How::Only { first }] }))
        };
        match order {
            std::cmp::Ordering::Less => return only(&a, true),
            std::cmp::Ordering::Greater => return only(&b, false),
            std::cmp::Ordering::Equal => {}
        }
        if let (Some(a), Some(b)) = (&a, &b) {
            let how = differences(a, b)
                .map_err(|e| Error::io(format!("comparing {}", Name::from(&a.entry.path)), e))?;
            let difference = Difference { path: a.entry.path.clone(), how };
            if !difference.is_time_alone() {
                return Ok(Some(difference));
            }
            if !difference.how.is_empty() && by_time.is_none() {
                by_time = Some(difference);
            }
        }
        (a, b) = (one.next()?, two.next()?);
    }
}

fn differences(a: &Found, b: &Found) -> io::Result<Vec<How>> {
    let mut how = Vec::new();
    let (one, two) = (&a.entry, &b.entry);
    match (&one.kind, &two.kind) {
        (Kind::File { size: a_size }, Kind::File { size: b_size }) => {
            if let Some(at) = first_byte(a.content.as_ref(), b.content.as_ref())? {
                how.push(How::Content { sizes: (*a_size, *b_size), at });
            }
        }
        (Kind::Symlink(a), Kind::Symlink(b)) | (Kind::HardLink(a), Kind::HardLink(b)) if a != b => {
            how.push(How::Target(Name::from(a), Name::from(b)));
        }
        (a, b) if a == b => {}
        (a, b) if kind(a) == kind(b) => how.push(How::Device),
        (a, b) => how.push(How::Kind(kind(a), kind(b))),
    }
    if one.mode != two.mode {
        how.push(How::Mode(one.mode, two.mode));
    }
    if one.owner != two.owner {
        let shown = |entry: &Entry| format!("{}:{}", entry.owner.uid, entry.owner.gid);
        how.push(How::Owner(shown(one), shown(two)));
    }
    let names = one.xattrs.keys().chain(two.xattrs.keys());
    if let Some(name) = names.into_iter().find(|name| one.xattrs.get(*name) != two.xattrs.get(*name)) {
        how.push(How::Xattr(Name::from(name)));
    }
    if one.mtime != two.mtime {
        how.push(How::Mtime(one.mtime, two.mtime));
    }
    Ok(how)
}

fn kind(kind: &Kind) -> &'static str {
    match kind {
        Kind::File { .. } => "file",
        Kind::Directory => "directory",
        Kind::Symlink(_) => "symbolic link",
        Kind::HardLink(_) => "hard link",
        Kind::CharDevice { .. } => "character device",
        Kind::BlockDevice { .. } => "block device",
        Kind::Fifo => "named pipe",
    }
}

/// The offset of the first byte that two open files do not have in common; `None`: they are the same.
fn first_byte(a: Option<&OwnedFd>, b: Option<&OwnedFd>) -> io::Result<Option<u64>> {
    let (Some(a), Some(b)) = (a, b) else {
        // An empty file may be open or not.
        return Ok((a.is_some() != b.is_some()).then_some(0));
    };
    let (mut one, mut two) = (vec![0; BUFFER], vec![0; BUFFER]);
    let mut at = 0;
    loop {
        let (n, m) = (fill(a, &mut one, at)?, fill(b, &mut two, at)?);
        let same = one[..n].iter().zip(&two[..m]).take_while(|(a, b)| a == b).count();
        if same < n.max(m) {
            return Ok(Some(at + same as u64));
        }
        if n < BUFFER {
            return Ok(None);
        }
        at += n as u64;
    }
}

fn fill(fd: &OwnedFd, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match rustix::io::retry_on_intr(|| rustix::io::pread(fd, &mut buffer[got..], at + got as u64))? {
            0 => break,
            n => got += n,
        }
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_first_file_that_differs() {
        let top = tempfile::tempdir().unwrap();
        let (a, b) = (top.path().join("a"), top.path().join("b"));
        for dir in [&a, &b] {
            fs::create_dir_all(dir.join("d")).unwrap();
            for name in ["d/one", "two"] {
                fs::write(dir.join(name), "same").unwrap();
                let file = fs::File::options().write(true).open(dir.join(name)).unwrap();
                file.set_modified(UNIX_EPOCH).unwrap();
            }
            fs::File::open(dir.join("d")).unwrap().set_modified(UNIX_EPOCH).unwrap();
        }
        let shown = || {
            let found = first_difference(&a, &b).unwrap()?;
            let how: Vec<String> = found.how.iter().map(ToString::to_string).collect();
            Some(format!("{}: {}", Name::from(&found.path), how.join("; ")))
        };
        assert_eq!(shown(), None);
        let set = |name: &str, seconds| {
            let file = fs::File::open(b.join(name)).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        };
        set("d", 5);
        assert_eq!(shown().unwrap(), "d: mtime 0.000000000, then 5.000000000");
        // More than a time is what is told, if there is any.
        fs::write(b.join("two"), "some!").unwrap();
        set("two", 0);
        assert_eq!(shown().unwrap(), "two: content differs from byte 1 on: 4 bytes, then 5");
        fs::set_permissions(b.join("d/one"), fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(shown().unwrap(), "d/one: mode 0644, then 0600");
        fs::write(b.join("d/more"), "").unwrap();
        assert_eq!(shown().unwrap(), "d/more: only in the second build");
    }
}
