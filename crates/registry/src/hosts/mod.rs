//! Where a registry is reached: its endpoints in order, and how each is to be trusted.
//!
//! Without configuration these are Docker's rules: `docker.io` is served by `registry-1.docker.io`; a
//! loopback address need not speak TLS.

mod certificates;
mod files;
mod registries;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::PathBuf;

use crate::error::Error;

pub use files::Files;
pub(crate) use files::bounded;
pub use registries::Registries;

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct ConfigError {
    /// The file, on the host.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// What is configured about registries' hosts.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    /// Hosts (with port, as references name them) that may be spoken to without TLS or with a
    /// certificate that is not checked, besides loopback addresses.
    pub insecure: Vec<String>,
    /// What `registries.conf` says of mirrors, of insecure and of blocked registries.
    pub registries: Registries,
    /// Directories (on the host) of directories `HOST[:PORT]` with certificates, such as `/etc/docker/certs.d`.
    pub certificates: Vec<PathBuf>,
}

/// One place that serves a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The registry's name, as references have it: what accounts and certificates go by.
    pub registry: String,
    /// Host and, where it is not the scheme's own, port.
    pub host: String,
    /// The repository's name there; empty where the question was for a registry alone.
    pub repository: String,
    /// How to connect.
    pub scheme: Scheme,
    /// How to trust it, and be trusted.
    pub tls: Tls,
    /// What it is asked for: a mirror is only read from.
    pub mirror: Option<Mirror>,
}

/// With TLS or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// TLS only.
    Https,
    /// TLS, and plain HTTP where there is none, as Docker does for registries that it need not trust.
    HttpsOrHttp,
    /// Plain HTTP only.
    Http,
}

/// Certificates and keys, by path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Tls {
    /// PEM files of authorities to trust besides the system's.
    pub authorities: Vec<PathBuf>,
    /// Certificate chain and key to show, PEM.
    pub client: Option<ClientCertificate>,
    /// Take any certificate.
    pub unverified: bool,
}

/// What this side shows in a TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientCertificate {
    /// PEM file of the chain.
    pub certificate: PathBuf,
    /// PEM file of its key.
    pub key: PathBuf,
}

/// Which requests a mirror answers (`pull-from-mirror` of registries.conf).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mirror {
    /// All reads.
    All,
    /// What is asked for by digest.
    DigestOnly,
    /// Manifests asked for by tag.
    TagOnly,
}

impl Hosts {
    /// The places to read `repository` of `registry` from, in the order to be tried: mirrors first, the registry's own
    /// location last. At least one.
    ///
    /// # Errors
    /// [`Error::Blocked`]; [`Error::Local`] for a directory of certificates that is not whole.
    pub fn endpoints(&self, registry: &str, repository: &str) -> Result<Vec<Endpoint>, Error> {
        let name = format!("{registry}/{repository}");
        let Some((rule, covered)) = self.registries.find(&name) else {
            return Ok(vec![self.endpoint(registry, repository.to_owned(), false, None)?]);
        };
        if rule.blocked {
            return Err(Error::Blocked { registry: name, by: BY.to_owned() });
        }
        let wrong = |reason: String| Error::Local {
            doing: format!("read of {BY} where {name} is"),
            source: std::io::Error::other(reason),
        };
        let mut endpoints = Vec::new();
        for mirror in &rule.mirrors {
            let (at, path) = mirror.relocated(&name, covered).map_err(wrong)?;
            endpoints.push(self.endpoint(&at, path, mirror.insecure, Some(mirror.serves))?);
        }
        let (at, path) = rule.relocated(&name, covered).map_err(wrong)?;
        endpoints.push(self.endpoint(&at, path, rule.insecure, None)?);
        Ok(endpoints)
    }

    /// The place to write `repository` of `registry` to: what its name says, as podman has it, wherever it is read from.
    ///
    /// # Errors
    /// As [`Hosts::endpoints`].
    pub fn destination(&self, registry: &str, repository: &str) -> Result<Endpoint, Error> {
        let name = format!("{registry}/{repository}");
        let rule = self.registries.find(&name).map(|(rule, _)| rule);
        match rule {
            Some(rule) if rule.blocked => Err(Error::Blocked { registry: name, by: BY.to_owned() }),
            rule => {
                self.endpoint(registry, repository.to_owned(), rule.is_some_and(|rule| rule.insecure), None)
            }
        }
    }

    /// The registry's own host, for what is asked of no repository: accounts, catalogs, search.
    ///
    /// # Errors
    /// As [`Hosts::endpoints`].
    pub fn origin(&self, registry: &str) -> Result<Endpoint, Error> {
        let rule = self.registries.find(registry).map(|(rule, _)| rule);
        match rule {
            Some(rule) if rule.blocked => {
                Err(Error::Blocked { registry: registry.to_owned(), by: BY.to_owned() })
            }
            rule => self.endpoint(registry, String::new(), rule.is_some_and(|rule| rule.insecure), None),
        }
    }

    fn endpoint(
        &self,
        registry: &str,
        repository: String,
        insecure: bool,
        mirror: Option<Mirror>,
    ) -> Result<Endpoint, Error> {
        let host = match registry {
            "docker.io" => "registry-1.docker.io",
            other => other,
        };
        let insecure = insecure || is_loopback(host) || self.insecure.iter().any(|known| known == registry);
        let mut tls = Tls { unverified: insecure, ..Tls::default() };
        certificates::add(&self.certificates, registry, &mut tls)?;
        Ok(Endpoint {
            registry: registry.to_owned(),
            host: host.to_owned(),
            repository,
            scheme: if insecure { Scheme::HttpsOrHttp } else { Scheme::Https },
            tls,
            mirror,
        })
    }
}

/// What errors name as the source of what was configured.
const BY: &str = "registries.conf";

/// Whether `host`, with or without a port, is this machine: `localhost`, 127.0.0.0/8 or `[::1]`.
pub fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => host.split(':').next().unwrap_or(host),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
