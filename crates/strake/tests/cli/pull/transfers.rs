//! How layers come: once, from where they broke off, side by side, and whatever other processes do.

use std::io::Write;
use std::process::Stdio;

use serde_json::json;

use super::registry::{LAYER, Registry, Tar, blob_path, digest, noise};
use crate::containers::store;
use crate::harness::TestStore;

/// The requests for that blob.
fn of_blob(asked: &[String], blob: &[u8]) -> Vec<String> {
    let path = blob_path(blob);
    asked.iter().filter(|line| line.contains(&path)).cloned().collect()
}

fn big(seed: u32) -> Vec<u8> {
    Tar::new().file(&format!("f{seed}"), noise(seed, 3 << 20)).finish()
}

/// The content of files of the image, by its layers' directories: nothing need be run.
fn exported(store: &TestStore, image: &str, path: &str) -> Vec<u8> {
    let id = store.ok(&["create", image, "x"]);
    let tar = store.command().args(["export", id.trim_end()]).output().unwrap().stdout;
    store.ok(&["rm", id.trim_end()]);
    let mut archive = tar::Archive::new(tar.as_slice());
    let mut entries = archive.entries().unwrap().map(Result::unwrap);
    let mut found = entries.find(|e| e.path().unwrap().to_str() == Some(path)).expect(path);
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut found, &mut content).unwrap();
    content
}

fn parts(store: &TestStore) -> Vec<(String, u64)> {
    let entries = std::fs::read_dir(store.root().join("partial")).unwrap().map(Result::unwrap);
    let parts = entries.map(|e| (e.file_name().into_string().unwrap(), e.metadata().unwrap().len()));
    parts.filter(|(name, _)| !name.ends_with(".unpack")).collect()
}

#[test]
fn an_unchanged_tag_costs_one_head() {
    let store = TestStore::new();
    let registry = Registry::new();
    let layer = big(1);
    registry.tag("latest", &registry.image_of_layers(&[&layer]));
    let name = registry.name("");
    store.ok(&["pull", "-q", &name]);
    assert_eq!(of_blob(&registry.asked(), &layer).len(), 1);
    // The name stands for what was received.
    let named = oci::Reference::parse(&registry.name(":latest")).unwrap();
    let manifest = registry.image_of_layers(&[&layer])["digest"].as_str().unwrap().to_owned();
    assert_eq!(store.store().manifest(&named).unwrap().unwrap().as_str(), manifest);
    assert!(store.run(&["pull", &name]).stderr.contains("Status: Image is up to date"));
    assert_eq!(registry.asked(), ["HEAD /v2/app/manifests/latest"]);
    // Another tag of the same image: its manifest is asked for, and nothing else.
    let config = registry.image_of_layers(&[&layer]);
    registry.tag("two", &config);
    store.ok(&["pull", "-q", &registry.name(":two")]);
    assert_eq!(registry.asked(), ["GET /v2/app/manifests/two"]);
    // By digest nothing can have changed.
    let by_digest = registry.name(&format!("@{}", config["digest"].as_str().unwrap()));
    store.ok(&["pull", "-q", &by_digest]);
    assert_eq!(registry.asked(), Vec::<String>::new());
}

#[test]
fn what_is_held_in_another_form_is_not_fetched() {
    let store = TestStore::new();
    let registry = Registry::new();
    let (below, layer) =
        (Tar::new().file("below", "1").finish(), Tar::new().file("f", noise(2, 9000)).finish());
    registry.tag("plain", &registry.image_of_layers(&[&layer]));
    store.ok(&["pull", "-q", &registry.name(":plain")]);
    registry.asked();
    // The same layer on another one, and compressed.
    let mut gzip = snapshot::compress::GzipWriter::new(Vec::new(), 6, 1);
    gzip.write_all(&layer).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut zstd = snapshot::compress::zstd_writer(Vec::new(), 3).unwrap();
    zstd.write_all(&below).unwrap();
    let zstd = zstd.finish().unwrap();
    let blobs =
        [registry.blob(&format!("{LAYER}+zstd"), &zstd), registry.blob(&format!("{LAYER}+gzip"), &gzip)];
    let architecture = oci::Platform::host().architecture;
    let both = [digest(&below), digest(&layer)];
    registry.tag("two", &registry.image_of(&architecture, json!({}), &both, &blobs));
    let told = store.run(&["pull", &registry.name(":two")]).stderr;
    let asked = registry.asked();
    assert_eq!((of_blob(&asked, &zstd).len(), of_blob(&asked, &gzip).len()), (1, 0), "{asked:?}");
    assert!(told.contains(&format!("{}: Already exists", &digest(&gzip)[7..19])), "{told}");
    assert_eq!(exported(&store, &registry.name(":two"), "f"), noise(2, 9000));
    assert_eq!(exported(&store, &registry.name(":two"), "below"), b"1");
    store.ok(&["system", "check"]);
}

