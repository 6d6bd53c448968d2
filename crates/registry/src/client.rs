//! What a process knows about talking to registries.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use oci::Reference;

use crate::credentials::{Anonymous, Credentials};
use crate::exchange::Sites;
use crate::hosts::Hosts;
use crate::http::agents::Agents;
use crate::http::proxy::Proxies;
use crate::registry::Registry;
use crate::repository::Repository;
use crate::retry::Retry;

/// How to reach registries, and who we are there.
#[derive(Clone)]
pub struct Options {
    /// Mirrors, hosts without TLS, certificates. By default Docker's rules without any configuration.
    pub hosts: Hosts,
    /// Where accounts are looked up. By default nowhere.
    pub credentials: Arc<dyn Credentials>,
    /// Proxies. By default none.
    pub proxy: Proxies,
    /// PEM file of the authorities to trust instead of the system's (`SSL_CERT_FILE`).
    pub ca_file: Option<PathBuf>,
    /// When a failed request is sent again.
    pub retry: Retry,
    /// A connection on which no byte, or next to none, comes or goes for this long is dead. 30 s by default.
    pub stall: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            hosts: Hosts::default(),
            credentials: Arc::new(Anonymous),
            proxy: Proxies::default(),
            ca_file: None,
            retry: Retry::default(),
            stall: Duration::from_secs(30),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Proxies may have a password in them.
        f.debug_struct("Options").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// What a process knows about talking to registries: connections, tokens, which way led to whom. Made
/// once, shared; a clone is the same client.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub options: Options,
    pub agents: Agents,
    pub sites: Sites,
}

impl Client {
    /// A client. Nothing is read or sent yet.
    pub fn new(options: Options) -> Client {
        let agents = Agents::new(options.proxy.clone(), options.ca_file.clone(), options.stall);
        Client { shared: Arc::new(Shared { options, agents, sites: Sites::default() }) }
    }

    /// The repository of `reference`; its tag and digest do not matter. Nothing is sent yet.
    pub fn repository(&self, reference: &Reference) -> Repository {
        Repository::new(self.clone(), &reference.registry, &reference.repository)
    }

    /// The registry at `host` (with port, as references name it). Nothing is sent yet.
    pub fn registry(&self, host: &str) -> Registry {
        Registry::new(self.clone(), host)
    }
}

impl Default for Client {
    /// With [`Options::default`].
    fn default() -> Client {
        Client::new(Options::default())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
