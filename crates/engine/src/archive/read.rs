//! Reading images: what the documents of an archive or a layout say, put into the store.
//!
//! The documents decide which files are layers; their bytes are compared with the digests that name them, and what
//! they unpack to with the config's DiffIDs, before anything gets a name.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::Path;

use oci::{
    Descriptor, Digest, Document, ImageConfig, ImageId, Index, Manifest, Platform, Reference, annotation,
    media_type,
};
use serde::Deserialize;
use snapshot::compress::Compression;
use store::{ImageMeta, Store};

use super::files::Files;
use crate::layers::Fetch;
use crate::{Error, Result, Silent};

/// Layers taken from an archive at once: what is limited is the unpacking.
const JOBS: usize = 2;

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
    layers: Option<Vec<String>>,
}

/// Where an archive is read from.
pub enum Source {
    /// A file: what is needed of it is read where it is, if it is a regular one and not compressed.
    File(File),
    /// A stream, read from its start to its end.
    Stream(Box<dyn Read + Send>),
}

impl Source {
    fn files<'a>(self, store: &'a Store) -> Result<Files<'a>> {
        let failed = |e: io::Error| Error::io("read the archive", &e);
        let mut file = match self {
            Source::Stream(stream) => return Files::of_archive(store, stream),
            Source::File(file) => file,
        };
        // Somebody may have read a part of it already, and then means the rest.
        let regular =
            file.metadata().map_err(failed)?.is_file() && file.stream_position().is_ok_and(|at| at == 0);
        let mut start = [0; Compression::MAGIC_LEN];
        let plain = regular
            && file.read_at(&mut start, 0).map_err(failed)? == start.len()
            && Compression::detect(&start) == Compression::None;
        if plain { Files::of_file(store, file) } else { Files::of_archive(store, file) }
    }
}

/// Puts the images of the archive `source` (plain or compressed) into the store. References are
/// left to the caller.
pub(crate) fn read(store: &Store, source: Source, platform: &Platform) -> Result<Vec<Loaded>> {
    let files = source.files(store)?;
    if files.has("index.json") {
        let index = index(&files)?;
        let mut loaded = layout(&files, index.manifests, platform, None)?;
        if files.has("manifest.json") {
            // Docker's archives since version 25 are both; names may be in either.
            name_as_docker(&files, &mut loaded)?;
        }
        return Ok(loaded);
    }
    if files.has("manifest.json") {
        return docker(&files);
    }
    let error =
        Error::invalid("the archive has neither manifest.json nor index.json: it is no image archive");
    Err(match files.has("repositories") {
        true => error.hint("it is one of Docker before 1.10: load and save it with a newer Docker first"),
        false => error.hint("a tar of a root file system is imported with: strake import FILE NAME"),
    })
}

/// Puts the images of the OCI layout in `directory` (a path on the host) into the store: those named
/// `tag`, or all.
pub(crate) fn read_layout(
    store: &Store,
    directory: &Path,
    tag: Option<&str>,
    platform: &Platform,
) -> Result<Vec<Loaded>> {
    let files = Files::of_directory(store, directory);
    if !directory.join("index.json").is_file() {
        let what = format!("{} holds no OCI layout: it has no index.json", directory.display());
        return Err(Error::not_found(what));
    }
    let mut manifests = index(&files)?.manifests;
    if let Some(tag) = tag {
        let name = |entry: &Descriptor| entry.annotations.get(annotation::REF_NAME).cloned();
        let known: Vec<String> = manifests.iter().filter_map(name).collect();
        manifests.retain(|entry| name(entry).is_some_and(|n| n == tag) || entry.digest.as_str() == tag);
        if manifests.is_empty() {
            return Err(Error::not_found(format!(
                "the OCI layout {} has no image {tag:?}{}",
                directory.display(),
                match known.is_empty() {
                    true => String::new(),
                    false => format!("; it has: {}", known.join(", ")),
                }
            )));
        }
    }
    // `oci:app:1` is app:1, if that can be a name.
    let whole = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let repository = whole.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    layout(&files, manifests, platform, repository.as_deref())
}

fn index(files: &Files<'_>) -> Result<Index> {
    serde_json::from_slice(&files.document("index.json")?)
        .map_err(|e| Error::invalid(format!("index.json: {e}")))
}

