//! `system check`: what is broken is found, and dropped when asked.

use serde_json::Value;

use crate::harness::{TestImage, TestStore};

#[test]
fn a_sound_store() {
    let store = TestStore::new();
    store.put(&TestImage::new(&["a:1"]).layer("a", 5).layer("b", 5));
    let out = store.ok(&["system", "check"]);
    assert!(out.contains("2 snapshots (2 by content), 1 images, 1 references"), "{out}");
    assert!(out.ends_with("The store is sound.\n"), "{out}");
    assert_eq!(store.ok(&["system", "check", "-q"]), "");
}

#[test]
fn a_changed_file_is_found_and_dropped() {
    let store = TestStore::new();
    let id = store.put(&TestImage::new(&["a:1"]).layer("a", 5));
    store.put(&TestImage::new(&["b:1"]).layer("b", 5));
    let opened = store.store();
    let chain_id = opened.image(&id).unwrap().unwrap().chain_id().unwrap();
    std::fs::write(opened.snapshot_dir(&chain_id).join("a"), "other").unwrap();
    let ran = store.run(&["system", "check"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains(&format!("BROKEN: snapshot {chain_id}")), "{}", ran.stdout);
    assert_eq!(ran.stderr, "hint: strake system check --repair drops what is broken\n");
    let json: Value =
        serde_json::from_str(&store.run(&["system", "check", "--format", "json"]).stdout).unwrap();
    assert_eq!(json["Sound"], false);
    let out = store.ok(&["system", "check", "--repair"]);
    assert!(out.contains("the store is sound now"), "{out}");
    assert_eq!(store.ok(&["images", "--format", "{{.Repository}}"]), "b\n");
    store.ok(&["system", "check"]);
}

#[test]
fn a_damaged_blob_is_found() {
    let store = TestStore::new();
    let id = store.put(&TestImage::new(&["a:1"]).layer("a", 5));
    let path = store.root().join("blobs/sha256").join(id.hex());
    std::fs::write(&path, "not the config").unwrap();
    let ran = store.run(&["system", "check"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains(id.hex()), "{}", ran.stdout);
    store.ok(&["system", "check", "--repair"]);
    store.ok(&["system", "check"]);
    assert_eq!(store.ok(&["images", "-q"]), "");
}

#[test]
fn a_loaded_image_is_sound_and_its_changed_file_is_found() {
    let (from, to) = (TestStore::new(), TestStore::new());
    let id = from.put(&TestImage::new(&["a:1"]).layer("a", 5).layer("b", 6));
    let archive = to.root().with_extension("tar");
    let archive = archive.to_str().unwrap();
    from.ok(&["save", "-o", archive, "a:1"]);
    to.ok(&["load", "-i", archive]);
    assert!(to.ok(&["system", "check"]).contains("2 snapshots (2 by content)"));
    let opened = to.store();
    let chain_id = opened.image(&id).unwrap().unwrap().chain_id().unwrap();
    let file = opened.snapshot_dir(&chain_id).join("b");
    let before = std::fs::metadata(&file).unwrap().modified().unwrap();
    std::fs::write(&file, "xxxxxy").unwrap();
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(before).unwrap();
    let ran = to.run(&["system", "check"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains(&format!("BROKEN: snapshot {chain_id}")), "{}", ran.stdout);
}
