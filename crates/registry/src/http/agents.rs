//! Connections: a pool for each way of trusting the other side and each proxy.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, RustlsConnector, TcpConnector};
use ureq::{Agent, Proxy};

use crate::hosts::{ClientCertificate, Tls};
use crate::http::pace::PaceConnector;
use crate::http::proxy::Proxies;
use crate::http::trouble::Trouble;
use crate::http::url::Url;

/// Where systems keep the authorities that they trust: the first that is there counts (as in Go's
/// `crypto/x509`). Without any, Mozilla's list of the time this was built.
const SYSTEM_ROOTS: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Headers of an answer, in bytes.
const HEADER_LIMIT: usize = 64 << 10;

/// The pools of a client.
pub(crate) struct Agents {
    proxies: Proxies,
    ca_file: Option<PathBuf>,
    stall: Duration,
    system: OnceLock<Vec<Certificate<'static>>>,
    made: Mutex<HashMap<(Tls, Option<String>), Agent>>,
}

impl Agents {
    pub fn new(proxies: Proxies, ca_file: Option<PathBuf>, stall: Duration) -> Agents {
        Agents { proxies, ca_file, stall, system: OnceLock::new(), made: Mutex::default() }
    }

    /// How long silence is borne.
    pub fn stall(&self) -> Duration {
        self.stall
    }

    /// The pool for requests of `url` with that trust.
    pub fn for_url(&self, url: &Url, tls: &Tls) -> Result<Agent, Trouble> {
        // Without TLS no certificate matters, and none is read.
        let tls = if url.is_tls() { tls.clone() } else { Tls::default() };
        let key = (
            tls,
            self.proxies.of(url.is_tls(), url.host().trim_matches(['[', ']']), url.port()).map(str::to_owned),
        );
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = made.get(&key) {
            return Ok(agent.clone());
        }
        let tls = if url.is_tls() { self.tls(&key.0)? } else { TlsConfig::builder().build() };
        let agent = self.agent(tls, key.1.as_deref())?;
        made.insert(key, agent.clone());
        Ok(agent)
    }

    fn agent(&self, tls: TlsConfig, proxy: Option<&str>) -> Result<Agent, Trouble> {
        // The proxy's URL is not in the error: it may have a password in it.
        let proxy = proxy
            .map(Proxy::new)
            .transpose()
            .map_err(|_| Trouble::Unreachable("the proxy that is set for it is no proxy's URL".to_owned()))?;
        if proxy.as_ref().is_some_and(|p| !matches!(p.uri().scheme_str(), Some("http" | "https"))) {
            return Err(Trouble::Unreachable("only http and https proxies are spoken to".to_owned()));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("strake/", env!("CARGO_PKG_VERSION")))
            .proxy(proxy)
            .tls_config(tls)
            .max_response_header_size(HEADER_LIMIT)
            .max_idle_connections(64)
            .max_idle_connections_per_host(32)
            .timeout_resolve(Some(self.stall.min(Duration::from_secs(15))))
            .timeout_connect(Some(self.stall.min(Duration::from_secs(15))))
            .timeout_per_read(Some(self.stall))
            .timeout_per_write(Some(self.stall))
            .timeout_recv_response(Some(self.stall.saturating_mul(2)))
            .build();
        let connector =
            ().chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(PaceConnector { window: self.stall })
                .chain(RustlsConnector::default());
        Ok(Agent::with_parts(config, connector, DefaultResolver::default()))
    }

    fn tls(&self, tls: &Tls) -> Result<TlsConfig, Trouble> {
        let mut builder = TlsConfig::builder();
        if tls.unverified {
            builder = builder.disable_verification(true);
        } else if let Some(roots) = self.roots(&tls.authorities)? {
            builder = builder.root_certs(RootCerts::Specific(Arc::new(roots)));
        }
        let client = tls.client.as_ref().map(client_certificate).transpose()?;
        Ok(builder.client_cert(client).build())
    }

    fn roots(&self, extra: &[PathBuf]) -> Result<Option<Vec<Certificate<'static>>>, Trouble> {
        let mut roots = match &self.ca_file {
            Some(file) => certificates(file)?,
            None => self
                .system
                .get_or_init(|| {
                    let mut files = SYSTEM_ROOTS.iter().filter_map(|file| certificates(Path::new(file)).ok());
                    files.find(|found| !found.is_empty()).unwrap_or_default()
                })
                .clone(),
        };
        for file in extra {
            roots.extend(certificates(file)?);
        }
        Ok((!roots.is_empty()).then_some(roots))
    }
}

fn certificates(file: &Path) -> Result<Vec<Certificate<'static>>, Trouble> {
    let pem = fs::read(file).map_err(|error| local(file, error))?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        match item.map_err(|error| local(file, io::Error::other(error.to_string())))? {
            PemItem::Certificate(certificate) => found.push(certificate),
            _ => continue,
        }
    }
    Ok(found)
}

/// What is shown of us, checked here: the HTTP library takes for granted that key and chain fit.
fn client_certificate(files: &ClientCertificate) -> Result<ClientCert, Trouble> {
    let bad = |reason: &str| local(&files.key, io::Error::new(io::ErrorKind::InvalidData, reason));
    let chain = certificates(&files.certificate)?;
    if chain.is_empty() {
        return Err(local(&files.certificate, io::Error::other("there is no certificate in it")));
    }
    let pem = fs::read(&files.key).map_err(|error| local(&files.key, error))?;
    let key = PrivateKey::from_pem(&pem).map_err(|_| bad("there is no private key in it"))?;
    let der = rustls::pki_types::PrivateKeyDer::try_from(key.der().to_vec())
        .map_err(|_| bad("its private key is of no known kind"))?;
    let signing = rustls::crypto::ring::sign::any_supported_type(&der)
        .map_err(|_| bad("its private key cannot be used"))?;
    let certified = chain.iter().map(|c| rustls::pki_types::CertificateDer::from(c.der().to_vec()));
    match rustls::sign::CertifiedKey::new(certified.collect(), signing).keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(_) => return Err(bad("it is not the key of the certificate beside it")),
    }
    Ok(ClientCert::new_with_certs(&chain, key))
}

fn local(file: &Path, source: io::Error) -> Trouble {
    Trouble::Local { doing: format!("read {}", file.display()), source }
}
