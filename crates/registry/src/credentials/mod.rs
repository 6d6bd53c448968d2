//! Who we are to a registry: the values, the one question asked for them, and the answer from Docker's files.
//!
//! A client knows the question alone: whoever makes it says where credentials are kept.

mod accounts;
mod config_file;
mod helper;
mod replace;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::error::Error;

pub use accounts::{Accounts, Stored};

/// Where the credential for a registry is looked up. Asked at most once a registry and process, and only
/// when the registry asks who we are.
pub trait Credentials: Send + Sync {
    /// The credential for `registry`: host and port as references name it, `docker.io` for Docker Hub.
    /// `None`: there is none, go on anonymously.
    fn get(&self, registry: &str) -> Result<Option<Credential>, Error>;
}

/// No credentials for anyone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anonymous;

impl Credentials for Anonymous {
    fn get(&self, _registry: &str) -> Result<Option<Credential>, Error> {
        Ok(None)
    }
}

/// What proves an account to a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// For basic authentication, and for token servers.
    Password {
        /// The account's name.
        user: String,
        /// Its password, or what stands for one.
        password: Secret,
    },
    /// A refresh token, which the token server changes for access tokens (Docker's `identitytoken`).
    IdentityToken(Secret),
    /// A bearer token that the registry takes as it is (Docker's `registrytoken`).
    RegistryToken(Secret),
}

/// A text that is never shown: no `Display`, and `Debug` prints dots.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Holds `text`.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text, to be sent or stored and nothing else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}
