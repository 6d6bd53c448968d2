//! What is pushed: images, indexes and artifacts of every shape that the specifications allow.

use std::collections::BTreeMap;

use oci::Digest;
use serde_json::{Value, json};

use crate::Algorithm;
use crate::support::{IMAGE, INDEX, noise};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";
const FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
const KIND: &str = "application/vnd.example.oci.conformance.v1";
const OTHER: &str = "application/vnd.example.oci.conformance.v2";

/// One set of contents.
pub struct Data {
    pub name: &'static str,
    algorithm: Algorithm,
    pub blobs: BTreeMap<Digest, Vec<u8>>,
    /// In the order in which they can be pushed.
    pub manifests: Vec<(Digest, Vec<u8>)>,
    pub tags: Vec<(String, Digest)>,
    /// Tags go beside the digest.
    pub tag_parameters: bool,
    /// The manifest's digest is not its own.
    pub bad_digest: bool,
    /// Subjects, and what refers to each.
    pub referrers: BTreeMap<Digest, Vec<Value>>,
    seed: u64,
}

/// What an image is to be like.
#[derive(Clone)]
pub struct Image {
    pub layers: usize,
    pub layer_type: &'static str,
    pub layer_bytes: Option<&'static [u8]>,
    pub config_type: &'static str,
    pub architecture: &'static str,
    pub artifact_type: Option<&'static str>,
    pub annotations: BTreeMap<String, String>,
    pub subject: Option<Value>,
    pub data_field: bool,
    pub more_fields: bool,
}

impl Default for Image {
    fn default() -> Image {
        Image {
            layers: 2,
            layer_type: LAYER,
            layer_bytes: None,
            config_type: CONFIG,
            architecture: "amd64",
            artifact_type: None,
            annotations: BTreeMap::new(),
            subject: None,
            data_field: false,
            more_fields: false,
        }
    }
}

impl Image {
    fn artifact(kind: &'static str) -> Image {
        Image {
            layers: 1,
            layer_type: kind,
            config_type: EMPTY,
            artifact_type: Some(kind),
            ..Image::default()
        }
    }

    fn annotated(mut self, unique: &str) -> Image {
        self.annotations.insert("org.opencontainers.conformance".into(), "hello conformance test".into());
        self.annotations.insert(format!("org.example.{unique}"), unique.to_owned());
        self
    }

    fn about(mut self, subject: &Value) -> Image {
        self.subject = Some(subject.clone());
        self
    }
}

impl Data {
    pub fn new(name: &'static str, algorithm: Algorithm) -> Data {
        Data {
            name,
            algorithm,
            blobs: BTreeMap::new(),
            manifests: Vec::new(),
            tags: Vec::new(),
            tag_parameters: false,
            bad_digest: false,
            referrers: BTreeMap::new(),
            seed: name.bytes().fold(7, |seed, b| seed.wrapping_mul(31) + u64::from(b)),
        }
    }

    pub fn media_type(manifest: &[u8]) -> String {
        let manifest: Value = serde_json::from_slice(manifest).unwrap();
        manifest["mediaType"].as_str().unwrap().to_owned()
    }

    pub fn subject(manifest: &[u8]) -> Option<String> {
        let manifest: Value = serde_json::from_slice(manifest).unwrap();
        manifest["subject"]["digest"].as_str().map(str::to_owned)
    }

    pub fn manifest(&self, digest: &Digest) -> &[u8] {
        &self.manifests.iter().find(|(d, _)| d == digest).unwrap().1
    }

    fn blob(&mut self, kind: &str, bytes: Vec<u8>, data_field: bool) -> Value {
        let digest = self.algorithm.of(&bytes);
        let mut described = json!({ "mediaType": kind, "digest": digest, "size": bytes.len() });
        if data_field {
            described["data"] = json!("AAAA");
        }
        self.blobs.insert(digest, bytes);
        described
    }

