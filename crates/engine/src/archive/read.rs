//! Reading images from an archive, in one pass: every file goes into the store as a blob, and what
//! it was is told by the documents among them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use oci::{
    Descriptor, Digest, Document, ImageConfig, ImageId, Index, Manifest, Platform, Reference, annotation,
    media_type,
};
use serde::Deserialize;
use store::{ImageMeta, LayerBlob, Store};

use super::{DOCUMENT_LIMIT, ENTRY_LIMIT};
use crate::{Error, Result};

/// An image that was read, and the names that the archive gives it.
pub(crate) struct Loaded {
    pub image: ImageId,
    pub references: Vec<Reference>,
}

/// One entry of Docker's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

/// Puts the images of the archive `source` (plain or compressed) into the store. References are
/// left to the caller.
pub(crate) fn read(store: &Store, source: impl Read + Send, platform: &Platform) -> Result<Vec<Loaded>> {
    let (_, source) = snapshot::compress::reader(source).map_err(|e| Error::io("read the archive", &e))?;
    let files = Files::take(store, source)?;
    let has = |path: &str| files.blobs.borrow().contains_key(path);
    if has("manifest.json") {
        return docker(store, &files);
    }
    if has("index.json") {
        return layout(store, &files, &files.index()?, platform);
    }
    Err(Error::invalid("the archive has neither manifest.json nor index.json: it is no image archive")
        .hint("a tar of a root file system is imported with: strake import FILE NAME"))
}

/// Puts the images of the OCI layout in `directory` (a path on the host) into the store: those named
/// `tag`, or all.
pub(crate) fn read_layout(
    store: &Store,
    directory: &Path,
    tag: Option<&str>,
    platform: &Platform,
) -> Result<Vec<Loaded>> {
    let files = Files {
        store,
        blobs: RefCell::default(),
        links: BTreeMap::new(),
        directory: Some(directory.to_owned()),
    };
    if !directory.join("index.json").is_file() {
        return Err(Error::not_found(format!(
            "{} holds no OCI layout: it has no index.json",
            directory.display()
        )));
    }
    let mut index = files.index()?;
    if let Some(tag) = tag {
        let names = |index: &Index| -> Vec<String> {
            index.manifests.iter().filter_map(|m| m.annotations.get(annotation::REF_NAME).cloned()).collect()
        };
        let known = names(&index);
        index.manifests.retain(|m| {
            m.annotations.get(annotation::REF_NAME).is_some_and(|name| name == tag)
                || m.digest.as_str() == tag
        });
        if index.manifests.is_empty() {
            return Err(Error::not_found(format!(
                "the OCI layout {} has no image {tag:?}; it has: {}",
                directory.display(),
                known.join(", ")
            )));
        }
    }
    layout(store, &files, &index, platform)
}

/// The regular files of an archive or a layout, as blobs of the store, by their paths.
struct Files<'a> {
    store: &'a Store,
    blobs: RefCell<BTreeMap<String, (Digest, u64)>>,
    links: BTreeMap<String, String>,
    /// Where files that are not yet blobs are read from when they are asked for.
    directory: Option<PathBuf>,
}

