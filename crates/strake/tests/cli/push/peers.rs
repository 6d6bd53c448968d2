//! What strake pushed, pulled by others: they verify each layer against its digests.

use std::process::Command;

use serde_json::Value;

use super::debian::DockerRegistry;
use super::{push, with_app};
use crate::containers::is_root;
use crate::dockerd::Dockerd;
use crate::harness::ran;

fn have(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

#[test]
fn skopeo_and_podman_read_what_was_pushed() {
    let Some(registry) = DockerRegistry::start() else { return };
    if !have("skopeo") {
        return;
    }
    let store = with_app();
    let layers: Value = serde_json::from_str(&store.ok(&[
        "image",
        "inspect",
        "--format",
        "{{json .RootFS.Layers}}",
        "app:1",
    ]))
    .unwrap();
    for (tag, options) in [
        ("gzip", &[][..]),
        ("zstd", &["--compression", "zstd"]),
        ("docker", &["--compression", "gzip", "--format", "docker"]),
    ] {
        let name = registry.name(&format!("app:{tag}"));
        store.ok(&["tag", "app:1", &name]);
        let digest = push(&store, &name, options);
        let at = format!("docker://{name}");
        let inspected = ran(Command::new("skopeo").args(["inspect", "--tls-verify=false", &at]));
        let found: Value =
            serde_json::from_str(&inspected.stdout).unwrap_or_else(|_| panic!("{inspected:?}"));
        assert_eq!(found["Digest"], digest.as_str());
        if !is_root() || !have("podman") {
            continue;
        }
        let place = store.dir().join(format!("podman-{tag}"));
        let podman = |args: &[&str]| {
            ran(Command::new("podman")
                .args(["--storage-driver", "vfs", "--root"])
                .arg(place.join("root"))
                .arg("--runroot")
                .arg(place.join("run"))
                .args(args))
        };
        let pulled = podman(&["pull", "-q", "--tls-verify=false", &name]);
        assert_eq!(pulled.code, 0, "{pulled:?}");
        let shown = podman(&["image", "inspect", "--format", "{{json .RootFS.Layers}}", &name]);
        assert_eq!(serde_json::from_str::<Value>(&shown.stdout).unwrap(), layers, "{shown:?}");
    }
}

#[test]
fn docker_pulls_what_was_pushed() {
    let Some(registry) = DockerRegistry::start() else { return };
    let store = with_app();
    let Some(dockerd) = Dockerd::start(store.dir()) else { return };
    for (tag, options) in [("gzip", &[][..]), ("docker", &["--compression", "gzip", "--format", "docker"])] {
        let name = registry.name(&format!("app:{tag}"));
        store.ok(&["tag", "app:1", &name]);
        push(&store, &name, options);
        dockerd.ok(&["pull", "-q", &name]);
        let shown = dockerd.ok(&["image", "inspect", "--format", "{{json .RootFS.Layers}}", &name]);
        assert_eq!(shown, store.ok(&["image", "inspect", "--format", "{{json .RootFS.Layers}}", "app:1"]));
    }
    // And it loads and runs what a build wrote for it.
    let dir = store.dir().join("for-docker");
    std::fs::create_dir(&dir).unwrap();
    std::fs::copy("/bin/busybox", dir.join("busybox")).unwrap();
    let file =
        "FROM scratch\nCOPY busybox /busybox\nENTRYPOINT [\"/busybox\"]\nCMD [\"echo\", \"it runs\"]\n";
    std::fs::write(dir.join("Dockerfile"), file).unwrap();
    for compression in ["gzip", "uncompressed"] {
        let (tar, name) = (dir.join("image.tar"), format!("built:{compression}"));
        let output = format!("type=docker,dest={},compression={compression}", tar.display());
        store.ok(&["build", "-q", "-t", &name, "-o", &output, dir.to_str().unwrap()]);
        assert_eq!(dockerd.ok(&["load", "-i", tar.to_str().unwrap()]), format!("Loaded image: {name}\n"));
        assert_eq!(dockerd.ok(&["run", "--rm", "--network", "none", &name]), "it runs\n");
    }
}
