//! Manifests and indexes: asked for by tag or digest, verified, stored and deleted.

use oci::{Descriptor, Digest, media_type};
use serde::Deserialize;
use serde::de::IgnoredAny;
use ureq::http::Method;

use crate::error::Error;
use crate::exchange::{Failure, Place, Target};
use crate::http::answer::Answer;
use crate::http::request::{Payload, Request};
use crate::repository::{By, Repository};
use crate::verify;

/// The largest manifest taken, in bytes (the distribution specification asks for at least 4 MiB).
pub(crate) const MANIFEST_LIMIT: u64 = 4 << 20;

/// A manifest or index as the registry sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteManifest {
    /// The bytes, at most 4 MiB.
    pub bytes: Vec<u8>,
    /// Their digest; the one asked for, where a digest was.
    pub digest: Digest,
    /// Their media type.
    pub media_type: String,
}

/// What a registry says of a manifest that it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutManifest {
    /// Digest of the bytes sent.
    pub digest: Digest,
    /// Whether the registry said (`OCI-Subject`) that it lists the manifest as a referrer of its subject;
    /// where it has one and this is false, the referrers' tag is to be kept by the client.
    pub subject_seen: bool,
}

impl Repository {
    /// What the manifest or index called `name` (a tag or a digest) is, without its bytes. `None`: there is
    /// none of that name, or no such repository.
    pub fn head(&self, name: &str) -> Result<Option<Descriptor>, Error> {
        let asked = name.parse::<Digest>().ok();
        let what = self.what_manifest(name);
        let said = self.read(by(&asked), |place| {
            let answer = self.ask(place, Method::HEAD, name, &what)?;
            Ok(match answer.status {
                200 => described(&answer, asked.as_ref()),
                404 => return Err(self.no_manifest(place, answer, name)),
                // A registry that knows no HEAD.
                _ => None,
            })
        });
        let whole = match said {
            Ok(Some(descriptor)) => return Ok(Some(descriptor)),
            Ok(None) => self.manifest(name),
            Err(error) => Err(error),
        };
        match whole {
            Ok(found) => Ok(Some(Descriptor::new(&found.media_type, found.digest, found.bytes.len() as u64))),
            Err(Error::NoManifest { .. } | Error::NoRepository { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The manifest or index called `name`, a tag or a digest; verified where it is a digest.
    pub fn manifest(&self, name: &str) -> Result<RemoteManifest, Error> {
        let asked = name.parse::<Digest>().ok();
        let what = self.what_manifest(name);
        self.read(by(&asked), |place| {
            let answer = self.ask(place, Method::GET, name, &what)?;
            match answer.status {
                200 => {}
                404 => return Err(self.no_manifest(place, answer, name)),
                _ => return Err(place.unexpected(answer, &what).into()),
            }
            let from = place.shown(&answer.url);
            let content_type = answer.content_type();
            let said = answer.header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
            let bytes = place.document(answer, MANIFEST_LIMIT, &what)?;
            // What was asked for counts; what the registry says it sent shows damage on the way.
            let expected = asked.clone().or(said).unwrap_or_else(|| Digest::sha256(&bytes));
            let found = verify::digest_as(&expected, &bytes);
            if found != expected {
                let what = what.clone();
                return Err(Error::Digest { registry: from, what, expected, found }.into());
            }
            let media_type = media_type_of(content_type.as_deref(), &bytes)
                .map_err(|reason| place.malformed(&what, reason))?;
            Ok(RemoteManifest { bytes, digest: expected, media_type })
        })
    }

    /// Stores `bytes` as the manifest or index called `name`, a tag or their digest.
    pub fn put_manifest(&self, name: &str, media_type: &str, bytes: &[u8]) -> Result<PutManifest, Error> {
        let what = self.what_manifest(name);
        let digest = match name.parse::<Digest>() {
            Ok(digest) => verify::digest_as(&digest, bytes),
            Err(_) => Digest::sha256(bytes),
        };
        self.at_destination(|place| {
            let mut request =
                Request::new(Method::PUT).header("Content-Type", media_type).payload(Payload::Bytes(bytes));
            request.patience = Some(place.patience());
            let path = format!("/v2/{}/manifests/{name}", place.endpoint.repository);
            let answer =
                place.send(&mut request, Target::Path(&path), &place.scopes(&["pull", "push"]), &what)?;
            match answer.status {
                200..=202 => {}
                404 => return Err(self.no_manifest(place, answer, name)),
                _ => return Err(place.unexpected(answer, &what).into()),
            }
            let said = answer.header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
            if let Some(said) = said.filter(|said| said.algorithm() == digest.algorithm() && *said != digest)
            {
                let (registry, what, expected) = (place.shown(&answer.url), what.clone(), digest.clone());
                return Err(Error::Digest { registry, what, expected, found: said }.into());
            }
            let subject_seen = answer.header("oci-subject").is_some();
            answer.drain(place.shared.options.stall);
            Ok(PutManifest { digest: digest.clone(), subject_seen })
        })
    }

    /// Deletes the manifest, and so every tag of it.
    pub fn delete_manifest(&self, digest: &Digest) -> Result<(), Error> {
        self.delete(digest.as_str())
    }

    /// Deletes the tag and leaves the manifest; few registries do.
    pub fn delete_tag(&self, tag: &str) -> Result<(), Error> {
        self.delete(tag)
    }

    fn delete(&self, name: &str) -> Result<(), Error> {
        let what = format!("the deletion of {}", self.what_manifest(name));
        self.at_destination(|place| {
            let path = format!("/v2/{}/manifests/{name}", place.endpoint.repository);
            let scopes = place.scopes(&["pull", "delete"]);
            let answer =
                place.send(&mut Request::new(Method::DELETE), Target::Path(&path), &scopes, &what)?;
            match answer.status {
                200..=204 => {
                    answer.drain(place.shared.options.stall);
                    Ok(())
                }
                404 => Err(self.no_manifest(place, answer, name)),
                _ => Err(place.unexpected(answer, &what).into()),
            }
        })
    }

    fn ask(&self, place: &Place<'_>, method: Method, name: &str, what: &str) -> Result<Answer, Failure> {
        let accept = [
            media_type::OCI_INDEX,
            media_type::DOCKER_MANIFEST_LIST,
            media_type::OCI_MANIFEST,
            media_type::DOCKER_MANIFEST,
        ];
        let mut request = Request::new(method).header("Accept", accept.join(", "));
        let path = format!("/v2/{}/manifests/{name}", place.endpoint.repository);
        place.send(&mut request, Target::Path(&path), &place.scopes(&["pull"]), what)
    }

    fn no_manifest(&self, place: &Place<'_>, answer: Answer, name: &str) -> Failure {
        self.not_found(place, answer, |message| Error::NoManifest {
            registry: self.registry().to_owned(),
            repository: self.name().to_owned(),
            name: name.to_owned(),
            message,
        })
    }

    fn what_manifest(&self, name: &str) -> String {
        format!("manifest {name} of {}", self.name())
    }
}

fn by(asked: &Option<Digest>) -> By {
    if asked.is_some() { By::Digest } else { By::Tag }
}

/// What the headers of a HEAD say, if it is enough and makes sense.
fn described(answer: &Answer, asked: Option<&Digest>) -> Option<Descriptor> {
    let media_type = answer.content_type().filter(|t| is_known(t))?;
    let said = answer.header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
    let digest = match (asked, said) {
        (Some(asked), Some(said)) if asked.algorithm() == said.algorithm() && *asked != said => return None,
        (Some(asked), _) => asked.clone(),
        (None, said) => said?,
    };
    let size = answer.said_length().filter(|size| (1..=MANIFEST_LIMIT).contains(size))?;
    Some(Descriptor::new(&media_type, digest, size))
}

fn is_known(media_type: &str) -> bool {
    media_type::is_manifest(media_type)
        || media_type::is_index(media_type)
        || matches!(media_type, media_type::DOCKER_MANIFEST_V1 | media_type::DOCKER_MANIFEST_V1_SIGNED)
}

/// The type of a document: what it says itself and what it came as have to agree, and it may be one thing
/// only (a document that is both manifest and index is read differently by different clients).
fn media_type_of(said: Option<&str>, bytes: &[u8]) -> Result<String, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Outline {
        schema_version: Option<serde_json::Value>,
        media_type: Option<String>,
        manifests: Option<IgnoredAny>,
        layers: Option<IgnoredAny>,
        config: Option<IgnoredAny>,
    }
    let came = || format!("it came as {:.100}", said.unwrap_or("nothing in particular"));
    let outline: Outline =
        serde_json::from_slice(bytes).map_err(|_| format!("it is no JSON document; {}", came()))?;
    if outline.manifests.is_some() && (outline.layers.is_some() || outline.config.is_some()) {
        return Err("it is manifest and index at once".to_owned());
    }
    let generic = |t: &&str| !matches!(*t, "application/json" | "application/octet-stream" | "text/plain");
    let said = said.filter(generic);
    match (said, outline.media_type) {
        (Some(said), Some(own)) if said != own && is_known(said) && is_known(&own) => {
            Err(format!("it came as {said} and says that it is {own}"))
        }
        (_, Some(own)) if own.len() <= 255 => Ok(own),
        (_, Some(_)) => Err("its media type is longer than 255 characters".to_owned()),
        (Some(said), None) if said.starts_with("application/vnd.") => Ok(said.to_owned()),
        (_, None) if outline.schema_version.as_ref().is_some_and(|v| *v == 1) => {
            Ok(media_type::DOCKER_MANIFEST_V1_SIGNED.to_owned())
        }
        (_, None) if outline.manifests.is_some() => Ok(media_type::OCI_INDEX.to_owned()),
        (_, None) if outline.config.is_some() => Ok(media_type::OCI_MANIFEST.to_owned()),
        (_, None) => Err(format!("it is no manifest; {}", came())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(said: Option<&str>, body: &str, expected: Result<&str, &str>) {
        let found = media_type_of(said, body.as_bytes());
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{said:?} {body}");
    }

    #[test]
    fn media_types() {
        let (index, manifest) = (media_type::OCI_INDEX, media_type::OCI_MANIFEST);
        let own = |t: &str| format!(r#"{{"schemaVersion":2,"mediaType":"{t}"}}"#);
        check(Some(index), &own(index), Ok(index));
        check(Some("application/json"), &own(manifest), Ok(manifest));
        check(Some("text/html"), &own(manifest), Ok(manifest));
        check(None, &own(manifest), Ok(manifest));
        check(Some(index), r#"{"manifests":[]}"#, Ok(index));
        check(Some("application/vnd.x"), "{}", Ok("application/vnd.x"));
        check(None, r#"{"manifests":[]}"#, Ok(index));
        check(None, r#"{"config":{},"layers":[]}"#, Ok(manifest));
        check(None, r#"{"schemaVersion":1,"fsLayers":[]}"#, Ok(media_type::DOCKER_MANIFEST_V1_SIGNED));
        check(
            Some(manifest),
            &own(index),
            Err(&format!("it came as {manifest} and says that it is {index}")),
        );
        check(Some("text/html"), "<html>", Err("it is no JSON document; it came as text/html"));
        check(Some("application/json"), "{}", Err("it is no manifest; it came as application/json"));
        check(Some(index), r#"{"manifests":[],"layers":[]}"#, Err("it is manifest and index at once"));
    }
}
