//! Where a registry is reached: its endpoints in order, and how each is to be trusted.
//!
//! Without configuration these are Docker's rules: `docker.io` is served by `registry-1.docker.io`; a
//! loopback address need not speak TLS.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::error::Error;

/// What is configured about registries' hosts.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    /// Hosts (with port, as references name them) that may be spoken to without TLS or with a
    /// certificate that is not checked, besides loopback addresses.
    pub insecure: Vec<String>,
}

/// One place that serves a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
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
    /// The places that serve `repository` of `registry`, in the order to be tried: mirrors first, the
    /// registry's own host last. At least one.
    ///
    /// # Errors
    /// [`Error::Blocked`].
    pub fn endpoints(&self, registry: &str, repository: &str) -> Result<Vec<Endpoint>, Error> {
        Ok(vec![Endpoint { repository: repository.to_owned(), ..self.origin(registry)? }])
    }

    /// The registry's own host, for what is asked of no repository: accounts, catalogs, search.
    ///
    /// # Errors
    /// [`Error::Blocked`].
    pub fn origin(&self, registry: &str) -> Result<Endpoint, Error> {
        let host = match registry {
            "docker.io" => "registry-1.docker.io",
            other => other,
        };
        let insecure = is_loopback(host) || self.insecure.iter().any(|known| known == registry);
        Ok(Endpoint {
            host: host.to_owned(),
            repository: String::new(),
            scheme: if insecure { Scheme::HttpsOrHttp } else { Scheme::Https },
            tls: Tls { unverified: insecure, ..Tls::default() },
            mirror: None,
        })
    }
}

/// Whether `host`, with or without a port, is this machine: `localhost`, 127.0.0.0/8 or `[::1]`.
pub fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => host.split(':').next().unwrap_or(host),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback() {
        for host in ["localhost", "localhost:5000", "127.0.0.1", "127.8.8.8:80", "[::1]:5000", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example.com", "10.0.0.1:5000", "[::2]", "example.com", "1270.0.0.1"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn origin_follows_docker() {
        let hosts = Hosts { insecure: vec!["lab:5000".into()] };
        let shown = |registry| {
            let endpoint = hosts.origin(registry).unwrap();
            format!("{} {:?} {}", endpoint.host, endpoint.scheme, endpoint.tls.unverified)
        };
        assert_eq!(shown("docker.io"), "registry-1.docker.io Https false");
        assert_eq!(shown("ghcr.io"), "ghcr.io Https false");
        assert_eq!(shown("127.0.0.1:5000"), "127.0.0.1:5000 HttpsOrHttp true");
        assert_eq!(shown("lab:5000"), "lab:5000 HttpsOrHttp true");
        assert_eq!(shown("lab:5001"), "lab:5001 Https false");
    }
}
