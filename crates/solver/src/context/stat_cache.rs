//! Digests of files by their status, in one file for each build context.
//!
//! A digest counts for a file whose size, times, inode, device and mode are those it had when it was read. Files that
//! had changed only just before that are not kept: something could have changed them once more within the same tick
//! of the file system's clock, as git calls racy.
//!
//! ```text
//! magic             "strake stat cache 1\n"
//! root              u32 length, path of the context on the host
//! count             u32
//! count times       u16 length, path; 1 flags; u32 mode; u64 dev, ino, size; mtime and ctime as i64, u32; 32 digest
//! end               SHA-256 of all before it
//! ```
//! Numbers are little-endian. A file that is not like this is taken for none.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use oci::Hasher;
use snapshot::Mtime;
use snapshot::copy::FileStat;

const MAGIC: &[u8] = b"strake stat cache 1\n";
/// Bytes of an entry beside its path and the length of that.
const FIXED: usize = 1 + 4 + 3 * 8 + 2 * 12 + 32;
/// The file has xattrs that images keep.
const HAS_XATTRS: u8 = 1;
/// The largest file that is read.
const LARGEST: u64 = 1 << 30;
/// Entries that were not asked for are kept as long as there are not more of them than of the others, and these.
const UNUSED: usize = 10_000;

/// How old a change must be, where the file system tells times to the nanosecond (it steps in ticks of some
/// milliseconds), and where it does not.
const TICK: Duration = Duration::from_millis(50);
const COARSE_TICK: Duration = Duration::from_millis(2100);

/// The cache of one context.
pub(super) struct StatCache {
    root: PathBuf,
    /// The file as it was read; entries begin at `Slot`s.
    bytes: Vec<u8>,
    /// Open addressing by the hash of the path; 0 is empty, for no entry begins there.
    table: Vec<u32>,
    hashing: RandomState,
    /// Entries in `bytes`.
    count: usize,
    fresh: HashMap<Box<[u8]>, Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    flags: u8,
    key: Key,
    digest: [u8; 32],
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    mode: u32,
    dev: u64,
    ino: u64,
    size: u64,
    mtime: Mtime,
    ctime: Mtime,
}

impl Key {
    fn of(stat: &FileStat) -> Key {
        let FileStat { mode, dev, ino, size, mtime, ctime, .. } = *stat;
        Key { mode, dev, ino, size, mtime, ctime }
    }
}

impl StatCache {
    /// One that knows nothing.
    pub fn new(root: &Path) -> StatCache {
        StatCache {
            root: root.to_owned(),
            bytes: Vec::new(),
            table: Vec::new(),
            hashing: RandomState::new(),
            count: 0,
            fresh: HashMap::new(),
        }
    }

    /// Reads the cache of the context at `root`.
    pub fn load(file: &Path, root: &Path) -> StatCache {
        let mut cache = StatCache::new(root);
        let Ok(bytes) = read(file) else { return cache };
        let Some(places) = entries(&bytes, root) else { return cache };
        cache.table = vec![0; (places.len() * 2).next_power_of_two()];
        cache.count = places.len();
        cache.bytes = bytes;
        for place in places {
            let slot = cache.slot(path_at(&cache.bytes, place));
            cache.table[slot] = place as u32;
        }
        cache
    }

    /// The digest of the file `path` and whether it has xattrs, if they are known for this status.
    pub fn known(&self, path: &[u8], stat: &FileStat) -> Option<([u8; 32], bool)> {
        let entry = match self.fresh.get(path) {
            Some(entry) => *entry,
            None => self.old(path)?,
        };
        (entry.key == Key::of(stat)).then_some((entry.digest, entry.flags & HAS_XATTRS != 0))
    }

    /// Takes in the digest of a file that had this status before and after it was read, at some time after `started`.
    pub fn learn(
        &mut self,
        path: &[u8],
        stat: &FileStat,
        digest: [u8; 32],
        has_xattrs: bool,
        started: SystemTime,
    ) {
        if path.len() > usize::from(u16::MAX) || !is_settled(stat, started) {
            return;
        }
        let entry = Entry { flags: if has_xattrs { HAS_XATTRS } else { 0 }, key: Key::of(stat), digest };
        if self.known(path, stat) != Some((digest, has_xattrs)) {
            self.fresh.insert(path.into(), entry);
        }
    }

