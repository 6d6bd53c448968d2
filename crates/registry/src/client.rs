//! Requests to one registry.

use std::io::Read;
use std::sync::Mutex;
use std::time::Duration;

use oci::{Descriptor, Digest, Reference, media_type};
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::auth::{Challenge, Token};
use crate::error::Error;

/// The largest manifest taken, in bytes (the distribution specification asks for at least 4 MiB).
const MANIFEST_LIMIT: u64 = 4 << 20;
/// The largest error body read, in bytes.
const ERROR_LIMIT: u64 = 64 << 10;

/// How to speak to registries.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Hosts that may be spoken to without TLS, besides loopback addresses.
    pub insecure: Vec<String>,
}

/// A client of one registry, for one repository.
pub struct Client {
    agent: Agent,
    registry: String,
    repository: String,
    schemes: Vec<&'static str>,
    token: Mutex<Option<String>>,
}

/// A manifest or index as the registry sent it.
#[derive(Debug)]
pub struct RemoteManifest {
    /// The bytes, at most 4 MiB.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
    /// Their media type.
    pub media_type: String,
}

impl Client {
    /// A client for the repository of `reference`. Nothing is sent yet.
    pub fn new(reference: &Reference, options: &Options) -> Client {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(15)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .max_redirects(5)
            .user_agent("strake")
            .build()
            .new_agent();
        let registry = match reference.registry.as_str() {
            "docker.io" => "registry-1.docker.io",
            other => other,
        };
        let plain = is_loopback(registry) || options.insecure.iter().any(|host| host == registry);
        Client {
            agent,
            registry: registry.to_owned(),
            repository: reference.repository.clone(),
            // As Docker does for registries it need not trust: TLS first, then without.
            schemes: if plain { vec!["https", "http"] } else { vec!["https"] },
            token: Mutex::new(None),
        }
    }

    /// Fetches the manifest or index that `reference` names by tag or digest.
    pub fn manifest(&self, reference: &Reference) -> Result<RemoteManifest, Error> {
        let name = match (&reference.digest, &reference.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => "latest",
        };
        let accept = [
            media_type::OCI_INDEX,
            media_type::DOCKER_MANIFEST_LIST,
            media_type::OCI_MANIFEST,
            media_type::DOCKER_MANIFEST,
        ]
        .join(", ");
        let what = format!("manifest {name}");
        let response = self.get(&format!("manifests/{name}"), &accept)?;
        if response.status().as_u16() == 404 {
            return Err(Error::NotFound { reference: reference.to_string() });
        }
        let response = self.expect_success(response, &what)?;
        let said = response
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .map(|value| value.split(';').next().unwrap_or(value).trim().to_owned());
        let mut bytes = Vec::new();
        response
            .into_body()
            .into_reader()
            .take(MANIFEST_LIMIT + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| self.unreachable(&e.to_string()))?;
        if bytes.len() as u64 > MANIFEST_LIMIT {
            return Err(self.malformed(&what, format!("it is larger than {MANIFEST_LIMIT} bytes")));
        }
        let digest = Digest::sha256(&bytes);
        if let Some(expected) = reference.digest.as_ref().filter(|d| d.algorithm() == "sha256")
            && *expected != digest
        {
            return Err(Error::Digest {
                registry: self.registry.clone(),
                what,
                expected: expected.clone(),
                found: digest,
            });
        }
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Kind {
            media_type: Option<String>,
        }
        let kind: Kind = serde_json::from_slice(&bytes).map_err(|e| self.malformed(&what, e.to_string()))?;
        let media_type = kind.media_type.or(said).unwrap_or_else(|| media_type::OCI_MANIFEST.to_owned());
        Ok(RemoteManifest { bytes, digest, media_type })
    }

    /// Opens the blob that `descriptor` names. The caller hashes the bytes and stops at its size.
    pub fn blob(&self, descriptor: &Descriptor) -> Result<impl Read + Send + use<>, Error> {
        let what = format!("blob {}", descriptor.digest);
        let response = self.get(&format!("blobs/{}", descriptor.digest), "*/*")?;
        let response = self.expect_success(response, &what)?;
        // One byte more than was said shows a body that is too long.
        Ok(response.into_body().into_reader().take(descriptor.size + 1))
    }

