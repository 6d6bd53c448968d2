//! `registry serve` and the clients that people have: skopeo, podman and docker push to it and pull from it, what one
//! pushed another pulls, and strake pulls what they pushed.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::containers::{is_root, with_busybox};
use crate::dockerd::Dockerd;
use crate::harness::{TestStore, ran};
use crate::served::Served;

/// Whether the program is there; else says that something is skipped.
fn have(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

#[track_caller]
fn peer(dir: &Path, program: &str, args: &[&str]) -> String {
    let ran = ran(Command::new(program).args(args).current_dir(dir));
    assert_eq!(ran.code, 0, "{program} {args:?}: {ran:?}");
    ran.stdout
}

/// A registry, and in its own store the image `app:1`, which is also in both kinds of archive beside it.
fn registry() -> Served {
    let store = with_busybox(TestStore::new());
    std::fs::create_dir(store.dir().join("context")).unwrap();
    let dockerfile = "FROM bb\nRUN mkdir /d && echo 1 > /d/f\nRUN rm /etc/group\nCMD [\"cat\", \"/d/f\"]\n";
    std::fs::write(store.dir().join("context/Dockerfile"), dockerfile).unwrap();
    store.ok(&["build", "-t", "app:1", "context"]);
    store.ok(&["save", "--format", "oci-archive", "-o", "o.tar", "app:1"]);
    store.ok(&["save", "-o", "d.tar", "app:1"]);
    Served::start_on(store, &[])
}

/// Pulled into a store of its own, it runs.
#[track_caller]
fn runs(name: &str) {
    let other = TestStore::new();
    other.ok(&["pull", "-q", name]);
    assert_eq!(other.ok(&["run", "--rm", name]), "1\n");
}

#[test]
fn with_skopeo() {
    if !have("skopeo") {
        return;
    }
    let served = registry();
    let dir = served.store.dir();
    let copy = |options: &[&str], from: &str, to: &str| {
        let plain = ["copy", "--insecure-policy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false"];
        let args: Vec<&str> = plain.iter().chain(options).copied().chain([from, to]).collect();
        peer(dir, "skopeo", &args)
    };
    let at = |rest: &str| format!("docker://{}", served.name(rest));
    copy(&[], "oci-archive:o.tar", &at("team/app:oci"));
    copy(&["--format", "v2s2"], "docker-archive:d.tar", &at("team/app:docker"));
    for tag in ["oci", "docker"] {
        copy(&[], &at(&format!("team/app:{tag}")), &format!("oci:back-{tag}"));
        runs(&served.name(&format!("team/app:{tag}")));
    }
    // Between repositories, with mounts.
    copy(&["--preserve-digests"], &at("team/app:oci"), &at("other/app:1"));
    let inspected = |rest: &str| -> Value {
        let text = peer(dir, "skopeo", &["inspect", "--tls-verify=false", &at(rest)]);
        serde_json::from_str(&text).unwrap()
    };
    let (first, second) = (inspected("team/app:oci"), inspected("other/app:1"));
    assert_eq!((&first["Digest"], &first["Layers"]), (&second["Digest"], &second["Layers"]));
    let tags = peer(dir, "skopeo", &["list-tags", "--tls-verify=false", &at("team/app")]);
    assert_eq!(serde_json::from_str::<Value>(&tags).unwrap()["Tags"], serde_json::json!(["docker", "oci"]));
    peer(dir, "skopeo", &["delete", "--tls-verify=false", &at("other/app:1")]);
    let gone = ran(Command::new("skopeo").args(["inspect", "--tls-verify=false", &at("other/app:1")]));
    assert_ne!(gone.code, 0);
    // The registry's blobs and those of images in its store are one set.
    served.store.ok(&["system", "check"]);
    let listed = served.store.ok(&["system", "df"]);
    assert!(listed.contains("\nRegistry "), "{listed}");
}

#[test]
fn with_accounts() {
    if !have("skopeo") {
        return;
    }
    let store = with_busybox(TestStore::new());
    store.ok(&["save", "--format", "oci-archive", "-o", "o.tar", "bb"]);
    // ann:secret
    let hash = "$2b$04$c5c1lRC.OvRHNMkVovS/d.lcY1maSq5LO3Chu9TCtJP7GmZoXBtlu";
    std::fs::write(store.dir().join("htpasswd"), format!("ann:{hash}\n")).unwrap();
    let served = Served::start_on(store, &["--htpasswd", "htpasswd"]);
    let to = format!("docker://{}", served.name("a:1"));
    let copy = |creds: &str| {
        let args = ["copy", "--insecure-policy", "-q", "--dest-tls-verify=false", "--dest-creds", creds];
        let mut command = Command::new("skopeo");
        ran(command.args(args).args(["oci-archive:o.tar", &to]).current_dir(served.store.dir()))
    };
    let denied = copy("ann:wrong");
    assert!(denied.code != 0 && denied.stderr.contains("authentication required"), "{denied:?}");
    let pushed = copy("ann:secret");
    assert_eq!(pushed.code, 0, "{pushed:?}");
}

#[test]
fn with_podman() {
    if !have("podman") || !is_root() {
        println!("skipped: podman is compared with as root");
        return;
    }
    let served = registry();
    let dir = served.store.dir();
    std::fs::write(dir.join("policy.json"), r#"{"default":[{"type":"insecureAcceptAnything"}]}"#).unwrap();
    let podman = |args: &[&str]| {
        let mut all = vec!["--root", "graph", "--runroot", "run", "--storage-driver", "vfs"];
        all.extend_from_slice(args);
        peer(dir, "podman", &all)
    };
    let unsigned = ["--signature-policy", "policy.json", "--tls-verify=false", "-q"];
    podman(&["load", "-q", "--signature-policy", "policy.json", "-i", "o.tar"]);
    for (format, tag) in [("oci", "oci"), ("v2s2", "docker")] {
        let name = served.name(&format!("podman/app:{tag}"));
        podman(&[&["push"], &unsigned[..], &["--format", format, "docker.io/library/app:1", &name]].concat());
        runs(&name);
    }
    podman(&["rmi", "-af"]);
    let name = served.name("podman/app:oci");
    let id = podman(&[&["pull"], &unsigned[..], &[&name]].concat());
    assert_eq!(
        podman(&["inspect", "-f", "{{json .Config.Cmd}}", id.trim_end()]).trim_end(),
        r#"["cat","/d/f"]"#
    );
    // The test's directory is removed by whoever cannot remove vfs layers of other owners otherwise.
    podman(&["rmi", "-af"]);
}

#[test]
fn with_docker() {
    let served = registry();
    let Some(docker) = Dockerd::start(served.store.dir()) else { return };
    let archive = served.store.dir().join("d.tar");
    docker.ok(&["load", "-q", "-i", archive.to_str().unwrap()]);
    let name = served.name("docker/app:1");
    docker.ok(&["tag", "app:1", &name]);
    let pushed = docker.ok(&["push", &name]);
    assert!(pushed.contains("1: digest: sha256:"), "{pushed}");
    // Again, and to another repository: nothing is sent.
    assert!(docker.ok(&["push", &name]).contains("Layer already exists"));
    let other = served.name("docker/other:1");
    docker.ok(&["tag", "app:1", &other]);
    assert!(docker.ok(&["push", &other]).contains("Mounted from docker/app"));
    runs(&name);
    let id = docker.ok(&["inspect", "-f", "{{.Id}}", &name]);
    docker.ok(&["rmi", "-f", "app:1", &name, &other]);
    docker.ok(&["pull", "-q", &name]);
    assert_eq!(docker.ok(&["inspect", "-f", "{{.Id}}", &name]), id);
}
