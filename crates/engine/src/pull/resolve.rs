//! From a name to the manifest and config of the image that is to be pulled: what is held is not asked for again, and
//! what is not for us is refused before a layer is fetched.

use oci::{
    DEFAULT_TAG, Descriptor, Digest, Document, ImageConfig, Index, Manifest, Platform, Reference, media_type,
};
use registry::{RemoteManifest, Repository};

use crate::{Engine, Error, Result};

/// The most layers that an image may have: what overlayfs takes. Docker's own limit is 127.
pub(super) const MOST_LAYERS: usize = 500;
/// The largest manifest or index, in bytes (the distribution specification, "Pushing Manifests").
const MANIFEST_LIMIT: u64 = 4 << 20;
/// The largest image config, in bytes: what the store takes.
const CONFIG_LIMIT: u64 = 8 << 20;
/// Indexes within indexes that are gone through.
const DEPTH: usize = 4;

/// What a name stands for.
pub(super) struct Resolved {
    /// Digest of the index or manifest that has the name.
    pub whole: Digest,
    /// The index that the manifest was chosen from, the outermost.
    pub index: Option<Digest>,
    pub manifest: Document<Manifest>,
    pub config: Document<ImageConfig>,
}

/// Finds out what `reference` is at its registry. Manifests and indexes are in the store then, under the lease; the
/// config is not yet.
pub(super) fn resolve(
    engine: &Engine,
    repository: &Repository,
    reference: &Reference,
    platform: &Platform,
) -> Result<Resolved> {
    let finder = Finder { engine, repository, reference };
    let named = finder.named()?;
    let whole = named.digest.clone();
    let mut index = None;
    let mut found = named;
    for _ in 0..DEPTH {
        if !media_type::is_index(&found.media_type) {
            let manifest = finder.image_manifest(found)?;
            let config = finder.config(&manifest.value.config)?;
            return Ok(Resolved { whole, index, manifest, config });
        }
        let parsed: Document<Index> = document("index", found.bytes)?;
        let chosen = choose(&parsed.value, platform)
            .ok_or_else(|| no_platform(reference, &parsed.value, platform))?
            .clone();
        index.get_or_insert_with(|| whole.clone());
        found = finder.manifest(&chosen.digest, Some(&chosen.media_type))?;
    }
    Err(Error::invalid(format!("{}: an index of indexes more than {DEPTH} deep", reference.familiar())))
}

struct Finder<'a> {
    engine: &'a Engine,
    repository: &'a Repository,
    reference: &'a Reference,
}

