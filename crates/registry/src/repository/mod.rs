//! One repository of one registry: everything that the distribution protocol can do with it.

use std::io::{self, Read};
use std::time::Duration;

use oci::{Descriptor, Digest, Index, media_type};
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::client::Client;
use crate::error::Error;
use crate::hosts::{Endpoint, Scheme};

/// The largest manifest taken, in bytes (the distribution specification asks for at least 4 MiB).
const MANIFEST_LIMIT: u64 = 4 << 20;

/// One repository of one registry. A clone is the same repository.
#[derive(Debug, Clone)]
pub struct Repository {
    client: Client,
    registry: String,
    name: String,
}

/// A manifest or index as the registry sent it.
#[derive(Debug, Clone)]
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

/// What became of a mount.
#[derive(Debug)]
pub enum Mount {
    /// The blob is in the repository now.
    Mounted,
    /// The registry would rather have it uploaded, and began an upload.
    Upload(Upload),
}

impl Repository {
    pub(crate) fn new(client: Client, registry: &str, name: &str) -> Repository {
        Repository { client, registry: registry.to_owned(), name: name.to_owned() }
    }

    /// Host and port of the registry as references name it.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Path of the repository at the registry.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the manifest or index called `name` (a tag or a digest) is, without its bytes. `None`: there is
    /// none of that name, or no such repository.
    pub fn head(&self, name: &str) -> Result<Option<Descriptor>, Error> {
        match self.manifest(name) {
            Ok(found) => Ok(Some(Descriptor::new(&found.media_type, found.digest, found.bytes.len() as u64))),
            Err(Error::NoManifest { .. } | Error::NoRepository { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The manifest or index called `name`, a tag or a digest; verified where it is a digest.
    pub fn manifest(&self, name: &str) -> Result<RemoteManifest, Error> {
        let accept = [
            media_type::OCI_INDEX,
            media_type::DOCKER_MANIFEST_LIST,
            media_type::OCI_MANIFEST,
            media_type::DOCKER_MANIFEST,
        ]
        .join(", ");
        let response = self.get(&format!("manifests/{name}"), &accept)?;
        let what = format!("manifest {name} of {}", self.name);
        match response.status().as_u16() {
            404 => {
                return Err(Error::NoManifest {
                    registry: self.registry.clone(),
                    repository: self.name.clone(),
                    name: name.to_owned(),
                    message: String::new(),
                });
            }
            status if status >= 300 => return Err(self.status(status, what)),
            _ => {}
        }
        let said = response.headers().get("content-type").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let mut bytes = Vec::new();
        let body = response.into_body().into_reader().take(MANIFEST_LIMIT + 1);
        { body }.read_to_end(&mut bytes).map_err(|e| self.unreachable(&e.to_string()))?;
        let malformed =
            |reason: String| Error::Malformed { registry: self.registry.clone(), what: what.clone(), reason };
        if bytes.len() as u64 > MANIFEST_LIMIT {
            return Err(malformed(format!("it is larger than {MANIFEST_LIMIT} bytes")));
        }
        let digest = Digest::sha256(&bytes);
        if name.parse::<Digest>().is_ok_and(|d| d.algorithm() == "sha256" && d != digest) {
            return Err(malformed(format!("it has digest {digest}")));
        }
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Kind {
            media_type: Option<String>,
        }
        let kind: Kind = serde_json::from_slice(&bytes).map_err(|e| malformed(e.to_string()))?;
        let media_type = kind.media_type.or(said).unwrap_or_else(|| media_type::OCI_MANIFEST.to_owned());
        Ok(RemoteManifest { bytes, digest, media_type })
    }

    /// Stores `bytes` as the manifest or index called `name`, a tag or their digest.
    pub fn put_manifest(&self, name: &str, media_type: &str, bytes: &[u8]) -> Result<PutManifest, Error> {
        let _ = (name, media_type, bytes);
        Err(self.unfinished())
    }

    /// Deletes the manifest, and so every tag of it.
    pub fn delete_manifest(&self, digest: &Digest) -> Result<(), Error> {
        let _ = digest;
        Err(self.unfinished())
    }

    /// Deletes the tag and leaves the manifest; few registries do.
    pub fn delete_tag(&self, tag: &str) -> Result<(), Error> {
        let _ = tag;
        Err(self.unfinished())
    }

    /// The size in bytes of the blob, if the repository has it.
    pub fn has_blob(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        let _ = digest;
        Err(self.unfinished())
    }

    /// The blob's bytes from `offset` on. It reconnects by itself where the connection is cut or stalls, as
    /// long as there is progress, and ends exactly at the descriptor's size, or fails: its `io::Error` holds an
    /// [`Error`]. The caller hashes what it reads.
    pub fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobReader, Error> {
        let response = self.get(&format!("blobs/{}", descriptor.digest), "*/*")?;
        let what = format!("blob {} of {}", descriptor.digest, self.name);
        if response.status().as_u16() >= 300 {
            return Err(self.status(response.status().as_u16(), what));
        }
        let mut source = response.into_body().into_reader();
        io::copy(&mut (&mut source).take(offset), &mut io::sink())
            .map_err(|e| self.unreachable(&e.to_string()))?;
        Ok(BlobReader { source: Box::new(source.take(descriptor.size - offset + 1)) })
    }

    /// A blob whole and verified.
    ///
    /// # Errors
    /// [`Error::Malformed`] where the descriptor says more than `limit` bytes, before anything is sent.
    pub fn small_blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, Error> {
        let malformed = |reason| Error::Malformed {
            registry: self.registry.clone(),
            what: format!("blob {} of {}", descriptor.digest, self.name),
            reason,
        };
        if descriptor.size > limit {
            return Err(malformed(format!(
                "it has {} bytes, more than the {limit} allowed",
                descriptor.size
            )));
        }
        let mut bytes = Vec::new();
        self.blob(descriptor, 0)?.read_to_end(&mut bytes).map_err(|e| self.unreachable(&e.to_string()))?;
        match Digest::sha256(&bytes) == descriptor.digest {
            true => Ok(bytes),
            false => Err(malformed("it has another digest".to_owned())),
        }
    }

    /// Takes the blob over from the repository `from` of the same registry.
    pub fn mount(&self, digest: &Digest, from: &str) -> Result<Mount, Error> {
        let _ = (digest, from);
        Err(self.unfinished())
    }

    /// Uploads a blob whose digest and size are known. `open(offset)` gives its bytes from there on, and is
    /// called again to retry or resume. `progress` is told the bytes that the registry has so far.
    pub fn push_blob(
        &self,
        descriptor: &Descriptor,
        open: &mut dyn FnMut(u64) -> io::Result<Box<dyn Read + Send>>,
        progress: &dyn Fn(u64),
    ) -> Result<(), Error> {
        let _ = (descriptor, open, progress);
        Err(self.unfinished())
    }

    /// Begins an upload of a blob whose digest will be known at its end.
    pub fn upload(&self) -> Result<Upload, Error> {
        Err(self.unfinished())
    }

    /// The repository's tags, fetched page by page as they are read.
    pub fn tags(&self) -> Tags {
        Tags { error: Some(self.unfinished()) }
    }

    /// The manifests that refer to `digest` by their `subject`; of one artifact type, where one is given.
    pub fn referrers(&self, digest: &Digest, artifact_type: Option<&str>) -> Result<Index, Error> {
        let _ = (digest, artifact_type);
        Err(self.unfinished())
    }

    fn get(&self, path: &str, accept: &str) -> Result<Response<Body>, Error> {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(15)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .max_redirects(5)
            .user_agent("strake")
            .build()
            .new_agent();
        let hosts = &self.client.shared.options.hosts;
        let mut failed = None;
        for Endpoint { host, scheme, .. } in hosts.endpoints(&self.registry, &self.name)? {
            let schemes: &[&str] = match scheme {
                Scheme::Https => &["https"],
                Scheme::HttpsOrHttp => &["https", "http"],
                Scheme::Http => &["http"],
            };
            for scheme in schemes {
                let url = format!("{scheme}://{host}/v2/{}/{path}", self.name);
                match agent.get(&url).header("Accept", accept).call() {
                    Ok(response) => return Ok(response),
                    Err(error) => failed = Some(self.unreachable(&error.to_string())),
                }
            }
        }
        Err(failed.unwrap_or_else(|| self.unreachable("it has no endpoint")))
    }

    fn unreachable(&self, reason: &str) -> Error {
        Error::Unreachable { registry: self.registry.clone(), reason: reason.to_owned() }
    }

    fn status(&self, status: u16, what: String) -> Error {
        Error::Status { registry: self.registry.clone(), status, what, message: String::new() }
    }

    fn unfinished(&self) -> Error {
        Error::Malformed {
            registry: self.registry.clone(),
            what: "a request".into(),
            reason: "not done yet".into(),
        }
    }
}

/// The bytes of a blob, as they come. See [`Repository::blob`].
pub struct BlobReader {
    source: Box<dyn Read + Send>,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.source.read(buffer)
    }
}

/// A blob on its way to the registry, in chunks that are held until the registry has them. Dropped
/// unfinished, it is cancelled.
#[derive(Debug)]
pub struct Upload {
    never: std::convert::Infallible,
}

impl Upload {
    /// Ends the upload: the registry checks `digest` over all that was written.
    pub fn finish(self, digest: &Digest) -> Result<(), Error> {
        let _ = digest;
        match self.never {}
    }
}

impl io::Write for Upload {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        match self.never {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.never {}
    }
}

/// Tags, fetched page by page as they are read. Ends after the first error.
#[derive(Debug)]
pub struct Tags {
    error: Option<Error>,
}

impl Iterator for Tags {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.error.take().map(Err)
    }
}
