//! `save` and `load`: archives between stores, and with skopeo, podman, umoci and docker, both ways.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{is_root, store};
use crate::harness::{TestStore, ran};

/// An image of three layers with files of several kinds.
fn image(store: &TestStore) {
    std::fs::create_dir(store.dir().join("context")).unwrap();
    std::fs::write(
        store.dir().join("context/Dockerfile"),
        "FROM bb\nRUN mkdir /d && echo 1 > /d/f && ln /d/f /d/g && ln -s f /d/l && chmod 4711 /d/f\nRUN rm /etc/group && echo 2 > /two\nCMD [\"cat\", \"/two\"]\n",
    )
    .unwrap();
    store.ok(&["build", "-t", "app:1", "context"]);
}

fn id(store: &TestStore, name: &str) -> String {
    store.ok(&["inspect", "-f", "{{.Id}}", name]).trim_end().to_owned()
}

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

#[test]
fn from_store_to_store() {
    let (from, to) = (store(), TestStore::new());
    image(&from);
    for (number, format) in ["docker-archive", "oci-archive"].into_iter().enumerate() {
        from.ok(&["save", "--format", format, "-o", "a.tar", "app:1", "bb"]);
        let archive = std::fs::read(from.dir().join("a.tar")).unwrap();
        let again = from.command().args(["save", "--format", format, "app:1", "bb"]).output().unwrap();
        assert!(again.stdout == archive, "the same images give the same bytes");
        let loaded = to.run_with(&["load"], &archive);
        assert_eq!(loaded.stdout, "Loaded image: app:1\nLoaded image: bb:latest\n", "{loaded:?}");
        assert_eq!((id(&to, "app:1"), id(&to, "bb")), (id(&from, "app:1"), id(&from, "bb")));
        assert_eq!(to.ok(&["run", "--rm", "app:1"]), "2\n");
        let look = "cat /d/g; readlink /d/l; stat -c '%a %h' /d/f; ls /etc/group 2>/dev/null || echo gone";
        assert_eq!(to.ok(&["run", "--rm", "app:1", "sh", "-c", look]), "1\nf\n4711 2\ngone\n");
        // What was received leaves as it came.
        to.ok(&["save", "--format", format, "-o", "b.tar", "app:1", "bb"]);
        assert!(std::fs::read(to.dir().join("b.tar")).unwrap() == archive, "{number}");
        to.ok(&["system", "check"]);
        to.ok(&["image", "prune", "-af"]);
    }
}

#[test]
fn names() {
    let store = store();
    image(&store);
    store.ok(&["tag", "app:1", "app:2"]);
    store.ok(&["tag", "app:1", "reg.example/x/y:z"]);
    let tags = |images: &[&str]| -> Vec<Vec<String>> {
        let all: Vec<&str> = ["save", "-o", "a.tar"].iter().chain(images).copied().collect();
        store.ok(&all);
        let json = peer(store.dir(), "tar", &["-xOf", "a.tar", "manifest.json"]);
        let list: Vec<Value> = serde_json::from_str(&json).unwrap();
        let texts = |item: &Value| {
            let tags = item["RepoTags"].as_array().cloned().unwrap_or_default();
            tags.iter().map(|tag| tag.as_str().unwrap().to_owned()).collect()
        };
        list.iter().map(texts).collect()
    };
    assert_eq!(tags(&["app:2"]), [["app:2"]]);
    assert_eq!(tags(&["app"]), [["app:1", "app:2"]], "a repository is all its tags");
    assert_eq!(tags(&["app:2", "app:1", "bb"]), [vec!["app:2", "app:1"], vec!["bb:latest"]]);
    let image = id(&store, "app:1");
    assert_eq!(tags(&[&image]), [Vec::<String>::new()], "an ID has no name");
    assert_eq!(tags(&["reg.example/x/y:z"]), [["reg.example/x/y:z"]]);
    // Without a name it is loaded as what it is.
    store.ok(&["save", "-o", "a.tar", &image]);
    assert_eq!(store.ok(&["load", "-i", "a.tar"]), format!("Loaded image ID: {image}\n"));
    assert!(store.fails(1, &["save", "nosuch"]).contains("No such image: nosuch"));
    assert!(store.fails(1, &["save", "-o", "x.tar", "app:1", "nosuch"]).contains("No such image: nosuch"));
    assert!(!store.dir().join("x.tar").exists(), "no archive, or a whole one");
}

