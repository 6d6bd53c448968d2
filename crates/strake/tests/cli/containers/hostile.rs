//! Archives that are cut short, lie, or reach for what is not theirs: refused, with nothing left of them.

use serde_json::{Value, json};

use crate::harness::{Ran, TestStore};

/// A tar of these entries: files, or links where the content says so.
fn tar(entries: &[(&str, Content)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        // The name as it stands: the crate's own way refuses what is tested here.
        let field = &mut header.as_old_mut().name;
        field[..name.len()].copy_from_slice(name.as_bytes());
        match content {
            Content::File(bytes) => {
                header.set_size(bytes.len() as u64);
                header.set_cksum();
                builder.append(&header, bytes.as_slice()).unwrap();
            }
            Content::Link(kind, target) => {
                header.set_entry_type(*kind);
                header.set_size(0);
                let field = &mut header.as_old_mut().linkname;
                field[..target.len()].copy_from_slice(target.as_bytes());
                header.set_cksum();
                builder.append(&header, std::io::empty()).unwrap();
            }
        }
    }
    builder.into_inner().unwrap()
}

#[derive(Clone)]
enum Content {
    File(Vec<u8>),
    Link(tar::EntryType, &'static str),
}

fn file(bytes: impl Into<Vec<u8>>) -> Content {
    Content::File(bytes.into())
}

fn digest(bytes: &[u8]) -> String {
    oci::Digest::sha256(bytes).to_string()
}

fn config(diff_ids: &[&str]) -> Vec<u8> {
    config_with(diff_ids, "linux")
}

fn config_with(diff_ids: &[&str], os: &str) -> Vec<u8> {
    let rootfs = json!({ "type": "layers", "diff_ids": diff_ids });
    json!({ "architecture": "amd64", "os": os, "config": {}, "rootfs": rootfs }).to_string().into_bytes()
}

/// A layer of some 150 kilobytes.
fn layer() -> Vec<u8> {
    tar(&[("bin/x", file(b"hello".repeat(30_000))), ("etc/f", file("1"))])
}

/// Docker's archive of an image of these layers, with the manifest's entries as given.
fn docker(config: &[u8], files: &[(&str, Content)], layers: &[&str], tags: &[&str]) -> Vec<u8> {
    let manifest = json!([{ "Config": "c.json", "RepoTags": tags, "Layers": layers }]).to_string();
    let mut all = files.to_vec();
    all.push(("c.json", file(config)));
    all.push(("manifest.json", file(manifest)));
    tar(&all)
}

/// An OCI archive; `lie` may change what is said of the layer.
fn layout(config: &[u8], layer: &[u8], lie: impl FnOnce(&mut Value)) -> Vec<u8> {
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", &digest(bytes)[7..]);
    let mut described = json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(layer), "size": layer.len(),
    });
    lie(&mut described);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config), "size": config.len(),
        },
        "layers": [described],
    })
    .to_string();
    let index = json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest(manifest.as_bytes()),
            "size": manifest.len(),
            "annotations": { "org.opencontainers.image.ref.name": "h:1" },
        }],
    });
    tar(&[
        ("oci-layout", file(r#"{"imageLayoutVersion":"1.0.0"}"#)),
        (&blob(config), file(config)),
        (&blob(layer), file(layer)),
        (&blob(manifest.as_bytes()), file(manifest)),
        ("index.json", file(index.to_string())),
    ])
}

/// Loads it into a store that has nothing, which has to be so afterwards too.
#[track_caller]
fn refused(store: &TestStore, archive: &[u8]) -> String {
    let ran = store.run_with(&["load"], archive);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
    assert!(!ran.stderr.contains("panicked"), "{ran:?}");
    assert_eq!(store.ok(&["images", "-aq"]), "");
    for directory in ["blobs/sha256", "snapshots", "work", "tmp"] {
        let left = std::fs::read_dir(store.root().join(directory)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "something is left in {directory}: {ran:?}");
    }
    ran.stderr
}

#[test]
fn lies_are_found_out() {
    let store = TestStore::new();
    let layer = layer();
    let id = digest(&layer);
    let honest = [("l.tar", file(layer.clone()))];
    let one = |tags: &[&str]| docker(&config(&[&id]), &honest, &["l.tar"], tags);
    let nothing = "1".repeat(64);
    let links = |kind, target| [("l.tar", Content::Link(kind, target))];
    let symlink = tar::EntryType::Symlink;
    for (what, archive, words) in [
        ("nothing", Vec::new(), "neither manifest.json nor index.json"),
        ("text", b"hello world ".repeat(100), "no tar archive"),
        ("another tar", layer.clone(), "strake import FILE NAME"),
        ("no image", tar(&[("manifest.json", file("[]"))]), "holds no image"),
        ("no list", tar(&[("manifest.json", file("{}"))]), "manifest.json"),
        ("deep", tar(&[("manifest.json", file("[".repeat(100_000)))]), "manifest.json"),
        (
            "another layer",
            docker(&config(&[&format!("sha256:{nothing}")]), &honest, &["l.tar"], &[]),
            "unpacked as",
        ),
        (
            "fewer layers",
            docker(&config(&[]), &honest, &["l.tar"], &[]),
            "names 0 layers in its config and 1",
        ),
        (
            "more layers",
            docker(&config(&[&id, &id]), &honest, &["l.tar"], &[]),
            "names 2 layers in its config and 1",
        ),
        ("no config", docker(b"null", &honest, &["l.tar"], &[]), "image config"),
        ("windows", docker(&config_with(&[&id], "windows"), &honest, &["l.tar"], &[]), "is for windows"),
        ("a missing layer", docker(&config(&[&id]), &[], &["l.tar"], &[]), "has no file \"l.tar\""),
        (
            "a file of the host",
            docker(&config(&[&id]), &[], &["../../../../../etc/passwd"], &[]),
            "has no file",
        ),
        (
            "a link out",
            docker(&config(&[&id]), &links(symlink, "../../../../etc/passwd"), &["l.tar"], &[]),
            "has no file",
        ),
        (
            "a link to itself",
            docker(&config(&[&id]), &links(symlink, "l.tar"), &["l.tar"], &[]),
            "has no file",
        ),
        ("a bad name", one(&["UPPER:x"]), "must be lowercase"),
        ("a name without a tag", one(&["h"]), "names no image with a tag"),
        ("a name with a digest", one(&[&format!("h@sha256:{nothing}")]), "names no image with a tag"),
        (
            "another size",
            layout(&config(&[&id]), &layer, |l| l["size"] = json!(5)),
            "has 152576 bytes, and the manifest says 5",
        ),
        (
            "another digest",
            layout(&config(&[&id]), &layer, |l| l["digest"] = json!(format!("sha256:{nothing}"))),
            "has no file",
        ),
        (
            "an unknown digest",
            layout(&config(&[&id]), &layer, |l| l["digest"] = json!(format!("sha512:{}", "1".repeat(128)))),
            "only sha256",
        ),
    ] {
        let stderr = refused(&store, &archive);
        assert!(stderr.contains(words), "{what}: {stderr}");
    }
    // The same, without lies.
    let ran = store.run_with(&["load"], &one(&["h:1"]));
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "Loaded image: h:1\n"), "{ran:?}");
    let through_link = docker(
        &config(&[&id]),
        &[("a/layer.tar", file(layer.clone())), ("b/layer.tar", Content::Link(symlink, "../a/layer.tar"))],
        &["b/layer.tar"],
        &["h:old"],
    );
    assert_eq!(store.run_with(&["load"], &through_link).stdout, "Loaded image: h:old\n");
}