impl Finder<'_> {
    /// What the reference names. Where something of that name is here already, its digest is asked for first, and
    /// the rest only if that is another.
    fn named(&self) -> Result<RemoteManifest> {
        let store = &self.engine.store;
        let reference = self.reference;
        if let Some(digest) = &reference.digest {
            let name = Reference { tag: None, ..reference.clone() };
            // Without the tag, which means nothing beside a digest.
            return match store.reference(&name)?.is_some() {
                true => self.manifest(digest, None),
                false => self.fetch(digest.as_str()),
            };
        }
        let tag = reference.tag.as_deref().unwrap_or(DEFAULT_TAG);
        if store.reference(reference)?.is_some()
            && let Some(head) = self.repository.head(tag)?
            && let Some(held) = self.held(&head.digest, Some(&head.media_type))?
        {
            return Ok(held);
        }
        self.fetch(tag)
    }

    fn manifest(&self, digest: &Digest, said: Option<&str>) -> Result<RemoteManifest> {
        match self.held(digest, said)? {
            Some(held) => Ok(held),
            None => self.fetch(digest.as_str()),
        }
    }

    fn held(&self, digest: &Digest, said: Option<&str>) -> Result<Option<RemoteManifest>> {
        let store = &self.engine.store;
        if !store.has_blob(digest)? {
            return Ok(None);
        }
        let Ok(bytes) = store.read_blob(digest, MANIFEST_LIMIT) else { return Ok(None) };
        let Some(media_type) = kind(&bytes, said) else { return Ok(None) };
        Ok(Some(RemoteManifest { bytes, digest: digest.clone(), media_type }))
    }

    fn fetch(&self, name: &str) -> Result<RemoteManifest> {
        let found = self.repository.manifest(name)?;
        if media_type::is_index(&found.media_type) || media_type::is_manifest(&found.media_type) {
            self.engine.store.put_blob(&found.bytes)?;
        }
        Ok(found)
    }

    /// The manifest of an image: nothing older, and nothing that is no image.
    fn image_manifest(&self, found: RemoteManifest) -> Result<Document<Manifest>> {
        let name = self.reference.familiar();
        let unsupported = |what: String| Error::unsupported(format!("{name}: {what}"));
        let old = matches!(
            found.media_type.as_str(),
            media_type::DOCKER_MANIFEST_V1 | media_type::DOCKER_MANIFEST_V1_SIGNED
        ) || schema_version(&found.bytes) == Some(1);
        if old {
            return Err(unsupported(
                "its manifest is of Docker's schema 1, which is not supported".to_owned(),
            )
            .hint("have the image pushed again by a current client"));
        }
        if !media_type::is_manifest(&found.media_type) {
            return Err(unsupported(format!(
                "the manifest has media type {}, which is not supported",
                found.media_type
            )));
        }
        let manifest: Document<Manifest> = document("manifest", found.bytes)?;
        let config = &manifest.value.config.media_type;
        if !is_image_config(config) {
            return Err(unsupported(format!(
                "it is no image: its config has media type {}",
                manifest.value.artifact_type.as_ref().unwrap_or(config)
            )));
        }
        let layers = &manifest.value.layers;
        if layers.len() > MOST_LAYERS {
            return Err(unsupported(format!(
                "it has {} layers, and no more than {MOST_LAYERS} can be mounted",
                layers.len()
            )));
        }
        if let Some(layer) = layers.iter().find(|layer| media_type::is_foreign_layer(&layer.media_type)) {
            return Err(unsupported(format!(
                "layer {} is not distributable ({}): it cannot be pulled",
                layer.digest, layer.media_type
            )));
        }
        if let Some(layer) = layers.iter().find(|layer| layer.media_type.ends_with("+encrypted")) {
            return Err(unsupported(format!(
                "layer {} is encrypted ({}), and it is not known how to decrypt it",
                layer.digest, layer.media_type
            )));
        }
        Ok(manifest)
    }

    fn config(&self, config: &Descriptor) -> Result<Document<ImageConfig>> {
        let store = &self.engine.store;
        let bytes = match store.has_blob(&config.digest)? {
            true => store.read_blob(&config.digest, CONFIG_LIMIT)?,
            false => self.repository.small_blob(config, CONFIG_LIMIT)?,
        };
        document("image config", bytes)
    }
}

/// Docker's list of what an image's config may be called; old registries had some of their own.
fn is_image_config(media_type: &str) -> bool {
    media_type::is_config(media_type)
        || matches!(media_type, "application/octet-stream" | "application/json" | "text/html" | "")
}

/// The best image for `platform`; else the first that does not say what it is for, as containerd has it. Never an
/// attestation or another artifact.
fn choose<'a>(index: &'a Index, platform: &Platform) -> Option<&'a Descriptor> {
    let may_be_image = |entry: &Descriptor| {
        (media_type::is_manifest(&entry.media_type) || media_type::is_index(&entry.media_type))
            && entry.artifact_type.is_none()
            && !entry.annotations.contains_key("vnd.docker.reference.type")
    };
    let images = || index.manifests.iter().filter(|entry| may_be_image(entry));
    let rank = |entry: &Descriptor| entry.platform.as_ref()?.rank(platform);
    let best = images().filter_map(|entry| Some((rank(entry)?, entry))).min_by_key(|(rank, _)| *rank);
    best.map(|(_, entry)| entry).or_else(|| images().find(|entry| entry.platform.is_none()))
}

/// The media type that a document held says of itself, or that was said of it.
fn kind(bytes: &[u8], said: Option<&str>) -> Option<String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kind {
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
        config: Option<serde::de::IgnoredAny>,
    }
    let found: Kind = serde_json::from_slice(bytes).ok()?;
    let shape = match (found.manifests, found.config) {
        (Some(_), None) => Some(media_type::OCI_INDEX),
        (None, Some(_)) => Some(media_type::OCI_MANIFEST),
        _ => None,
    };
    found.media_type.or(said.map(str::to_owned)).or(shape.map(str::to_owned))
}

