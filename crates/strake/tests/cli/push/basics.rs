//! One image, pushed.

use super::debian::DockerRegistry;
use super::{kinds, manifest, push, with_app};
use crate::harness::TestStore;
use crate::served::Served;

#[test]
fn the_second_push_is_one_question() {
    let Some(registry) = DockerRegistry::start() else { return };
    let store = with_app();
    let name = registry.name("team/app:1");
    store.ok(&["tag", "app:1", &name]);
    let first = store.run(&["push", "--digestfile", "digest", &name]);
    assert_eq!(first.code, 0, "{first:?}");
    let digest = std::fs::read_to_string(store.dir().join("digest")).unwrap();
    let lines: Vec<&str> = first.stderr.lines().collect();
    assert_eq!(lines[0], format!("The push refers to repository [{}]", registry.name("team/app")));
    assert_eq!(lines.iter().filter(|line| line.ends_with(": Pushed")).count(), 3, "{lines:?}");
    assert!(lines.last().unwrap().starts_with(&format!("1: digest: {digest} size: ")), "{lines:?}");

    let second = registry.asked_by(|| assert_eq!(push(&store, &name, &[]), digest));
    assert_eq!(second, ["HEAD /v2/team/app/manifests/1 200"]);
    // Another name for what is there is one manifest.
    let other = registry.name("team/app:2");
    store.ok(&["tag", &name, &other]);
    let third = registry.asked_by(|| assert_eq!(push(&store, &other, &[]), digest));
    assert!(third.iter().all(|asked| !asked.contains("/blobs/")), "{third:?}");
    assert_eq!(third.iter().filter(|asked| asked.starts_with("PUT")).count(), 1, "{third:?}");
    // Another repository has the blobs mounted.
    let elsewhere = registry.name("other/app:1");
    store.ok(&["tag", &name, &elsewhere]);
    let mounted = registry.asked_by(|| assert_eq!(push(&store, &elsewhere, &[]), digest));
    let mounts = mounted.iter().filter(|asked| asked.contains("mount=sha256") && asked.ends_with(" 201"));
    assert_eq!(mounts.count(), 3, "{mounted:?}");
    // What was pushed is what is pulled, and it works.
    let fresh = TestStore::new();
    fresh.ok(&["pull", "-q", &elsewhere]);
    assert_eq!(fresh.ok(&["run", "--rm", &elsewhere]), "a few words\n");
}

#[test]
fn what_left_once_leaves_again_as_the_same() {
    let store = with_app();
    let (one, two) = (Served::start(), Served::start());
    let names = [one.name("app:1"), two.name("app:1")];
    for name in &names {
        store.ok(&["tag", "app:1", name]);
    }
    let digest = push(&store, &names[0], &[]);
    // The bytes are not kept, they are made again.
    assert_eq!(push(&store, &names[1], &[]), digest);
    // So they are by whoever makes the same image.
    let other = with_app();
    other.ok(&["tag", "app:1", &names[0]]);
    assert_eq!(push(&other, &names[0], &[]), digest);
    // Also of an archive, where the layers are plain.
    store.ok(&["save", "-o", "plain.tar", "app:1"]);
    let loaded = TestStore::new();
    loaded.ok(&["load", "-q", "-i", store.dir().join("plain.tar").to_str().unwrap()]);
    loaded.ok(&["tag", "app:1", &names[1]]);
    assert_eq!(push(&loaded, &names[1], &["--compression", "gzip"]), digest);
    // And what was pulled is passed on as it came.
    let third = Served::start();
    let fresh = TestStore::new();
    fresh.ok(&["pull", "-q", &names[0]]);
    fresh.ok(&["tag", &names[0], &third.name("mine:2")]);
    assert_eq!(push(&fresh, &third.name("mine:2"), &[]), digest);
    fresh.ok(&["system", "check"]);
    // It does not matter who makes it.
    if let Some(user) = TestStore::of_an_ordinary_user() {
        user.ok(&["pull", "-q", &names[0]]);
        user.ok(&["tag", &names[0], &third.name("mine:3")]);
        assert_eq!(push(&user, &third.name("mine:3"), &[]), digest);
    }
}