#[test]
fn a_layer_that_was_made_here_is_not_fetched() {
    let store = store();
    std::fs::write(store.dir().join("Dockerfile"), "FROM bb\nCOPY Dockerfile /made\n").unwrap();
    store.ok(&["build", "-q", "-t", "t", "."]);
    store.ok(&["save", "-o", "t.tar", "t"]);
    let layers: Vec<String> =
        serde_json::from_str(&store.ok(&["inspect", "-f", "{{json .RootFS.Layers}}", "t"])).unwrap();
    let made = std::process::Command::new("tar")
        .args(["-xOf", "t.tar", &format!("blobs/sha256/{}", &layers[1][7..])])
        .current_dir(store.dir())
        .output()
        .unwrap()
        .stdout;
    assert_eq!(digest(&made), layers[1]);
    let registry = Registry::new();
    let other = Tar::new().file("other", "1").finish();
    registry.tag("latest", &registry.image_of_layers(&[&other, &made]));
    store.ok(&["pull", "-q", &registry.name("")]);
    let asked = registry.asked();
    assert_eq!((of_blob(&asked, &other).len(), of_blob(&asked, &made).len()), (1, 0), "{asked:?}");
    assert_eq!(exported(&store, &registry.name(""), "made"), b"FROM bb\nCOPY Dockerfile /made\n");
    store.ok(&["system", "check"]);
}

