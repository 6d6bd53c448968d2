//! JSON documents of registries, archives and shared caches: what is read is written so that it reads back the same, and
//! what a cache tells fits together.

#![no_main]
#![allow(dead_code, reason = "modules that are wanted in part")]

use std::collections::HashMap;

use libfuzzer_sys::fuzz_target;
use oci::{Descriptor, Document, ImageConfig, Index, Manifest, Platform};

/// What the engine's modules need of it.
#[derive(Debug)]
struct Error;
type Result<T> = std::result::Result<T, Error>;

impl Error {
    fn invalid(_: String) -> Error {
        Error
    }
    fn internal(_: String) -> Error {
        Error
    }
}

#[path = "../../crates/engine/src/build/cache/config.rs"]
mod config;

#[path = "."]
mod mounts {
    use std::io::{BufReader, Read};

    use crate::{Error, Result};

    const PACK: &str = "";

    /// The fuzzer gives plain text.
    fn decompress(source: &[u8], limit: u64) -> Result<impl Read> {
        let _: Option<Error> = None;
        Ok(BufReader::new(source.take(limit)))
    }

    #[path = "../../crates/engine/src/build/cache/mounts/index.rs"]
    pub mod index;
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(document) = Document::<Manifest>::parse("manifest", bytes.to_vec()) {
        let again = Document::of(document.value.clone());
        assert_eq!(serde_json::from_slice::<Manifest>(&again.bytes).ok(), Some(document.value));
    }
    if let Ok(document) = Document::<Index>::parse("index", bytes.to_vec()) {
        if let Some(chosen) = document.value.select(&Platform::host()) {
            assert!(document.value.manifests.contains(chosen));
        }
        let again = Document::of(document.value.clone());
        assert_eq!(serde_json::from_slice::<Index>(&again.bytes).ok(), Some(document.value));
    }
    if let Ok(document) = Document::<ImageConfig>::parse("image config", bytes.to_vec()) {
        let again = Document::of(document.value.clone());
        assert_eq!(serde_json::from_slice::<ImageConfig>(&again.bytes).ok(), Some(document.value.clone()));
        let blobs: Vec<Descriptor> = document
            .value
            .rootfs
            .diff_ids
            .iter()
            .map(|diff_id| Descriptor::new(oci::media_type::OCI_LAYER, diff_id.0.clone(), 1))
            .collect();
        if let Ok(Some(contents)) = config::inline(&document.value, &blobs) {
            fits(&contents);
        }
        let _ = document.value.platform().normalized().to_string().parse::<Platform>();
    }
    if let Ok(cache) = config::CacheConfig::parse(bytes) {
        fits(&cache.contents(&HashMap::new()));
    }
    if let Ok(index) = mounts::index::Index::parse(bytes) {
        index.chunks_to_keep();
        assert!(index.chunks.iter().all(|chunk| (chunk.0 as usize) < index.packs.len()));
    }
});

/// Every result is of a layer that is there.
fn fits(contents: &config::Contents) {
    assert!(contents.by_key.values().all(|made| made.layer < contents.layers.len()));
}
