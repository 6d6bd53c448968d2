//! Images passed on as they are.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{manifest, push, with_app};
use crate::harness::{TestStore, ran};
use crate::served::Served;

/// Stores a manifest that refers to `subject` in the repository of `name`, by an OCI layout.
fn refer(store: &TestStore, subject: &Value, name: &str) -> String {
    let layout = store.dir().join("referrer");
    let blobs = layout.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let blob = |bytes: &[u8]| {
        let digest = oci::Digest::sha256(bytes);
        std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
        json!({ "digest": digest, "size": bytes.len() })
    };
    let mut config = blob(b"{}");
    config["mediaType"] = json!("application/vnd.oci.empty.v1+json");
    let mut layer = blob(b"it is well made");
    layer["mediaType"] = json!("text/plain");
    let document = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/example",
        "config": config,
        "layers": [layer],
        "subject": subject,
    });
    let mut entry = blob(document.to_string().as_bytes());
    entry["mediaType"] = document["mediaType"].clone();
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "r" });
    let digest = entry["digest"].as_str().unwrap().to_owned();
    let index = json!({ "schemaVersion": 2, "manifests": [entry] });
    std::fs::write(layout.join("index.json"), index.to_string()).unwrap();
    std::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    store.ok(&["copy", "-q", "oci:referrer:r", name]);
    digest
}

fn described(store: &TestStore, name: &str) -> Value {
    let verbose: Value = serde_json::from_str(&store.ok(&["manifest", "inspect", "-v", name])).unwrap();
    verbose["Descriptor"].clone()
}

fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("blobs/sha256")).unwrap().count()
}

#[test]
fn from_registry_to_registry_and_layout_with_what_refers_to_it() {
    let store = with_app();
    let (one, two) = (Served::start(), Served::start());
    let name = one.name("app:1");
    store.ok(&["tag", "app:1", &name]);
    let digest = push(&store, &name, &[]);
    let subject = described(&store, &name);
    let referrer = refer(&store, &subject, &one.name("app:referrer"));

    // To another registry, by somebody whose store stays empty.
    let other = TestStore::new();
    assert_eq!(other.ok(&["copy", "-q", &name, &two.name("far/app:2")]), format!("{digest}\n"));
    assert_eq!(described(&other, &two.name("far/app:2")), subject);
    let at = format!("{}@{referrer}", two.name("far/app"));
    assert_eq!(manifest(&other, &at)["artifactType"], "application/example");
    assert_eq!(other.ok(&["images", "-q"]), "");
    // Without it.
    other.ok(&["copy", "-q", "--no-referrers", &name, &two.name("alone:1")]);
    let gone = other.fails(1, &["manifest", "inspect", &format!("{}@{referrer}", two.name("alone"))]);
    assert!(gone.contains("was not found"), "{gone}");
    // Within a registry.
    let said = other.run(&["copy", &name, &one.name("near/app:1")]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stderr.contains(": Mounted"), "{said:?}");

    // To a layout and back, with digests as they were.
    other.ok(&["copy", "-q", &name, "oci:layout"]);
    let blobs = files(&other.dir().join("layout"));
    assert_eq!(blobs, 5 + 3, "manifest, config and three layers, and those of the referrer");
    other.ok(&["copy", "-q", &name, "oci:layout:2"]);
    assert_eq!(files(&other.dir().join("layout")), blobs);
    let three = Served::start();
    assert_eq!(other.ok(&["copy", "-q", "oci:layout:1", &three.name("back:1")]), format!("{digest}\n"));
    assert_eq!(
        manifest(&other, &format!("{}@{referrer}", three.name("back")))["layers"][0]["mediaType"],
        "text/plain"
    );
    let unclear = other.fails(1, &["copy", "-q", "oci:layout:3", &three.name("back:1")]);
    assert!(unclear.contains("has no image \"3\"; it has: 1, 2"), "{unclear}");
    // Others read it.
    if Command::new("skopeo").arg("--version").output().is_ok() {
        let inspected = ran(Command::new("skopeo")
            .args(["inspect", "oci:layout:2", "--format", "{{.Digest}}"])
            .current_dir(other.dir()));
        assert_eq!(inspected.stdout.trim_end(), digest, "{inspected:?}");
    }
    // Into the store and out of it.
    other.ok(&["copy", "-q", "oci:layout:1", "store:mine:1"]);
    assert_eq!(other.ok(&["run", "--rm", "mine:1"]), "a few words\n");
    assert_eq!(other.ok(&["copy", "-q", "store:mine:1", &three.name("mine:1")]), format!("{digest}\n"));
}

#[test]
fn whole_lists_and_one_of_them() {
    let store = TestStore::new();
    std::fs::create_dir(store.dir().join("context")).unwrap();
    std::fs::write(store.dir().join("context/Dockerfile"), "FROM scratch\nCOPY Dockerfile /f\n").unwrap();
    let (one, two) = (Served::start(), Served::start());
    let list = one.name("app:1");
    for platform in ["amd64", "arm64"] {
        let (wanted, tag) = (format!("linux/{platform}"), format!("app:{platform}"));
        store.ok(&["build", "-q", "--platform", &wanted, "-t", &tag, "context"]);
    }
    store.ok(&["manifest", "create", &list, "app:amd64", "app:arm64"]);
    let digest = store.ok(&["manifest", "push", &list]);
    assert_eq!(store.ok(&["copy", "-q", &list, &two.name("app:1")]), digest);
    let index = manifest(&store, &two.name("app:1"));
    let arm = store.ok(&["copy", "-q", "--platform", "linux/arm64", &list, &two.name("arm:1")]);
    assert_eq!(index["manifests"][1]["digest"].as_str().unwrap(), arm.trim_end());
    let none = store.fails(1, &["copy", "-q", "--platform", "linux/s390x", &list, &two.name("arm:1")]);
    assert!(
        none.contains("no matching manifest for linux/s390x: there are linux/amd64, linux/arm64"),
        "{none}"
    );
    // What is pulled of it is passed on whole as long as the registry has the rest.
    let fresh = TestStore::new();
    fresh.ok(&["pull", "-q", &list]);
    assert_eq!(push(&fresh, &list, &[]), digest.trim_end());
    let beside = one.name("beside/app:2");
    fresh.ok(&["tag", &list, &beside]);
    assert_eq!(push(&fresh, &beside, &[]), digest.trim_end());
    assert_eq!(manifest(&TestStore::new(), &beside), index);
    // Where it has not, what is here is pushed, and that is said.
    let (three, tag) = (Served::start(), "app:3");
    fresh.ok(&["tag", &list, &three.name(tag)]);
    let alone = fresh.run(&["push", &three.name(tag)]);
    assert!(alone.code == 0 && alone.stderr.contains("not all of the platforms of"), "{alone:?}");
    assert_eq!(manifest(&TestStore::new(), &three.name(tag))["layers"].as_array().unwrap().len(), 1);
}