    fn get(&self, path: &str, accept: &str) -> Result<Response<Body>, Error> {
        let mut last = None;
        for scheme in &self.schemes {
            let url = format!("{scheme}://{}/v2/{}/{path}", self.registry, self.repository);
            match self.send(&url, accept) {
                Err(error @ Error::Unreachable { .. }) => last = Some(error),
                other => return other,
            }
        }
        Err(last.unwrap_or_else(|| self.unreachable("no way to speak to it")))
    }

    /// One request, and a second one with a token where the first was answered by a challenge.
    fn send(&self, url: &str, accept: &str) -> Result<Response<Body>, Error> {
        let held = self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let response = self.once(url, accept, held.as_deref())?;
        if response.status().as_u16() != 401 {
            return Ok(response);
        }
        let challenge = response
            .headers()
            .get_all("www-authenticate")
            .iter()
            .filter_map(|value| Challenge::parse(value.to_str().ok()?))
            .next();
        let Some(Challenge::Bearer { realm, service, scope }) = challenge else {
            return Ok(response);
        };
        let token = self.fetch_token(&realm, &service, &scope)?;
        let response = self.once(url, accept, Some(&token))?;
        *self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(token);
        Ok(response)
    }

    fn once(&self, url: &str, accept: &str, token: Option<&str>) -> Result<Response<Body>, Error> {
        let mut request = self.agent.get(url).header("Accept", accept);
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        request.call().map_err(|e| self.unreachable(&e.to_string()))
    }

    fn fetch_token(&self, realm: &str, service: &str, scope: &str) -> Result<String, Error> {
        let what = "a token";
        if !realm.starts_with("https://") && !self.schemes.contains(&"http") {
            return Err(self.malformed(what, format!("its token server {realm:?} is not spoken to by TLS")));
        }
        let scope = match scope.is_empty() {
            true => format!("repository:{}:pull", self.repository),
            false => scope.to_owned(),
        };
        let request = self.agent.get(realm).query("service", service).query("scope", scope);
        let response = request.call().map_err(|e| self.unreachable(&e.to_string()))?;
        let response = self.expect_success(response, what)?;
        let token: Token = serde_json::from_reader(response.into_body().into_reader().take(ERROR_LIMIT))
            .map_err(|e| self.malformed(what, e.to_string()))?;
        token.into_text().ok_or_else(|| self.malformed(what, "it is empty".to_owned()))
    }

    fn expect_success(&self, response: Response<Body>, what: &str) -> Result<Response<Body>, Error> {
        let status = response.status().as_u16();
        if (200..300).contains(&status) {
            return Ok(response);
        }
        let message = registry_message(response);
        if status == 401 || status == 403 {
            return Err(Error::Denied {
                registry: self.registry.clone(),
                repository: self.repository.clone(),
                message,
            });
        }
        Err(Error::Status { registry: self.registry.clone(), status, what: what.to_owned(), message })
    }

    fn unreachable(&self, reason: &str) -> Error {
        Error::Unreachable { registry: self.registry.clone(), reason: reason.to_owned() }
    }

    fn malformed(&self, what: &str, reason: String) -> Error {
        Error::Malformed { registry: self.registry.clone(), what: what.to_owned(), reason }
    }
}

/// The registry's own words for an error (distribution specification, "Error Codes").
fn registry_message(response: Response<Body>) -> String {
    #[derive(serde::Deserialize)]
    struct Errors {
        errors: Vec<One>,
    }
    #[derive(serde::Deserialize)]
    struct One {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let body = response.into_body().into_reader().take(ERROR_LIMIT);
    let Ok(parsed) = serde_json::from_reader::<_, Errors>(body) else { return String::new() };
    let texts = parsed.errors.into_iter().take(5).map(|e| match e.message.is_empty() {
        true => e.code,
        false => e.message,
    });
    let texts: Vec<String> =
        texts.map(|t| t.chars().filter(|c| !c.is_control()).take(300).collect()).collect();
    texts.join("; ")
}

fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => registry.split(':').next().unwrap_or(registry),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
