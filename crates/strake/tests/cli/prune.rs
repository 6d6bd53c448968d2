//! `image prune`, `system prune`, `builder prune`, `container prune`.

use serde_json::json;

use crate::harness::{TestImage, TestStore, short};

fn some() -> (TestStore, Vec<oci::ImageId>) {
    let store = TestStore::new();
    let ids = vec![
        store.put(&TestImage::new(&["a:1"]).layer("a", 5000)),
        store.put(&TestImage::new(&[]).layer("b", 1_000_000).config(json!({"Labels": {"keep": "1"}}))),
        store.put(&TestImage::new(&[]).layer("c", 500_000).created("2030-01-01T00:00:00Z")),
    ];
    (store, ids)
}

#[test]
fn it_asks_first() {
    let (store, _) = some();
    let ran = store.run_with(&["image", "prune"], b"n\n");
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.starts_with(
        "WARNING! This will remove all dangling images.\nAre you sure you want to continue? [y/N] "
    ));
    assert_eq!(store.ok(&["images", "-q"]).lines().count(), 3);
    let ran = store.run_with(&["image", "prune"], b"y\n");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(store.ok(&["images", "-q"]).lines().count(), 1);
    assert_eq!(store.run(&["system", "prune"]).code, 1, "the end of the input is no yes");
}

#[test]
fn dangling_images_go() {
    let (store, ids) = some();
    let out = store.ok(&["image", "prune", "-f"]);
    assert!(out.starts_with("Deleted Images:\n"), "{out}");
    for id in &ids[1..] {
        assert!(out.contains(&format!("deleted: {id}\n")), "{out}");
    }
    assert!(out.contains("\n\nTotal reclaimed space: 1.5"), "{out}");
    assert_eq!(store.ok(&["images", "-q"]), format!("{}\n", short(&ids[0])));
    assert_eq!(store.ok(&["image", "prune", "-f"]), "Total reclaimed space: 0B\n");
    store.ok(&["system", "check"]);
}

#[test]
fn all_unused_images_go() {
    let (store, ids) = some();
    let out = store.ok(&["image", "prune", "-a", "-f"]);
    assert!(out.contains(&format!("untagged: a:1\ndeleted: {}\n", ids[0])), "{out}");
    assert_eq!(store.ok(&["images", "-q"]), "");
}

#[test]
fn filters() {
    let (store, ids) = some();
    let left = |store: &TestStore| store.ok(&["images", "-q"]).lines().count();
    store.ok(&["image", "prune", "-f", "--filter", "label=nothing"]);
    assert_eq!(left(&store), 3);
    store.ok(&["image", "prune", "-f", "--filter", "label!=keep", "--filter", "until=2025-01-01T00:00:00Z"]);
    assert_eq!(left(&store), 3);
    store.ok(&["image", "prune", "-f", "--filter", "label!=keep"]);
    assert_eq!(left(&store), 2);
    store.ok(&["image", "prune", "-f", "--filter", "until=2025-01-01T00:00:00Z"]);
    assert_eq!(store.ok(&["images", "-q"]), format!("{}\n", short(&ids[0])));
    assert!(store.fails(1, &["image", "prune", "-f", "--filter", "x=y"]).contains("invalid filter 'x'"));
}

#[test]
fn system_prune_leaves_what_has_a_name() {
    let (store, ids) = some();
    let out = store.ok(&["system", "prune", "-f"]);
    assert!(out.contains("Total reclaimed space: "), "{out}");
    assert_eq!(store.ok(&["images", "-q"]), format!("{}\n", short(&ids[0])));
    store.ok(&["system", "prune", "-af"]);
    assert_eq!(store.ok(&["images", "-q"]), "");
    for (kind, size) in store
        .ok(&["system", "df", "--format", "{{.Type}} {{.Size}}"])
        .lines()
        .filter_map(|l| l.rsplit_once(' '))
    {
        assert!(kind == "Database" || size == "0B", "{kind} {size}");
    }
    store.ok(&["system", "check"]);
}

#[test]
fn the_others_run_on_an_empty_store() {
    let store = TestStore::new();
    for args in [["builder", "prune", "-f"], ["container", "prune", "-f"], ["builder", "prune", "-af"]] {
        assert!(store.ok(&args).ends_with("Total reclaimed space: 0B\n"), "{args:?}");
    }
    assert!(
        store.fails(125, &["builder", "prune", "-f", "--keep-storage", "x"]).contains("invalid size: 'x'")
    );
}
