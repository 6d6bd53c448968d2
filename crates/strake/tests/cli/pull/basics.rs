//! `pull` by name and digest, for a platform, again; and from registries that lie.

use std::collections::HashMap;

use serde_json::json;

use super::registry::{INDEX, MANIFEST, Page, Registry, digest};
use crate::containers::store;
use crate::harness::TestStore;

/// A layer like that of `bb`, which is not in the store.
fn busybox(store: &TestStore) -> Vec<u8> {
    store.ok(&["run", "--name", "cc", "bb", "sh", "-c", "echo new > /new"]);
    let layer = store.command().args(["export", "cc"]).output().unwrap().stdout;
    store.ok(&["rm", "cc"]);
    layer
}

/// This machine's architecture in images, and another.
fn architectures() -> (String, &'static str) {
    let own = oci::Platform::host().architecture;
    let other = if own == "arm64" { "amd64" } else { "arm64" };
    (own, other)
}

#[test]
fn by_tag_by_digest_and_again() {
    let store = store();
    let registry = Registry::new();
    let (own, _) = architectures();
    let image = registry.image(&own, &busybox(&store));
    registry.tag("latest", &image);
    let name = registry.name("");
    let pulled = store.run(&["pull", &name]);
    assert_eq!((pulled.code, pulled.stdout.as_str()), (0, format!("{name}:latest\n").as_str()), "{pulled:?}");
    let manifest = image["digest"].as_str().unwrap();
    for line in [
        "Using default tag: latest\n",
        "latest: Pulling from app\n",
        ": Pulling fs layer\n",
        ": Pull complete\n",
        &format!("Digest: {manifest}\n"),
        &format!("Status: Downloaded newer image for {name}:latest\n"),
    ] {
        assert!(pulled.stderr.contains(line), "{line:?} in {}", pulled.stderr);
    }
    assert_eq!(store.ok(&["run", "--rm", &name]), format!("{own}\n"));
    assert!(store.run(&["pull", &name]).stderr.contains("Status: Image is up to date"));
    assert_eq!(store.run(&["pull", "-q", &name]).stderr, "");
    let digests = store.ok(&["inspect", "-f", "{{json .RepoDigests}}", &name]);
    assert_eq!(digests, format!("[\"{name}@{manifest}\"]\n"));
    store.ok(&["rmi", &name]);
    // A pull by digest gives no tag; a run of it neither.
    let by_digest = registry.name(&format!("@{manifest}"));
    assert_eq!(store.ok(&["run", "--rm", &by_digest]), format!("{own}\n"));
    assert_eq!(store.ok(&["images", "--format", "{{.Tag}}", &registry.name("")]), "<none>\n");
    store.ok(&["system", "check"]);
}

#[test]
fn run_pulls_what_is_missing() {
    let store = store();
    let registry = Registry::new();
    let (own, _) = architectures();
    registry.tag("1", &registry.image(&own, &busybox(&store)));
    let name = registry.name(":1");
    assert_eq!(store.run(&["run", "--rm", "--pull", "never", &name]).code, 125);
    let ran = store.run(&["run", "--rm", &name]);
    assert_eq!(ran.stdout, format!("{own}\n"), "what is pulled is told on stderr: {ran:?}");
    assert!(ran.stderr.starts_with(&format!("Unable to find image '{name}' locally\n")), "{ran:?}");
    registry.asked.lock().unwrap().clear();
    store.ok(&["run", "--rm", &name]);
    assert!(registry.asked.lock().unwrap().is_empty(), "what is here is used without any connection");
    assert_eq!(store.run(&["run", "--rm", "-q", "--pull", "always", &name]).stderr, "");
    assert!(!registry.asked.lock().unwrap().is_empty());
}

