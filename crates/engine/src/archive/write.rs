//! Writing images into an archive, layer by layer as a stream.

use std::collections::BTreeSet;
use std::io::{self, Write};

use oci::{
    ChainId, Descriptor, DiffId, Digest, Document, HashingWriter, Index, Manifest, Reference, annotation,
    media_type,
};
use serde::Serialize;
use store::{Image, Store};

use crate::{Error, Result};

/// Which archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Docker's, which is an OCI layout with `manifest.json`.
    #[default]
    Docker,
    /// The OCI image layout alone.
    Oci,
}

/// An image to write, with the names it goes by in the archive.
pub(crate) struct Item {
    pub image: Image,
    pub references: Vec<Reference>,
}

/// One entry of Docker's `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DockerManifest {
    pub config: String,
    pub repo_tags: Option<Vec<String>>,
    pub layers: Vec<String>,
}

/// Writes `items` to `out`. The same images give the same bytes.
pub(crate) fn write(
    store: &Store,
    items: &[Item],
    format: Format,
    out: &mut (dyn Write + Send),
) -> Result<()> {
    let mut archive = Archive::new(out)?;
    let mut manifests = Vec::new();
    let mut docker = Vec::new();
    for item in items {
        let layers = item
            .image
            .layers()
            .iter()
            .enumerate()
            .map(|(at, layer)| archive.layer(store, &item.image.layers()[..at], layer))
            .collect::<Result<Vec<Descriptor>>>()?;
        let config = &item.image.config;
        archive.blob(&config.digest, &config.bytes)?;
        let manifest = manifest_of(store, &item.image, &layers)?;
        archive.blob(&manifest.digest, &manifest.bytes)?;
        docker.push(DockerManifest {
            config: blob_path(&config.digest),
            repo_tags: (!item.references.is_empty())
                .then(|| item.references.iter().map(Reference::familiar).collect()),
            layers: layers.iter().map(|layer| blob_path(&layer.digest)).collect(),
        });
        let media_type = manifest.value.media_type.as_deref().unwrap_or(media_type::OCI_MANIFEST);
        let mut entry = Descriptor::new(media_type, manifest.digest.clone(), manifest.bytes.len() as u64);
        entry.platform = Some(config.value.platform());
        if item.references.is_empty() {
            manifests.push(entry.clone());
        }
        for reference in &item.references {
            let mut named = entry.clone();
            named.annotations.insert(annotation::IMAGE_NAME.to_owned(), reference.to_string());
            if let Some(tag) = &reference.tag {
                let name = match format {
                    Format::Docker => tag.clone(),
                    // In full, as podman writes and reads it.
                    Format::Oci => reference.to_string(),
                };
                named.annotations.insert(annotation::REF_NAME.to_owned(), name);
            }
            manifests.push(named);
        }
    }
    let index = Index {
        schema_version: 2,
        media_type: Some(media_type::OCI_INDEX.to_owned()),
        artifact_type: None,
        manifests,
        subject: None,
        annotations: Default::default(),
    };
    archive.json("index.json", &index)?;
    if format == Format::Docker {
        archive.json("manifest.json", &docker)?;
    }
    archive.end()
}

/// The manifest that the image came with, where it says the layers as they are written here; else
/// one made for them.
fn manifest_of(store: &Store, image: &Image, layers: &[Descriptor]) -> Result<Document<Manifest>> {
    if let Some(digest) = &image.meta.manifest
        && store.has_blob(digest)?
    {
        let bytes = store.read_blob(digest, super::DOCUMENT_LIMIT)?;
        let held: Document<Manifest> = Document::parse("manifest", bytes)
            .map_err(|e| Error::internal(format!("manifest {digest}: {e}")))?;
        let same = held.value.layers.len() == layers.len()
            && held.value.layers.iter().zip(layers).all(|(held, ours)| held.digest == ours.digest);
        if same {
            return Ok(held);
        }
    }
    let config =
        Descriptor::new(media_type::OCI_CONFIG, image.config.digest.clone(), image.config.bytes.len() as u64);
    Ok(Document::of(Manifest {
        schema_version: 2,
        media_type: Some(media_type::OCI_MANIFEST.to_owned()),
        artifact_type: None,
        config,
        layers: layers.to_vec(),
        subject: None,
        annotations: image.meta.annotations.clone(),
    }))
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("because these types have string keys only")
}

/// Where a blob is in a layout.
pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

