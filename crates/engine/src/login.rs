//! `login` and `logout`: an account at a registry, tried and kept, or forgotten.
//!
//! Who logs in is asked elsewhere. Accounts are kept where Docker keeps them, so that its logins are ours.

use registry::Client;
use registry::credentials::{Accounts, Credential, Secret, Stored};

use crate::{Error, Kind, Result};

/// The registry that a login without a server's name is for.
pub const DEFAULT_REGISTRY: &str = "docker.io";

/// What the registry of docker.io is called by `login` and `logout`.
pub const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// A login that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedIn {
    /// The registry's word for it: `Login Succeeded`.
    pub status: String,
    /// Where the account was put.
    pub stored: Stored,
    /// Whether the password itself was put there, rather than a token.
    pub password: bool,
}

/// The registry that `server` names as people write it: a host, perhaps with a scheme before and a path behind.
pub fn registry_of(server: &str) -> Result<String> {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or(rest);
    match host {
        "" if server.is_empty() => Ok(DEFAULT_REGISTRY.to_owned()),
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => Ok(DEFAULT_REGISTRY.to_owned()),
        host if host.is_empty() || host.contains(['@', ' ', '?', '#', '\\']) => {
            // What stands before an @ may be a password.
            let shown = server.rsplit('@').next().unwrap_or_default();
            Err(Error::invalid(format!("{shown:?} is not the name of a registry alone"))
                .hint("write host or host:port, as in registry.example.com:5000"))
        }
        host => Ok(host.to_owned()),
    }
}

/// Tries the account at `registry` and keeps it if it is right.
///
/// # Errors
/// [`Kind::Denied`] for an account that the registry does not take: nothing is kept then.
pub fn login(
    client: &Client,
    accounts: &Accounts,
    registry: &str,
    user: &str,
    password: Secret,
) -> Result<LoggedIn> {
    let given = Credential::Password { user: user.to_owned(), password };
    let login = client.registry(registry).login(&given).map_err(|error| match error {
        registry::Error::Denied { registry, message, .. } => {
            let message = if message.is_empty() { String::new() } else { format!(": {message}") };
            Error::new(Kind::Denied, format!("login to {registry} was denied{message}"))
                .hint("the user name or the password is wrong")
        }
        other => other.into(),
    })?;
    let kept = login.identity_token.map_or(given, Credential::IdentityToken);
    let stored = accounts.store(registry, user, &kept).map_err(|error| {
        let error = Error::from(error);
        Error { message: format!("Error saving credentials: {}", error.message), ..error }
    })?;
    Ok(LoggedIn { status: login.status, stored, password: matches!(kept, Credential::Password { .. }) })
}

/// Forgets the account at `registry`. Where there is none nothing happens.
pub fn logout(accounts: &Accounts, registry: &str) -> Result<()> {
    Ok(accounts.erase(registry)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_as_people_write_them() {
        for (server, registry) in [
            ("", "docker.io"),
            ("docker.io", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("a.test", "a.test"),
            ("http://a.test:5000/v2/", "a.test:5000"),
            ("localhost:5000/path", "localhost:5000"),
            ("[::1]:5000", "[::1]:5000"),
        ] {
            assert_eq!(registry_of(server).as_deref(), Ok(registry), "{server}");
        }
        for wrong in ["https://", "/path", "user@host", "a b"] {
            assert!(registry_of(wrong).is_err(), "{wrong}");
        }
    }
}
