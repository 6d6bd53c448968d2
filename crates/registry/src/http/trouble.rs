//! Why there is no answer, or no whole one: the HTTP library's errors, sorted by what is to be done.

use std::io;

use ureq::Timeout;

/// What went wrong between here and the other side's answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// No connection: no such host, no route, a proxy that will not.
    Unreachable(String),
    /// Connection refused: nobody listens.
    Refused,
    /// A connection that ended before the answer did.
    Cut(String),
    /// Silence, or next to it.
    Stalled,
    /// No TLS, or none to be trusted.
    Tls(String),
    /// Not HTTP, or not as it should be.
    Malformed(String),
    /// Something on this machine.
    Local { doing: String, source: io::Error },
}

impl Trouble {
    /// Sorts an error of a request.
    pub fn of(error: ureq::Error) -> Trouble {
        match error {
            ureq::Error::Io(error) => Trouble::of_io(&error),
            ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
                Trouble::Unreachable("no connection in time".to_owned())
            }
            ureq::Error::Timeout(_) => Trouble::Stalled,
            ureq::Error::HostNotFound => Trouble::Unreachable("no such host".to_owned()),
            ureq::Error::ConnectionFailed => Trouble::Unreachable("connection failed".to_owned()),
            ureq::Error::ConnectProxyFailed(reason) => {
                Trouble::Unreachable(format!("by its proxy: {reason}"))
            }
            ureq::Error::InvalidProxyUrl => Trouble::Unreachable("its proxy's URL is malformed".to_owned()),
            ureq::Error::Rustls(error) => Trouble::of_tls(&error),
            ureq::Error::Tls(reason) => Trouble::Tls(reason.to_owned()),
            ureq::Error::LargeResponseHeader(..) => Trouble::Malformed("its headers have no end".to_owned()),
            ureq::Error::BodyStalled => Trouble::Cut("it ended early".to_owned()),
            // The text of others may hold a header or a URL.
            ureq::Error::Protocol(error) => Trouble::Malformed(protocol(&error.to_string())),
            _ => Trouble::Malformed("no HTTP that is understood".to_owned()),
        }
    }

    /// Sorts an error met while reading a body.
    pub fn of_io(error: &io::Error) -> Trouble {
        if let Some(inner) = error.get_ref() {
            if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
                return Trouble::of_tls(tls);
            }
            match inner.downcast_ref::<ureq::Error>() {
                Some(ureq::Error::Timeout(_)) => return Trouble::Stalled,
                Some(ureq::Error::Protocol(error)) => {
                    return Trouble::Malformed(protocol(&error.to_string()));
                }
                Some(ureq::Error::BodyStalled) => return Trouble::Cut("it ended early".to_owned()),
                _ => {}
            }
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Trouble::Refused,
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Trouble::Stalled,
            io::ErrorKind::UnexpectedEof => Trouble::Cut("connection closed".to_owned()),
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
                Trouble::Cut("connection reset".to_owned())
            }
            _ => Trouble::Unreachable(error.to_string()),
        }
    }

    fn of_tls(error: &rustls::Error) -> Trouble {
        Trouble::Tls(match error {
            // Docker's words, which people search for.
            rustls::Error::InvalidMessage(_) => "server gave HTTP response to HTTPS client".to_owned(),
            rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => {
                "certificate signed by unknown authority".to_owned()
            }
            rustls::Error::InvalidCertificate(reason) => format!("invalid certificate: {reason}"),
            other => other.to_string(),
        })
    }
}

/// The kind of a protocol error, without what the other side wrote.
fn protocol(text: &str) -> String {
    text.split(':').next().unwrap_or(text).to_owned()
}
