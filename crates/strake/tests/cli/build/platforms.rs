//! One build for several platforms: an image for each, under one index, by one name.

use std::fs;

use crate::harness::TestStore;
use crate::served::Served;

const BOTH: &str = "linux/amd64,linux/arm64";

/// A store with these files beside it, in the build context `context`.
fn with_context(files: &[(&str, &str)]) -> TestStore {
    let store = TestStore::new();
    fs::create_dir(store.dir().join("context")).unwrap();
    for (name, text) in files {
        fs::write(store.dir().join("context").join(name), text).unwrap();
    }
    store
}

/// A file for each platform, and an image that says which it is for.
fn for_both() -> TestStore {
    with_context(&[
        ("Dockerfile", "FROM scratch\nARG TARGETARCH\nLABEL for=$TARGETARCH\nCOPY app-$TARGETARCH /app\n"),
        ("app-amd64", "for amd64\n"),
        ("app-arm64", "for arm64\n"),
    ])
}

fn architecture(store: &TestStore, name: &str) -> String {
    store
        .ok(&["inspect", "--format", "{{.Architecture}} {{index .Config.Labels \"for\"}}", name])
        .trim()
        .to_owned()
}

#[test]
fn an_index_is_pushed_and_each_image_of_it_pulled() {
    let served = Served::start();
    let name = served.name("team/app:1");
    let store = for_both();
    store.ok(&["build", "--platform", BOTH, "-t", &name, "--push", "context"]);
    // Here the name runs this machine's.
    assert_eq!(architecture(&store, &name), "amd64 amd64");
    let index: serde_json::Value = serde_json::from_str(&store.ok(&["manifest", "inspect", &name])).unwrap();
    let listed: Vec<String> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            format!("{}/{}", entry["platform"]["os"], entry["platform"]["architecture"]).replace('"', "")
        })
        .collect();
    assert_eq!(listed, ["linux/amd64", "linux/arm64"]);
    for (platform, wanted) in [("linux/amd64", "amd64 amd64"), ("linux/arm64", "arm64 arm64")] {
        let fresh = TestStore::new();
        fresh.ok(&["pull", "-q", "--platform", platform, &name]);
        assert_eq!(architecture(&fresh, &name), wanted);
        assert_eq!(fresh.run(&["system", "check"]).code, 0);
    }
    // Nothing is run again, and nothing sent.
    let again = store.run(&["build", "--platform", BOTH, "-t", &name, "--push", "context"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(again.stderr.matches("CACHED").count(), 2, "{again:?}");
}

#[test]
fn bases_of_other_platforms_do_not_take_a_name_over() {
    let mut served = Served::start();
    let name = served.name("base:1");
    for_both().ok(&["build", "--platform", BOTH, "-t", &name, "--push", "context"]);
    let file = format!("FROM {name}\nCOPY more /more\n");
    let store = with_context(&[("Dockerfile", &file), ("more", "more\n")]);
    store.ok(&["pull", "-q", &name]);
    store.ok(&["build", "--platform", BOTH, "-t", "derived", "context"]);
    assert_eq!(architecture(&store, &name), "amd64 amd64");
    assert_eq!(architecture(&store, "derived"), "amd64 amd64");
    store.ok(&["build", "--platform", "linux/arm64", "-t", "arm", "context"]);
    assert_eq!(architecture(&store, "arm"), "arm64 arm64");
    // What is here needs no registry.
    served.interrupt();
    store.ok(&["build", "--no-cache", "--platform", BOTH, "-t", "derived", "context"]);
    assert_eq!(store.run(&["system", "check"]).code, 0);
}

#[test]
fn what_cannot_run_here_is_refused_before_anything_runs() {
    let file = "FROM scratch AS first\nCOPY file /\nFROM scratch\nCOPY --from=first /file /\nRUN [\"/x\"]\n";
    let store = with_context(&[("Dockerfile", file), ("file", "x")]);
    let refused = store.run(&["build", "--platform", "linux/amd64,linux/nothing", "context"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("linux/nothing") && refused.stderr.contains("emulate"), "{refused:?}");
    assert!(!refused.stderr.contains("COPY file"), "{refused:?}");
    let unnamed = store.run(&["build", "--push", "context"]);
    assert!(unnamed.stderr.contains("--tag"), "{unnamed:?}");
}

#[test]
fn a_container_is_of_the_image_for_its_platform() {
    let store = for_both();
    store.ok(&["build", "--platform", BOTH, "-t", "app:1", "context"]);
    for (platform, wanted) in [("linux/amd64", "amd64 amd64"), ("linux/arm64", "arm64 arm64")] {
        let container = store.ok(&["create", "--platform", platform, "app:1", "/app"]);
        let image = store.ok(&["inspect", "--format", "{{.Image}}", container.trim()]);
        assert_eq!(architecture(&store, image.trim()), wanted);
    }
    let args = ["create", "--pull", "never", "--platform", "linux/s390x", "app:1", "/app"];
    let said = store.fails(1, &args);
    assert!(said.contains("No such image for linux/s390x: app:1"), "{said}");
}
