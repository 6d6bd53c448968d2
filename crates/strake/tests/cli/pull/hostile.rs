//! Images that cannot be had, and bytes that are not what was said: named, and nothing of them stays.

use serde_json::{Value, json};

use super::registry::{CONFIG, LAYER, MANIFEST, Registry, Tar, digest, noise};
use crate::harness::TestStore;

/// What a pull of that manifest says, which has to fail and to leave nothing.
#[track_caller]
fn refused(store: &TestStore, registry: &Registry, manifest: &Value) -> String {
    let manifest = manifest.to_string();
    registry.put("/v2/app/manifests/latest", MANIFEST, manifest);
    let told = store.fails(1, &["pull", "-q", &registry.name("")]);
    assert!(!told.contains("panicked"), "{told}");
    assert_eq!(store.ok(&["images", "-aq"]), "");
    store.ok(&["system", "check"]);
    told
}

fn config(registry: &Registry, diff_ids: &[String]) -> Value {
    let config = json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    registry.blob(CONFIG, config.to_string().as_bytes())
}

#[test]
fn what_cannot_be_pulled() {
    let store = TestStore::new();
    let registry = Registry::new();
    let layer = Tar::new().file("f", "x").finish();
    let ids = [digest(&layer)];
    let described = registry.blob(LAYER, &layer);
    let of = |config: Value, layers: Vec<Value>| json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
    let with_type = |kind: &str| {
        let mut layer = described.clone();
        layer["mediaType"] = json!(kind);
        of(config(&registry, &ids), vec![layer])
    };
    let foreign =
        refused(&store, &registry, &with_type("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"));
    assert!(foreign.contains("not distributable") && foreign.contains(&ids[0]), "{foreign}");
    let nondistributable = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    assert!(refused(&store, &registry, &with_type(nondistributable)).contains("not distributable"));
    assert!(refused(&store, &registry, &with_type(&format!("{LAYER}+gzip+encrypted"))).contains("encrypted"));

    let many = of(config(&registry, &ids), vec![described.clone(); 10_000]);
    assert!(refused(&store, &registry, &many).contains("10000 layers"), "the kernel mounts 500");
    let fewer = of(config(&registry, &ids), vec![described.clone(); 2]);
    let told = refused(&store, &registry, &fewer);
    assert!(told.contains("1 layers in its config and 2 in its manifest"), "{told}");

    let mut chart = registry.blob("application/vnd.cncf.helm.config.v1+json", b"{}");
    let told = refused(&store, &registry, &of(chart.clone(), vec![]));
    assert!(told.contains("it is no image") && told.contains("helm"), "{told}");
    chart["mediaType"] = json!(CONFIG);
    chart["size"] = json!(100_u64 << 20);
    refused(&store, &registry, &of(chart, vec![]));

    let mut endless = described;
    endless["digest"] = json!(format!("sha256:{}", "7".repeat(64)));
    endless["size"] = json!(u64::MAX);
    let told = refused(&store, &registry, &of(config(&registry, &ids), vec![endless]));
    assert!(told.contains("no space left"), "{told}");

    // What is served as another type is what it says it is.
    registry.put("/v2/app/manifests/latest", "text/html", "<html>hello</html>");
    assert!(!store.fails(1, &["pull", "-q", &registry.name("")]).contains("panicked"));
    let old = json!({ "schemaVersion": 1, "name": "app", "fsLayers": [] });
    registry.put("/v2/app/manifests/latest", "application/json", old.to_string());
    let told = store.fails(1, &["pull", "-q", &registry.name("")]);
    assert!(told.contains("schema 1"), "{told}");
}

#[test]
fn wrong_bytes_are_named_and_thrown_away() {
    let store = TestStore::new();
    let registry = Registry::new();
    let layer = Tar::new().file("f", noise(1, 1 << 20)).finish();
    let other = Tar::new().file("g", noise(2, 1 << 20)).finish();
    let ids = [digest(&layer), digest(&other)];
    let image = |layers: Vec<Value>| json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config(&registry, &ids), "layers": layers });
    let good = || vec![registry.blob(LAYER, &layer), registry.blob(LAYER, &other)];
    let names = |told: &str, blob: &[u8]| {
        assert!(told.contains(&digest(blob)) && told.contains(&registry.address), "{told}");
        assert!(!store.root().join("partial").join(&digest(blob)[7..]).exists(), "the part is thrown away");
    };

    let right = image(good());
    for at in [0, 700, 1 << 20] {
        registry.spoil(&other, |page| page.body[at] ^= 1);
        names(&refused(&store, &registry, &right), &other);
        good();
    }
    registry.spoil(&other, |page| page.body.truncate(1000));
    names(&refused(&store, &registry, &right), &other);
    good();
    registry.spoil(&other, |page| page.body.extend_from_slice(b"more"));
    names(&refused(&store, &registry, &right), &other);
    good();

    // The blob is right, and not the layer that the config names.
    let swapped = image(good().into_iter().rev().collect());
    let told = refused(&store, &registry, &swapped);
    assert!(told.contains(&ids[0]) && told.contains(&ids[1]), "{told}");
    // The blob is right, and no tar.
    let junk = noise(3, 5000);
    let told = refused(&store, &registry, &image(vec![registry.blob(LAYER, &junk), good().remove(1)]));
    assert!(told.contains("archive"), "{told}");
    // After all that, the right one.
    good();
    registry.put("/v2/app/manifests/latest", MANIFEST, right.to_string());
    store.ok(&["pull", "-q", &registry.name("")]);
}
