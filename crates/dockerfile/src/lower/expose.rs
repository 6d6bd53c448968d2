//! `EXPOSE`: ports and ranges to `port/protocol`.
//!
//! The host parts that `docker run -p` knows are read and dropped, as BuildKit does: it warns.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The ports of one word, and what is odd about it.
#[derive(Debug, PartialEq)]
pub(crate) struct Exposed {
    /// First and last port.
    pub(crate) ports: (u16, u16),
    /// `tcp`, `udp` or `sctp`.
    pub(crate) protocol: &'static str,
    /// Whether the protocol was written in lower case.
    pub(crate) lower_case: bool,
    /// Whether a host address or port was written.
    pub(crate) host: bool,
}

impl Exposed {
    /// Each port with its protocol.
    pub(crate) fn list(&self) -> impl ExactSizeIterator<Item = String> + '_ {
        let (first, last) = self.ports;
        // Not `first..=last`: that has no exact size, and a `u32` here ends at 65,536.
        (u32::from(first)..u32::from(last) + 1)
            .map(|port| format!("{port}/{}", self.protocol))
            .collect::<Vec<_>>()
            .into_iter()
    }
}

/// Reads `[[address:]hostport:]port[-port][/protocol]`.
///
/// # Errors
/// What is wrong with it, in BuildKit's words.
pub(crate) fn parse(word: &str) -> Result<Exposed, String> {
    let parts: Vec<&str> = word.split(':').collect();
    let (address, host_port, container) = match parts.as_slice() {
        [container] => (String::new(), "", *container),
        [host, container] => (String::new(), *host, *container),
        [address @ .., host, container] => (address.join(":"), *host, *container),
        [] => (String::new(), "", ""),
    };
    let (port, protocol) = container.split_once('/').unwrap_or((container, ""));
    if port.is_empty() {
        return Err(format!("invalid port: {word:?}: no port specified"));
    }
    let lowered = protocol.to_lowercase();
    let known = match lowered.as_str() {
        "" | "tcp" => "tcp",
        "udp" => "udp",
        "sctp" => "sctp",
        _ => return Err(format!("invalid port: {word:?}: invalid proto: {protocol}")),
    };
    if !address.is_empty() && !is_address(&address) {
        return Err(format!("invalid IP address: {address}"));
    }
    let ports = range(port).ok_or_else(|| format!("invalid containerPort: {port}"))?;
    if !host_port.is_empty() {
        let host = range(host_port).ok_or_else(|| format!("invalid hostPort: {host_port}"))?;
        if ports.0 != ports.1 && ports.1 - ports.0 != host.1 - host.0 {
            return Err(format!(
                "invalid ranges specified for container and host Ports: {port} and {host_port}"
            ));
        }
    }
    Ok(Exposed {
        ports,
        protocol: known,
        lower_case: protocol == lowered,
        host: !address.is_empty() || !host_port.is_empty(),
    })
}

fn is_address(text: &str) -> bool {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse::<Ipv6Addr>().is_ok() || bare.parse::<Ipv4Addr>().is_ok()
}

fn range(text: &str) -> Option<(u16, u16)> {
    // `parse` would take a sign.
    let port = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?;
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(word: &str, ports: &[&str]) {
        let exposed = parse(word).unwrap();
        assert_eq!(exposed.list().collect::<Vec<_>>(), ports);
    }

    #[test]
    fn words() {
        check("80", &["80/tcp"]);
        check("0", &["0/tcp"]);
        check("65535/UDP", &["65535/udp"]);
        check("80/", &["80/tcp"]);
        check("3000-3002/sctp", &["3000/sctp", "3001/sctp", "3002/sctp"]);
        check("8080:80", &["80/tcp"]);
        check("0.0.0.0:1234-1235:3333-3334/tcp", &["3333/tcp", "3334/tcp"]);
        check("8000-9000:80", &["80/tcp"]);
        check("[2001:4860:0:2001::68]::333", &["333/tcp"]);
        check("::1:80:80", &["80/tcp"]);
        check("::::80", &["80/tcp"]);
        assert_eq!(parse("0-65535").unwrap().list().len(), 65_536);
    }

    #[test]
    fn refused() {
        for word in [
            "",
            "/tcp",
            "80/http",
            "x",
            "65536",
            "-1",
            "+1",
            "80-",
            "90-80",
            "1-2-3",
            "a:80",
            "1-2:3-5",
            "80:",
            "localhost:1:1",
            "0x50",
        ] {
            assert!(parse(word).is_err(), "{word:?} was taken");
        }
    }

    #[test]
    fn oddities() {
        assert!(!parse("80/TcP").unwrap().lower_case);
        assert!(parse("80:80").unwrap().host);
        assert!(!parse("80").unwrap().host);
    }
}
