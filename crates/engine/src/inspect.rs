//! `inspect`: an image as Docker's JSON. Containers' JSON is made where containers are.
//!
//! The fields and their order are those of Docker's API (1.50), without what only a registry-backed or clustered
//! engine has; one of our own, `Base`, stands at the end where the base image is known.

use oci::{Config, ImageConfig};
use serde_json::{Map, Value, json};
use store::Image;

use crate::images::familiar_name;
use crate::{Engine, Result};

/// Go's zero time, which Docker prints where a time is unknown.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// The image that `text` names.
pub fn image(engine: &Engine, text: &str) -> Result<Value> {
    let id = engine.store.resolve(text)?;
    let image = engine.store.image(&id)?.ok_or(store::Error::MissingImage(id.clone()))?;
    let tags: Vec<String> = engine.store.references_of(&id)?.iter().map(oci::Reference::familiar).collect();
    let digests: Vec<String> = engine
        .store
        .repo_digests(&id)?
        .iter()
        .map(|digest| format!("{}@{}", familiar_name(&digest.name), digest.digest))
        .collect();
    let config = &image.config.value;
    let last_tagged =
        if tags.is_empty() { None } else { jiff::Timestamp::from_nanosecond(image.added.into()).ok() };

    let mut object = Map::new();
    object.insert("Id".into(), json!(id));
    object.insert("RepoTags".into(), json!(tags));
    object.insert("RepoDigests".into(), json!(digests));
    object.insert("Parent".into(), json!(""));
    describe(&mut object, config);
    object.insert("Size".into(), json!(image.size));
    if let Some(driver) = graph_driver(engine, &image)? {
        object.insert("GraphDriver".into(), driver);
    }
    object.insert("RootFS".into(), root_fs(config));
    let last_tagged = last_tagged.map_or_else(|| ZERO_TIME.to_owned(), |time| time.to_string());
    object.insert("Metadata".into(), json!({ "LastTagTime": last_tagged }));
    if let Some(base) = &image.meta.base {
        let digest = base.digest.as_ref().map_or("", |digest| digest.as_str());
        object.insert("Base".into(), json!({ "Name": base.name, "Digest": digest }));
    }
    Ok(Value::Object(object))
}

/// What an image's config says of it, in Docker's order, without its layers.
pub(crate) fn describe(object: &mut Map<String, Value>, config: &ImageConfig) {
    let text_of = |name: &str| config.extra.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
    let last_comment = config.history.last().map(|step| step.comment.clone()).unwrap_or_default();
    let comment = Some(text_of("comment")).filter(|text| !text.is_empty()).unwrap_or(last_comment);
    object.insert("Comment".into(), json!(comment));
    if let Some(created) = &config.created {
        object.insert("Created".into(), json!(created));
    }
    object.insert("DockerVersion".into(), json!(text_of("docker_version")));
    object.insert("Author".into(), json!(config.author));
    object.insert("Config".into(), container_config(&config.config));
    object.insert("Architecture".into(), json!(config.architecture));
    optional(object, "Variant", &config.variant);
    object.insert("Os".into(), json!(config.os));
    optional(object, "OsVersion", &config.os_version);
}

fn optional(object: &mut Map<String, Value>, name: &str, text: &str) {
    if !text.is_empty() {
        object.insert(name.into(), json!(text));
    }
}

/// How a container of the image runs: Docker prints these eight always, the others where set.
fn container_config(config: &Config) -> Value {
    let mut object = match serde_json::to_value(config) {
        Ok(Value::Object(object)) => object,
        _ => Map::new(),
    };
    let list = |items: &[String]| if items.is_empty() { Value::Null } else { json!(items) };
    object.entry("Cmd").or_insert(Value::Null);
    object.entry("Entrypoint").or_insert(Value::Null);
    object.entry("Env").or_insert_with(|| list(&config.env));
    object.entry("Labels").or_insert(Value::Null);
    object.entry("OnBuild").or_insert(Value::Null);
    object.entry("User").or_insert_with(|| json!(""));
    object.entry("Volumes").or_insert(Value::Null);
    object.entry("WorkingDir").or_insert_with(|| json!(""));
    object.sort_keys();
    Value::Object(object)
}

pub(crate) fn root_fs(config: &ImageConfig) -> Value {
    let mut object = Map::new();
    object.insert("Type".into(), json!(config.rootfs.kind));
    if !config.rootfs.diff_ids.is_empty() {
        object.insert("Layers".into(), json!(config.rootfs.diff_ids));
    }
    Value::Object(object)
}

/// Where the unpacked layers are, as Docker's overlay2 driver says it: the topmost apart from those below.
fn graph_driver(engine: &Engine, image: &Image) -> Result<Option<Value>> {
    let lowers = match engine.store.lowers(image.layers()) {
        Ok(lowers) => lowers,
        Err(store::Error::MissingSnapshot(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Some((top, below)) = lowers.split_first() else { return Ok(None) };
    let mut data = Map::new();
    if !below.is_empty() {
        let paths: Vec<String> = below.iter().map(|path| path.display().to_string()).collect();
        data.insert("LowerDir".into(), json!(paths.join(":")));
    }
    data.insert("UpperDir".into(), json!(top.display().to_string()));
    Ok(Some(json!({ "Data": data, "Name": "overlay2" })))
}
