//! `push`, `copy` and `manifest`: what leaves, under which digests, and what the registry is asked for it.

mod basics;
mod copies;
mod cuts;
mod debian;
mod lists;
mod older;
mod peers;

use serde_json::Value;

use crate::containers::with_busybox;
use crate::harness::TestStore;

/// Bytes that do not compress, the same each time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 9u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// A store with the image `app:1`: busybox, a layer that is large even compressed, and a small one.
fn with_app() -> TestStore {
    let store = with_busybox(TestStore::new());
    let context = store.dir().join("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("large"), noise(3 << 20)).unwrap();
    std::fs::write(context.join("small"), "a few words\n".repeat(100)).unwrap();
    std::fs::write(
        context.join("Dockerfile"),
        "FROM bb\nCOPY large /\nCOPY small /\nCMD [\"head\", \"-n1\", \"/small\"]\n",
    )
    .unwrap();
    store.ok(&["build", "--build-arg", "SOURCE_DATE_EPOCH=0", "-q", "-t", "app:1", "context"]);
    store
}

/// What is pushed under `name`, by its digest.
#[track_caller]
fn push(store: &TestStore, name: &str, options: &[&str]) -> String {
    let args: Vec<&str> = ["push", "-q"].iter().chain(options).copied().chain([name]).collect();
    let said = store.ok(&args);
    let (pushed, digest) = said.trim_end().split_once('@').unwrap_or_else(|| panic!("{said}"));
    assert_eq!(pushed, name);
    digest.to_owned()
}

/// The manifest or index of that name at its registry.
#[track_caller]
fn manifest(store: &TestStore, name: &str) -> Value {
    serde_json::from_str(&store.ok(&["manifest", "inspect", name])).unwrap()
}

/// The media types of a manifest's layers, what stands before the last dot or plus left out.
fn kinds(manifest: &Value) -> Vec<String> {
    let kind = |layer: &Value| {
        let kind = layer["mediaType"].as_str().unwrap();
        kind.rsplit(['.', '+']).next().unwrap().to_owned()
    };
    manifest["layers"].as_array().unwrap().iter().map(kind).collect()
}