#[test]
fn layers_that_reach_out_are_refused() {
    let store = TestStore::new();
    let host = store.dir().join("host");
    std::fs::write(&host, "of the host").unwrap();
    let target: &'static str = Box::leak(host.to_str().unwrap().to_owned().into_boxed_str());
    let up: &'static str = Box::leak(format!("../../../../../../../../../..{target}").into_boxed_str());
    let hard = tar::EntryType::Link;
    let symlink = tar::EntryType::Symlink;
    let load = |entries: &[(&str, Content)]| {
        let layer = tar(entries);
        docker(&config(&[&digest(&layer)]), &[("l.tar", file(layer))], &["l.tar"], &["h:1"])
    };
    for entries in
        [vec![(up, file("pwned"))], vec![("h", Content::Link(hard, up))], vec![("../.wh.host", file(""))]]
    {
        let stderr = refused(&store, &load(&entries));
        assert!(stderr.contains("leads out of the root"), "{stderr}");
    }
    // Inside the image these are paths of the image.
    for entries in [
        vec![(target, file("inside"))],
        vec![("l", Content::Link(symlink, target)), ("l", file("inside"))],
        vec![("d", Content::Link(symlink, "/")), ("d/x", file("inside"))],
    ] {
        let Ran { code, stderr, .. } = store.run_with(&["load"], &load(&entries));
        assert_eq!(code, 0, "{stderr}");
    }
    assert_eq!(std::fs::read_to_string(host).unwrap(), "of the host");
}

#[test]
fn cut_short_anywhere() {
    let store = TestStore::new();
    let layer = layer();
    let id = digest(&layer);
    for archive in [
        docker(&config(&[&id]), &[("l.tar", file(layer.clone()))], &["l.tar"], &["h:1"]),
        layout(&config(&[&id]), &layer, |_| ()),
    ] {
        // The end is two empty blocks, and what fills up to 512 bytes: without them nothing is missing.
        let end = archive.len() - 1024 - 512;
        let places = (0..end).step_by(archive.len() / 25).chain([1, 511, 512, 513, end - 1]);
        for place in places {
            refused(&store, &archive[..place]);
        }
        let packed = {
            let mut encoder = std::process::Command::new("gzip");
            let mut child = encoder
                .arg("-c")
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let mut stdin = child.stdin.take().unwrap();
            let whole = archive.clone();
            let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &whole).unwrap());
            let output = child.wait_with_output().unwrap();
            writer.join().unwrap();
            output.stdout
        };
        for place in [packed.len() / 3, packed.len() - 9] {
            refused(&store, &packed[..place]);
        }
        assert_eq!(store.run_with(&["load"], &packed).code, 0);
        store.ok(&["image", "prune", "-af"]);
    }
}

#[test]
fn bits_that_flipped() {
    let store = TestStore::new();
    let layer = layer();
    let id = digest(&layer);
    let mut seed = 1u64;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    let archives = [
        docker(&config(&[&id]), &[("l.tar", file(layer.clone()))], &["l.tar"], &["h:1"]),
        layout(&config(&[&id]), &layer, |_| ()),
    ];
    for round in 0..30 {
        let mut archive = archives[round % 2].clone();
        for _ in 0..=random(3) {
            let place = random(archive.len());
            archive[place] ^= 1 << random(8);
        }
        let ran = store.run_with(&["load"], &archive);
        assert!(matches!(ran.code, 0 | 1) && !ran.stderr.contains("panicked"), "{ran:?}");
        if ran.code == 0 {
            // It hit padding, a name, or a time.
            store.ok(&["image", "prune", "-af"]);
        }
    }
    store.ok(&["system", "check"]);
}
