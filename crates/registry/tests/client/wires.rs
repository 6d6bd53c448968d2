//! What lies between: TLS by authorities of one's own, proxies, and wires that break.

use std::fs;
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use oci::Digest;
use registry::{Client, Error, Hosts, Options, Proxies, Repository};

use crate::support::debian::{DebianRegistry, Kind};
use crate::support::fault::{Fault, Reply};
use crate::support::wire::{Manner, Wire};
use crate::support::{bytes, layer, options, reference, repository};

fn push(repository: &Repository, blob: &[u8]) -> (Result<(), Error>, Vec<u64>) {
    let mut opened = Vec::new();
    let held = blob.to_vec();
    let result = repository.push_blob(
        &layer(blob),
        &mut |offset| {
            opened.push(offset);
            Ok(Box::new(Cursor::new(held[offset as usize..].to_vec())))
        },
        &|_| {},
    );
    (result, opened)
}

#[test]
fn wires_that_break() {
    let Some(server) = DebianRegistry::start(Kind::Plain) else { return };
    let blob = bytes(5 << 20);
    // The first three connections carry 2 MiB to the registry. (It forgets an upload that was cut within a
    // request: it begins anew.)
    let wire = Wire::start(&server.host(), Manner::CutUpwards { bytes: 2 << 20, connections: 3 });
    let (pushed, opened) = push(&repository(&wire.host()), &blob);
    pushed.unwrap();
    assert_eq!(opened, [0, 0, 0]);
    assert_eq!(repository(&server.host()).has_blob(&Digest::sha256(&blob)).unwrap(), Some(5 << 20));

    // And a megabyte from it.
    let wire = Wire::start(&server.host(), Manner::CutDownwards(1 << 20));
    let mut read = Vec::new();
    repository(&wire.host()).blob(&layer(&blob), 0).unwrap().read_to_end(&mut read).unwrap();
    assert!(read == blob);
}

