//! Debian's `docker-registry`, started on a free port. Where it is not installed the tests that need
//! it say so and pass.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// `tester:geheim`, bcrypt of the least cost.
const HTPASSWD: &str = "tester:$2b$04$aJjWGdvDaJKjLOembhHO2OrvUTIGn8N2QLpy/pC8nBgkfG2JW6Ngm\n";

/// A running registry; ends when dropped, with all it has.
pub struct DebianRegistry {
    child: Child,
    port: u16,
    _root: tempfile::TempDir,
}

/// What is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Plain HTTP, open to all.
    Plain,
    /// Plain HTTP, with the account `tester:geheim`.
    Htpasswd,
}

impl DebianRegistry {
    /// `None` where there is none.
    pub fn start(kind: Kind) -> Option<DebianRegistry> {
        DebianRegistry::start_with(kind, None)
    }

    /// With TLS by that certificate and key.
    pub fn start_with(kind: Kind, tls: Option<(&Path, &Path)>) -> Option<DebianRegistry> {
        if !Path::new("/usr/bin/docker-registry").exists() {
            eprintln!("docker-registry is not installed: not tested");
            return None;
        }
        let root = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {0}/data}}\n  delete: {{enabled: true}}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            root.path().display()
        );
        if let Some((certificate, key)) = tls {
            config.push_str(&format!(
                "  tls: {{certificate: {}, key: {}}}\n",
                certificate.display(),
                key.display()
            ));
        }
        if kind == Kind::Htpasswd {
            let file = root.path().join("htpasswd");
            std::fs::write(&file, HTPASSWD).unwrap();
            config.push_str(&format!("auth:\n  htpasswd: {{realm: test, path: {}}}\n", file.display()));
        }
        let file = root.path().join("config.yml");
        std::fs::File::create(&file).unwrap().write_all(config.as_bytes()).unwrap();
        let child = Command::new("/usr/bin/docker-registry")
            .arg("serve")
            .arg(&file)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = DebianRegistry { child, port, _root: root };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "docker-registry does not start");
            thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for DebianRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