/// What `manifest.json` says: the items, and the names of each.
fn docker_manifest(files: &Files<'_>) -> Result<Vec<(DockerManifest, Vec<Reference>)>> {
    let wrong = |what: String| Error::invalid(format!("the archive's manifest.json: {what}"));
    let list: Vec<DockerManifest> =
        serde_json::from_slice(&files.document("manifest.json")?).map_err(|e| wrong(e.to_string()))?;
    let mut items = Vec::new();
    for mut item in list {
        let mut references = Vec::new();
        for tag in item.repo_tags.take().unwrap_or_default() {
            let reference = Reference::parse(&tag).map_err(|e| wrong(e.to_string()))?;
            if reference.tag.is_none() || reference.digest.is_some() {
                return Err(wrong(format!("{tag:?} names no image with a tag")));
            }
            references.push(reference);
        }
        items.push((item, references));
    }
    Ok(items)
}

/// Adds the names that `manifest.json` gives images that were read by the index.
fn name_as_docker(files: &Files<'_>, loaded: &mut [Loaded]) -> Result<()> {
    for (item, references) in docker_manifest(files)? {
        let Ok(config) = files.document(&item.config) else { continue };
        let id = ImageId(Digest::sha256(&config));
        for image in loaded.iter_mut().filter(|image| image.image == id) {
            for reference in &references {
                if !image.references.contains(reference) {
                    image.references.push(reference.clone());
                }
            }
        }
    }
    Ok(())
}

fn docker(files: &Files<'_>) -> Result<Vec<Loaded>> {
    let mut loaded = Vec::new();
    for (item, references) in docker_manifest(files)? {
        let config = files.document(&item.config)?;
        // Docker and others name it by its digest.
        let name = item.config.rsplit('/').next().unwrap_or_default();
        let name = name.strip_suffix(".json").unwrap_or(name);
        let found = Digest::sha256(&config);
        if name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()) && name != found.hex() {
            return Err(Error::invalid(format!(
                "the archive's image config {} has digest {found}: it is damaged",
                item.config
            )));
        }
        let config: Document<ImageConfig> =
            Document::parse("image config", config).map_err(|e| Error::invalid(e.to_string()))?;
        let paths = item.layers.unwrap_or_default();
        check_config(&config, paths.len())?;
        let mut layers = Vec::new();
        for (path, diff_id) in paths.iter().zip(&config.value.rootfs.diff_ids) {
            layers.push(match files.plain_layer(path, diff_id)? {
                Some(described) => described,
                None => {
                    let (digest, size) = files.blob(path)?;
                    Descriptor::new(sniff(files.store(), &digest)?, digest, size)
                }
            });
        }
        let image = put(files, &config, &layers, ImageMeta::default())?;
        loaded.push(Loaded { image, references });
    }
    Ok(loaded)
}

fn layout(
    files: &Files<'_>,
    manifests: Vec<Descriptor>,
    platform: &Platform,
    repository: Option<&str>,
) -> Result<Vec<Loaded>> {
    // Several names of one image are several entries.
    let mut images: Vec<(Descriptor, Option<Digest>, Vec<Reference>)> = Vec::new();
    for entry in manifests {
        let references = name_of(&entry, repository);
        let (chosen, from) = match media_type::is_index(&entry.media_type) {
            false => (entry, None),
            true => (choose(files, &entry, platform)?, Some(entry.digest)),
        };
        match images.iter_mut().find(|(known, _, _)| known.digest == chosen.digest) {
            Some((_, _, names)) => names.extend(references),
            None => images.push((chosen, from, references.into_iter().collect())),
        }
    }
    let mut loaded = Vec::new();
    for (entry, index, references) in images {
        let bytes = files.described(&entry)?;
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .map_err(|e| Error::invalid(format!("manifest {}: {e}", entry.digest)))?;
        if !media_type::is_config(&manifest.config.media_type) {
            continue; // An artifact or an attestation, no image.
        }
        let config: Document<ImageConfig> =
            Document::parse("image config", files.described(&manifest.config)?)
                .map_err(|e| Error::invalid(e.to_string()))?;
        check_config(&config, manifest.layers.len())?;
        // Kept with the image, so that it can leave as it came.
        files.store().put_blob(&bytes)?;
        let meta = ImageMeta {
            manifest: Some(entry.digest),
            index,
            base: None,
            annotations: manifest.annotations.clone(),
        };
        let image = put(files, &config, &manifest.layers, meta)?;
        loaded.push(Loaded { image, references });
    }
    Ok(loaded)
}

