//! What a manifest says that a registry has to know: what it needs, what it refers to, what it is. All else in it is
//! kept as it came and looked at by nobody.

use std::collections::BTreeMap;

use oci::{Digest, media_type};
use serde::Deserialize;

/// What was found in a manifest or an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// Media type: the one it was sent with, or its own.
    pub(crate) media_type: String,
    /// What it is, as a referrer.
    pub(crate) artifact_type: Option<String>,
    /// Digest of the manifest it refers to.
    pub(crate) subject: Option<Digest>,
    /// Blobs it needs: its config and layers, without those that are elsewhere by their kind.
    pub(crate) blobs: Vec<Digest>,
    /// Manifests it needs: the entries of an index.
    pub(crate) manifests: Vec<Digest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Pointer>,
    layers: Option<Vec<Pointer>>,
    manifests: Option<Vec<Pointer>>,
    subject: Option<Pointer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pointer {
    media_type: String,
    digest: Digest,
    #[serde(rename = "size")]
    _size: u64,
    urls: Option<Vec<String>>,
}

/// The annotations of a manifest, for its entry in a list of referrers.
#[derive(Default, Deserialize)]
pub(crate) struct Annotated {
    #[serde(default)]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
}

/// Reads a manifest that was sent with that content type, if with any; else says what is wrong with it.
pub(crate) fn read(content_type: Option<&str>, bytes: &[u8]) -> Result<Said, String> {
    let fields: Fields = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    let sent = content_type.map(|t| t.split(';').next().unwrap_or(t).trim().to_ascii_lowercase());
    let media_type = match (sent.filter(|t| !t.is_empty()), &fields.media_type) {
        (Some(sent), Some(own)) if sent != *own => {
            return Err(format!("it was sent as {sent}, and says that it is {own}"));
        }
        (Some(sent), _) => sent,
        (None, Some(own)) => own.clone(),
        (None, None) => return Err("neither the request nor the manifest says its media type".to_owned()),
    };
    if matches!(media_type.as_str(), media_type::DOCKER_MANIFEST_V1 | media_type::DOCKER_MANIFEST_V1_SIGNED)
        || fields.schema_version == Some(1)
    {
        return Err("schema 1 manifests are not taken: push it with a client of this decade".to_owned());
    }
    if fields.schema_version != Some(2) {
        return Err("its schemaVersion is not 2".to_owned());
    }
    // What could be read as either is neither: two clients would see two images under one digest.
    if fields.manifests.is_some() && (fields.config.is_some() || fields.layers.is_some()) {
        return Err("it has manifests beside a config or layers".to_owned());
    }
    let subject = fields.subject.map(|subject| subject.digest);
    if media_type::is_index(&media_type) {
        let manifests = fields.manifests.ok_or("it is an index without manifests")?;
        return Ok(Said {
            media_type,
            artifact_type: fields.artifact_type,
            subject,
            blobs: Vec::new(),
            manifests: distinct(manifests.into_iter().map(|entry| entry.digest)),
        });
    }
    if !media_type::is_manifest(&media_type) {
        return Err(format!("{media_type} is no media type of a manifest or index"));
    }
    let config = fields.config.ok_or("it is a manifest without a config")?;
    // As the specification has it for the list of referrers.
    let artifact_type =
        fields.artifact_type.filter(|t| !t.is_empty()).or_else(|| Some(config.media_type.clone()));
    let layers = fields.layers.unwrap_or_default().into_iter();
    let here = layers.filter(|layer| {
        !media_type::is_foreign_layer(&layer.media_type) && layer.urls.as_ref().is_none_or(Vec::is_empty)
    });
    let blobs = distinct([config.digest].into_iter().chain(here.map(|layer| layer.digest)));
    Ok(Said { media_type, artifact_type, subject, blobs, manifests: Vec::new() })
}

fn distinct(digests: impl Iterator<Item = Digest>) -> Vec<Digest> {
    let mut all: Vec<Digest> = digests.collect();
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pointer(media_type: &str, n: u8) -> Value {
        json!({ "mediaType": media_type, "digest": Digest::sha256(&[n]), "size": 1 })
    }

    fn check(content_type: Option<&str>, manifest: &Value) -> Result<Said, String> {
        read(content_type, manifest.to_string().as_bytes())
    }

    #[test]
    fn of_an_image() {
        let mut foreign = pointer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", 3);
        foreign["urls"] = json!(["https://elsewhere"]);
        let manifest = json!({
            "schemaVersion": 2,
            "config": pointer(media_type::OCI_CONFIG, 1),
            "layers": [pointer(media_type::OCI_LAYER, 2), pointer(media_type::OCI_LAYER, 2), foreign],
            "subject": pointer(media_type::OCI_MANIFEST, 9),
            "unknown": { "x": [1] },
        });
        let said =
            check(Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"), &manifest).unwrap();
        assert_eq!(said.media_type, media_type::OCI_MANIFEST);
        assert_eq!(said.artifact_type.as_deref(), Some(media_type::OCI_CONFIG));
        assert_eq!(said.subject, Some(Digest::sha256(&[9])));
        assert_eq!(said.blobs.len(), 2);
    }

    #[test]
    fn what_is_refused() {
        let config = pointer(media_type::OCI_CONFIG, 1);
        let index = json!({ "schemaVersion": 2, "manifests": [] });
        for (content_type, manifest, reason) in [
            (None, json!({ "schemaVersion": 2, "config": config }), "media type"),
            (Some("text/plain"), json!({ "schemaVersion": 2, "config": config }), "text/plain"),
            (Some(media_type::OCI_MANIFEST), index.clone(), "without a config"),
            (Some(media_type::OCI_INDEX), json!({ "schemaVersion": 2 }), "without manifests"),
            (Some(media_type::OCI_MANIFEST), json!({ "config": config }), "schemaVersion"),
            (Some(media_type::DOCKER_MANIFEST_V1), json!({ "schemaVersion": 1 }), "schema 1"),
            (
                Some(media_type::OCI_MANIFEST),
                json!({ "schemaVersion": 2, "mediaType": media_type::DOCKER_MANIFEST, "config": config }),
                "sent as",
            ),
            (
                Some(media_type::OCI_INDEX),
                json!({ "schemaVersion": 2, "manifests": [], "config": config }),
                "beside a config",
            ),
            (
                Some(media_type::OCI_MANIFEST),
                json!({ "schemaVersion": 2, "config": { "mediaType": "x", "digest": "sha256:1", "size": 1 } }),
                "invalid digest",
            ),
        ] {
            let error = check(content_type, &manifest).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        assert!(read(Some(media_type::OCI_INDEX), b"[").is_err());
        assert!(check(Some(media_type::OCI_INDEX), &index).is_ok());
    }
}