#[test]
fn a_name_moves() {
    let store = store();
    store.ok(&["save", "-o", "bb.tar", "bb"]);
    image(&store);
    let (old, new) = (id(&store, "bb"), id(&store, "app:1"));
    store.ok(&["tag", "app:1", "bb"]);
    assert_eq!(
        store.ok(&["load", "-i", "bb.tar"]),
        format!(
            "The image bb:latest already exists, renaming the old one with ID {new} to empty string\nLoaded image: bb:latest\n"
        )
    );
    assert_eq!(id(&store, "bb"), old);
    assert_eq!(store.ok(&["load", "-q", "-i", "bb.tar"]), "Loaded image: bb:latest\n");
}

#[test]
fn compressed_archives() {
    let store = store();
    let wanted = id(&store, "bb");
    store.ok(&["save", "-o", "bb.tar", "bb"]);
    store.ok(&["rmi", "bb"]);
    for (program, args) in
        [("gzip", &["-c"][..]), ("xz", &["-c", "-1"]), ("bzip2", &["-c"]), ("zstd", &["-qc"])]
    {
        let packed = Command::new(program).args(args).arg(store.dir().join("bb.tar")).output();
        let Ok(packed) = packed else {
            println!("skipped: {program} is not installed");
            continue;
        };
        assert_eq!(
            store.run_with(&["load"], &packed.stdout).stdout,
            "Loaded image: bb:latest\n",
            "{program}"
        );
        assert_eq!(id(&store, "bb"), wanted);
        store.ok(&["rmi", "bb"]);
    }
}

#[test]
fn with_skopeo_and_umoci() {
    if !have("skopeo") || !have("umoci") {
        return;
    }
    let store = store();
    image(&store);
    let wanted = id(&store, "app:1");
    let config = |json: &str| -> Value { serde_json::from_str::<Value>(json).unwrap()["rootfs"].clone() };
    store.ok(&["save", "-o", "d.tar", "app:1"]);
    store.ok(&["save", "--format", "oci-archive", "-o", "o.tar", "app:1"]);
    let dir = store.dir();
    let docker = peer(dir, "skopeo", &["inspect", "--config", "docker-archive:d.tar"]);
    let oci = peer(dir, "skopeo", &["inspect", "--config", "oci-archive:o.tar:docker.io/library/app:1"]);
    assert_eq!(config(&docker), config(&oci));
    // Through each of skopeo's forms and back.
    let copy = |from: &str, to: &str| peer(dir, "skopeo", &["copy", "--insecure-policy", "-q", from, to]);
    copy("docker-archive:d.tar", "docker-archive:s1.tar:app:s1");
    copy("oci-archive:o.tar", "oci-archive:s2.tar:app:s2");
    copy("oci-archive:o.tar", "oci:layout:s3");
    for (archive, name) in [("s1.tar", "app:s1"), ("s2.tar", "app:s2")] {
        assert_eq!(store.ok(&["load", "-i", archive]), format!("Loaded image: {name}\n"));
        assert_eq!(store.ok(&["run", "--rm", name]), "2\n");
        assert_eq!(config_of(&store, name), config_of(&store, "app:1"));
    }
    assert_eq!(store.ok(&["pull", "oci:layout:s3"]), "docker.io/library/layout:s3\n");
    assert_eq!(id(&store, "layout:s3"), wanted, "the config's bytes are the image");
    // An image that umoci made, of a layer that it compressed.
    let umoci: &[&str] = if is_root() { &[] } else { &["--rootless"] };
    let unpack = [&["unpack"], umoci, &["--image", "layout:s3", "bundle"]].concat();
    peer(dir, "umoci", &unpack);
    std::fs::write(dir.join("bundle/rootfs/two"), "by umoci\n").unwrap();
    std::fs::remove_file(dir.join("bundle/rootfs/d/g")).unwrap();
    peer(dir, "umoci", &["repack", "--image", "layout:mine", "bundle"]);
    store.ok(&["pull", "oci:layout:mine"]);
    assert_eq!(store.ok(&["run", "--rm", "layout:mine", "sh", "-c", "cat /two; ls /d"]), "by umoci\nf\nl\n");
    store.ok(&["system", "check"]);
}

