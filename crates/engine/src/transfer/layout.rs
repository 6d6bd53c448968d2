//! An OCI image layout in a directory, as a source and as a target (OCI image specification, "Image Layout").
//!
//! Who made the layout need not be trusted: what is no regular file is not opened, and none is written through a link.
//! Files get their names when they are whole, and `index.json` is replaced in one step under a lock on the directory, so
//! that a layout is sound whenever a copy ends and several may write to one. Digests are SHA-256.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use oci::{Descriptor, Digest, HashingWriter, Index, annotation, media_type};
use runtime::beneath;
use rustix::fs::FlockOperation;

use super::remote::{as_referrer, subject};
use super::{MANIFEST_LIMIT, Open, Raw, Source, Taken, Target};
use crate::{Error, Result};

const VERSION: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const PIECE: usize = 256 << 10;
/// Names of unfinished files that may be taken already.
const MOST_PARTS: u64 = 1 << 20;

/// A layout.
pub(crate) struct Layout {
    path: PathBuf,
    /// Names of files that are being written.
    next: AtomicU64,
}

impl Layout {
    /// The layout in the directory `path` on the host, which has to be one.
    pub fn open(path: &Path) -> Result<Layout> {
        match path.join("index.json").is_file() {
            true => Ok(Layout { path: path.to_owned(), next: AtomicU64::new(0) }),
            false => {
                Err(Error::not_found(format!("{} holds no OCI layout: it has no index.json", path.display())))
            }
        }
    }

    /// The same, made where there is none. A directory that holds something else is refused.
    pub fn open_or_make(path: &Path) -> Result<Layout> {
        let failed = |e: io::Error| Error::io(format!("make the OCI layout {}", path.display()), &e);
        if !path.join("oci-layout").exists() {
            fs::create_dir_all(path).map_err(failed)?;
            if fs::read_dir(path).map_err(failed)?.next().is_some() {
                return Err(Error::conflict(format!(
                    "{} holds something else than an OCI layout",
                    path.display()
                )));
            }
        }
        fs::create_dir_all(path.join("blobs/sha256")).map_err(failed)?;
        let layout = Layout { path: path.to_owned(), next: AtomicU64::new(0) };
        if !path.join("index.json").exists() {
            layout.replace("index.json", &json(&empty_index())).map_err(failed)?;
            layout.replace("oci-layout", VERSION).map_err(failed)?;
        }
        Ok(layout)
    }

    /// The same layout, to be read.
    pub fn reader(&self) -> Layout {
        Layout { path: self.path.clone(), next: AtomicU64::new(0) }
    }

    /// What the layout has under that name (`org.opencontainers.image.ref.name`) or digest; without, the only thing it
    /// has a name for or nothing refers to.
    pub fn find(&self, name: Option<&str>) -> Result<Descriptor> {
        let index = self.index()?;
        let named = |entry: &&Descriptor| entry.annotations.get(annotation::REF_NAME).cloned();
        let listed = || {
            let names: Vec<String> = index.manifests.iter().filter_map(|entry| named(&entry)).collect();
            match names.is_empty() {
                true => String::new(),
                false => format!("; it has: {}", names.join(", ")),
            }
        };
        let what = self.path.display();
        let Some(name) = name else {
            let mut all: Vec<&Descriptor> =
                index.manifests.iter().filter(|entry| entry.artifact_type.is_none()).collect();
            all.dedup_by(|a, b| a.digest == b.digest);
            return match all.as_slice() {
                [only] => Ok((*only).clone()),
                [] => Err(Error::not_found(format!("the OCI layout {what} is empty"))),
                _ => Err(Error::invalid(format!(
                    "the OCI layout {what} has several images: say which, oci:PATH:TAG{}",
                    listed()
                ))),
            };
        };
        let found = index
            .manifests
            .iter()
            .find(|entry| named(entry).is_some_and(|n| n == name) || entry.digest.as_str() == name);
        found.cloned().ok_or_else(|| {
            Error::not_found(format!("the OCI layout {what} has no image {name:?}{}", listed()))
        })
    }

    /// Lets `name` stand for what is described, or lists it without a name.
    pub fn list(&self, descriptor: &Descriptor, name: Option<&str>) -> Result<()> {
        let failed =
            |e: io::Error| Error::io(format!("write {}", self.path.join("index.json").display()), &e);
        let directory = File::open(&self.path).map_err(failed)?;
        rustix::fs::flock(&directory, FlockOperation::LockExclusive).map_err(|e| failed(e.into()))?;
        let mut index = self.index()?;
        let mut entry = descriptor.clone();
        match name {
            Some(name) => {
                entry.annotations.insert(annotation::REF_NAME.to_owned(), name.to_owned());
                index.manifests.retain(|known| match known.annotations.get(annotation::REF_NAME) {
                    Some(known) => known != name,
                    None => known.digest != entry.digest,
                });
            }
            None if index.manifests.iter().any(|known| known.digest == entry.digest) => return Ok(()),
            None => {}
        }
        index.manifests.push(entry);
        self.replace("index.json", &json(&index)).map_err(failed)
    }

