//! The document that says what a shared cache has: BuildKit's cache config (`application/vnd.buildkit.cacheconfig.v0`).
//!
//! Its layers are blobs with their DiffIDs; its records lead from a step's key to the layer that the step made. A key is
//! a digest, and says nothing of what it was made of. BuildKit reads the same document, but makes other keys, so that
//! neither takes the other's results for its own. Carried cache mounts are an addition that it passes over.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci::{Descriptor, DiffId, Digest, ImageConfig, media_type};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result};

/// The document's media type.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.buildkit.cacheconfig.v0";
/// The field of an image's config that has the records of an inline cache.
const INLINE: &str = "moby.buildkit.cache.v0";
/// Annotation of a layer's descriptor: its DiffID, as containerd has it.
const UNCOMPRESSED: &str = "containerd.io/uncompressed";
/// Annotation of a layer's descriptor: when it was made, as BuildKit has it.
const CREATED_AT: &str = "buildkit/createdat";
/// The largest document taken, in bytes.
pub(crate) const LIMIT: u64 = 16 << 20;
/// The most layers and records taken.
const MOST: usize = 100_000;

/// The document.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CacheConfig {
    #[serde(default, deserialize_with = "oci::null_default", skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<CacheLayer>,
    #[serde(default, deserialize_with = "oci::null_default", skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<Record>,
    #[serde(
        default,
        rename = "strake.mounts.v1",
        deserialize_with = "oci::null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub mounts: Vec<CarriedMount>,
}

/// A layer that the cache has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CacheLayer {
    pub blob: Digest,
    /// The layer below, by number; -1 for none. 0 where it is not said, as Go leaves it out.
    #[serde(default)]
    pub parent: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<LayerAnnotations>,
}

/// What is said of a layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LayerAnnotations {
    #[serde(default)]
    pub media_type: String,
    #[serde(rename = "diffID", default, skip_serializing_if = "Option::is_none")]
    pub diff_id: Option<DiffId>,
    #[serde(default)]
    pub size: u64,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub created_at: String,
}

/// A step's key and what it made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub digest: Digest,
    #[serde(default, deserialize_with = "oci::null_default", skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<RecordLayer>,
    /// BuildKit's records lead to each other; ours stand alone.
    #[serde(default, deserialize_with = "oci::null_default", skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Value>,
}

/// The layer on top of what a step made, by number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecordLayer {
    pub layer: i64,
    /// When the step made it, RFC 3339.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub created_at: String,
}

/// A cache mount that goes along.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CarriedMount {
    /// Its name.
    pub id: String,
    /// What steps find it by: its name, what it was first filled from, and the owner and mode that were asked for.
    pub key: String,
    /// Its index of chunks.
    pub index: Digest,
    pub size: u64,
}

/// A layer as whoever looks it up wants it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layer {
    pub diff_id: DiffId,
    pub blob: Descriptor,
    /// Nanoseconds since the Unix epoch.
    pub created: Option<i64>,
}

/// What a step made: the number of its layer, and when, in nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Made {
    pub layer: usize,
    pub created: Option<i64>,
}

/// What a cache has: layers, and by key what steps made.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub layers: Vec<Layer>,
    pub by_key: BTreeMap<Digest, Made>,
    pub mounts: Vec<CarriedMount>,
}

impl CacheConfig {
    /// Reads the document.
    ///
    /// # Errors
    /// For what is none.
    pub fn parse(bytes: &[u8]) -> Result<CacheConfig> {
        let config: CacheConfig =
            serde_json::from_slice(bytes).map_err(|e| Error::invalid(format!("its cache config: {e}")))?;
        match config.layers.len() > MOST || config.records.len() > MOST || config.mounts.len() > MOST {
            true => Err(Error::invalid(format!("its cache config has more than {MOST} layers or records"))),
            false => Ok(config),
        }
    }

    /// What the document says, with the blobs' own descriptors where a manifest has them. What does not fit together
    /// is left out.
    pub fn contents(self, blobs: &HashMap<Digest, Descriptor>) -> Contents {
        let layers: Vec<Option<Layer>> = self.layers.iter().map(|layer| layer.found(blobs)).collect();
        let mut contents = Contents { mounts: self.mounts, ..Contents::default() };
        let mut numbers = HashMap::new();
        for record in self.records {
            let [made] = record.layers.as_slice() else { continue };
            let Ok(at) = usize::try_from(made.layer) else { continue };
            if !record.inputs.is_empty() {
                continue;
            }
            let Some(Some(layer)) = layers.get(at) else { continue };
            let number = *numbers.entry(at).or_insert_with(|| {
                contents.layers.push(layer.clone());
                contents.layers.len() - 1
            });
            let created = nanoseconds(&made.created_at).or(layer.created);
            contents.by_key.insert(record.digest, Made { layer: number, created });
        }
        contents
    }

