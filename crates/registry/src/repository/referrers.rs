//! What refers to a manifest by its `subject`: signatures, attestations, bills of materials.

use oci::{Descriptor, Digest, Index, media_type};
use ureq::http::Method;

use crate::error::Error;
use crate::exchange::{Failure, Place, Target};
use crate::http::request::Request;
use crate::http::url::{Url, encode};
use crate::pages;
use crate::repository::manifest::MANIFEST_LIMIT;
use crate::repository::{By, Repository};

/// The most entries taken.
const COUNT_LIMIT: usize = 10_000;
/// The most pages asked for.
const PAGE_LIMIT: usize = 1_000;

impl Repository {
    /// The manifests that refer to `digest` by their `subject`; of one artifact type, where one is given. Empty
    /// where there are none. Registries without the API have them in an index of a tag made of the digest.
    pub fn referrers(&self, digest: &Digest, artifact_type: Option<&str>) -> Result<Index, Error> {
        let what = format!("referrers of {digest} of {}", self.name());
        let listed = self.read(By::Digest, |place| {
            let mut path = format!("/v2/{}/referrers/{digest}", place.endpoint.repository);
            if let Some(wanted) = artifact_type {
                path.push_str(&format!("?artifactType={}", encode(wanted)));
            }
            self.listed(place, &path, &what)
        })?;
        let manifests = match listed {
            Some(manifests) => manifests,
            None => match self.manifest(&format!("{}-{}", digest.algorithm(), digest.hex())) {
                Ok(found) if media_type::is_index(&found.media_type) => {
                    parse(&found.bytes, COUNT_LIMIT).map_err(|reason| self.malformed(&what, reason))?
                }
                Ok(_) | Err(Error::NoManifest { .. } | Error::NoRepository { .. }) => Vec::new(),
                Err(error) => return Err(error),
            },
        };
        // Registries need not filter.
        let wanted = |d: &Descriptor| artifact_type.is_none_or(|t| d.artifact_type.as_deref() == Some(t));
        Ok(Index {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.to_owned()),
            artifact_type: None,
            manifests: manifests.into_iter().filter(wanted).collect(),
            subject: None,
            annotations: Default::default(),
        })
    }

    /// All pages of the list; `None` where the registry has no such API.
    fn listed(&self, place: &Place<'_>, path: &str, what: &str) -> Result<Option<Vec<Descriptor>>, Failure> {
        let mut manifests = Vec::new();
        let mut next: Option<Url> = None;
        for _ in 0..PAGE_LIMIT {
            let target = next.as_ref().map_or(Target::Path(path), Target::Url);
            let mut request = Request::new(Method::GET).header("Accept", media_type::OCI_INDEX);
            let answer = place.send(&mut request, target, &place.scopes(&["pull"]), what)?;
            let is_index = answer.content_type().is_some_and(|t| media_type::is_index(&t));
            match answer.status {
                200 if is_index => {}
                200 | 400 | 404 | 405 | 501 if next.is_none() => {
                    answer.drain(place.shared.options.stall);
                    return Ok(None);
                }
                _ => return Err(place.unexpected(answer, what).into()),
            }
            next = pages::next(&answer).map_err(|reason| place.malformed(what, reason))?;
            let bytes = place.document(answer, MANIFEST_LIMIT, what)?;
            let room = COUNT_LIMIT - manifests.len();
            manifests.extend(parse(&bytes, room).map_err(|reason| place.malformed(what, reason))?);
            if next.is_none() {
                return Ok(Some(manifests));
            }
        }
        Err(place.malformed(what, format!("it has more than {PAGE_LIMIT} pages")).into())
    }

    fn malformed(&self, what: &str, reason: String) -> Error {
        Error::Malformed { registry: self.registry().to_owned(), what: what.to_owned(), reason }
    }
}

fn parse(bytes: &[u8], room: usize) -> Result<Vec<Descriptor>, String> {
    let index: Index = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    match index.manifests.len() <= room {
        true => Ok(index.manifests),
        false => Err(format!("it has more than {COUNT_LIMIT} entries")),
    }
}
