//! Debian's `docker-registry`, filled by skopeo: what comes from there is what was put in.

use std::process::{Child, Command, Stdio};

use super::registry::{Tar, noise};
use crate::harness::{TestStore, ran};

/// `docker-registry` on a port of its own, with its data in a directory that goes with it.
struct DockerRegistry {
    child: Child,
    address: String,
    _dir: tempfile::TempDir,
}

impl DockerRegistry {
    /// `None`, said on stdout, where it or skopeo is not installed.
    fn start() -> Option<DockerRegistry> {
        if ["docker-registry", "skopeo"]
            .iter()
            .any(|program| Command::new(program).arg("--version").output().is_err())
        {
            println!("skipped: docker-registry or skopeo is not installed");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("strake-registry-").tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let root = dir.path().join("data");
        let config = dir.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: {address}}}\n",
            root.display()
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = DockerRegistry { child, address, _dir: dir };
        crate::containers::until("the registry listens", || {
            std::net::TcpStream::connect(&registry.address).is_ok()
        });
        Some(registry)
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_skopeo_pushed() {
    let Some(registry) = DockerRegistry::start() else { return };
    let from = TestStore::new();
    // Two layers, the upper one with a link to a file of the lower.
    let (lower, upper) = (from.dir().join("lower.tar"), from.dir().join("upper.tar"));
    std::fs::write(&lower, Tar::new().directory("d").file("d/f", noise(1, 300_000)).finish()).unwrap();
    std::fs::write(&upper, Tar::new().file("g", "upper").finish()).unwrap();
    from.ok(&["import", lower.to_str().unwrap(), "lower"]);
    std::fs::write(from.dir().join("Dockerfile"), "FROM lower\nADD upper.tar /\n").unwrap();
    from.ok(&["build", "-q", "-t", "both", "."]);
    let archive = from.dir().join("both.tar");
    from.ok(&["save", "-o", archive.to_str().unwrap(), "both"]);
    let tree = |store: &TestStore, name: &str| {
        let id = store.ok(&["create", name, "x"]);
        store.command().args(["export", id.trim_end()]).output().unwrap().stdout
    };
    let wanted = tree(&from, "both");
    for (tag, args) in [
        ("oci", &["--format", "oci"][..]),
        ("docker", &["--format", "v2s2"]),
        ("zstd", &["--format", "oci", "--dest-compress-format", "zstd"]),
    ] {
        let name = format!("{}/some/where:{tag}", registry.address);
        let pushed = ran(Command::new("skopeo")
            .args(["copy", "-q", "--insecure-policy", "--dest-tls-verify=false"])
            .args(args)
            .arg(format!("docker-archive:{}", archive.display()))
            .arg(format!("docker://{name}")));
        assert_eq!(pushed.code, 0, "{pushed:?}");
        let store = TestStore::new();
        assert_eq!(store.ok(&["pull", "-q", &name]), format!("{name}\n"));
        assert_eq!(tree(&store, &name), wanted, "{tag}");
        let digests = store.ok(&["inspect", "-f", "{{json .RepoDigests}}", &name]);
        let seen = ran(Command::new("skopeo")
            .args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}"])
            .arg(format!("docker://{name}")));
        assert!(digests.contains(seen.stdout.trim_end()), "{digests} {seen:?}");
        store.ok(&["system", "check"]);
    }
}