#[test]
fn of_several_platforms_the_machines_own() {
    let store = store();
    let registry = Registry::new();
    let (own, other) = architectures();
    let layer = busybox(&store);
    let of = |architecture: &str| {
        let mut described = registry.image(architecture, &layer);
        described["platform"] = json!({ "os": "linux", "architecture": architecture });
        described
    };
    let index =
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [of(other), of(&own)] }).to_string();
    let whole = registry.put("/v2/app/manifests/latest", INDEX, index);
    let name = registry.name("");
    assert_eq!(store.ok(&["run", "--rm", &name]), format!("{own}\n"));
    let digests = store.ok(&["inspect", "-f", "{{json .RepoDigests}}", &name]);
    assert!(digests.contains(whole["digest"].as_str().unwrap()), "the index is what the name stands for");
    let platform = format!("linux/{other}");
    store.ok(&["pull", "-q", "--platform", &platform, &name]);
    assert_eq!(store.ok(&["inspect", "-f", "{{.Architecture}}", &name]), format!("{other}\n"));
    let ran = store.run(&["run", "--rm", &name]);
    assert!(ran.stderr.contains("does not match the detected host platform"), "{ran:?}");
    let stderr = store.fails(1, &["pull", "--platform", "linux/s390x", &name]);
    assert!(stderr.contains(&format!("no matching manifest for linux/s390x in {name}:latest")), "{stderr}");
    assert!(stderr.contains(&own) && stderr.contains(other), "{stderr}");
}

#[test]
fn a_registry_that_lies() {
    let store = store();
    let (own, _) = architectures();
    let layer = busybox(&store);
    let images = || store.ok(&["images", "-aq"]);
    let before = images();
    let attempt = |change: &dyn Fn(&Registry, &mut HashMap<String, Page>)| {
        let registry = Registry::new();
        registry.tag("latest", &registry.image(&own, &layer));
        let mut pages = registry.pages.lock().unwrap().clone();
        change(&registry, &mut pages);
        *registry.pages.lock().unwrap() = pages;
        let ran = store.run(&["pull", "-q", &registry.name("")]);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
        assert!(!ran.stderr.contains("panicked"), "{ran:?}");
        assert_eq!(images(), before);
        ran.stderr
    };
    let blob = format!("/v2/app/blobs/{}", digest(&layer));
    let other = attempt(&|_, pages| pages.get_mut(&blob).unwrap().body[700] ^= 1);
    assert!(other.contains("sha256:"), "{other}");
    let cut = attempt(&|_, pages| pages.get_mut(&blob).unwrap().cut = 1000);
    assert!(cut.contains(&digest(&layer)[..20]), "{cut}");
    let long = attempt(&|_, pages| pages.get_mut(&blob).unwrap().body.push(0));
    assert!(long.contains("bytes"), "{long}");
    attempt(&|_, pages| drop(pages.remove(&blob)));
    let manifest = "/v2/app/manifests/latest";
    attempt(&|_, pages| pages.get_mut(manifest).unwrap().body = b"{".to_vec());
    attempt(&|_, pages| pages.get_mut(manifest).unwrap().body = vec![b' '; 5 << 20]);
    let old = attempt(&|_, pages| {
        let page = pages.get_mut(manifest).unwrap();
        page.kind = "application/vnd.docker.distribution.manifest.v1+prettyjws".to_owned();
        page.body = b"{\"schemaVersion\":1}".to_vec();
    });
    assert!(old.contains("not supported"), "{old}");
    attempt(&|_, pages| pages.clear());
    // An index that chooses a manifest which is another.
    let swapped = attempt(&|_, pages| {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [{
            "mediaType": MANIFEST, "digest": format!("sha256:{}", "1".repeat(64)), "size": 2,
            "platform": { "os": "linux", "architecture": own },
        }]});
        let page = Page::new(INDEX, index.to_string());
        let wrong = Page::new(MANIFEST, "{}");
        pages.insert(manifest.to_owned(), page);
        pages.insert(format!("/v2/app/manifests/sha256:{}", "1".repeat(64)), wrong);
    });
    assert!(swapped.contains("1111"), "{swapped}");
    store.ok(&["system", "check"]);
}

#[test]
fn nobody_there() {
    let store = TestStore::new();
    let stderr = store.fails(1, &["pull", "localhost:1/app"]);
    assert!(stderr.contains("registry localhost:1 cannot be reached"), "{stderr}");
    let registry = Registry::new();
    let stderr = store.fails(1, &["pull", &registry.name(":nosuch")]);
    assert!(stderr.contains("was not found"), "{stderr}");
    assert!(store.fails(1, &["pull", "UPPER"]).contains("must be lowercase"));
}