#[test]
fn compressions_and_formats() {
    let store = with_app();
    let served = Served::start();
    let name = |tag: &str| {
        let name = served.name(&format!("app:{tag}"));
        store.ok(&["tag", "app:1", &name]);
        name
    };
    let gzip = push(&store, &name("gzip"), &[]);
    assert_eq!(kinds(&manifest(&store, &name("gzip"))), ["gzip", "gzip", "gzip"]);
    let zstd = push(&store, &name("zstd"), &["--compression", "zstd", "--compression-level", "1"]);
    assert_ne!(gzip, zstd);
    let found = manifest(&store, &name("zstd"));
    assert_eq!(kinds(&found), ["zstd", "zstd", "zstd"]);
    assert_eq!(found["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    push(&store, &name("docker"), &["--compression", "gzip", "--format", "docker"]);
    let found = manifest(&store, &name("docker"));
    assert_eq!(found["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
    assert_eq!(found["config"]["mediaType"], "application/vnd.docker.container.image.v1+json");
    for tag in ["gzip", "zstd", "docker"] {
        let fresh = TestStore::new();
        fresh.ok(&["pull", "-q", &name(tag)]);
        assert_eq!(fresh.ok(&["run", "--rm", &name(tag)]), "a few words\n");
    }
    // What came compressed stays so, unless it is forced.
    let fresh = TestStore::new();
    fresh.ok(&["pull", "-q", &name("gzip")]);
    let again = served.name("app:again");
    fresh.ok(&["tag", &name("gzip"), &again]);
    push(&fresh, &again, &["--compression", "zstd"]);
    assert_eq!(kinds(&manifest(&fresh, &again)), ["gzip", "gzip", "gzip"]);
    push(&fresh, &again, &["--compression", "zstd", "--force-compression"]);
    assert_eq!(kinds(&manifest(&fresh, &again)), ["zstd", "zstd", "zstd"]);
    let refused = store.fails(1, &["push", "--format", "docker", "--compression", "zstd", &name("refused")]);
    assert!(refused.contains("a Docker manifest has no layers compressed by zstd"), "{refused}");
}

#[test]
fn all_tags_and_what_is_refused() {
    let store = with_app();
    let served = Served::start();
    for tag in ["a", "b"] {
        store.ok(&["tag", "app:1", &served.name(&format!("app:{tag}"))]);
    }
    let said = store.ok(&["push", "-q", "--all-tags", &served.name("app")]);
    let digests: Vec<(&str, &str)> = said.lines().map(|line| line.split_once('@').unwrap()).collect();
    assert_eq!(digests.len(), 2, "{said}");
    assert_eq!(digests[0].1, digests[1].1);
    let same = |args: &[&str], wanted: &str| {
        let said = store.fails(1, args);
        assert!(said.contains(wanted), "{args:?}: {said}");
    };
    let named = served.name("app");
    same(&["push", &served.name("none")], "An image does not exist locally with the tag: ");
    same(&["push", "-a", &served.name("none")], "An image does not exist locally with the tag: ");
    same(&["push", "-a", &served.name("app:a")], "tag can't be used with --all-tags/-a");
    same(&["push", &format!("{named}@{}", digests[0].1)], "cannot push a digest reference");
    same(&["push", "--compression", "xz", &named], "unknown compression \"xz\": gzip, zstd or uncompressed");
    same(&["push", "--compression-level", "10", &named], "gzip has no level 10");
    same(&["push", "--force-compression", &named], "--force-compression needs --compression");
    same(&["push", "--format", "v1", &named], "unknown format \"v1\": oci or docker");
    // A closed port is nobody's registry.
    store.ok(&["tag", "app:1", "127.0.0.1:1/app:1"]);
    same(&["push", "127.0.0.1:1/app:1"], "registry 127.0.0.1:1 cannot be reached");
}

/// An archive has plain tars; a registry gets them compressed, and what is built on them shares them there.
#[test]
fn what_came_in_an_archive_is_compressed() {
    let Some(registry) = DockerRegistry::start() else { return };
    let made = with_app();
    made.ok(&["save", "-o", "app.tar", "app:1"]);
    let store = TestStore::new();
    let archive = made.dir().join("app.tar");
    store.ok(&["load", "-q", "-i", archive.to_str().unwrap()]);
    let name = registry.name("app:1");
    store.ok(&["tag", "app:1", &name]);
    push(&store, &name, &[]);
    assert_eq!(kinds(&manifest(&store, &name)), ["gzip", "gzip", "gzip"]);
    std::fs::write(store.dir().join("Dockerfile"), "FROM app:1\nCOPY Dockerfile /\n").unwrap();
    let more = registry.name("app:2");
    // Nor is a digest advised that no registry has.
    let built = store.run(&["build", "-t", &more, "."]);
    assert!(built.code == 0 && !built.stderr.contains("note: base image"), "{built:?}");
    let asked = registry.asked_by(|| drop(push(&store, &more, &[])));
    let sent = asked.iter().filter(|asked| asked.starts_with("PUT") && asked.contains("/blobs/uploads/"));
    assert_eq!(sent.count(), 2, "its layer and its config: {asked:?}");
}
