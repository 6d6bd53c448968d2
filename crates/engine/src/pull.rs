//! `pull`: an image from a registry or from an OCI layout on disk.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use oci::{
    Descriptor, Digest, Document, HashingWriter, ImageConfig, ImageId, Index, Manifest, Platform, Reference,
    media_type,
};
pub use registry::Options;
use registry::{Client, Repository};
use store::{ImageMeta, LayerBlob, PruneOptions};

use crate::archive;
use crate::{Engine, Error, Event, Events, Kind, Result};

/// Where an image is pulled from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullSource {
    /// A registry; the tag is `latest` where the reference has neither tag nor digest.
    Registry(Reference),
    /// An OCI layout in a directory on the host; the images named so in it, or all. A name that is a tag alone becomes
    /// one of the directory's name.
    Layout {
        /// The directory.
        path: PathBuf,
        /// `org.opencontainers.image.ref.name` or digest of the image.
        tag: Option<String>,
    },
}

impl PullSource {
    /// Parses `oci:PATH[:TAG]`, or a reference.
    pub fn parse(text: &str) -> Result<PullSource> {
        let Some(rest) = text.strip_prefix("oci:") else {
            let reference = Reference::parse(text).map_err(|e| Error::invalid(e.to_string()))?;
            return Ok(PullSource::Registry(reference.with_default_tag()));
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
            _ => (rest, None),
        };
        Ok(PullSource::Layout { path: path.into(), tag })
    }
}

/// What was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The image.
    pub image: ImageId,
    /// Digest of the manifest or index that the reference named.
    pub digest: Option<Digest>,
    /// The names that the image has now.
    pub references: Vec<Reference>,
    /// Whether it was in the store already, under the same name.
    pub up_to_date: bool,
}

/// Pulls the image for `platform` and names it.
pub fn pull(
    engine: &Engine,
    source: &PullSource,
    platform: &Platform,
    options: &Options,
    events: &dyn Events,
) -> Result<Vec<Pulled>> {
    match source {
        PullSource::Registry(reference) => {
            let _lease = engine.store.lease()?;
            Ok(vec![remote(engine, reference, platform, options, events)?])
        }
        PullSource::Layout { path, tag } => {
            let pulled = layout(engine, path, tag.as_deref(), platform);
            // What was read and belongs to no image.
            let swept = engine.store.prune(&PruneOptions::default());
            let pulled = pulled?;
            swept?;
            Ok(pulled)
        }
    }
}

fn layout(engine: &Engine, path: &Path, tag: Option<&str>, platform: &Platform) -> Result<Vec<Pulled>> {
    let _lease = engine.store.lease()?;
    let mut pulled = Vec::new();
    for item in archive::read_layout(&engine.store, path, tag, platform)? {
        for reference in &item.references {
            engine.store.set_reference(reference, &item.image)?;
        }
        let references = item.references;
        pulled.push(Pulled { image: item.image, digest: None, references, up_to_date: false });
    }
    Ok(pulled)
}

fn remote(
    engine: &Engine,
    reference: &Reference,
    platform: &Platform,
    options: &Options,
    events: &dyn Events,
) -> Result<Pulled> {
    let client = Client::new(options.clone()).repository(reference);
    let name = reference.digest.as_ref().map(Digest::as_str).or(reference.tag.as_deref()).unwrap_or("latest");
    let tag = reference.tag.as_deref().or(reference.digest.as_ref().map(Digest::as_str)).unwrap_or("latest");
    events.event(Event::Status(format!("{tag}: Pulling from {}", reference.repository)));
    let named = client.manifest(name)?;
    let (manifest, index) = match media_type::is_index(&named.media_type) {
        false => (named, None),
        true => {
            let index: Document<Index> = document("index", named.bytes)?;
            let chosen =
                index.value.select(platform).ok_or_else(|| no_platform(reference, &index.value, platform))?;
            engine.store.put_blob(&index.bytes)?;
            (client.manifest(chosen.digest.as_str())?, Some(index.digest))
        }
    };
    if !media_type::is_manifest(&manifest.media_type) {
        return Err(Error::unsupported(format!(
            "{}: the manifest has media type {}, which is not supported",
            reference.familiar(),
            manifest.media_type
        ))
        .hint("schema 1 manifests are not read: have the image pushed again by a current client"));
    }
    let whole = index.clone().unwrap_or_else(|| manifest.digest.clone());
    let parsed: Document<Manifest> = document("manifest", manifest.bytes)?;
    engine.store.put_blob(&parsed.bytes)?;
    let config = fetch_small(&client, &parsed.value.config)?;
    let config: Document<ImageConfig> = document("image config", config)?;
    let id = ImageId(config.digest.clone());
    let before = engine.store.resolve(&reference.familiar()).ok();
    let up_to_date = before.as_ref() == Some(&id);
    if !up_to_date || engine.store.image(&id)?.is_none() {
        let blobs = fetch_layers(engine, &client, &parsed.value, &config.value, events)?;
        let meta = ImageMeta {
            manifest: Some(parsed.digest.clone()),
            index,
            base: None,
            annotations: parsed.value.annotations.clone(),
        };
        archive::put(&engine.store, config.bytes, &blobs, meta)?;
        for blob in &blobs {
            events.event(Event::Progress {
                id: blob.digest.short().to_owned(),
                status: "Pull complete",
                done: blob.size,
                total: Some(blob.size),
            });
        }
    }
    if reference.tag.is_some() {
        let tagged = Reference { digest: None, ..reference.clone() };
        engine.store.set_reference(&tagged, &id)?;
    }
    engine.store.add_repo_digest(&reference.name(), &whole, &id)?;
    events.event(Event::Status(format!("Digest: {whole}")));
    events.event(Event::Status(match up_to_date {
        true => format!("Status: Image is up to date for {}", reference.familiar()),
        false => format!("Status: Downloaded newer image for {}", reference.familiar()),
    }));
    Ok(Pulled { image: id, digest: Some(whole), references: vec![reference.clone()], up_to_date })
}

