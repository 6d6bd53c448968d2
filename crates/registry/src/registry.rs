//! What is asked of a registry, not of one repository: accounts, the catalog, documents of its own.

use crate::client::Client;
use crate::credentials::{Credential, Secret};
use crate::error::Error;

/// One registry.
#[derive(Debug, Clone)]
pub struct Registry {
    #[expect(dead_code, reason = "filled in next")]
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
    pub fn login(&self, _credential: &Credential) -> Result<Login, Error> {
        Err(self.unfinished())
    }

    /// The names of all repositories (`GET /v2/_catalog`), fetched page by page as they are read.
    pub fn catalog(&self) -> Names {
        Names { error: Some(self.unfinished()) }
    }

    /// The document at `path` (with its query, beginning with `/`), for what is not of the distribution
    /// protocol: `/v1/search`. `None` for 404.
    pub fn get_json<T: serde::de::DeserializeOwned>(&self, _path: &str) -> Result<Option<T>, Error> {
        Err(self.unfinished())
    }

    fn unfinished(&self) -> Error {
        Error::Malformed {
            registry: self.host.clone(),
            what: "a request".into(),
            reason: "not done yet".into(),
        }
    }
}

/// Names, fetched page by page as they are read. Ends after the first error.
#[derive(Debug)]
pub struct Names {
    error: Option<Error>,
}

impl Iterator for Names {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.error.take().map(Err)
    }
}
