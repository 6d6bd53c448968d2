//! Which proxy stands before a host: the values of `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, understood as Go's
//! programs (Docker, podman) understand them.
//!
//! The environment is not read here: the values are given. Connecting is the client's.

use std::fmt;
use std::net::IpAddr;

/// The proxies of a process. [`Proxies::default`] has none.
#[derive(Clone, Default)]
pub struct Proxies {
    http: Option<String>,
    https: Option<String>,
    except: Vec<Exception>,
}

/// A host that is spoken to without a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    /// `*`
    All,
    /// `10.0.0.0/8`
    Network(IpAddr, u8),
    /// `10.1.2.3`, `[::1]:80`
    Address(IpAddr, Option<String>),
    /// `example.com`, `.example.com`, `*.example.com`, each perhaps with a port. The suffix begins with a dot; whether
    /// the host without it counts too.
    Domain { suffix: String, itself: bool, port: Option<String> },
}

/// Proxies may have a password in their URL.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies")
            .field("http", &self.http.is_some())
            .field("https", &self.https.is_some())
            .field("except", &self.except)
            .finish()
    }
}

impl Proxies {
    /// Proxies for URLs of `http` and of `https`, and the list of hosts that need none, each as in the environment;
    /// empty ones count as unset.
    pub fn new(http: &str, https: &str, no_proxy: &str) -> Proxies {
        let url = |text: &str| match text {
            "" => None,
            text if text.contains("://") => Some(text.to_owned()),
            text => Some(format!("http://{text}")),
        };
        let mut except = Vec::new();
        for entry in no_proxy.split(',').map(|entry| entry.trim().to_lowercase()) {
            match exception(&entry) {
                Some(Exception::All) => {
                    except = vec![Exception::All];
                    break;
                }
                Some(exception) => except.push(exception),
                None => {}
            }
        }
        Proxies { http: url(http), https: url(https), except }
    }

    /// The URL of the proxy for a request to `host` (a name, or an address without brackets) and `port`, with TLS or
    /// without. Loopback addresses never have one. The URL may hold a password.
    pub fn of(&self, tls: bool, host: &str, port: u16) -> Option<&str> {
        let proxy = if tls { &self.https } else { &self.http };
        let proxy = proxy.as_deref()?;
        let host = host.trim().to_lowercase();
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return None;
        }
        let port = port.to_string();
        match self.except.iter().any(|exception| exception.matches(&host, address, &port)) {
            true => None,
            false => Some(proxy),
        }
    }
}

fn exception(entry: &str) -> Option<Exception> {
    if entry == "*" {
        return Some(Exception::All);
    }
    if let Some((address, bits)) = entry.split_once('/')
        && let (Ok(address), Ok(bits)) = (address.parse::<IpAddr>(), bits.parse::<u8>())
        && bits <= if address.is_ipv4() { 32 } else { 128 }
    {
        return Some(Exception::Network(address, bits));
    }
    let (host, port) = split_port(entry);
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.map(str::to_owned);
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(Exception::Address(address.to_canonical(), port));
    }
    let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
    match host.strip_prefix('.') {
        _ if host.is_empty() => None,
        Some(_) => Some(Exception::Domain { suffix: host.to_owned(), itself: false, port }),
        None => Some(Exception::Domain { suffix: format!(".{host}"), itself: true, port }),
    }
}

/// A host and its port, where there is just one colon outside brackets.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.starts_with('[') && host.ends_with(']') => {
            (host, Some(port).filter(|port| !port.is_empty()))
        }
        _ => (entry, None),
    }
}

impl Exception {
    fn matches(&self, host: &str, address: Option<IpAddr>, port: &str) -> bool {
        let port_fits = |wanted: &Option<String>| wanted.as_deref().is_none_or(|wanted| wanted == port);
        match self {
            Exception::All => true,
            Exception::Network(network, bits) => address.is_some_and(|a| within(a, *network, *bits)),
            Exception::Address(wanted, at) => address == Some(*wanted) && port_fits(at),
            Exception::Domain { suffix, itself, port: at } => {
                address.is_none()
                    && (host.ends_with(suffix.as_str()) || *itself && host == &suffix[1..])
                    && port_fits(at)
            }
        }
    }
}

fn within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => {
            let shift = 32 - u32::from(bits);
            (u64::from(a.to_bits()) >> shift) == (u64::from(n.to_bits()) >> shift)
        }
        (IpAddr::V6(a), IpAddr::V6(n)) => {
            let shift = 128 - u32::from(bits);
            a.to_bits().checked_shr(shift) == n.to_bits().checked_shr(shift)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of `hosts` (`host` or `host port`) go without a proxy.
    fn direct(no_proxy: &str, hosts: &[&str]) -> Vec<String> {
        let proxies = Proxies::new("p:1", "p:2", no_proxy);
        let direct = |spec: &&&str| {
            let (host, port) = spec.split_once(' ').unwrap_or((spec, "443"));
            proxies.of(true, host, port.parse().unwrap()).is_none()
        };
        hosts.iter().filter(direct).map(|host| (*host).to_owned()).collect()
    }

    #[test]
    fn exceptions_as_go_has_them() {
        let hosts = [
            "example.com",
            "a.example.com",
            "example.com 8080",
            "myexample.com",
            "10.1.2.3",
            "10.1.2.3 5000",
            "192.168.0.1",
            "2001:db8::1",
            "2001:db8:1::1 5000",
        ];
        for (list, expected) in [
            ("", &[] as &[&str]),
            (" , ", &[]),
            ("*", &hosts),
            ("foo.test,*", &hosts),
            ("example.com", &["example.com", "a.example.com", "example.com 8080"]),
            ("EXAMPLE.com:8080", &["example.com 8080"]),
            (".example.com", &["a.example.com"]),
            ("*.example.com", &["a.example.com"]),
            ("com", &["example.com", "a.example.com", "example.com 8080", "myexample.com"]),
            ("10.0.0.0/8", &["10.1.2.3", "10.1.2.3 5000"]),
            ("10.1.2.3:5000", &["10.1.2.3 5000"]),
            ("10.1.2.3", &["10.1.2.3", "10.1.2.3 5000"]),
            ("10.1.2", &[]),
            ("0.0.0.0/0", &["10.1.2.3", "10.1.2.3 5000", "192.168.0.1"]),
            ("10.0.0.0/33", &[]),
            ("2001:db8::/48", &["2001:db8::1"]),
            ("::/0", &["2001:db8::1", "2001:db8:1::1 5000"]),
            ("[2001:db8:1::1]:5000", &["2001:db8:1::1 5000"]),
            ("2001:db8::1", &["2001:db8::1"]),
            ("[2001:db8::1]", &["2001:db8::1"]),
            (":80,example.com", &["example.com", "a.example.com", "example.com 8080"]),
        ] {
            assert_eq!(direct(list, &hosts), expected, "NO_PROXY={list:?}");
        }
    }

    #[test]
    fn proxies_by_scheme() {
        let proxies = Proxies::new("plain:3128", "https://user:pass@tls:1", "");
        assert_eq!(proxies.of(false, "example.com", 80), Some("http://plain:3128"));
        assert_eq!(proxies.of(true, "example.com", 443), Some("https://user:pass@tls:1"));
        for loopback in ["localhost", "127.0.0.1", "127.9.9.9", "::1"] {
            assert_eq!(proxies.of(true, loopback, 443), None, "{loopback}");
        }
        assert_eq!(Proxies::new("plain:1", "", "").of(true, "example.com", 443), None);
        assert!(!format!("{proxies:?}").contains("pass"), "{proxies:?}");
    }
}
