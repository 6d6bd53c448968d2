//! `inspect --remote`: an image's JSON from its registry, without its layers.
//!
//! The fields are those of `inspect`, without what only a store knows; what only a registry knows stands behind them:
//! the manifest's descriptor, the layers as they are sent, and the platforms that the name has.

use oci::{Descriptor, Document, ImageConfig, Index, Manifest, Platform, media_type};
use registry::Client;
use serde_json::{Map, Value, json};

use crate::remote::{name, reference};
use crate::{Error, Kind, Result, inspect};

/// The largest image config taken, in bytes.
const CONFIG_LIMIT: u64 = 8 << 20;

/// The image that `text` names at its registry; of several platforms, that for `platform`.
pub fn inspect(client: &Client, text: &str, platform: &Platform) -> Result<Value> {
    let reference = reference(text)?.with_default_tag();
    let repository = client.repository(&reference);
    let named = repository.manifest(name(&reference))?;
    let whole = Descriptor::new(&named.media_type, named.digest.clone(), named.bytes.len() as u64);
    let (found, platforms) = match media_type::is_index(&named.media_type) {
        false => (named, Vec::new()),
        true => {
            let index: Document<Index> = document("index", named.bytes)?;
            let chosen = index.value.select(platform).ok_or_else(|| {
                let offered: Vec<String> = offered(&index.value).iter().map(Platform::to_string).collect();
                Error::not_found(format!(
                    "no matching manifest for {platform} in {}: it is there for {}",
                    reference.familiar(),
                    offered.join(", ")
                ))
            })?;
            (repository.manifest(chosen.digest.as_str())?, offered(&index.value))
        }
    };
    if !media_type::is_manifest(&found.media_type) {
        return Err(Error::new(
            Kind::Unsupported,
            format!("{}: {} is no image's manifest", reference.familiar(), found.media_type),
        ));
    }
    let media_type = found.media_type;
    let manifest: Document<Manifest> = document("manifest", found.bytes)?;
    let config = repository.small_blob(&manifest.value.config, CONFIG_LIMIT)?;
    let config: Document<ImageConfig> = document("image config", config)?;

    let mut object = Map::new();
    object.insert("Id".into(), json!(config.digest));
    let tags = reference.tag.as_ref().map(|tag| format!("{}:{tag}", reference.familiar_name()));
    object.insert("RepoTags".into(), json!(tags.into_iter().collect::<Vec<_>>()));
    object.insert("RepoDigests".into(), json!([format!("{}@{}", reference.familiar_name(), whole.digest)]));
    object.insert("Parent".into(), json!(""));
    inspect::describe(&mut object, &config.value);
    // What is sent for it, as this is all that a registry knows.
    let size: u64 = manifest.value.layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.size));
    object.insert("Size".into(), json!(size));
    object.insert("RootFS".into(), inspect::root_fs(&config.value));
    let own = Descriptor::new(&media_type, manifest.digest, manifest.bytes.len() as u64);
    object.insert("Descriptor".into(), json!(whole));
    if own.digest != whole.digest {
        object.insert("Manifest".into(), json!(own));
    }
    if !manifest.value.annotations.is_empty() {
        object.insert("Annotations".into(), json!(manifest.value.annotations));
    }
    object.insert("Layers".into(), json!(manifest.value.layers));
    if !platforms.is_empty() {
        let names: Vec<String> = platforms.iter().map(Platform::to_string).collect();
        object.insert("Platforms".into(), json!(names));
    }
    Ok(Value::Object(object))
}

/// The platforms of an index, without those of attestations.
fn offered(index: &Index) -> Vec<Platform> {
    let all = index.manifests.iter().filter_map(|manifest| manifest.platform.clone());
    all.filter(|platform| platform.os != "unknown").collect()
}

fn document<T: serde::de::DeserializeOwned>(what: &'static str, bytes: Vec<u8>) -> Result<Document<T>> {
    Document::parse(what, bytes).map_err(|error| Error::invalid(error.to_string()))
}
