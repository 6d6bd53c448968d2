//! Lists of images for several platforms.

use serde_json::Value;

use super::{kinds, manifest, push};
use crate::harness::TestStore;
use crate::served::Served;

/// A store with images of one file for two platforms.
fn with_two() -> TestStore {
    let store = TestStore::new();
    std::fs::create_dir(store.dir().join("context")).unwrap();
    std::fs::write(store.dir().join("context/Dockerfile"), "FROM scratch\nCOPY Dockerfile /f\n").unwrap();
    for platform in ["amd64", "arm64"] {
        let (wanted, tag) = (format!("linux/{platform}"), format!("app:{platform}"));
        store.ok(&["build", "-q", "--platform", &wanted, "-t", &tag, "context"]);
    }
    store
}

fn platforms(index: &Value) -> Vec<String> {
    let platform = |entry: &Value| {
        let platform = &entry["platform"];
        let variant = platform["variant"].as_str().map(|variant| format!("/{variant}")).unwrap_or_default();
        format!(
            "{}/{}{variant}",
            platform["os"].as_str().unwrap(),
            platform["architecture"].as_str().unwrap()
        )
    };
    index["manifests"].as_array().unwrap().iter().map(platform).collect()
}

#[test]
fn images_of_the_store_become_a_list_at_the_registry() {
    let store = with_two();
    let served = Served::start();
    let name = served.name("app:1");
    let made = store.ok(&["manifest", "create", &name, "app:amd64", "app:arm64"]);
    assert_eq!(made, format!("Created manifest list {name}\n"));
    assert_eq!(platforms(&manifest(&store, &name)), ["linux/amd64", "linux/arm64"]);
    // No image of it may be pruned.
    store.ok(&["rmi", "app:arm64"]);
    let digest = store.ok(&["manifest", "push", &name]);
    let index = manifest(&TestStore::new(), &name);
    assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(platforms(&index), ["linux/amd64", "linux/arm64"]);
    for entry in index["manifests"].as_array().unwrap() {
        assert_eq!(entry["mediaType"], "application/vnd.oci.image.manifest.v1+json");
        assert_eq!(entry["annotations"], Value::Null, "notes stay here");
        let child = format!("{}@{}", served.name("app"), entry["digest"].as_str().unwrap());
        assert_eq!(kinds(&manifest(&TestStore::new(), &child)), ["gzip"]);
    }
    // The same again is the same.
    assert_eq!(store.ok(&["manifest", "push", &name]), digest);
    let fresh = TestStore::new();
    fresh.ok(&["pull", "-q", "--platform", "linux/arm64", &name]);
    let shown = fresh.ok(&["image", "inspect", "--format", "{{.Architecture}}", &name]);
    assert_eq!(shown, "arm64\n");
    assert_eq!(store.run(&["manifest", "exists", &name]).code, 0);
    store.ok(&["manifest", "rm", &name]);
    assert_eq!(store.run(&["manifest", "exists", &name]).code, 1);
    let gone = store.fails(1, &["manifest", "rm", &name]);
    assert!(gone.contains("No such manifest: "), "{gone}");
    store.ok(&["system", "check"]);
}

#[test]
fn images_of_a_registry_are_listed_and_mounted() {
    let store = with_two();
    let served = Served::start();
    let names = ["amd64", "arm64"].map(|tag| served.name(&format!("team/{tag}:1")));
    for (name, tag) in names.iter().zip(["amd64", "arm64"]) {
        store.ok(&["tag", &format!("app:{tag}"), name]);
        push(&store, name, &[]);
    }
    // Somebody else, who has none of them.
    let other = TestStore::new();
    let list = served.name("team/app:1");
    other.ok(&["manifest", "create", &list, &names[0]]);
    let refused = other.fails(1, &["manifest", "create", &list, &names[1]]);
    assert!(
        refused.contains("refusing to amend an existing manifest list with no --amend flag"),
        "{refused}"
    );
    other.ok(&["manifest", "create", "--amend", &list, &names[1]]);
    other.ok(&["manifest", "annotate", "--variant", "v9", "--annotation", "a=b", &list, &names[1]]);
    let shown = other.ok(&["manifest", "inspect", &list, &names[1]]);
    assert_eq!(kinds(&serde_json::from_str(&shown).unwrap()), ["gzip"]);
    let verbose: Value = serde_json::from_str(&other.ok(&["manifest", "inspect", "-v", &list])).unwrap();
    assert_eq!(verbose[1]["Descriptor"]["platform"]["variant"], "v9");
    assert_eq!(verbose[1]["OCIManifest"]["schemaVersion"], 2);
    let digest = other.ok(&["manifest", "push", "--purge", &list]);
    assert_eq!(other.run(&["manifest", "exists", &list]).code, 1);
    let index = manifest(&other, &list);
    assert_eq!(platforms(&index), ["linux/amd64", "linux/arm64/v9"]);
    assert_eq!(index["manifests"][1]["annotations"], serde_json::json!({ "a": "b" }));
    // A list of a list, under Docker's media type.
    let docker = served.name("team/docker:1");
    other.ok(&["manifest", "create", "--all", "--format", "docker", &docker, &list]);
    other.ok(&["manifest", "push", &docker]);
    let index = manifest(&other, &docker);
    assert_eq!(index["mediaType"], "application/vnd.docker.distribution.manifest.list.v2+json");
    assert_eq!(platforms(&index), ["linux/amd64", "linux/arm64/v9"]);
    // One can be taken out again.
    let first = index["manifests"][0]["digest"].as_str().unwrap();
    other.ok(&["manifest", "remove", &docker, first]);
    assert_eq!(platforms(&manifest(&other, &docker)), ["linux/arm64/v9"]);
    let fresh = TestStore::new();
    fresh.ok(&[
        "pull",
        "-q",
        "--platform",
        "linux/amd64",
        &format!("{}@{}", served.name("team/app"), digest.trim_end()),
    ]);
}

#[test]
fn what_is_not_there_and_what_has_no_platform() {
    let store = with_two();
    let served = Served::start();
    let list = served.name("app:1");
    let missing = store.fails(1, &["manifest", "create", &list, &served.name("none:1")]);
    assert!(missing.contains("was not found"), "{missing}");
    assert_eq!(store.run(&["manifest", "exists", &list]).code, 1);
    let missing = store.fails(1, &["manifest", "push", &list]);
    assert!(missing.contains("No such manifest: "), "{missing}");
    store.ok(&["manifest", "create", &list]);
    let empty = store.fails(1, &["manifest", "push", &list]);
    assert!(empty.contains("is empty"), "{empty}");
    store.ok(&["manifest", "add", "--os", "linux", "--arch", "arm", "--variant", "v7", &list, "app:amd64"]);
    assert_eq!(platforms(&manifest(&store, &list)), ["linux/arm/v7"]);
    let unknown = store.fails(1, &["manifest", "annotate", "--os", "x", &list, "app:arm64"]);
    assert!(unknown.contains("does not exist in"), "{unknown}");
}