/// Downloads the layers that the store has no blob of, verifying each as it streams by.
fn fetch_layers(
    engine: &Engine,
    client: &Repository,
    manifest: &Manifest,
    config: &ImageConfig,
    events: &dyn Events,
) -> Result<Vec<LayerBlob>> {
    if manifest.layers.len() != config.rootfs.diff_ids.len() {
        return Err(Error::invalid(format!(
            "the image names {} layers in its manifest and {} in its config",
            manifest.layers.len(),
            config.rootfs.diff_ids.len()
        )));
    }
    let mut blobs = Vec::new();
    for layer in &manifest.layers {
        // All are named before the first is fetched, as it may take long.
        let have = engine.store.has_blob(&layer.digest)?;
        events.event(Event::Progress {
            id: layer.digest.short().to_owned(),
            status: if have { "Already exists" } else { "Pulling fs layer" },
            done: 0,
            total: Some(layer.size),
        });
    }
    for layer in &manifest.layers {
        if media_type::is_foreign_layer(&layer.media_type) {
            return Err(Error::unsupported(format!(
                "layer {} is not distributable ({}): it cannot be pulled",
                layer.digest, layer.media_type
            )));
        }
        let progress = |status, done| {
            events.event(Event::Progress {
                id: layer.digest.short().to_owned(),
                status,
                done,
                total: Some(layer.size),
            });
        };
        if !engine.store.has_blob(&layer.digest)? {
            progress("Downloading", 0);
            let mut body = client.blob(layer, 0)?;
            let mut writer = engine.store.blob_writer()?;
            let mut buffer = vec![0u8; 256 << 10];
            let mut done = 0u64;
            loop {
                let read = match body.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(read) => read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => {
                        return Err(Error::new(
                            Kind::Unavailable,
                            format!("download of {}: {error}", layer.digest),
                        ));
                    }
                };
                io::Write::write_all(&mut writer, &buffer[..read])
                    .map_err(|e| Error::io("write a blob", &e))?;
                done += read as u64;
                progress("Downloading", done);
            }
            if done != layer.size {
                return Err(Error::new(
                    Kind::Unavailable,
                    format!("blob {} has {done} bytes where its manifest says {}", layer.digest, layer.size),
                ));
            }
            writer.commit(Some(&layer.digest))?;
            progress("Download complete", layer.size);
        }
        blobs.push(LayerBlob {
            digest: layer.digest.clone(),
            size: layer.size,
            media_type: layer.media_type.clone(),
        });
    }
    Ok(blobs)
}

fn fetch_small(client: &Repository, descriptor: &Descriptor) -> Result<Vec<u8>> {
    if descriptor.size > archive::DOCUMENT_LIMIT {
        return Err(Error::invalid(format!(
            "the image config {} has {} bytes, more than the {} allowed",
            descriptor.digest,
            descriptor.size,
            archive::DOCUMENT_LIMIT
        )));
    }
    let mut body = client.blob(descriptor, 0)?;
    let mut held = HashingWriter::new(Vec::new());
    io::copy(&mut body, &mut held)
        .map_err(|e| Error::new(Kind::Unavailable, format!("download of {}: {e}", descriptor.digest)))?;
    let (bytes, digest, _) = held.finish();
    if digest != descriptor.digest {
        return Err(Error::new(
            Kind::Unavailable,
            format!(
                "blob {} was sent as {digest}: the registry or the way to it is damaged",
                descriptor.digest
            ),
        ));
    }
    Ok(bytes)
}

fn document<T: serde::de::DeserializeOwned>(what: &'static str, bytes: Vec<u8>) -> Result<Document<T>> {
    Document::parse(what, bytes).map_err(|e| Error::invalid(e.to_string()))
}

fn no_platform(reference: &Reference, index: &Index, wanted: &Platform) -> Error {
    let offered: Vec<String> = index
        .manifests
        .iter()
        .filter_map(|m| m.platform.as_ref())
        .filter(|p| p.os != "unknown")
        .map(Platform::to_string)
        .collect();
    Error::not_found(format!(
        "no matching manifest for {wanted} in {}: it is there for {}",
        reference.familiar(),
        offered.join(", ")
    ))
}
