//! Debian's `docker-registry` for a test: on a port of its own, with its data in a directory that goes with it, and an
//! account of what it was asked.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::containers::until;

pub struct DockerRegistry {
    child: Child,
    address: String,
    dir: tempfile::TempDir,
}

impl DockerRegistry {
    /// `None`, said on stdout, where it is not installed.
    pub fn start() -> Option<DockerRegistry> {
        if Command::new("docker-registry").arg("--version").output().is_err() {
            println!("skipped: docker-registry is not installed");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("strake-registry-").tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let data = dir.path().join("data");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: {address}}}\n",
            data.display()
        );
        let config = dir.path().join("config.yml");
        std::fs::write(&config, text).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(config)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let registry = DockerRegistry { child, address, dir };
        until("the registry listens", || std::net::TcpStream::connect(&registry.address).is_ok());
        Some(registry)
    }

    /// The name of something there: `127.0.0.1:PORT/REST`.
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// What it was asked so far: `METHOD /path?query STATUS`, each.
    pub fn asked(&self) -> Vec<String> {
        // 127.0.0.1 - - [DATE] "HEAD /v2/a/manifests/1 HTTP/1.1" 200 1234 "" "agent"
        let line = |line: &str| {
            let (_, rest) = line.split_once('"')?;
            let (request, rest) = rest.split_once('"')?;
            let (request, _) = request.rsplit_once(' ')?;
            let status = rest.split_whitespace().next()?;
            request.contains("/v2/").then(|| format!("{request} {status}"))
        };
        std::fs::read_to_string(self.log()).unwrap().lines().filter_map(line).collect()
    }

    /// What it was asked by `work`.
    pub fn asked_by(&self, work: impl FnOnce()) -> Vec<String> {
        let before = self.asked().len();
        work();
        let mut asked = self.asked();
        asked.split_off(before)
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