    /// The document of layers and, by key, of what steps made.
    pub fn of(layers: &[Layer], by_key: &BTreeMap<Digest, Made>, mounts: Vec<CarriedMount>) -> CacheConfig {
        let layers = layers.iter().map(|layer| CacheLayer {
            blob: layer.blob.digest.clone(),
            parent: -1,
            annotations: Some(LayerAnnotations {
                media_type: layer.blob.media_type.clone(),
                diff_id: Some(layer.diff_id.clone()),
                size: layer.blob.size,
                created_at: layer.created.map(rfc3339).unwrap_or_default(),
            }),
        });
        CacheConfig { layers: layers.collect(), records: records(by_key), mounts }
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("because it has string keys only")
    }
}

impl CacheLayer {
    fn found(&self, blobs: &HashMap<Digest, Descriptor>) -> Option<Layer> {
        let said = self.annotations.as_ref();
        let described = blobs.get(&self.blob);
        let annotated = |name: &str| described.and_then(|d| d.annotations.get(name)).map(String::as_str);
        let diff_id = match said.and_then(|said| said.diff_id.clone()) {
            Some(diff_id) => diff_id,
            None => annotated(UNCOMPRESSED)?.parse().ok()?,
        };
        let blob = match (described, said) {
            (Some(described), _) => Descriptor::new(&described.media_type, self.blob.clone(), described.size),
            (None, Some(said)) => Descriptor::new(&said.media_type, self.blob.clone(), said.size),
            (None, None) => return None,
        };
        let fits = media_type::is_layer(&blob.media_type) && !media_type::is_foreign_layer(&blob.media_type);
        let created = said.map(|said| said.created_at.as_str()).filter(|text| !text.is_empty());
        let created = created.or_else(|| annotated(CREATED_AT)).and_then(nanoseconds);
        fits.then_some(Layer { diff_id, blob, created })
    }
}

/// A layer's descriptor in a manifest, with what BuildKit looks for beside it.
pub(crate) fn annotated(layer: &Layer, media_type: String) -> Descriptor {
    let mut descriptor = Descriptor::new(&media_type, layer.blob.digest.clone(), layer.blob.size);
    descriptor.annotations.insert(UNCOMPRESSED.to_owned(), layer.diff_id.to_string());
    if let Some(created) = layer.created {
        descriptor.annotations.insert(CREATED_AT.to_owned(), rfc3339(created));
    }
    descriptor
}

/// Puts an inline cache into an image's config: by key the position of the layer that the step made. When is said by the
/// image's history.
pub(crate) fn put_inline(config: &mut ImageConfig, by_key: &BTreeMap<Digest, Made>) {
    let records = serde_json::to_vec(&records(by_key)).expect("because records have string keys only");
    config.extra.insert(INLINE.to_owned(), Value::String(STANDARD.encode(records)));
}

/// What the inline cache of an image has; `None` where it has none. `blobs` are those of its manifest.
pub(crate) fn inline(config: &ImageConfig, blobs: &[Descriptor]) -> Result<Option<Contents>> {
    let Some(Value::String(text)) = config.extra.get(INLINE) else { return Ok(None) };
    let bad = |reason: String| Error::invalid(format!("the cache within the image's config: {reason}"));
    let bytes = STANDARD.decode(text).map_err(|e| bad(e.to_string()))?;
    let records: Vec<Record> = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
    if records.len() > MOST {
        return Err(bad(format!("it has more than {MOST} records")));
    }
    let dates = config.history.iter().filter(|entry| !entry.empty_layer);
    let mut dates = dates.map(|entry| entry.created.as_deref().and_then(nanoseconds));
    let layers = config.rootfs.diff_ids.iter().zip(blobs).map(|(diff_id, blob)| CacheLayer {
        blob: blob.digest.clone(),
        parent: -1,
        annotations: Some(LayerAnnotations {
            media_type: blob.media_type.clone(),
            diff_id: Some(diff_id.clone()),
            size: blob.size,
            created_at: dates.next().flatten().map(rfc3339).unwrap_or_default(),
        }),
    });
    let config = CacheConfig { layers: layers.collect(), records, mounts: Vec::new() };
    Ok(Some(config.contents(&HashMap::new())))
}

fn records(by_key: &BTreeMap<Digest, Made>) -> Vec<Record> {
    let record = |(key, made): (&Digest, &Made)| Record {
        digest: key.clone(),
        layers: vec![RecordLayer {
            layer: i64::try_from(made.layer).unwrap_or(-1),
            created_at: made.created.map(rfc3339).unwrap_or_default(),
        }],
        inputs: Vec::new(),
    };
    by_key.iter().map(record).collect()
}