#[test]
fn proxies_lead_there() {
    let server = Fault::start(|seen| match seen.header("host") {
        Some("registry.test") => Reply::ok(bytes(1000)),
        _ => Reply::new(500),
    });
    let wire = Wire::start(&server.host(), Manner::Proxy);
    let proxy = format!("http://me:hunter2@{}", wire.host());
    let hosts = Hosts { insecure: vec!["registry.test".to_owned()], ..Hosts::default() };
    let options = Options { hosts, proxy: Proxies::new(&proxy, &proxy, "other.test"), ..options() };
    let repository = Client::new(options.clone()).repository(&reference("registry.test", "a/b"));
    assert_eq!(repository.small_blob(&layer(&bytes(1000)), 1000).unwrap(), bytes(1000));
    assert_eq!(wire.tunnels(), ["registry.test:443", "registry.test:80"]);

    // A proxy that is none is named without its password.
    let proxy = Proxies::new("", "http://me:hunter2@127.0.0.1:1", "");
    let client = Client::new(Options { proxy, ..options });
    let error = client.repository(&reference("registry.test", "a/b")).manifest("x").unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

/// An authority, and certificates for 127.0.0.1 by it, made by openssl.
struct Authority {
    dir: tempfile::TempDir,
}

impl Authority {
    fn new() -> Option<Authority> {
        if Command::new("openssl").arg("version").output().is_err() {
            eprintln!("openssl is not installed: not tested");
            return None;
        }
        let authority = Authority { dir: tempfile::tempdir().unwrap() };
        authority.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=authority -addext basicConstraints=critical,CA:TRUE");
        for name in ["server", "client"] {
            authority.openssl(&format!(
                "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
            ));
            fs::write(authority.path("ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
            authority.openssl(&format!(
                "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out {name}.crt"
            ));
        }
        Some(authority)
    }

    fn openssl(&self, arguments: &str) {
        let ran = Command::new("openssl").args(arguments.split(' ')).current_dir(self.dir.path()).output();
        let ran = ran.unwrap();
        assert!(ran.status.success(), "{arguments}: {}", String::from_utf8_lossy(&ran.stderr));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A directory like `/etc/docker/certs.d`, with files of a host.
    fn certificates(&self, host: &str, files: &[(&str, &str)]) -> Hosts {
        let root = self.path(&format!("certs-{}", files.len()));
        let dir = root.join(host);
        fs::create_dir_all(&dir).unwrap();
        for (from, to) in files {
            fs::copy(self.path(from), dir.join(to)).unwrap();
        }
        Hosts { certificates: vec![root], ..Hosts::default() }
    }
}

/// A name that is no loopback address to the client, so that certificates count: it is reached by a proxy.
fn strict(wire: &Wire, hosts: Hosts, ca_file: Option<&Path>) -> Repository {
    let options = Options {
        hosts,
        proxy: Proxies::new("", &format!("http://{}", wire.host()), ""),
        ca_file: ca_file.map(Path::to_owned),
        ..options()
    };
    Client::new(options).repository(&reference("192.0.2.1:5000", "a/b"))
}

#[test]
fn authorities_of_ones_own() {
    let Some(authority) = Authority::new() else { return };
    // The certificate is for another address too: the one that the client thinks it speaks to.
    fs::write(authority.path("ext"), "subjectAltName=IP:192.0.2.1,IP:127.0.0.1\n").unwrap();
    authority.openssl(
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out server.crt",
    );
    let tls = (authority.path("server.crt"), authority.path("server.key"));
    let Some(server) = DebianRegistry::start_with(Kind::Plain, Some((&tls.0, &tls.1))) else { return };
    let wire = Wire::start(&server.host(), Manner::Proxy);
    let host = "192.0.2.1:5000";

    // Nobody vouches for it.
    let error = strict(&wire, Hosts::default(), None).head("x").unwrap_err();
    assert!(matches!(&error, Error::Tls { reason, .. } if reason.contains("unknown authority")), "{error}");
    // Unless the system's authorities are these, or the host's are.
    assert_eq!(strict(&wire, Hosts::default(), Some(&authority.path("ca.crt"))).head("x").unwrap(), None);
    let own = authority.certificates(host, &[("ca.crt", "ca.crt")]);
    assert_eq!(strict(&wire, own, None).head("x").unwrap(), None);
    // A host that need not be trusted is not; Docker's loopback addresses are such.
    assert_eq!(repository(&server.host()).head("x").unwrap(), None);
    // A file that is missing is named.
    let error = strict(&wire, Hosts::default(), Some(&authority.path("missing"))).head("x").unwrap_err();
    assert!(matches!(&error, Error::Local { doing, .. } if doing.contains("missing")), "{error}");
    // What is shown of us is read and checked, whether or not it is asked for.
    let files = [("ca.crt", "ca.crt"), ("client.crt", "client.cert"), ("client.key", "client.key")];
    assert_eq!(strict(&wire, authority.certificates(host, &files), None).head("x").unwrap(), None);
    let files = [
        ("ca.crt", "ca.crt"),
        ("client.crt", "client.cert"),
        ("server.key", "client.key"),
        ("ca.crt", "b.crt"),
    ];
    let error = strict(&wire, authority.certificates(host, &files), None).head("x").unwrap_err();
    assert!(
        matches!(&error, Error::Local { source, .. } if source.to_string().contains("not the key")),
        "{error}"
    );

    // One that speaks no TLS, where TLS is asked for.
    let plain = Fault::start(|_| Reply::ok("{}"));
    let wire = Wire::start(&plain.host(), Manner::Proxy);
    let error = strict(&wire, Hosts::default(), None).head("x").unwrap_err();
    assert!(
        matches!(&error, Error::Tls { reason, .. } if reason.contains("HTTP response to HTTPS")),
        "{error}"
    );
    assert!(plain.seen().is_empty());
}

#[test]
fn tls_does_not_lead_to_plain_http() {
    let Some(authority) = Authority::new() else { return };
    let plain = Fault::start(|_| Reply::ok("{}"));
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Command::new("openssl")
        .args(["s_server", "-accept", &free.to_string(), "-cert", "server.crt", "-key", "server.key"])
        .current_dir(authority.dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(server.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().starts_with("ACCEPT")));
    // What it is given goes to whoever connects.
    let answer = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{}/elsewhere\r\nContent-Length: 0\r\n\r\n",
        plain.host()
    );
    server.stdin.as_mut().unwrap().write_all(answer.as_bytes()).unwrap();
    let error = repository(&format!("127.0.0.1:{free}")).manifest("x").unwrap_err();
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(
        matches!(&error, Error::Redirects { reason, .. } if reason.contains("from TLS to plain HTTP")),
        "{error}"
    );
    assert!(plain.seen().is_empty());
}
