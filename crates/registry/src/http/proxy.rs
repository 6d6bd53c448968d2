//! Which proxy leads to a host: the values of `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, as Go's
//! `golang.org/x/net/http/httpproxy` reads them.
//!
//! The environment itself is read by the binary.

/// Proxies by scheme of the request, and who is reached without.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// For plain HTTP: a URL, or `host:port`.
    pub http: Option<String>,
    /// For TLS: a URL, or `host:port`.
    pub https: Option<String>,
    /// Hosts, domains, addresses and networks, separated by commas.
    pub no_proxy: Option<String>,
}