fn config_of(store: &TestStore, name: &str) -> String {
    store.ok(&["inspect", "-f", "{{json .RootFS.Layers}} {{json .Config.Cmd}} {{json .Config.Env}}", name])
}

#[test]
fn with_podman() {
    if !have("podman") || !is_root() {
        println!("skipped: podman is compared with as root");
        return;
    }
    let store = store();
    image(&store);
    let dir = store.dir();
    std::fs::write(dir.join("policy.json"), r#"{"default":[{"type":"insecureAcceptAnything"}]}"#).unwrap();
    let podman = |args: &[&str]| {
        let mut all = vec!["--root", "graph", "--runroot", "run", "--storage-driver", "vfs"];
        all.extend_from_slice(args);
        peer(dir, "podman", &all)
    };
    store.ok(&["save", "-o", "d.tar", "app:1"]);
    store.ok(&["save", "--format", "oci-archive", "-o", "o.tar", "app:1"]);
    let load = |archive: &str| podman(&["load", "-q", "--signature-policy", "policy.json", "-i", archive]);
    assert_eq!(load("o.tar").trim_end(), "Loaded image: docker.io/library/app:1");
    assert_eq!(load("d.tar").trim_end(), "Loaded image: docker.io/library/app:1");
    let layers = podman(&["inspect", "-f", "{{json .RootFS.Layers}}", "docker.io/library/app:1"]);
    let ours: Value =
        serde_json::from_str(&store.ok(&["inspect", "-f", "{{json .RootFS.Layers}}", "app:1"])).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&layers).unwrap(), ours);
    for format in ["docker-archive", "oci-archive"] {
        let archive = format!("{format}.tar");
        podman(&["save", "-q", "--format", format, "-o", &archive, "docker.io/library/app:1"]);
        store.ok(&["rmi", "app:1"]);
        assert_eq!(store.ok(&["load", "-i", &archive]), "Loaded image: app:1\n");
        assert_eq!(store.ok(&["run", "--rm", "app:1"]), "2\n");
    }
    // The test's directory is removed by whoever cannot remove vfs layers of other owners otherwise.
    podman(&["rmi", "-af"]);
}

#[test]
fn layouts() {
    let store = store();
    assert!(store.fails(1, &["pull", "oci:nodir"]).contains("holds no OCI layout"));
    image(&store);
    store.ok(&["save", "--format", "oci-archive", "-o", "o.tar", "app:1", "bb"]);
    std::fs::create_dir(store.dir().join("lay")).unwrap();
    peer(store.dir(), "tar", &["-xf", "o.tar", "-C", "lay"]);
    assert_eq!(store.ok(&["pull", "oci:lay"]), "docker.io/library/app:1\ndocker.io/library/bb:latest\n");
    let stderr = store.fails(1, &["pull", "oci:lay:nosuch"]);
    assert!(stderr.contains("has no image \"nosuch\"; it has: docker.io/library/app:1"), "{stderr}");
    // A blob that is not what its name says.
    let blobs = store.dir().join("lay/blobs/sha256");
    let largest = std::fs::read_dir(&blobs).unwrap().map(|e| e.unwrap().path());
    let largest = largest.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&largest).unwrap();
    bytes[600] ^= 1;
    std::fs::write(&largest, bytes).unwrap();
    let fresh = TestStore::new();
    let stderr = fresh.fails(1, &["pull", &format!("oci:{}", store.dir().join("lay").display())]);
    assert!(stderr.contains("it is damaged"), "{stderr}");
    assert_eq!(fresh.ok(&["images", "-aq"]), "");
}