    /// Writes the cache, if anything was learned.
    pub fn save(&mut self, file: &Path) -> io::Result<()> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        // What was replaced goes; what was not asked for stays within reason, for other Dockerfiles use other files.
        let mut kept: Vec<usize> =
            self.table.iter().map(|place| *place as usize).filter(|p| *p != 0).collect();
        kept.retain(|place| !self.fresh.contains_key(path_at(&self.bytes, *place)));
        kept.sort_unstable();
        kept.truncate(2 * self.fresh.len().max(self.count / 2) + UNUSED);
        let mut out = Vec::with_capacity(self.bytes.len() + self.fresh.len() * 160);
        out.extend_from_slice(MAGIC);
        let root = self.root.as_os_str().as_bytes();
        out.extend_from_slice(&(root.len() as u32).to_le_bytes());
        out.extend_from_slice(root);
        out.extend_from_slice(&((self.fresh.len() + kept.len()) as u32).to_le_bytes());
        for (path, entry) in &self.fresh {
            entry.write(path, &mut out);
        }
        for place in kept {
            let len = 2 + path_at(&self.bytes, place).len() + FIXED;
            out.extend_from_slice(&self.bytes[place..place + len]);
        }
        let mut hasher = Hasher::new();
        hasher.update(&out);
        out.extend_from_slice(&hasher.finish_bytes());
        replace(file, &out)?;
        *self = StatCache::load(file, &self.root);
        Ok(())
    }

    fn old(&self, path: &[u8]) -> Option<Entry> {
        if self.table.is_empty() {
            return None;
        }
        let place = self.table[self.slot(path)] as usize;
        (place != 0).then(|| Entry::read(&self.bytes[place + 2 + path.len()..]))
    }

    /// Where `path` is in the table, or would be.
    fn slot(&self, path: &[u8]) -> usize {
        let mask = self.table.len() - 1;
        let mut slot = self.hashing.hash_one(path) as usize & mask;
        while self.table[slot] != 0 && path_at(&self.bytes, self.table[slot] as usize) != path {
            slot = (slot + 1) & mask;
        }
        slot
    }
}

impl Entry {
    fn write(&self, path: &[u8], out: &mut Vec<u8>) {
        let Key { mode, dev, ino, size, mtime, ctime } = self.key;
        out.extend_from_slice(&(path.len() as u16).to_le_bytes());
        out.extend_from_slice(path);
        out.push(self.flags);
        out.extend_from_slice(&mode.to_le_bytes());
        for number in [dev, ino, size] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for time in [mtime, ctime] {
            out.extend_from_slice(&time.sec.to_le_bytes());
            out.extend_from_slice(&time.nsec.to_le_bytes());
        }
        out.extend_from_slice(&self.digest);
    }

    /// Reads what follows a path; all of it is there.
    fn read(bytes: &[u8]) -> Entry {
        let mut rest = bytes;
        let flags = take::<1>(&mut rest)[0];
        let mode = u32::from_le_bytes(take(&mut rest));
        let mut number = || u64::from_le_bytes(take(&mut rest));
        let (dev, ino, size) = (number(), number(), number());
        let mut time = || {
            let sec = i64::from_le_bytes(take(&mut rest));
            Mtime { sec, nsec: u32::from_le_bytes(take(&mut rest)) }
        };
        let (mtime, ctime) = (time(), time());
        let digest = take(&mut rest);
        Entry { flags, key: Key { mode, dev, ino, size, mtime, ctime }, digest }
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (first, rest) =
        bytes.split_first_chunk().expect("because entries were checked when they were loaded");
    *bytes = rest;
    *first
}

/// Where the entries begin, if these are the bytes of a whole cache of the context at `root`.
fn entries(bytes: &[u8], root: &Path) -> Option<Vec<usize>> {
    let (content, end) = bytes.split_last_chunk::<32>()?;
    let mut hasher = Hasher::new();
    hasher.update(content);
    if hasher.finish_bytes() != *end {
        return None;
    }
    let mut rest = content.strip_prefix(MAGIC)?;
    let number = |rest: &mut &[u8]| {
        let (first, after) = rest.split_first_chunk()?;
        *rest = after;
        Some(u32::from_le_bytes(*first) as usize)
    };
    let len = number(&mut rest)?;
    rest = rest.strip_prefix(root.as_os_str().as_bytes()).filter(|_| len == root.as_os_str().len())?;
    let count = number(&mut rest)?;
    let mut places = Vec::with_capacity(count.min(rest.len() / FIXED));
    for _ in 0..count {
        places.push(content.len() - rest.len());
        let path = usize::from(u16::from_le_bytes(*rest.first_chunk()?));
        rest = rest.get(2 + path + FIXED..)?;
    }
    rest.is_empty().then_some(places)
}

fn path_at(bytes: &[u8], place: usize) -> &[u8] {
    let len = usize::from(u16::from_le_bytes([bytes[place], bytes[place + 1]]));
    &bytes[place + 2..place + 2 + len]
}

/// Whether the last change of the file was long enough before `started` that a later one shows.
fn is_settled(stat: &FileStat, started: SystemTime) -> bool {
    let tick = if stat.ctime.nsec == 0 { COARSE_TICK } else { TICK };
    let Some(before) = started.checked_sub(tick) else { return false };
    let Ok(before) = before.duration_since(SystemTime::UNIX_EPOCH) else { return false };
    let changed = stat.ctime.max(stat.mtime);
    i64::try_from(before.as_secs()).is_ok_and(|sec| changed < Mtime { sec, nsec: before.subsec_nanos() })
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let bytes = std::fs::metadata(file)?.len();
    if bytes > LARGEST.min(u32::MAX.into()) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    std::fs::read(file)
}

/// Puts `bytes` in place of the file, all at once.
fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = file.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = std::fs::File::create(&temporary)
        .and_then(|mut out| out.write_all(bytes))
        .and_then(|()| std::fs::rename(&temporary, file));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(ino: u64, sec: i64) -> FileStat {
        let time = Mtime { sec, nsec: 5 };
        FileStat {
            mode: 0o100644,
            uid: 0,
            gid: 0,
            size: 10,
            allocated: 512,
            mtime: time,
            ctime: time,
            ino,
            dev: 1,
            links: 1,
            rdev: (0, 0),
        }
    }

