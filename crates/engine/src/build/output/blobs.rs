//! What an archive is written from: layers as they are to be in it, and the documents that list them.
//!
//! A layer that was never compressed in the wanted way is, into a file without a name, so that its digest is known
//! before its place in the archive; what it became is remembered.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;

use oci::{Descriptor, DiffId, Digest, HashingWriter};
use rustix::fs::{CWD, Mode, OFlags, openat};
use snapshot::compress::Method;
use store::{Compressed, Store};

use super::Layers;
use crate::push::{PushOptions, Way, as_media_type, oci_layer, threads, way};
use crate::transfer::stored::Stored;
use crate::transfer::{Open, Raw, Source, made, made_error};
use crate::{Error, Result};

/// The blobs and documents of one archive.
pub(super) struct Blobs<'a> {
    store: &'a Store,
    stored: Stored<'a>,
    spooled: BTreeMap<Digest, File>,
    documents: BTreeMap<Digest, Raw>,
    configs: BTreeMap<Digest, Vec<u8>>,
}

impl<'a> Blobs<'a> {
    pub fn new(store: &'a Store) -> Blobs<'a> {
        Blobs {
            store,
            stored: Stored::new(store, threads()),
            spooled: BTreeMap::new(),
            documents: BTreeMap::new(),
            configs: BTreeMap::new(),
        }
    }

    /// The layers of an image as they are to be written, bottom layer first.
    pub fn layers(&mut self, layers: &[DiffId], how: &Layers) -> Result<Vec<Descriptor>> {
        layers.iter().map(|layer| self.layer(layer, how)).collect()
    }

    /// Adds a manifest or index that was made for the archive.
    pub fn add_document(&mut self, raw: &Raw) {
        self.documents.insert(raw.digest.clone(), raw.clone());
    }

    /// Adds a config.
    pub fn add_config(&mut self, digest: &Digest, bytes: &[u8]) {
        self.configs.insert(digest.clone(), bytes.to_vec());
    }

    fn layer(&mut self, layer: &DiffId, how: &Layers) -> Result<Descriptor> {
        let options =
            PushOptions { method: how.compression, force: how.force, format: how.format, jobs: None };
        let descriptor = match way(self.store, layer, None, &options)? {
            Way::Known(descriptor) => *descriptor,
            Way::Make { diff_id, method } => self.make(&diff_id, method)?,
        };
        let media_type = as_media_type(&descriptor.media_type, how.format.unwrap_or_default());
        Ok(Descriptor { media_type, ..descriptor })
    }

    fn make(&mut self, diff_id: &DiffId, method: Method) -> Result<Descriptor> {
        let mut made = made::stream(self.store, diff_id, Some(method), threads())?;
        let spool = self.spool();
        let failed = |error: io::Error| made_error(&diff_id.0, error);
        let (digest, size) = match &spool {
            Some(file) => {
                let mut out = HashingWriter::new(file);
                io::copy(&mut made, &mut out).map_err(failed)?;
                let (_, digest, size) = out.finish();
                (digest, size)
            }
            None => {
                let mut out = HashingWriter::new(io::sink());
                io::copy(&mut made, &mut out).map_err(failed)?;
                let (_, digest, size) = out.finish();
                (digest, size)
            }
        };
        let compressed =
            Compressed { diff_id: diff_id.clone(), method: method.to_string(), digest: digest.clone(), size };
        self.store.add_compressed(&compressed)?;
        if let Some(file) = spool {
            self.spooled.insert(digest.clone(), file);
        }
        Ok(Descriptor::new(oci_layer(method.compression()), digest, size))
    }

    /// A file without a name in the store; where its file system has none, the layer is made a second time.
    fn spool(&self) -> Option<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        openat(CWD, self.store.root(), flags, Mode::from_raw_mode(0o600)).ok().map(File::from)
    }

    /// Writes a blob to `out`.
    pub fn copy(&self, descriptor: &Descriptor, out: &mut (dyn Write + Send)) -> Result<()> {
        let digest = &descriptor.digest;
        let mut open = self.blob(descriptor)?.ok_or_else(|| {
            Error::not_found(format!("blob {digest} is not in the store"))
                .hint("pull or build the image again")
        })?;
        let mut source = open(0).map_err(|error| made_error(digest, error))?;
        let mut out = HashingWriter::new(out);
        io::copy(&mut source, &mut out).map_err(|error| made_error(digest, error))?;
        let (_, found, size) = out.finish();
        match found == *digest && size == descriptor.size {
            true => Ok(()),
            false => Err(Error::internal(format!("blob {digest} of the store now reads as {found}"))
                .hint("strake system check --repair drops what is damaged; then build the image again")),
        }
    }
}

impl Source for Blobs<'_> {
    fn document(&self, descriptor: &Descriptor) -> Result<Option<Raw>> {
        Ok(self.documents.get(&descriptor.digest).cloned())
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Option<Open<'_>>> {
        if let Some(bytes) = self.configs.get(&descriptor.digest) {
            return Ok(Some(Box::new(move |offset| {
                let rest = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
                Ok(Box::new(io::Cursor::new(rest.to_vec())) as Box<dyn Read + Send>)
            })));
        }
        let Some(file) = self.spooled.get(&descriptor.digest) else { return self.stored.blob(descriptor) };
        Ok(Some(Box::new(move |offset| {
            let mut again = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
            again.seek(SeekFrom::Start(offset))?;
            Ok(Box::new(again) as Box<dyn Read + Send>)
        })))
    }

    fn referrers(&self, _: &Digest) -> Result<Vec<Descriptor>> {
        Ok(Vec::new())
    }

    fn mounted_at(&self, _: &str, _: &str, _: &Descriptor) -> Result<Option<String>> {
        Ok(None)
    }
}