    fn index(&self) -> Result<Index> {
        let path = self.path.join("index.json");
        let mut bytes = Vec::new();
        open(&path)
            .and_then(|file| file.take(MANIFEST_LIMIT + 1).read_to_end(&mut bytes))
            .map_err(|e| Error::io(format!("read {}", path.display()), &e))?;
        serde_json::from_slice(&bytes).map_err(|e| Error::invalid(format!("{}: {e}", path.display())))
    }

    fn path_of(&self, digest: &Digest) -> Result<PathBuf> {
        match digest.algorithm() {
            "sha256" => Ok(self.path.join("blobs/sha256").join(digest.hex())),
            other => Err(Error::unsupported(format!(
                "{digest}: digests by {other} are not supported, only sha256"
            ))),
        }
    }

    /// A new file under a name beside the blobs: what is left of a killed process is no blob.
    fn temporary(&self) -> io::Result<(Part, File)> {
        loop {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            let path = self.path.join(format!("blobs/.part{}.{n}", std::process::id()));
            match File::options().write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && n < MOST_PARTS => {}
                made => return made.map(|file| (Part(path), file)),
            }
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (part, mut file) = self.temporary()?;
        file.write_all(bytes)?;
        fs::rename(&part.0, self.path.join(name))
    }

    fn write(&self, descriptor: &Descriptor, source: &mut dyn Read, progress: &dyn Fn(u64)) -> Result<()> {
        let digest = &descriptor.digest;
        let path = self.path_of(digest)?;
        let failed = |e: io::Error| Error::io(format!("write {}", path.display()), &e);
        let (part, file) = self.temporary().map_err(failed)?;
        let mut out = HashingWriter::new(file);
        let mut buffer = vec![0; PIECE];
        loop {
            match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => out.write_all(&buffer[..n]).map_err(failed)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(super::made_error(digest, error)),
            }
            if out.len() > descriptor.size {
                break;
            }
            progress(out.len());
        }
        let (_, found, size) = out.finish();
        if found != *digest || size != descriptor.size {
            return Err(Error::invalid(format!(
                "what came as {digest} with {} bytes is {found} with {size}",
                descriptor.size
            )));
        }
        fs::rename(&part.0, &path).map_err(failed)
    }
}

impl Source for Layout {
    fn document(&self, descriptor: &Descriptor) -> Result<Option<Raw>> {
        let path = self.path_of(&descriptor.digest)?;
        let mut bytes = Vec::new();
        let read = open(&path).and_then(|file| file.take(MANIFEST_LIMIT + 1).read_to_end(&mut bytes));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(format!("read {}", path.display()), &error)),
            Ok(_) => {}
        }
        let raw = Raw::new(bytes, Some(&descriptor.media_type))?;
        match raw.digest == descriptor.digest {
            true => Ok(Some(raw)),
            false => Err(Error::invalid(format!("{} is damaged: it is {}", path.display(), raw.digest))),
        }
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Option<Open<'_>>> {
        let path = self.path_of(&descriptor.digest)?;
        if !path.is_file() {
            return Ok(None);
        }
        Ok(Some(Box::new(move |offset| {
            let mut file = open(&path)?;
            file.seek(SeekFrom::Start(offset))?;
            Ok(Box::new(file) as Box<dyn Read + Send>)
        })))
    }

    fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>> {
        let mut found = Vec::new();
        for entry in self.index()?.manifests {
            if let Some(raw) = self.document(&entry)?
                && subject(&raw).as_ref() == Some(digest)
            {
                found.push(raw.descriptor());
            }
        }
        Ok(found)
    }

    fn mounted_at(&self, _: &str, _: &str, _: &Descriptor) -> Result<Option<String>> {
        Ok(None)
    }
}

impl Target for Layout {
    fn has_document(&self, digest: &Digest) -> Result<bool> {
        Ok(self.path_of(digest)?.is_file())
    }

    fn take_blob(
        &self,
        descriptor: &Descriptor,
        source: &dyn Source,
        progress: &dyn Fn(u64),
    ) -> Result<Option<Taken>> {
        let path = self.path_of(&descriptor.digest)?;
        if path.metadata().is_ok_and(|meta| meta.len() == descriptor.size) {
            return Ok(Some(Taken::Was));
        }
        let Some(mut open) = source.blob(descriptor)? else { return Ok(None) };
        let mut source = open(0).map_err(|e| super::made_error(&descriptor.digest, e))?;
        self.write(descriptor, &mut *source, progress)?;
        Ok(Some(Taken::Sent))
    }

    fn put_document(&self, raw: &Raw) -> Result<()> {
        self.write(&raw.descriptor(), &mut &raw.bytes[..], &|_| {})?;
        match subject(raw) {
            // Who looks for referrers in a layout has its index alone to look at.
            Some(_) => self.list(&as_referrer(raw)?, None),
            None => Ok(()),
        }
    }
}

/// Opens a regular file to be read. A pipe that somebody put there would hold us for ever, a device might act.
fn open(path: &Path) -> io::Result<File> {
    beneath::open_host_file(path).map(File::from)
}

/// A file that is removed unless it was renamed.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn empty_index() -> Index {
    Index {
        schema_version: 2,
        media_type: Some(media_type::OCI_INDEX.to_owned()),
        artifact_type: None,
        manifests: Vec::new(),
        subject: None,
        annotations: Default::default(),
    }
}

fn json(index: &Index) -> Vec<u8> {
    serde_json::to_vec(index).expect("because an index has string keys only")
}
