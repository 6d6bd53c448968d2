//! What the tests share: a client with short patience, a scripted server, Debian's registry.

pub mod debian;
pub mod fault;
pub mod wire;

use std::sync::Arc;
use std::time::Duration;

use oci::{Descriptor, Digest, Reference, media_type};
use registry::{Client, Credential, Credentials, Error, Options, Repository, Retry, Secret};

/// Options that give up soon.
pub fn options() -> Options {
    Options {
        stall: Duration::from_millis(400),
        retry: Retry {
            attempts: 4,
            base: Duration::from_millis(2),
            cap: Duration::from_millis(10),
            patience: Duration::from_secs(2),
        },
        ..Options::default()
    }
}

/// `a/b` at `host`, to nobody in particular.
pub fn repository(host: &str) -> Repository {
    repository_with(host, options())
}

pub fn repository_with(host: &str, options: Options) -> Repository {
    Client::new(options).repository(&reference(host, "a/b"))
}

pub fn reference(host: &str, name: &str) -> Reference {
    Reference::parse(&format!("{host}/{name}")).unwrap()
}

/// Bytes that repeat nowhere near.
pub fn bytes(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as u8
    };
    (0..length).map(|_| next()).collect()
}

pub fn layer(bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::sha256(bytes), bytes.len() as u64)
}

/// One account for every registry that asks.
pub struct Account(pub Option<Credential>);

impl Credentials for Account {
    fn get(&self, _registry: &str) -> Result<Option<Credential>, Error> {
        Ok(self.0.clone())
    }
}

pub fn password(user: &str, password: &str) -> Credential {
    Credential::Password { user: user.to_owned(), password: Secret::new(password) }
}

pub fn with_account(credential: Credential) -> Options {
    Options { credentials: Arc::new(Account(Some(credential))), ..options() }
}

/// A manifest that is one.
pub fn manifest() -> Vec<u8> {
    let config = Digest::sha256(b"{}");
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{config}","size":2}},"layers":[]}}"#,
        media_type::OCI_MANIFEST,
        media_type::OCI_CONFIG
    )
    .into_bytes()
}
