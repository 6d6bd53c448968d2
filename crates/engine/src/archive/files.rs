//! The regular files of an archive or of a layout's directory, by their paths.
//!
//! An archive on a pipe, or compressed, is read once, from its start to its end, before anything in it can be known for
//! what it is: layers come before the document that names them. Files of more than a few kilobytes go into the store as
//! blobs on the way, small ones are kept in memory. A plain archive in a file only has its headers read; the rest is
//! read where it is, when it is known what for. Paths are names and nothing else: none is ever opened because an archive says so.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oci::{Descriptor, DiffId, Digest, media_type};
use runtime::beneath;
use store::Store;

use super::meter::Meter;
use super::{DOCUMENT_LIMIT, ENTRY_LIMIT};
use crate::layers::Blobs;
use crate::{Error, Result};

/// Files up to this size are kept in memory…
const SMALL: u64 = 64 << 10;
/// …as long as they are not more in all.
const SMALL_TOTAL: u64 = 16 << 20;
/// Links followed to a file: old archives of Docker have one, to another layer.
const LINKS: usize = 8;
/// Bytes of a path, as many as Linux takes.
const PATH_LIMIT: usize = 4096;
/// Bytes after the archive's end that are read, so that whoever writes a pipe can finish.
const TRAILER: u64 = 16 << 20;

/// One file.
#[derive(Clone)]
enum Held {
    Memory(Arc<[u8]>),
    Blob {
        digest: Digest,
        size: u64,
    },
    /// Where it is: in an archive, or a file of a layout whole.
    Section(Section),
}

/// Bytes of a file.
#[derive(Clone)]
struct Section {
    file: Arc<File>,
    start: u64,
    size: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.size).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut buffer[..most], self.start)?;
        self.start += read as u64;
        self.size -= read as u64;
        Ok(read)
    }
}

/// The files of an archive, or of a directory.
pub(super) struct Files<'a> {
    store: &'a Store,
    held: Mutex<BTreeMap<String, Held>>,
    links: BTreeMap<String, String>,
    /// Where blobs are whose path does not say their digest.
    places: Mutex<BTreeMap<Digest, String>>,
    /// Where files that are not held are read from when they are asked for.
    directory: Option<PathBuf>,
}