/// The image for `platform` of the index that `entry` describes; the only one, if there is no more.
fn choose(files: &Files<'_>, entry: &Descriptor, platform: &Platform) -> Result<Descriptor> {
    let bytes = files.described(entry)?;
    let index: Index =
        serde_json::from_slice(&bytes).map_err(|e| Error::invalid(format!("index {}: {e}", entry.digest)))?;
    let is_image = |entry: &&Descriptor| entry.platform.as_ref().is_none_or(|p| p.os != "unknown");
    let images: Vec<&Descriptor> = index.manifests.iter().filter(is_image).collect();
    let chosen = match (index.select(platform), images.as_slice()) {
        (Some(chosen), _) => chosen,
        (None, [only]) => only,
        (None, _) => {
            let offered: Vec<String> =
                images.iter().filter_map(|m| m.platform.as_ref()).map(Platform::to_string).collect();
            return Err(Error::not_found(format!(
                "index {} has no image for {platform}: {}",
                entry.digest,
                if offered.is_empty() {
                    "it is empty".to_owned()
                } else {
                    format!("it has {}", offered.join(", "))
                }
            )));
        }
    };
    files.store().put_blob(&bytes)?;
    Ok(chosen.clone())
}

/// The name an index gives an entry: containerd's annotation, or OCI's where it is a reference. A bare tag says nothing
/// about the repository.
fn name_of(entry: &Descriptor, repository: Option<&str>) -> Option<Reference> {
    let tagged = |name: &str| {
        let reference = Reference::parse(name).ok()?;
        (reference.digest.is_none()).then(|| reference.with_default_tag())
    };
    if let Some(reference) = entry.annotations.get(annotation::IMAGE_NAME).and_then(|name| tagged(name)) {
        return Some(reference);
    }
    let name = entry.annotations.get(annotation::REF_NAME)?;
    match (name.contains([':', '/']), repository) {
        (true, _) => tagged(name),
        (false, Some(repository)) => tagged(&format!("{repository}:{name}")),
        (false, None) => None,
    }
}

fn sniff(store: &Store, digest: &Digest) -> Result<&'static str> {
    let mut head = Vec::new();
    let file = store.open_blob(digest)?;
    file.take(Compression::MAGIC_LEN as u64)
        .read_to_end(&mut head)
        .map_err(|e| Error::io(format!("read blob {digest}"), &e))?;
    match Compression::detect(&head) {
        Compression::None => Ok(media_type::DOCKER_LAYER),
        Compression::Gzip => Ok(media_type::DOCKER_LAYER_GZIP),
        Compression::Zstd => Ok(media_type::DOCKER_LAYER_ZSTD),
        other => Err(Error::unsupported(format!("a layer of the archive is compressed by {}", other.name()))),
    }
}

/// Takes and unpacks the layers, which verifies them, and records the image.
fn put(
    files: &Files<'_>,
    config: &Document<ImageConfig>,
    layers: &[Descriptor],
    meta: ImageMeta,
) -> Result<ImageId> {
    let store = files.store();
    let fetch =
        Fetch { store, blobs: files, events: &Silent, jobs: JOBS, keeps_parts: false, interrupted: None };
    fetch.run(layers, &config.value.rootfs.diff_ids)?;
    record(store, config, meta)
}

/// Refuses an image that cannot run here, or whose config names other layers than its manifest, which has that many.
pub(crate) fn check_config(config: &Document<ImageConfig>, layers: usize) -> Result<()> {
    let os = &config.value.os;
    if !os.is_empty() && os != "linux" {
        return Err(Error::unsupported(format!(
            "image {} is for {os}: containers here run on linux",
            config.digest
        )));
    }
    let named = config.value.rootfs.diff_ids.len();
    if named != layers {
        return Err(Error::invalid(format!(
            "image {} names {named} layers in its config and {layers} in its manifest",
            config.digest
        )));
    }
    Ok(())
}

/// Records an image whose layers are here.
pub(crate) fn record(store: &Store, config: &Document<ImageConfig>, mut meta: ImageMeta) -> Result<ImageId> {
    meta.base = meta.annotations.get(annotation::BASE_NAME).map(|name| store::Base {
        name: name.clone(),
        digest: meta.annotations.get(annotation::BASE_DIGEST).and_then(|d| d.parse().ok()),
    });
    Ok(store.put_image(&config.bytes, &meta)?)
}