#[test]
fn a_killed_pull_goes_on_where_it_was() {
    let store = TestStore::new();
    let registry = Registry::new();
    let (first, second) = (big(3), big(4));
    registry.tag("latest", &registry.image_of_layers(&[&first, &second]));
    for layer in [&first, &second] {
        registry.spoil(layer, |page| page.hold = Some(2 << 20));
    }
    let name = registry.name("");
    let mut child = store
        .command()
        .args(["pull", "-q", &name])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    registry.until_held(2);
    crate::containers::until("both parts are there", || {
        let parts = parts(&store);
        parts.len() == 2 && parts.iter().all(|(_, len)| *len > 1 << 20)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    store.ok(&["system", "check"]);
    assert_eq!(store.ok(&["images", "-aq"]), "");
    let before = parts(&store);
    assert_eq!(before.len(), 2, "{before:?}");
    registry.release();
    registry.asked();
    store.ok(&["pull", "-q", &name]);
    let asked = registry.asked();
    for layer in [&first, &second] {
        let hex = &digest(layer)[7..];
        let (_, len) = before.iter().find(|(name, _)| name == hex).unwrap();
        assert_eq!(of_blob(&asked, layer), [format!("GET {} {len}-", blob_path(layer))]);
    }
    assert_eq!(exported(&store, &name, "f3"), noise(3, 3 << 20));
    assert_eq!(parts(&store), []);
    store.ok(&["system", "check"]);
}

#[test]
fn a_part_that_is_damaged_is_fetched_anew() {
    let store = TestStore::new();
    let registry = Registry::new();
    let layer = big(5);
    registry.tag("latest", &registry.image_of_layers(&[&layer]));
    store.ok(&["images"]);
    let partial = store.root().join("partial");
    for part in [vec![7; 1 << 20], vec![7; layer.len()], vec![7; layer.len() + 100]] {
        std::fs::write(partial.join(&digest(&layer)[7..]), part).unwrap();
        store.ok(&["pull", "-q", &registry.name("")]);
        assert_eq!(exported(&store, &registry.name(""), "f5"), noise(5, 3 << 20));
        assert_eq!(parts(&store), []);
        store.ok(&["rmi", &registry.name("")]);
    }
    store.ok(&["system", "check"]);
}

#[test]
fn a_layer_waits_for_what_it_needs_of_those_below() {
    waits(&TestStore::new());
}

#[test]
fn a_layer_of_an_ordinary_user_waits_as_well() {
    if let Some(store) = TestStore::of_an_ordinary_user() {
        waits(&store);
    }
}

fn waits(store: &TestStore) {
    let registry = Registry::new();
    let bottom = Tar::new().directory("d").file("d/shared", noise(6, 2 << 20)).finish();
    let middle = Tar::new().file("own", "own").finish();
    // A link to a file below, and a file in a directory that only those below have.
    let top = Tar::new().hard_link("link", "d/shared").file("d/new", "new").finish();
    registry.tag("latest", &registry.image_of_layers(&[&bottom, &middle, &top, &middle]));
    registry.spoil(&bottom, |page| page.hold = Some(1 << 20));
    let name = registry.name("");
    let child = store.command().args(["pull", "-q", &name]).stderr(Stdio::piped()).spawn().unwrap();
    registry.until_held(1);
    crate::containers::until("the upper layers came", || {
        let asked = registry.asked.lock().unwrap().clone();
        !of_blob(&asked, &top).is_empty()
    });
    assert_eq!(store.ok(&["images", "-aq"]), "");
    registry.release();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(of_blob(&registry.asked(), &middle).len(), 1, "the same layer twice comes once");
    assert_eq!(exported(store, &name, "d/shared").len(), 2 << 20);
    assert_eq!(exported(store, &name, "d/new"), b"new");
    store.ok(&["system", "check"]);
}

#[test]
fn several_processes_fetch_it_once() {
    let store = TestStore::new();
    let registry = Registry::new();
    let layers = [big(7), big(8), big(9)];
    let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    registry.tag("latest", &registry.image_of_layers(&layers));
    registry.spoil(layers[1], |page| page.hold = Some(1 << 20));
    store.ok(&["images"]);
    let name = registry.name("");
    let start = || {
        let mut command = store.command();
        command.args(["pull", "-q", &name]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..4).map(|_| start()).collect();
    registry.until_held(1);
    registry.release();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let asked = registry.asked();
    for layer in layers {
        assert_eq!(of_blob(&asked, layer).len(), 1, "{asked:?}");
    }
    store.ok(&["system", "check"]);
    assert_eq!(std::fs::read_dir(store.root().join("snapshots")).unwrap().count(), 3);
    assert_eq!(std::fs::read_dir(store.root().join("work")).unwrap().count(), 0);
}

#[test]
fn all_tags() {
    let store = store();
    let registry = Registry::new();
    for tag in ["1", "2"] {
        let layer = Tar::new().file("tag", tag).finish();
        registry.tag(tag, &registry.image_of_layers(&[&layer]));
    }
    registry.put("/v2/app/tags/list", "application/json", r#"{"name":"app","tags":["1","2"]}"#);
    let pulled = store.run(&["pull", "--all-tags", &registry.name("")]);
    let names = format!("{}\n{}\n", registry.name(":1"), registry.name(":2"));
    assert_eq!((pulled.code, pulled.stdout.as_str()), (0, names.as_str()), "{pulled:?}");
    assert!(pulled.stderr.contains("1: Pulling from app\n"), "{}", pulled.stderr);
    assert_eq!(exported(&store, &registry.name(":2"), "tag"), b"2");
    let refused = store.fails(1, &["pull", "-a", &registry.name(":1")]);
    assert!(refused.contains("tag can't be used with --all-tags/-a"), "{refused}");
}

#[test]
fn killed_at_any_moment_it_leaves_a_sound_store() {
    let store = TestStore::new();
    let registry = Registry::new();
    let layers: Vec<Vec<u8>> = (20..26).map(big).collect();
    let all: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    registry.tag("latest", &registry.image_of_layers(&all));
    let name = registry.name("");
    let mut dice = noise(std::process::id(), 8).into_iter();
    for signal in [rustix::process::Signal::KILL, rustix::process::Signal::INT].iter().cycle().take(8) {
        let mut command = store.command();
        let mut child =
            command.args(["pull", "-q", &name]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(u64::from(dice.next().unwrap())));
        let id = rustix::process::Pid::from_child(&child);
        let _ = rustix::process::kill_process(id, *signal);
        child.wait().unwrap();
        store.ok(&["system", "check"]);
    }
    store.ok(&["pull", "-q", &name]);
    for seed in 20..26 {
        assert_eq!(exported(&store, &name, &format!("f{seed}")), noise(seed, 3 << 20));
    }
    assert_eq!(parts(&store), []);
    store.ok(&["system", "check"]);
}

#[test]
fn the_base_of_a_build_is_pulled_and_noted() {
    let store = TestStore::new();
    let registry = Registry::new();
    let image = registry.image_of_layers(&[&Tar::new().file("base", "1").finish()]);
    registry.tag("latest", &image);
    let (name, digest) = (registry.name(""), image["digest"].as_str().unwrap().to_owned());
    std::fs::write(
        store.dir().join("Dockerfile"),
        format!("FROM {name} AS a\nFROM {name}\nCOPY --from=a base /x\n"),
    )
    .unwrap();
    let built = store.run(&["build", "-t", "t", "."]);
    assert_eq!(built.code, 0, "{built:?}");
    let pinned = format!("FROM {name}:latest@{digest}\n");
    assert_eq!(built.stderr.matches("note: base image").count(), 1, "{}", built.stderr);
    assert!(built.stderr.contains(&pinned), "{}", built.stderr);
    std::fs::write(store.dir().join("Dockerfile"), &pinned).unwrap();
    let built = store.run(&["build", "-t", "t", "."]);
    assert!(built.code == 0 && !built.stderr.contains("note:"), "{built:?}");
    assert_eq!(exported(&store, "t", "base"), b"1");
}