impl<'a> Files<'a> {
    fn take(store: &'a Store, source: impl Read) -> Result<Files<'a>> {
        let broken = |e: io::Error| Error::invalid(format!("the archive cannot be read: {e}"));
        let mut archive = tar::Archive::new(source);
        let mut files = Files { store, blobs: RefCell::default(), links: BTreeMap::new(), directory: None };
        for (count, entry) in archive.entries().map_err(broken)?.enumerate() {
            if count >= ENTRY_LIMIT {
                return Err(Error::invalid(format!("the archive has more than {ENTRY_LIMIT} entries")));
            }
            let mut entry = entry.map_err(broken)?;
            let path = clean(&String::from_utf8_lossy(&entry.path_bytes()));
            match entry.header().entry_type() {
                tar::EntryType::Regular | tar::EntryType::Continuous => {
                    let size = entry.size();
                    let mut writer = store.blob_writer()?;
                    let copied = io::copy(&mut entry, &mut writer).map_err(broken)?;
                    if copied != size {
                        return Err(Error::invalid(format!(
                            "the archive ends within {path}: {copied} of {size} bytes are there"
                        )));
                    }
                    let blob = writer.commit(None)?;
                    files.blobs.get_mut().insert(path, blob);
                }
                tar::EntryType::Symlink | tar::EntryType::Link => {
                    if let Some(target) = entry.link_name_bytes() {
                        let target = String::from_utf8_lossy(&target).into_owned();
                        let hard = entry.header().entry_type() == tar::EntryType::Link;
                        let target = if hard { clean(&target) } else { beside(&path, &target) };
                        files.links.insert(path, target);
                    }
                }
                _ => {}
            }
        }
        Ok(files)
    }

    /// The blob at `path`, through the links that old Docker archives have.
    fn blob(&self, path: &str) -> Result<(Digest, u64)> {
        let mut at = clean(path);
        for _ in 0..8 {
            if let Some(blob) = self.blobs.borrow().get(&at) {
                return Ok(blob.clone());
            }
            match self.links.get(&at) {
                Some(target) => at.clone_from(target),
                None => break,
            }
        }
        if let Some(directory) = &self.directory
            && let Some(blob) = self.fetch(directory, &at)?
        {
            self.blobs.borrow_mut().insert(at, blob.clone());
            return Ok(blob);
        }
        Err(Error::invalid(format!("the archive has no file {path:?}, which its manifest names")))
    }

    /// Copies a file of a layout's directory into the store; a path never leads out of it.
    fn fetch(&self, directory: &Path, path: &str) -> Result<Option<(Digest, u64)>> {
        if path.split('/').any(|part| part == "..") {
            return Ok(None);
        }
        let file = directory.join(path);
        let mut source = match File::open(&file) {
            Ok(source) => source,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(format!("open {}", file.display()), &error)),
        };
        let mut writer = self.store.blob_writer()?;
        io::copy(&mut source, &mut writer).map_err(|e| Error::io(format!("copy {}", file.display()), &e))?;
        Ok(Some(writer.commit(None)?))
    }

    fn index(&self) -> Result<Index> {
        serde_json::from_slice(&self.document("index.json")?)
            .map_err(|e| Error::invalid(format!("index.json: {e}")))
    }

    fn document(&self, path: &str) -> Result<Vec<u8>> {
        let (digest, _) = self.blob(path)?;
        Ok(self.store.read_blob(&digest, DOCUMENT_LIMIT)?)
    }

