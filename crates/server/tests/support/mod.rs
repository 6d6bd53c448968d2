//! A server over a store of its own, and a client that sends what it is told and follows nothing.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::PathBuf;
use std::time::Duration;

use oci::Digest;
use server::{Options, Server};

/// A registry on a free port of loopback, with its store.
pub struct Registry {
    pub dir: tempfile::TempDir,
    server: Option<Server>,
    pub client: Client,
}

impl Registry {
    pub fn start() -> Registry {
        Registry::with(Options::default())
    }

    pub fn with(options: Options) -> Registry {
        let dir = tempfile::tempdir().unwrap();
        let server = serve(&dir.path().join("store"), options);
        let client = Client::to(&server.url());
        Registry { dir, server: Some(server), client }
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    pub fn store(&self) -> store::Store {
        store::Store::open(&self.root()).unwrap()
    }

    pub fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// Stops the server and starts another one on the same store.
    pub fn restart(&mut self) {
        self.server.take().unwrap().stop().unwrap();
        let server = serve(&self.root(), Options::default());
        self.client = Client::to(&server.url());
        self.server = Some(server);
    }
}

pub fn serve(root: &std::path::Path, options: Options) -> Server {
    Server::start(root, Options { addr: "127.0.0.1:0".to_owned(), ..options }).unwrap()
}

/// Sends requests; an answer of any status is an answer.
#[derive(Clone)]
pub struct Client {
    pub base: String,
    agent: ureq::Agent,
    /// Value of an `Authorization` header.
    pub authorization: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Client {
    pub fn to(base: &str) -> Client {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .allow_non_standard_methods(true)
            .timeout_global(Some(Duration::from_secs(60)));
        Client { base: base.to_owned(), agent: config.build().into(), authorization: None }
    }

    /// `path` may be a location as it came.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        let mut request = ureq::http::Request::builder().method(method).uri(&url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        let answered = match method {
            "GET" | "HEAD" | "DELETE" => self.agent.run(request.body(()).unwrap()),
            _ => self.agent.run(request.body(body).unwrap()),
        };
        let mut answer = answered.unwrap_or_else(|e| panic!("{method} {url}: {e}"));
        let headers = answer
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        let body = answer.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
        Answer { status: answer.status().as_u16(), headers, body }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    pub fn head(&self, path: &str) -> Answer {
        self.send("HEAD", path, &[], b"")
    }

    pub fn post(&self, path: &str) -> Answer {
        self.send("POST", path, &[], b"")
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], b"")
    }

    /// Pushes a blob in one request.
    #[track_caller]
    pub fn push(&self, name: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        let answer = self.send("POST", &format!("/v2/{name}/blobs/uploads/?digest={digest}"), &[], bytes);
        assert_eq!(answer.status, 201, "{answer:?}");
        digest
    }

    /// Pushes an image of one layer by that tag; the digest of its manifest.
    #[track_caller]
    pub fn push_image(&self, name: &str, tag: &str, layer: &[u8]) -> Digest {
        let manifest = self.image(name, layer).to_string();
        let path = format!("/v2/{name}/manifests/{tag}");
        let answer = self.send("PUT", &path, &[("Content-Type", IMAGE)], manifest.as_bytes());
        assert_eq!(answer.status, 201, "{answer:?}");
        Digest::sha256(manifest.as_bytes())
    }

    /// A manifest whose config and layer were pushed.
    #[track_caller]
    pub fn image(&self, name: &str, layer: &[u8]) -> serde_json::Value {
        let config = b"{\"architecture\":\"amd64\",\"os\":\"linux\"}";
        let described = |kind: &str, bytes: &[u8]| {
            let digest = self.push(name, bytes);
            serde_json::json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
        };
        serde_json::json!({
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "config": described("application/vnd.oci.image.config.v1+json", config),
            "layers": [described("application/vnd.oci.image.layer.v1.tar", layer)],
        })
    }
}

pub const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn location(&self) -> &str {
        self.header("location").unwrap_or_else(|| panic!("no location: {self:?}"))
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The code of its first error.
    #[track_caller]
    pub fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap().to_owned()
    }
}

/// Bytes that look random and are the same every time.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend(next());
    }
    bytes.truncate(len);
    bytes
}