    fn add(&mut self, mut manifest: Value, image: &Image, artifact_type: Option<&str>) -> Value {
        if let Some(kind) = image.artifact_type {
            manifest["artifactType"] = json!(kind);
        }
        if !image.annotations.is_empty() {
            manifest["annotations"] = json!(image.annotations);
        }
        if let Some(subject) = &image.subject {
            manifest["subject"] = subject.clone();
        }
        if image.more_fields {
            manifest["org.example.unknown"] = json!({ "x": [1, null, "y"] });
        }
        let bytes = manifest.to_string().into_bytes();
        let digest = self.algorithm.of(&bytes);
        let described = json!({ "mediaType": manifest["mediaType"], "digest": digest, "size": bytes.len() });
        if let Some(subject) = &image.subject {
            let mut entry = described.clone();
            if let Some(kind) = artifact_type {
                entry["artifactType"] = json!(kind);
            }
            if !image.annotations.is_empty() {
                entry["annotations"] = json!(image.annotations);
            }
            let subject = subject["digest"].as_str().unwrap().parse().unwrap();
            self.referrers.entry(subject).or_default().push(entry);
        }
        self.manifests.push((digest, bytes));
        described
    }

    /// Adds an image with its blobs; the descriptor of its manifest.
    pub fn image(&mut self, image: &Image) -> Value {
        let mut layers = Vec::new();
        for _ in 0..image.layers {
            self.seed += 1;
            let bytes = image.layer_bytes.map_or_else(|| noise(self.seed, 300), <[u8]>::to_vec);
            layers.push(self.blob(image.layer_type, bytes, image.data_field));
        }
        let config = match image.config_type {
            EMPTY => b"{}".to_vec(),
            _ => {
                let diff_ids: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
                json!({
                    "architecture": image.architecture,
                    "os": "linux",
                    "rootfs": { "type": "layers", "diff_ids": diff_ids },
                })
                .to_string()
                .into_bytes()
            }
        };
        let config = self.blob(image.config_type, config, image.data_field);
        self.image_of(image, &config, &layers)
    }

    fn image_of(&mut self, image: &Image, config: &Value, layers: &[Value]) -> Value {
        let manifest = json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers });
        self.add(manifest, image, image.artifact_type.or(Some(image.config_type)))
    }

    /// Adds an index of two such images.
    fn index(&mut self, image: &Image) -> Value {
        let images: Vec<Value> = ["amd64", "arm64"]
            .map(|architecture| self.image(&Image { architecture, ..image.clone() }))
            .to_vec();
        self.index_of(image, &images)
    }

    fn index_of(&mut self, image: &Image, manifests: &[Value]) -> Value {
        let mut entries = manifests.to_vec();
        for (entry, architecture) in entries.iter_mut().zip(["amd64", "arm64"]) {
            entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
        self.add(index, image, image.artifact_type)
    }

    fn tag(&mut self, tag: &str, described: &Value) {
        self.tags.push((tag.to_owned(), described["digest"].as_str().unwrap().parse().unwrap()));
    }
}

/// One set with one manifest and a tag.
fn one(name: &'static str, image: &Image) -> Data {
    let mut data = Data::new(name, Algorithm::Sha256);
    let described = data.image(image);
    data.tag(name, &described);
    data
}

/// One set with an index and a tag.
fn many(name: &'static str, image: &Image) -> Data {
    let mut data = Data::new(name, Algorithm::Sha256);
    let described = data.index(image);
    data.tag(name, &described);
    data
}

pub fn all() -> Vec<Data> {
    let large = (0..390).map(|n| (format!("large-annotation-{n}"), "A".repeat(10_000))).collect();
    let mut all = vec![
        one("image", &Image::default()),
        one("image-uncompressed", &Image { layer_type: PLAIN, ..Image::default() }),
        one("large-manifest", &Image { annotations: large, ..Image::default() }),
        many("index", &Image::default()),
        nested(),
        empty_index(),
        one("artifact", &Image::artifact(KIND)),
        many("artifact-index", &Image::artifact(KIND)),
        one(
            "artifact-without-layers",
            &Image {
                layer_bytes: Some(b"{}"),
                layer_type: EMPTY,
                ..Image { artifact_type: Some(KIND), ..Image::artifact(EMPTY) }
            },
        ),
        artifacts_with_subject(),
        index_with_subject(),
        missing_subject(),
        one("data-field", &Image { data_field: true, ..Image::default() }),
        nondistributable(),
        many("custom-fields", &Image { more_fields: true, ..Image::default() }),
        one("no-layers", &Image { layers: 0, ..Image::default() }),
        sparse(),
        sha512("sha512"),
    ];
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        all.push(tag_parameters(algorithm));
    }
    let mut bad = Data::new("bad-digest-image", Algorithm::Sha256);
    bad.image(&Image::default());
    bad.manifests[0].1.extend(b"  ");
    bad.bad_digest = true;
    all.push(bad);
    all
}