fn schema_version(bytes: &[u8]) -> Option<u32> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        schema_version: u32,
    }
    serde_json::from_slice::<Version>(bytes).ok().map(|version| version.schema_version)
}

fn document<T: serde::de::DeserializeOwned>(what: &'static str, bytes: Vec<u8>) -> Result<Document<T>> {
    Document::parse(what, bytes).map_err(|e| Error::invalid(e.to_string()))
}

fn no_platform(reference: &Reference, index: &Index, wanted: &Platform) -> Error {
    const SHOWN: usize = 20;
    let offered: Vec<String> = index
        .manifests
        .iter()
        .filter_map(|m| m.platform.as_ref())
        .filter(|p| p.os != "unknown")
        .map(Platform::to_string)
        .collect();
    let more =
        if offered.len() > SHOWN { format!(" and {} more", offered.len() - SHOWN) } else { String::new() };
    Error::not_found(format!(
        "no matching manifest for {wanted} in {}: it is there for {}{more}",
        reference.familiar(),
        if offered.is_empty() {
            "nothing".to_owned()
        } else {
            offered[..offered.len().min(SHOWN)].join(", ")
        }
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The platforms of an index's entries, as `os/architecture[/variant]` or `-` for none; which is chosen.
    fn chosen(entries: &[&str], wanted: &str) -> Option<usize> {
        let entry = |(at, text): (usize, &&str)| {
            let digest = Digest::sha256(&[u8::try_from(at).unwrap()]);
            let mut entry = Descriptor::new(media_type::OCI_MANIFEST, digest, 1);
            let (text, attestation) = text.split_once('!').map_or((*text, false), |(text, _)| (text, true));
            if attestation {
                entry.annotations.insert("vnd.docker.reference.type".into(), "attestation-manifest".into());
            }
            let mut parts = text.split('/').map(str::to_owned);
            if text != "-" {
                entry.platform = Some(Platform {
                    os: parts.next().unwrap(),
                    architecture: parts.next().unwrap(),
                    variant: parts.next().unwrap_or_default(),
                    os_version: String::new(),
                    os_features: Vec::new(),
                });
            }
            entry
        };
        let index = Index {
            schema_version: 2,
            media_type: None,
            artifact_type: None,
            manifests: entries.iter().enumerate().map(entry).collect(),
            subject: None,
            annotations: Default::default(),
        };
        let found = choose(&index, &wanted.parse().unwrap())?.digest.clone();
        index.manifests.iter().position(|entry| entry.digest == found)
    }

    #[test]
    fn the_best_platform_is_chosen() {
        let arm = ["linux/arm/v5", "linux/arm/v7", "linux/arm64/v8", "linux/amd64", "unknown/unknown"];
        for (wanted, at) in [
            ("linux/arm64", Some(2)),
            ("linux/arm64/v8", Some(2)),
            ("linux/arm/v7", Some(1)),
            ("linux/arm/v6", Some(0)),
            ("linux/amd64", Some(3)),
            ("linux/amd64/v3", Some(3)),
            ("linux/s390x", None),
        ] {
            assert_eq!(chosen(&arm, wanted), at, "{wanted}");
        }
        let levels = ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"];
        assert_eq!(chosen(&levels, "linux/amd64/v3"), Some(1));
        assert_eq!(chosen(&levels, "linux/amd64"), Some(0));
        assert_eq!(chosen(&["linux/arm/v6"], "linux/arm64"), Some(0));
        assert_eq!(chosen(&["-"], "linux/s390x"), Some(0), "who does not say may be for all");
        assert_eq!(chosen(&["linux/amd64!", "-"], "linux/amd64"), Some(1), "an attestation is no image");
    }

    #[test]
    fn documents_are_known_by_their_shape() {
        assert_eq!(kind(br#"{"manifests":[]}"#, None).as_deref(), Some(media_type::OCI_INDEX));
        assert_eq!(kind(br#"{"config":{}}"#, None).as_deref(), Some(media_type::OCI_MANIFEST));
        assert_eq!(kind(br#"{"config":{}}"#, Some("x")).as_deref(), Some("x"));
        assert_eq!(kind(br#"{"mediaType":"y"}"#, Some("x")).as_deref(), Some("y"));
        assert_eq!(kind(b"{}", None), None);
        assert_eq!(schema_version(br#"{"schemaVersion":1}"#), Some(1));
    }
}