impl<'a> Files<'a> {
    /// Those of a layout in a directory (on the host).
    pub fn of_directory(store: &'a Store, directory: &Path) -> Files<'a> {
        let directory = Some(directory.to_owned());
        Files { directory, ..Files::new(store) }
    }

    fn new(store: &'a Store) -> Files<'a> {
        Files {
            store,
            held: Mutex::default(),
            links: BTreeMap::new(),
            places: Mutex::default(),
            directory: None,
        }
    }

    /// Those of a plain tar in a regular file, of which only headers and small files are read now.
    pub fn of_file(store: &'a Store, file: File) -> Result<Files<'a>> {
        let broken = |e: io::Error| Error::invalid(format!("the archive cannot be read: {e}"));
        let end = file.metadata().map_err(broken)?.len();
        let file = Arc::new(file);
        let mut files = Files::new(store);
        let mut source = io::BufReader::new(&*file);
        source.rewind().map_err(broken)?;
        let meter = Meter::default();
        let mut archive = tar::Archive::new(meter.of(source));
        let mut in_memory = 0;
        let mut entries = archive.entries_with_seek().map_err(broken)?.enumerate();
        // What is between two headers is passed over, and not read.
        while let Some((count, entry)) = meter.header(0, || entries.next()) {
            let mut entry = files.checked(count, entry)?;
            let path = path_in(&entry)?;
            if !is_file(&entry) {
                files.add_link(path, &entry)?;
                continue;
            }
            let (start, size) = (entry.raw_file_position(), entry.size());
            let held = if size <= SMALL && in_memory + size <= SMALL_TOTAL {
                in_memory += size;
                files.take(&mut entry, size, true).map_err(|e| e.within(&path, store.root()))?
            } else if start.checked_add(size).is_none_or(|last| last > end) {
                let there = end.saturating_sub(start);
                return Err(TakeError::Short { there, size }.within(&path, store.root()));
            } else {
                Held::Section(Section { file: Arc::clone(&file), start, size })
            };
            files.held().insert(path, held);
        }
        Ok(files)
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entry number `count`, if there may be so many and it can be read.
    fn checked<T>(&self, count: usize, entry: io::Result<T>) -> Result<T> {
        if count >= ENTRY_LIMIT {
            return Err(Error::invalid(format!("the archive has more than {ENTRY_LIMIT} entries")));
        }
        entry.map_err(|e| match count {
            0 => Error::invalid(format!("this is no tar archive: {}", e.to_string().replace('\0', ""))),
            _ => Error::invalid(format!("the archive cannot be read: {e}")),
        })
    }

    fn add_link(&mut self, path: String, entry: &tar::Entry<'_, impl Read>) -> Result<()> {
        let kind = entry.header().entry_type();
        if !matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link) {
            return Ok(());
        }
        if let Some(target) = entry.link_name_bytes() {
            let target = text_of(&target)?;
            let target = if kind == tar::EntryType::Link { clean(&target) } else { beside(&path, &target) };
            self.links.insert(path, target);
        }
        Ok(())
    }

    /// Those of a tar, plain or compressed, which is read to its end.
    pub fn of_archive(store: &'a Store, source: impl Read + Send) -> Result<Files<'a>> {
        let broken = |e: io::Error| Error::invalid(format!("the archive cannot be read: {e}"));
        let read = Arc::new(AtomicU64::new(0));
        let source = Counted { source, read: Arc::clone(&read) };
        let (_, source) = snapshot::compress::reader(source).map_err(broken)?;
        let mut source = Bounded { source, read, given: 0 };
        let mut files = Files::new(store);
        let meter = Meter::default();
        let mut archive = tar::Archive::new(meter.of(&mut source));
        let mut in_memory = 0;
        let mut passed_over = 0;
        let mut entries = archive.entries().map_err(broken)?.enumerate();
        while let Some((count, entry)) = meter.header(passed_over, || entries.next()) {
            let mut entry = files.checked(count, entry)?;
            let path = path_in(&entry)?;
            if !is_file(&entry) {
                passed_over = entry.size();
                files.add_link(path, &entry)?;
                continue;
            }
            passed_over = 0;
            let size = entry.size();
            let small = size <= SMALL && in_memory + size <= SMALL_TOTAL;
            in_memory += if small { size } else { 0 };
            let held = files.take(&mut entry, size, small).map_err(|e| e.within(&path, store.root()))?;
            files.held().insert(path, held);
        }
        // What follows counts for nothing; but a checksum at the end of a compressed stream is of all of it.
        io::copy(&mut source.take(TRAILER), &mut io::sink()).map_err(broken)?;
        Ok(files)
    }

    fn take(&self, entry: &mut impl Read, size: u64, small: bool) -> std::result::Result<Held, TakeError> {
        if small {
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
            entry.read_to_end(&mut bytes).map_err(TakeError::Read)?;
            return match bytes.len() as u64 == size {
                true => Ok(Held::Memory(bytes.into())),
                false => Err(TakeError::Short { there: bytes.len() as u64, size }),
            };
        }
        let mut writer = self.store.blob_writer()?;
        let mut buffer = vec![0u8; 256 << 10];
        let mut there = 0;
        loop {
            let read = match entry.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(TakeError::Read(error)),
            };
            io::Write::write_all(&mut writer, &buffer[..read]).map_err(TakeError::Write)?;
            there += read as u64;
        }
        if there != size {
            return Err(TakeError::Short { there, size });
        }
        let (digest, size) = writer.commit(None)?;
        Ok(Held::Blob { digest, size })
    }

    pub fn store(&self) -> &'a Store {
        self.store
    }

    /// Whether there is a file (or a link) at that path.
    pub fn has(&self, path: &str) -> bool {
        self.held().contains_key(path) || self.links.contains_key(path)
    }

    /// The file at `path` as a blob of the store: its digest and size.
    pub fn blob(&self, path: &str) -> Result<(Digest, u64)> {
        match self.find(path)? {
            Held::Blob { digest, size } => Ok((digest, size)),
            Held::Memory(bytes) => Ok((self.store.put_blob(&bytes)?, bytes.len() as u64)),
            Held::Section(mut section) => {
                let size = section.size;
                match self.take(&mut section, size, false).map_err(|e| e.within(path, self.store.root()))? {
                    Held::Blob { digest, size } => Ok((digest, size)),
                    _ => Err(Error::internal(format!("{path} was not taken as a blob"))),
                }
            }
        }
    }

    /// The content of a document.
    pub fn document(&self, path: &str) -> Result<Vec<u8>> {
        match self.find(path)? {
            Held::Blob { digest, .. } => Ok(self.store.read_blob(&digest, DOCUMENT_LIMIT)?),
            Held::Memory(bytes) => Ok(bytes.to_vec()),
            Held::Section(section) if section.size > DOCUMENT_LIMIT => Err(Error::invalid(format!(
                "{path} has {} bytes, more than the {DOCUMENT_LIMIT} of any document",
                section.size
            ))),
            Held::Section(mut section) => {
                let mut bytes = Vec::new();
                let read = section.read_to_end(&mut bytes);
                read.map_err(|e| Error::invalid(format!("{path} cannot be read: {e}")))?;
                Ok(bytes)
            }
        }
    }

    /// The content of the document that `descriptor` describes, which it has to be.
    pub fn described(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let bytes = self.document(&path_of(&descriptor.digest)?)?;
        let found = Digest::sha256(&bytes);
        if found != descriptor.digest || bytes.len() as u64 != descriptor.size {
            return Err(other(descriptor, &found, bytes.len() as u64));
        }
        Ok(bytes)
    }

    /// The layer in the file at `path`, whose DiffID is known, described without reading it: `None` where it would have
    /// to be read to know its digest, because it is compressed.
    pub fn plain_layer(&self, path: &str, diff_id: &DiffId) -> Result<Option<Descriptor>> {
        use snapshot::compress::Compression;
        let Held::Section(mut section) = self.find(path)? else { return Ok(None) };
        let size = section.size;
        let mut start = [0; Compression::MAGIC_LEN];
        let failed = |e: io::Error| Error::invalid(format!("{path} cannot be read: {e}"));
        if size < start.len() as u64 || section.read(&mut start).map_err(failed)? < start.len() {
            return Ok(None);
        }
        if Compression::detect(&start) != Compression::None {
            return Ok(None);
        }
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.insert(diff_id.0.clone(), path.to_owned());
        Ok(Some(Descriptor::new(media_type::DOCKER_LAYER, diff_id.0.clone(), size)))
    }

    /// The file at `path`, through the links that old Docker archives have.
    fn find(&self, path: &str) -> Result<Held> {
        let mut at = clean(path);
        for _ in 0..LINKS {
            if let Some(held) = self.held().get(&at) {
                return Ok(held.clone());
            }
            match self.links.get(&at) {
                Some(target) => at.clone_from(target),
                None => break,
            }
        }
        if let Some(directory) = &self.directory
            && let Some(held) = self.fetch(directory, &at)?
        {
            self.held().insert(at, held.clone());
            return Ok(held);
        }
        let place = if self.directory.is_some() { "layout" } else { "archive" };
        Err(Error::invalid(format!("the {place} has no file {path:?}, which its documents name")))
    }

    /// Takes a file of a layout's directory; a path never leads out of it.
    fn fetch(&self, directory: &Path, path: &str) -> Result<Option<Held>> {
        if path.split('/').any(|part| part == "..") {
            return Ok(None);
        }
        let path = directory.join(path);
        let failed = |e: &io::Error| Error::io(format!("read {}", path.display()), e);
        let file = match beneath::open_host_file(&path) {
            Ok(file) => File::from(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory) =>
            {
                return Err(Error::invalid(format!("{} is no regular file", path.display())));
            }
            Err(error) => return Err(failed(&error)),
        };
        let size = file.metadata().map_err(|e| failed(&e))?.len();
        Ok(Some(Held::Section(Section { file: Arc::new(file), start: 0, size })))
    }
}

impl Blobs for Files<'_> {
    fn open(&self, blob: &Descriptor, offset: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        let place = self.places.lock().unwrap_or_else(PoisonError::into_inner).get(&blob.digest).cloned();
        let path = match place {
            Some(path) => path,
            None => path_of(&blob.digest).map_err(io::Error::other)?,
        };
        Ok(match self.find(&path).map_err(io::Error::other)? {
            Held::Section(section) => {
                let skipped = offset.min(section.size);
                let (start, size) = (section.start + skipped, section.size - skipped);
                Box::new(Section { start, size, ..section })
            }
            Held::Memory(bytes) => {
                let mut bytes = io::Cursor::new(bytes);
                bytes.set_position(offset);
                Box::new(bytes)
            }
            Held::Blob { digest, .. } => {
                let mut file = self.store.open_blob(&digest).map_err(io::Error::other)?;
                file.seek(io::SeekFrom::Start(offset))?;
                Box::new(file)
            }
        })
    }

    fn place(&self) -> (String, &'static str) {
        match &self.directory {
            Some(directory) => (format!("the layout {}", directory.display()), "it is damaged"),
            None => ("the archive".to_owned(), "it is damaged"),
        }
    }
}

/// The path of an entry, without what says nothing.
fn path_in(entry: &tar::Entry<'_, impl Read>) -> Result<String> {
    Ok(clean(&text_of(&entry.path_bytes())?))
}

/// A path as text, if it is one that a file can have.
fn text_of(path: &[u8]) -> Result<String> {
    match path.len() <= PATH_LIMIT {
        true => Ok(String::from_utf8_lossy(path).into_owned()),
        false => Err(Error::invalid(format!("the archive has a path of more than {PATH_LIMIT} bytes"))),
    }
}

fn is_file(entry: &tar::Entry<'_, impl Read>) -> bool {
    matches!(entry.header().entry_type(), tar::EntryType::Regular | tar::EntryType::Continuous)
}

/// Where a layout has the blob of that digest.
fn path_of(digest: &Digest) -> Result<String> {
    match digest.algorithm() {
        "sha256" => Ok(format!("blobs/sha256/{}", digest.hex())),
        other => {
            Err(Error::unsupported(format!("{digest}: digests by {other} are not supported, only sha256")))
        }
    }
}

fn other(wanted: &Descriptor, digest: &Digest, size: u64) -> Error {
    Error::invalid(format!(
        "the archive's {} has digest {digest} and {size} bytes: it is damaged, or not the {} bytes that are named",
        wanted.digest, wanted.size
    ))
}

/// Why a file could not be taken.
enum TakeError {
    Read(io::Error),
    Write(io::Error),
    Short { there: u64, size: u64 },
    Store(store::Error),
}

impl From<store::Error> for TakeError {
    fn from(error: store::Error) -> TakeError {
        TakeError::Store(error)
    }
}

impl TakeError {
    fn within(self, path: &str, root: &Path) -> Error {
        match self {
            TakeError::Read(error) => {
                Error::invalid(format!("the archive cannot be read, within {path}: {error}"))
            }
            TakeError::Short { there, size } => {
                Error::invalid(format!("the archive ends within {path}: {there} of {size} bytes are there"))
            }
            TakeError::Write(error) => Error::io(format!("keep {path} in {}", root.display()), &error),
            TakeError::Store(error) => error.into(),
        }
    }
}

/// Counts what is read.
struct Counted<R> {
    source: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Gives what a compressed archive uncompresses to, unless that is out of all proportion.
struct Bounded<R> {
    source: R,
    /// Compressed bytes read for it.
    read: Arc<AtomicU64>,
    given: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limits = snapshot::Limits::default();
        let given = self.source.read(buffer)?;
        self.given += given as u64;
        let most = self.read.load(Ordering::Relaxed).saturating_mul(limits.ratio).max(limits.ratio_from);
        if self.given > most || self.given > limits.bytes {
            return Err(io::Error::other(format!(
                "it uncompresses to more than {} times its size, or beyond {} bytes",
                limits.ratio, limits.bytes
            )));
        }
        Ok(given)
    }
}

/// `./a//b/` as `a/b`.
fn clean(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    parts.join("/")
}

/// The path that a symbolic link at `path` names.
fn beside(path: &str, target: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(clean("./a//b/"), "a/b");
        assert_eq!(beside("one/layer.tar", "../two/layer.tar"), "two/layer.tar");
        assert_eq!(beside("x", "../../y"), "y");
    }