    fn described(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let path = format!("blobs/{}/{}", descriptor.digest.algorithm(), descriptor.digest.hex());
        let (digest, size) = self.blob(&path)?;
        if digest != descriptor.digest || size != descriptor.size {
            return Err(Error::invalid(format!(
                "the archive's {path} has digest {digest} and {size} bytes, not the {} bytes that its manifest names",
                descriptor.size
            )));
        }
        Ok(self.store.read_blob(&digest, DOCUMENT_LIMIT)?)
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
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn docker(store: &Store, files: &Files<'_>) -> Result<Vec<Loaded>> {
    let list: Vec<DockerManifest> = serde_json::from_slice(&files.document("manifest.json")?)
        .map_err(|e| Error::invalid(format!("the archive's manifest.json: {e}")))?;
    let mut loaded = Vec::new();
    for item in list {
        let bytes = files.document(&item.config)?;
        let blobs = item
            .layers
            .iter()
            .map(|path| {
                let (digest, size) = files.blob(path)?;
                Ok(LayerBlob { media_type: sniff(store, &digest)?.to_owned(), digest, size })
            })
            .collect::<Result<Vec<_>>>()?;
        let references = item
            .repo_tags
            .unwrap_or_default()
            .iter()
            .map(|tag| {
                Reference::parse(tag).map_err(|e| Error::invalid(format!("the archive's manifest.json: {e}")))
            })
            .collect::<Result<Vec<_>>>()?;
        let image = put(store, bytes, &blobs, ImageMeta::default())?;
        loaded.push(Loaded { image, references });
    }
    Ok(loaded)
}

fn layout(store: &Store, files: &Files<'_>, index: &Index, platform: &Platform) -> Result<Vec<Loaded>> {
    let mut by_manifest: BTreeMap<Digest, (Descriptor, Option<Digest>, Vec<Reference>)> = BTreeMap::new();
    for entry in &index.manifests {
        let references: Vec<Reference> = name_of(entry).into_iter().collect();
        let (entry, from) = match media_type::is_index(&entry.media_type) {
            false => (entry.clone(), None),
            true => {
                let nested: Index = serde_json::from_slice(&files.described(entry)?)
                    .map_err(|e| Error::invalid(format!("index {}: {e}", entry.digest)))?;
                let chosen = nested.select(platform).or(nested.manifests.first()).cloned();
                let chosen = chosen.ok_or_else(|| {
                    Error::invalid(format!("index {} of the archive has no image", entry.digest))
                })?;
                (chosen, Some(entry.digest.clone()))
            }
        };
        let known = by_manifest.entry(entry.digest.clone()).or_insert((entry, from, Vec::new()));
        known.2.extend(references);
    }
    let mut loaded = Vec::new();
    for (digest, (entry, from, references)) in by_manifest {
        let manifest: Manifest = serde_json::from_slice(&files.described(&entry)?)
            .map_err(|e| Error::invalid(format!("manifest {digest}: {e}")))?;
        if !media_type::is_config(&manifest.config.media_type) {
            continue; // An artifact or an attestation, no image.
        }
        let bytes = files.described(&manifest.config)?;
        let mut blobs = Vec::new();
        for layer in &manifest.layers {
            let (found, size) =
                files.blob(&format!("blobs/{}/{}", layer.digest.algorithm(), layer.digest.hex()))?;
            if found != layer.digest {
                return Err(Error::invalid(format!(
                    "layer {} of the archive reads as {found}",
                    layer.digest
                )));
            }
            blobs.push(LayerBlob { digest: found, size, media_type: layer.media_type.clone() });
        }
        let meta = ImageMeta {
            manifest: Some(digest),
            index: from,
            base: None,
            annotations: manifest.annotations.clone(),
        };
        let image = put(store, bytes, &blobs, meta)?;
        loaded.push(Loaded { image, references });
    }
    Ok(loaded)
}

/// The name an index gives an entry: containerd's annotation, or OCI's where it is a reference.
fn name_of(entry: &Descriptor) -> Option<Reference> {
    let name = entry.annotations.get(annotation::IMAGE_NAME);
    if let Some(reference) = name.and_then(|name| Reference::parse(name).ok()) {
        return Some(reference);
    }
    // A bare tag says nothing about the repository.
    let name = entry.annotations.get(annotation::REF_NAME).filter(|name| name.contains([':', '/']))?;
    Reference::parse(name).ok()
}

fn sniff(store: &Store, digest: &Digest) -> Result<&'static str> {
    let mut head = [0u8; 4];
    let mut file = store.open_blob(digest)?;
    let read = file.read(&mut head).map_err(|e| Error::io(format!("read blob {digest}"), &e))?;
    Ok(match &head[..read] {
        [0x1f, 0x8b, ..] => media_type::DOCKER_LAYER_GZIP,
        [0x28, 0xb5, 0x2f, 0xfd] => media_type::DOCKER_LAYER_ZSTD,
        _ => media_type::DOCKER_LAYER,
    })
}

/// Unpacks the layers, which verifies them, and records the image.
pub(crate) fn put(
    store: &Store,
    config: Vec<u8>,
    blobs: &[LayerBlob],
    mut meta: ImageMeta,
) -> Result<ImageId> {
    let document: Document<ImageConfig> =
        Document::parse("image config", config).map_err(|e| Error::invalid(e.to_string()))?;
    let layers = &document.value.rootfs.diff_ids;
    if layers.len() != blobs.len() {
        return Err(Error::invalid(format!(
            "image {} names {} layers in its config and {} in its manifest",
            document.digest,
            layers.len(),
            blobs.len()
        )));
    }
    solver::unpack_blobs(store, layers, blobs).map_err(|e| Error::invalid(e.to_string()))?;
    meta.base = meta.annotations.get(annotation::BASE_NAME).map(|name| store::Base {
        name: name.clone(),
        digest: meta.annotations.get(annotation::BASE_DIGEST).and_then(|d| d.parse().ok()),
    });
    Ok(store.put_image(&document.bytes, &meta)?)
}
