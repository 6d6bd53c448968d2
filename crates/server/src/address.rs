//! The address to listen on: `HOST:PORT` with a name, an IPv4 or a bracketed IPv6 address, or `:PORT`.

use std::net::{SocketAddr, ToSocketAddrs};

use crate::{Error, Result};

/// The socket addresses that `addr` stands for; never none.
pub(crate) fn resolve(addr: &str) -> Result<Vec<SocketAddr>> {
    let invalid = |reason: String| Error::Address { addr: addr.to_owned(), reason };
    if !addr.contains(':') {
        return Err(invalid("there is no port; 127.0.0.1:5000 is one".to_owned()));
    }
    // All interfaces: by IPv6, which takes IPv4 along, or by IPv4 where there is no other.
    let full = match addr.strip_prefix(':') {
        Some(port) => vec![format!("[::]:{port}"), format!("0.0.0.0:{port}")],
        None => vec![addr.to_owned()],
    };
    let mut found: Vec<SocketAddr> = Vec::new();
    for addr in full {
        found.extend(addr.to_socket_addrs().map_err(|e| invalid(e.to_string()))?);
    }
    if found.is_empty() {
        return Err(invalid("the name has no address".to_owned()));
    }
    Ok(found)
}

/// Whether only this machine reaches all of them.
pub(crate) fn is_loopback(addresses: &[SocketAddr]) -> bool {
    addresses.iter().all(|address| address.ip().to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_are_loopback() {
        for (addr, loopback) in [
            ("127.0.0.1:5000", true),
            ("127.8.0.1:0", true),
            ("[::1]:5000", true),
            ("[::ffff:127.0.0.1]:5000", true),
            ("localhost:5000", true),
            ("0.0.0.0:5000", false),
            ("[::]:5000", false),
            (":5000", false),
            ("192.0.2.1:5000", false),
        ] {
            assert_eq!(is_loopback(&resolve(addr).unwrap()), loopback, "{addr}");
        }
        for addr in ["", "5000", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "::1:5000x"] {
            assert!(resolve(addr).is_err(), "{addr}");
        }
    }
}