    #[test]
    fn headers_have_an_end() {
        use super::super::meter::HEADER_LIMIT;
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let _lease = store.lease().unwrap();
        let archive = |kind: u8, size: u64| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::new(kind));
            header.set_size(size);
            header.set_path("././@LongLink").unwrap();
            header.set_cksum();
            let mut bytes = header.as_bytes().to_vec();
            bytes.resize(bytes.len() + usize::try_from(size).unwrap().next_multiple_of(512), b'a');
            bytes
        };
        for kind in [b'L', b'K', b'x'] {
            let bytes = archive(kind, HEADER_LIMIT + 512);
            let error = Files::of_archive(&store, bytes.as_slice()).err().unwrap();
            assert!(error.message.contains("extension header of more than"), "{}", error.message);
            let path = root.path().join("archive");
            std::fs::write(&path, &bytes).unwrap();
            let error = Files::of_file(&store, File::open(&path).unwrap()).err().unwrap();
            assert!(error.message.contains("extension header of more than"), "{}", error.message);
        }
        // What is passed over is none; a long path is no path.
        let mut bytes = archive(b'5', 3 * HEADER_LIMIT);
        bytes.extend(archive(b'L', 5000));
        let mut header = tar::Header::new_gnu();
        header.set_path("x").unwrap();
        header.set_size(0);
        header.set_cksum();
        bytes.extend(header.as_bytes());
        let error = Files::of_archive(&store, bytes.as_slice()).err().unwrap();
        assert!(error.message.contains("a path of more than 4096 bytes"), "{}", error.message);
    }

    #[test]
    fn what_swells_is_refused() {
        let read = Arc::new(AtomicU64::new(1));
        let mut bounded = Bounded { source: io::repeat(0), read, given: 2 << 30 };
        assert!(bounded.read(&mut [0; 16]).is_err());
        let read = Arc::new(AtomicU64::new(1 << 30));
        let mut bounded = Bounded { source: io::repeat(0), read, given: 2 << 30 };
        assert!(bounded.read(&mut [0; 16]).is_ok());
    }
}