    fn at(sec: u64, milli: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(sec * 1000 + milli)
    }

    #[test]
    fn what_was_learned_is_known_next_time() {
        let dir = tempfile::tempdir().unwrap();
        let (file, root) = (dir.path().join("cache"), Path::new("/home/me/app"));
        let mut cache = StatCache::load(&file, root);
        for n in 0..1000u64 {
            let path = format!("d{}/f{n}", n % 7);
            cache.learn(path.as_bytes(), &stat(n, 100), [n as u8; 32], n % 5 == 0, at(200, 0));
        }
        cache.save(&file).unwrap();
        for mut cache in [cache, StatCache::load(&file, root)] {
            assert_eq!(cache.known(b"d0/f7", &stat(7, 100)), Some(([7; 32], false)));
            assert_eq!(cache.known(b"d3/f10", &stat(10, 100)), Some(([10; 32], true)));
            for other in [stat(8, 100), stat(7, 101), FileStat { size: 11, ..stat(7, 100) }] {
                assert_eq!(cache.known(b"d0/f7", &other), None);
            }
            assert_eq!(cache.known(b"d0/f", &stat(7, 100)), None);
            // What is known already is not written again.
            cache.learn(b"d0/f7", &stat(7, 100), [7; 32], false, at(200, 0));
            assert!(cache.fresh.is_empty());
            cache.learn(b"d0/f7", &stat(7, 150), [9; 32], false, at(200, 0));
            cache.save(&file).unwrap();
            assert_eq!(cache.known(b"d0/f7", &stat(7, 150)), Some(([9; 32], false)));
            assert_eq!(cache.count, 1000);
        }
    }

    #[test]
    fn what_changed_just_now_is_not_kept() {
        let mut cache = StatCache::new(Path::new("/"));
        cache.learn(b"f", &stat(1, 100), [1; 32], false, at(100, 20));
        assert_eq!(cache.known(b"f", &stat(1, 100)), None);
        cache.learn(b"f", &stat(1, 100), [1; 32], false, at(100, 60));
        assert!(cache.known(b"f", &stat(1, 100)).is_some());
        // A clock that counts seconds, or one that is ahead.
        let coarse = FileStat { ctime: Mtime { sec: 100, nsec: 0 }, ..stat(1, 100) };
        cache.learn(b"g", &coarse, [1; 32], false, at(102, 0));
        cache.learn(b"h", &stat(1, 500), [1; 32], false, at(100, 0));
        assert_eq!((cache.known(b"g", &coarse), cache.known(b"h", &stat(1, 500))), (None, None));
    }

    #[test]
    fn a_broken_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let (file, root) = (dir.path().join("cache"), Path::new("/app"));
        let mut cache = StatCache::new(root);
        for n in 0..3 {
            cache.learn(&[b'a' + n], &stat(n.into(), 1), [n; 32], false, at(9, 0));
        }
        cache.save(&file).unwrap();
        let whole = std::fs::read(&file).unwrap();
        assert_eq!(StatCache::load(&file, Path::new("/other")).count, 0);
        for cut in 0..whole.len() {
            std::fs::write(&file, &whole[..cut]).unwrap();
            assert_eq!(StatCache::load(&file, root).count, 0);
            let mut flipped = whole.clone();
            flipped[cut] ^= 1;
            std::fs::write(&file, &flipped).unwrap();
            assert_eq!(StatCache::load(&file, root).count, 0);
        }
        // Entries that do not fit, under a right checksum.
        let mut lying = whole[..whole.len() - 32].to_vec();
        lying[MAGIC.len() + 4 + 4] = 200;
        let mut hasher = Hasher::new();
        hasher.update(&lying);
        lying.extend_from_slice(&hasher.finish_bytes());
        std::fs::write(&file, &lying).unwrap();
        assert_eq!(StatCache::load(&file, root).count, 0);
    }
}
