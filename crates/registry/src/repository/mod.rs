//! One repository of one registry: everything that the distribution protocol can do with it.
//!
//! Reads try the registry's mirrors first and fall back to the registry; writes go to the registry.

mod blob;
mod manifest;
mod push;
mod referrers;
mod session;
mod upload;

use std::sync::{Arc, OnceLock};

use oci::Digest;
use ureq::http::Method;

pub use blob::BlobReader;
pub use manifest::{PutManifest, RemoteManifest};
pub use upload::{Mount, Upload};

use crate::client::Client;
use crate::error::Error;
use crate::exchange::{Failure, Place, Target};
use crate::hosts::{Endpoint, Mirror};
use crate::http::answer::Answer;
use crate::http::request::Request;
use crate::pages::Names;

/// One repository of one registry. A clone is the same repository.
#[derive(Debug, Clone)]
pub struct Repository {
    client: Client,
    registry: Arc<str>,
    name: Arc<str>,
    direct: bool,
    /// Found out when first needed.
    endpoints: Arc<OnceLock<Endpoints>>,
}

/// How something is asked for: some mirrors serve one or the other only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Tag,
    Digest,
}

impl Repository {
    pub(crate) fn new(client: Client, registry: &str, name: &str) -> Repository {
        Repository {
            client,
            registry: registry.into(),
            name: name.into(),
            direct: false,
            endpoints: Arc::default(),
        }
    }

    /// Host and port of the registry as references name it.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Path of the repository at the registry.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same repository, read from the registry itself and from no mirror: for whoever is about to write.
    pub fn without_mirrors(&self) -> Repository {
        Repository { direct: true, endpoints: Arc::default(), ..self.clone() }
    }

    /// The size in bytes of the blob, if the registry itself has it in this repository.
    pub fn has_blob(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        let what = self.what_blob(digest);
        self.at_destination(|place| {
            let scopes = place.scopes(&["pull"]);
            let path = format!("/v2/{}/blobs/{digest}", place.endpoint.repository);
            let asked = place.send(&mut Request::new(Method::HEAD), Target::Path(&path), &scopes, &what);
            match asked {
                Ok(answer) if answer.status == 404 => return Ok(None),
                Ok(answer) if answer.status == 200 => {
                    if let Some(size) = answer.said_length() {
                        return Ok(Some(size));
                    }
                }
                Ok(answer) => return Err(place.unexpected(answer, &what).into()),
                // Storage behind a redirect that is signed for GET alone.
                Err(Failure { error: Error::Status { status: 400 | 403 | 405, .. }, .. }) => {}
                Err(failure) => return Err(failure),
            }
            let answer = place.send(&mut Request::new(Method::GET), Target::Path(&path), &scopes, &what)?;
            match (answer.status, answer.length()) {
                (200, Some(size)) => Ok(Some(size)),
                (404, _) => Ok(None),
                (200, None) => Err(place.malformed(&what, "its size is not said".to_owned()).into()),
                _ => Err(place.unexpected(answer, &what).into()),
            }
        })
    }

    /// The repository's tags in the registry's order, fetched page by page as they are read.
    pub fn tags(&self) -> Names {
        match self.endpoints() {
            Ok(places) => Names::tags(&self.client, &self.registry, &self.name, places.origin().clone()),
            Err(error) => Names::failed(error),
        }
    }

    fn what_blob(&self, digest: &Digest) -> String {
        format!("blob {digest} of {}", self.name)
    }

    fn endpoints(&self) -> Result<&Endpoints, Error> {
        if let Some(known) = self.endpoints.get() {
            return Ok(known);
        }
        let hosts = &self.client.shared.options.hosts;
        let to = hosts.destination(&self.registry, &self.name)?;
        let from = match self.direct {
            true => Vec::new(),
            false => hosts.endpoints(&self.registry, &self.name)?,
        };
        Ok(self.endpoints.get_or_init(|| Endpoints { from, to }))
    }

    fn place<'a>(&'a self, endpoint: &'a Endpoint) -> Place<'a> {
        Place::new(&self.client.shared, &self.registry, &self.name, endpoint)
    }

    /// The endpoints to be read from, in order, the registry itself last.
    fn readable(&self, by: By) -> Result<Vec<Place<'_>>, Error> {
        let endpoints = self.endpoints()?;
        let serves = |endpoint: &Endpoint| match endpoint.mirror {
            None | Some(Mirror::All) => true,
            Some(Mirror::DigestOnly) => by == By::Digest,
            Some(Mirror::TagOnly) => by == By::Tag,
        };
        let places = endpoints.readable().iter().filter(|e| serves(e)).map(|endpoint| self.place(endpoint));
        Ok(places.filter(|place| !place.is_dead()).collect())
    }

    /// Tries each mirror once, then the registry itself as often as it takes.
    fn read<T>(&self, by: By, attempt: impl Fn(&Place<'_>) -> Result<T, Failure>) -> Result<T, Error> {
        let places = self.readable(by)?;
        let Some((origin, mirrors)) = places.split_last() else {
            let origin = self.place(self.endpoints()?.origin());
            return self.client.shared.options.retry.patiently(|| attempt(&origin));
        };
        for mirror in mirrors {
            match attempt(mirror) {
                Ok(found) => return Ok(found),
                Err(failure) => mirror.failed(&failure),
            }
        }
        self.client.shared.options.retry.patiently(|| attempt(origin))
    }

    /// Asks the registry that is written to, as often as it takes.
    fn at_destination<T>(&self, attempt: impl Fn(&Place<'_>) -> Result<T, Failure>) -> Result<T, Error> {
        let place = self.destination()?;
        self.client.shared.options.retry.patiently(|| attempt(&place))
    }

    fn destination(&self) -> Result<Place<'_>, Error> {
        Ok(self.place(&self.endpoints()?.to))
    }

    /// The error for a 404: a repository that is not there, or `missing`, which is told what the registry said.
    fn not_found(&self, place: &Place<'_>, answer: Answer, missing: impl FnOnce(String) -> Error) -> Failure {
        let refusal = answer.refusal(place.shared.options.stall);
        match refusal.codes.iter().any(|code| code == "NAME_UNKNOWN") {
            true => Error::NoRepository {
                registry: self.registry.to_string(),
                repository: self.name.to_string(),
                message: refusal.message,
            }
            .into(),
            false => missing(refusal.message).into(),
        }
    }
}

/// Where a repository is.
#[derive(Debug)]
struct Endpoints {
    /// To be read from, in order, the registry's own location last; empty where that is `to` alone.
    from: Vec<Endpoint>,
    /// To be written to.
    to: Endpoint,
}

impl Endpoints {
    fn readable(&self) -> &[Endpoint] {
        match self.from.is_empty() {
            true => std::slice::from_ref(&self.to),
            false => &self.from,
        }
    }

    fn origin(&self) -> &Endpoint {
        self.from.last().unwrap_or(&self.to)
    }
}
