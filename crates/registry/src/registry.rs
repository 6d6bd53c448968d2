//! What is asked of a registry, not of one repository: accounts, the catalog, documents of its own.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use ureq::http::Method;

use crate::auth::{Challenge, Identity, Scopes, TokenServer};
use crate::client::Client;
use crate::credentials::{Credential, Secret};
use crate::error::Error;
use crate::exchange::{Failure, Place, Site, Target};
use crate::http::request::Request;
use crate::http::url::Url;
use crate::pages::Names;

/// The largest document taken, in bytes.
const DOCUMENT_LIMIT: u64 = 8 << 20;

/// One registry.
#[derive(Debug, Clone)]
pub struct Registry {
    client: Client,
    host: String,
}

/// What a registry says to a login.
#[derive(Debug, Clone)]
pub struct Login {
    /// What is to be stored instead of the password, where the token server gave one.
    pub identity_token: Option<Secret>,
    /// Docker's word for it: `Login Succeeded`.
    pub status: String,
}

impl Registry {
    pub(crate) fn new(client: Client, host: &str) -> Registry {
        Registry { client, host: host.to_owned() }
    }

    /// Host and port as references name it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Asks the registry (`GET /v2/`) to accept `credential`, as `docker login` does. Nothing is stored, nor
    /// used for later requests.
    ///
    /// # Errors
    /// [`Error::Denied`] for a wrong password.
    pub fn login(&self, credential: &Credential) -> Result<Login, Error> {
        const WHAT: &str = "a login";
        let shared = &self.client.shared;
        let endpoint = shared.options.hosts.origin(&self.host)?;
        let mut place = Place::new(shared, &self.host, "", &endpoint);
        // What is known of the host stays apart from who tries to be whom.
        place.site = Arc::new(Site::of(Identity::of(credential.clone())));
        let answer = shared.options.retry.patiently(|| {
            let mut request = Request::new(Method::GET);
            place.send(&mut request, Target::Path("/v2/"), &Scopes::default(), WHAT)
        })?;
        if answer.status != 200 {
            return Err(place.unexpected(answer, WHAT));
        }
        let url = answer.url.clone();
        answer.drain(shared.options.stall);
        let identity_token = match (place.site.identity().challenge(), credential) {
            (Some(Challenge::Bearer { realm, service, .. }), Credential::Password { .. }) => {
                self.identity_token(&place, &url, &realm, &service, credential)?
            }
            _ => None,
        };
        Ok(Login { identity_token, status: "Login Succeeded".to_owned() })
    }

    /// A token that stands for the password, where the server gives one.
    fn identity_token(
        &self,
        place: &Place<'_>,
        url: &Url,
        realm: &str,
        service: &str,
        credential: &Credential,
    ) -> Result<Option<Secret>, Error> {
        let server =
            TokenServer { agents: &place.shared.agents, registry: &self.host, url, tls: &place.endpoint.tls };
        let retry = &place.shared.options.retry;
        let ask = || server.ask(realm, service, &Scopes::default(), Some(credential), true);
        Ok(retry.patiently(ask)?.identity())
    }

    /// The names of all repositories (`GET /v2/_catalog`), fetched page by page as they are read.
    pub fn catalog(&self) -> Names {
        match self.client.shared.options.hosts.origin(&self.host) {
            Ok(endpoint) => Names::catalog(&self.client, &self.host, endpoint),
            Err(error) => Names::failed(error),
        }
    }

    /// The document at `path` (with its query, beginning with `/`), for what is not of the distribution
    /// protocol: `/v1/search`. `None` for 404. At most 8 MiB.
    pub fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Error> {
        let what = path.split('?').next().unwrap_or(path);
        let endpoint = self.client.shared.options.hosts.origin(&self.host)?;
        let place = Place::new(&self.client.shared, &self.host, "", &endpoint);
        let retry = &self.client.shared.options.retry;
        let bytes = retry.patiently(|| {
            let mut request = Request::new(Method::GET).header("Accept", "application/json");
            let answer = place.send(&mut request, Target::Path(path), &Scopes::default(), what)?;
            match answer.status {
                200 => Ok(Some(place.document(answer, DOCUMENT_LIMIT, what)?)),
                404 => {
                    answer.drain(place.shared.options.stall);
                    Ok(None)
                }
                _ => Err(Failure::from(place.unexpected(answer, what))),
            }
        })?;
        let Some(bytes) = bytes else { return Ok(None) };
        let document = serde_json::from_slice(&bytes);
        Ok(Some(document.map_err(|error| place.malformed(what, error.to_string()))?))
    }
}