fn rfc3339(nanoseconds: i64) -> String {
    jiff::Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

fn nanoseconds(text: &str) -> Option<i64> {
    i64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(text: &str) -> Layer {
        let blob = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::sha256(text.as_bytes()), 7);
        let diff_id = DiffId(Digest::sha256(format!("{text} unpacked").as_bytes()));
        Layer { diff_id, blob, created: Some(1_700_000_000_000_000_001) }
    }

    #[test]
    fn what_is_written_is_read() {
        let layers = [layer("a"), layer("b")];
        let keys = ["k", "l", "m"].map(|text| Digest::sha256(text.as_bytes()));
        let made = [(0, None), (1, Some(1_700_000_000_000_000_007)), (0, Some(0))];
        let made = made.map(|(layer, created)| Made { layer, created });
        let by_key: BTreeMap<Digest, Made> = keys.iter().cloned().zip(made).collect();
        let bytes = CacheConfig::of(&layers, &by_key, Vec::new()).bytes();
        let read = CacheConfig::parse(&bytes).unwrap().contents(&HashMap::new());
        for (key, at) in by_key {
            assert_eq!(read.layers[read.by_key[&key].layer], layers[at.layer]);
            assert_eq!(read.by_key[&key].created, at.created.or(layers[at.layer].created));
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let (key, other) = (Digest::sha256(b"k"), Digest::sha256(b"l"));
        let good =
            serde_json::to_value(CacheConfig::of(&[layer("a")], &BTreeMap::new(), Vec::new())).unwrap();
        for (layers, found) in [
            (r#"[{"layer":0}]"#, true),
            (r#"[{"layer":1}]"#, false),
            (r#"[{"layer":-1}]"#, false),
            (r#"[{"layer":9223372036854775807}]"#, false),
            (r#"[{"layer":0},{"layer":0}]"#, false),
            ("[]", false),
            ("null", false),
        ] {
            let text = format!(
                r#"{{"layers":{},"records":[{{"digest":"{key}","layers":{layers}}},{{"digest":"{other}","layers":[{{"layer":0}}],"inputs":[[]]}}]}}"#,
                good["layers"]
            );
            let read = CacheConfig::parse(text.as_bytes()).unwrap().contents(&HashMap::new());
            assert_eq!(read.by_key.contains_key(&key), found, "{layers}");
            assert!(!read.by_key.contains_key(&other), "a record of BuildKit's");
        }
        for text in
            ["", r#"{"layers":7}"#, r#"{"records":[{"digest":"x"}]}"#, r#"{"layers":[{"blob":"sha256:0"}]}"#]
        {
            assert!(CacheConfig::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(CacheConfig::parse(br#"{"layers":null,"records":null}"#).is_ok());
    }

    #[test]
    fn buildkits_own_is_read() {
        let (blob, diff) = (Digest::sha256(b"blob"), Digest::sha256(b"diff"));
        let key = Digest::sha256(b"key");
        let mut descriptor = Descriptor::new(media_type::DOCKER_LAYER_GZIP, blob.clone(), 5);
        descriptor.annotations.insert(UNCOMPRESSED.into(), diff.to_string());
        descriptor.annotations.insert(CREATED_AT.into(), "2023-11-14T22:13:20.000000001Z".into());
        let text = format!(
            r#"{{"layers":[{{"blob":"{blob}","parent":-1}}],"records":[{{"layers":[{{"layer":0,"createdAt":"2023-11-14T22:13:20Z"}}],"digest":"{key}"}}]}}"#
        );
        let blobs = HashMap::from([(blob.clone(), descriptor)]);
        let read = CacheConfig::parse(text.as_bytes()).unwrap().contents(&blobs);
        assert_eq!(read.layers[0].diff_id, DiffId(diff));
        assert_eq!(read.layers[0].created, Some(1_700_000_000_000_000_001));
        assert_eq!((read.layers[0].blob.size, read.by_key[&key].layer), (5, 0));
        assert_eq!(read.by_key[&key].created, Some(1_700_000_000_000_000_000));
    }

    #[test]
    fn inline_caches_are_read() {
        let mut config = ImageConfig::scratch(&oci::Platform::host());
        let layer = layer("a");
        config.rootfs.diff_ids = vec![layer.diff_id.clone()];
        assert!(inline(&config, std::slice::from_ref(&layer.blob)).unwrap().is_none());
        let key = Digest::sha256(b"key");
        put_inline(&mut config, &BTreeMap::from([(key.clone(), Made { layer: 0, created: None })]));
        let read = inline(&config, std::slice::from_ref(&layer.blob)).unwrap().unwrap();
        assert_eq!((read.by_key[&key].layer, &read.layers[0].diff_id), (0, &layer.diff_id));
        config.extra.insert(INLINE.to_owned(), Value::String("?".into()));
        assert!(inline(&config, &[]).is_err());
    }
}