fn nested() -> Data {
    let mut data = Data::new("nested-index", Algorithm::Sha256);
    let inner = [data.index(&Image::default()), data.index(&Image::default())];
    let outer = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": inner });
    let described = data.add(outer, &Image::default(), None);
    data.tag("index-of-index", &described);
    data
}

fn empty_index() -> Data {
    let mut data = Data::new("empty-index", Algorithm::Sha256);
    let described = data.index_of(&Image::default(), &[]);
    data.tag("index", &described);
    data
}

fn artifacts_with_subject() -> Data {
    let mut data = Data::new("artifacts-with-subject", Algorithm::Sha256);
    let subject = data.image(&Image::default());
    data.tag("image", &subject);
    data.image(&Image::default().about(&subject));
    for (tag, kind) in [("tagged-artifact1", KIND), ("tagged-artifact2", OTHER)] {
        let described = data.image(&Image::artifact(kind).annotated(tag).about(&subject));
        data.tag(tag, &described);
    }
    data
}

fn index_with_subject() -> Data {
    let mut data = Data::new("index-with-subject", Algorithm::Sha256);
    let subject = data.index(&Image::default());
    data.tag("index", &subject);
    let described = data.index(&Image::artifact(KIND).annotated("tagged").about(&subject));
    data.tag("tagged-artifact", &described);
    data
}

fn missing_subject() -> Data {
    let mut data = Data::new("missing-subject", Algorithm::Sha256);
    let subject = json!({ "mediaType": IMAGE, "size": 123, "digest": Digest::sha256(b"missing content") });
    let described = data.image(&Image::artifact(KIND).annotated("missing").about(&subject));
    data.tag("tagged-artifact", &described);
    data
}

fn nondistributable() -> Data {
    let mut data = Data::new("non-distributable-layers", Algorithm::Sha256);
    let mut layers: Vec<Value> = [(format!("{FOREIGN}+gzip"), 1), (FOREIGN.to_owned(), 2)]
        .into_iter()
        .map(|(kind, n)| {
            let digest = Digest::sha256(&[n]);
            let url = format!("https://store.example.com/blobs/{digest}");
            json!({ "mediaType": kind, "digest": digest, "size": 12345, "urls": [url] })
        })
        .collect();
    layers.push(data.blob(LAYER, noise(5, 300), false));
    let config = data.blob(CONFIG, b"{\"os\":\"linux\",\"architecture\":\"amd64\"}".to_vec(), false);
    let described = data.image_of(&Image::default(), &config, &layers);
    data.tag("non-distributable-image", &described);
    data
}

fn sparse() -> Data {
    let mut data = Data::new("sparse", Algorithm::Sha256);
    let described = data.image(&Image::default());
    data.tag("sparse-image", &described);
    let layer = data.blobs.keys().next().unwrap().clone();
    data.blobs.remove(&layer);
    let there = data.image(&Image::default());
    let missing = json!({ "mediaType": IMAGE, "digest": Digest::sha256(b"not pushed"), "size": 1024 });
    let described = data.index_of(&Image::default(), &[there, missing]);
    data.tag("sparse-index", &described);
    data
}

fn sha512(name: &'static str) -> Data {
    let mut data = Data::new(name, Algorithm::Sha512);
    data.index(&Image::default());
    data
}

fn tag_parameters(algorithm: Algorithm) -> Data {
    let name = if algorithm == Algorithm::Sha256 { "tag-param-sha256" } else { "tag-param-sha512" };
    let mut data = Data::new(name, algorithm);
    let described = data.index(&Image::default());
    data.tag(name, &described);
    for (n, (digest, _)) in data.manifests.clone().into_iter().enumerate() {
        data.tags.push((format!("{name}-{n}"), digest));
    }
    data.tag_parameters = true;
    data
}
