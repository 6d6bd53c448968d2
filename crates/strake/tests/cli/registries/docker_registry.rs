//! Debian's `docker-registry`, on a port of its own, with whichever authentication a test is about.

use std::fmt::Write as _;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Who may use the registry of [`Auth::Password`].
pub const USER: &str = "ann";
/// Its password: with what has to be quoted somewhere.
pub const PASSWORD: &str = "pass:word";
/// bcrypt of it.
const HTPASSWD: &str = "ann:$2b$05$abcdefghijklmnopqrstuuDIEddBSuRWBBEY6g5zv60IAP5bSSfki\n";

/// How a registry knows who asks.
pub enum Auth<'a> {
    Nobody,
    Password,
    /// Tokens of the server at `realm`, signed by the key of `certificate`.
    Token {
        realm: &'a str,
        certificate: &'a Path,
    },
}

/// How a registry shows who it is.
#[derive(Clone, Copy)]
pub struct Tls<'a> {
    /// Its certificate chain.
    pub certificate: &'a Path,
    /// The chain's key.
    pub key: &'a Path,
    /// The authority of clients' certificates, where they have to show one.
    pub clients: Option<&'a Path>,
}

/// A registry that ends with this value.
pub struct DockerRegistry {
    _dir: TempDir,
    child: Child,
    /// `127.0.0.1:PORT`
    pub address: String,
}

impl DockerRegistry {
    /// Starts one.
    pub fn start(auth: &Auth<'_>, tls: Option<Tls<'_>>) -> DockerRegistry {
        // Between our closing it and the registry opening it the port may go to another: then once more.
        for _ in 0..5 {
            if let Some(registry) = DockerRegistry::attempt(auth, tls) {
                return registry;
            }
        }
        panic!("docker-registry does not start");
    }

    fn attempt(auth: &Auth<'_>, tls: Option<Tls<'_>>) -> Option<DockerRegistry> {
        let dir = tempfile::Builder::new().prefix("strake-registry-").tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        fs::write(dir.path().join("config.yml"), config(dir.path(), &address, auth, tls)).unwrap();
        fs::write(dir.path().join("htpasswd"), HTPASSWD).unwrap();
        let child = Command::new("docker-registry")
            .args(["serve", "config.yml"])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is missing: scripts/install-test-needs installs it");
        let mut registry = DockerRegistry { _dir: dir, child, address };
        registry.is_up().then_some(registry)
    }

    fn is_up(&mut self) -> bool {
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until && self.child.try_wait().unwrap().is_none() {
            if TcpStream::connect(&self.address).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// A name in it.
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    /// The port.
    pub fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap()
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(dir: &Path, address: &str, auth: &Auth<'_>, tls: Option<Tls<'_>>) -> String {
    let mut text = format!(
        "version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem: {{rootdirectory: {0}/data}}\n  delete: \
         {{enabled: true}}\nhttp:\n  addr: {address}\n",
        dir.display()
    );
    if let Some(Tls { certificate, key, clients }) = tls {
        let clients = clients.map(|path| format!(", clientcas: [{}]", path.display())).unwrap_or_default();
        let (certificate, key) = (certificate.display(), key.display());
        writeln!(text, "  tls: {{certificate: {certificate}, key: {key}{clients}}}").unwrap();
    }
    match auth {
        Auth::Nobody => {}
        Auth::Password => {
            writeln!(text, "auth: {{htpasswd: {{realm: test, path: {}/htpasswd}}}}", dir.display()).unwrap();
        }
        Auth::Token { realm, certificate } => {
            let certificate = certificate.display();
            writeln!(
                text,
                "auth: {{token: {{realm: \"{realm}\", service: test, issuer: issuer, rootcertbundle: {certificate}}}}}"
            )
            .unwrap();
        }
    }
    text
}