/// A layout that is written as a tar: blobs as they come, each once, then `index.json`.
pub(crate) struct Archive<'a> {
    out: &'a mut (dyn Write + Send),
    written: BTreeSet<Digest>,
}

impl<'a> Archive<'a> {
    /// Begins a layout.
    pub fn new(out: &'a mut (dyn Write + Send)) -> Result<Archive<'a>> {
        let mut archive = Archive { out, written: BTreeSet::new() };
        archive.directory("blobs/")?;
        archive.directory("blobs/sha256/")?;
        Ok(archive)
    }

    /// Writes a blob that `copy` has the bytes of, as many as the descriptor says.
    pub fn stream(
        &mut self,
        blob: &Descriptor,
        copy: impl FnOnce(&mut (dyn Write + Send)) -> Result<()>,
    ) -> Result<()> {
        if !self.written.insert(blob.digest.clone()) {
            return Ok(());
        }
        self.header(&blob_path(&blob.digest), tar::EntryType::Regular, 0o644, blob.size)?;
        copy(&mut *self.out)?;
        self.pad(blob.size)
    }

    /// Writes a file of JSON.
    pub fn json(&mut self, path: &str, value: &impl Serialize) -> Result<()> {
        self.file(path, &json(value))
    }

    fn header(&mut self, path: &str, kind: tar::EntryType, mode: u32, size: u64) -> Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_path(path).map_err(|e| Error::internal(format!("archive entry {path}: {e}")))?;
        header.set_cksum();
        self.put(header.as_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|e| Error::io("write the archive", &e))
    }

    fn pad(&mut self, size: u64) -> Result<()> {
        let rest = (512 - size % 512) % 512;
        self.put(&[0; 512][..rest as usize])
    }

    fn directory(&mut self, path: &str) -> Result<()> {
        self.header(path, tar::EntryType::Directory, 0o755, 0)
    }

    fn file(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.header(path, tar::EntryType::Regular, 0o644, bytes.len() as u64)?;
        self.put(bytes)?;
        self.pad(bytes.len() as u64)
    }

    /// Writes a document.
    pub fn blob(&mut self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        match self.written.insert(digest.clone()) {
            true => self.file(&blob_path(digest), bytes),
            false => Ok(()),
        }
    }

    /// Writes a layer as it was received, or, if it was made here, as the plain tar that its
    /// snapshot gives; once however many images have it.
    fn layer(&mut self, store: &Store, below: &[DiffId], layer: &DiffId) -> Result<Descriptor> {
        if let Some(blob) = store.layer_blobs(layer)?.into_iter().next() {
            if self.written.insert(blob.digest.clone()) {
                self.header(&blob_path(&blob.digest), tar::EntryType::Regular, 0o644, blob.size)?;
                let mut source = store.open_blob(&blob.digest)?;
                let mut out = HashingWriter::new(&mut *self.out);
                io::copy(&mut source, &mut out).map_err(|e| Error::io("write the archive", &e))?;
                let (_, digest, _) = out.finish();
                if digest != blob.digest {
                    return Err(damaged(&blob.digest, &digest));
                }
                self.pad(blob.size)?;
            }
            return Ok(Descriptor::new(&blob.media_type, blob.digest, blob.size));
        }
        let chain = ChainId::extend(ChainId::of(below).as_ref(), layer);
        let snapshot = store.snapshot(&chain)?.ok_or_else(|| {
            Error::not_found(format!("layer {layer} is in the store neither unpacked nor as a blob"))
        })?;
        if self.written.insert(layer.0.clone()) {
            self.header(&blob_path(&layer.0), tar::EntryType::Regular, 0o644, snapshot.tar_size)?;
            let stat = snapshot::diff(
                &store.snapshot_dir(&chain),
                &mut *self.out,
                &snapshot::DiffOptions::default(),
            )?;
            if stat.diff_id != *layer {
                return Err(damaged(&layer.0, &stat.diff_id.0));
            }
            self.pad(snapshot.tar_size)?;
        }
        Ok(Descriptor::new(media_type::OCI_LAYER, layer.0.clone(), snapshot.tar_size))
    }

    /// Ends the layout.
    pub fn end(&mut self) -> Result<()> {
        self.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        self.put(&[0; 1024])?;
        self.out.flush().map_err(|e| Error::io("write the archive", &e))
    }
}

fn damaged(wanted: &Digest, found: &Digest) -> Error {
    Error::internal(format!("the layer {wanted} of the store now reads as {found}"))
        .hint("strake system check --repair drops what is damaged; then build or pull the image again")
}
