//! Blobs, layers, snapshots, images, names, cache records and containers: what each call gives.

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use oci::{ChainId, Digest, Reference};
use store::{Base, ContainerError, Error, ImageMeta, LayerBlob, Store};
use support::*;

#[test]
fn blobs_are_whole_and_verified() {
    let t = temporary();
    let store = &t.store;
    let digest = store.put_blob(b"hello").unwrap();
    assert_eq!(digest, Digest::sha256(b"hello"));
    assert_eq!(store.put_blob(b"hello").unwrap(), digest);
    assert_eq!(store.blob_size(&digest).unwrap(), Some(5));
    assert_eq!(store.read_blob(&digest, 5).unwrap(), b"hello");
    assert!(matches!(store.read_blob(&digest, 4), Err(Error::BlobTooLarge { size: 5, limit: 4, .. })));
    let missing = Digest::sha256(b"missing");
    assert!(!store.has_blob(&missing).unwrap());
    assert!(matches!(store.read_blob(&missing, 9), Err(Error::MissingBlob(_))));
    assert!(matches!(store.open_blob(&missing), Err(Error::MissingBlob(_))));

    let big = vec![7u8; 1_000_000];
    let mut writer = store.blob_writer().unwrap();
    for part in big.chunks(999) {
        writer.write_all(part).unwrap();
    }
    let (digest, size) = writer.commit(Some(&Digest::sha256(&big))).unwrap();
    assert_eq!((digest, size), (Digest::sha256(&big), 1_000_000));

    let mut writer = store.blob_writer().unwrap();
    writer.write_all(b"other").unwrap();
    assert!(matches!(writer.commit(Some(&missing)), Err(Error::DigestMismatch { stored: false, .. })));
    let mut dropped = store.blob_writer().unwrap();
    dropped.write_all(b"dropped").unwrap();
    drop(dropped);
    assert!(!store.has_blob(&Digest::sha256(b"other")).unwrap());
    assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
    assert_clean(store);
}

#[test]
fn a_damaged_blob_is_refused_and_can_be_put_again() {
    let t = temporary();
    let digest = t.store.put_blob(b"hello").unwrap();
    let path = t.store.root().join("blobs/sha256").join(digest.hex());
    fs::write(&path, "jello").unwrap();
    let error = t.store.read_blob(&digest, 99).unwrap_err().to_string();
    assert!(error.contains("--repair") && error.contains(digest.hex()), "{error}");
    fs::remove_file(&path).unwrap();
    assert!(matches!(t.store.open_blob(&digest), Err(Error::Damaged { .. })));
    t.store.put_blob(b"hello").unwrap();
    assert_eq!(t.store.read_blob(&digest, 99).unwrap(), b"hello");
}

#[test]
fn layer_blobs_smallest_first() {
    let t = temporary();
    let blob = |text: &str| {
        let digest = t.store.put_blob(text.as_bytes()).unwrap();
        LayerBlob { digest, size: text.len() as u64, media_type: format!("type of {text}") }
    };
    let (plain, gzip) = (blob("plain"), blob("gz"));
    let layer = diff_id("a");
    for blob in [&plain, &gzip, &plain] {
        t.store.add_layer_blob(&layer, blob).unwrap();
    }
    assert_eq!(t.store.layer_blobs(&layer).unwrap(), [gzip, plain.clone()]);
    let missing = LayerBlob { digest: Digest::sha256(b"?"), ..plain };
    assert!(matches!(t.store.add_layer_blob(&layer, &missing), Err(Error::MissingBlob(_))));
}

/// Whoever makes a snapshot later syncs, on the side, what has waited for long.
#[test]
fn what_is_old_is_synced_by_the_way() {
    let t = temporary();
    let a = layer(&t.store, None, "a").unwrap();
    // Just made: nobody waits for the disk.
    drop(Store::open(t.store.root()).unwrap().begin_snapshot().unwrap());
    assert!(!t.store.snapshot(&a).unwrap().unwrap().synced);
    let database = rusqlite::Connection::open(t.store.root().join("strake.db")).unwrap();
    database.execute("UPDATE unsynced SET since = 0", []).unwrap();
    let other = Store::open(t.store.root()).unwrap();
    drop(other.begin_snapshot().unwrap());
    let synced = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        t.store.snapshot(&a).unwrap().unwrap().synced
    });
    assert!(synced);
}

#[test]
fn snapshots_stack_up() {
    let t = temporary();
    let store = &t.store;
    let a = layer(store, None, "a").unwrap();
    let b = layer(store, Some(&a), "b").unwrap();
    let layers = [diff_id("a"), diff_id("b")];
    assert_eq!(Some(&b), ChainId::of(&layers).as_ref());
    assert_eq!(store.layers_of(&b).unwrap(), layers);
    let snapshot = store.snapshot(&b).unwrap().unwrap();
    assert_eq!((snapshot.parent, snapshot.diff_id), (Some(a.clone()), diff_id("b")));
    assert!(!snapshot.synced);
    assert!(store.unsynced_since().unwrap().is_some());
    store.sync().unwrap();
    assert_eq!(store.unsynced_since().unwrap(), None);
    assert!(store.snapshot(&b).unwrap().unwrap().synced);
    assert_eq!(store.lowers(&layers).unwrap(), [store.snapshot_dir(&b), store.snapshot_dir(&a)]);
    assert_eq!(store.lowers(&[]).unwrap(), Vec::<std::path::PathBuf>::new());
    assert_eq!(fs::read_to_string(store.snapshot_dir(&b).join("etc/name")).unwrap(), "b");
    let mode = fs::metadata(store.snapshot_dir(&b)).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);

    let missing = [diff_id("a"), diff_id("x"), diff_id("y")];
    let lowest = ChainId::of(&missing[..2]).unwrap();
    assert!(matches!(store.lowers(&missing), Err(Error::MissingSnapshot(c)) if c == lowest));
    assert!(matches!(layer(store, Some(&lowest), "z"), Err(Error::MissingSnapshot(_))));

    // Again, and one that is dropped: nothing stays of either.
    assert_eq!(layer(store, Some(&a), "b").unwrap(), b);
    drop(store.begin_snapshot().unwrap());
    assert_eq!(fs::read_dir(store.root().join("work")).unwrap().count(), 0);
    assert_eq!(store.snapshots().unwrap().len(), 2);
    assert_clean(store);
}

#[test]
fn what_lies_beside_the_layer_goes_with_it() {
    let t = temporary();
    let pending = t.store.begin_snapshot().unwrap();
    fs::write(pending.dir().join("owners"), "x").unwrap();
    fs::create_dir(pending.work().join("work")).unwrap();
    let stat = fill(pending.fs(), "a");
    let chain_id = t.store.commit_snapshot(pending, None, &stat).unwrap();
    let top = t.store.snapshot_dir(&chain_id);
    let mut names: Vec<_> =
        fs::read_dir(top.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["fs", "owners"]);
}

#[test]
fn images_keep_what_is_known_of_them() {
    let t = temporary();
    let store = &t.store;
    let layers = stack(store, &["a", "b"]).unwrap();
    let bytes = config(&layers, "x");
    let manifest = store.put_blob(b"manifest").unwrap();
    let meta = ImageMeta {
        manifest: Some(manifest.clone()),
        base: Some(Base { name: "docker.io/library/base:1".to_owned(), digest: None }),
        annotations: [("k".to_owned(), "v".to_owned())].into(),
        ..ImageMeta::default()
    };
    let id = store.put_image(&bytes, &meta).unwrap();
    // Adding it again with less forgets nothing.
    store.put_image(&bytes, &ImageMeta::default()).unwrap();
    let image = store.image(&id).unwrap().unwrap();
    assert_eq!(image.meta, meta);
    assert_eq!(image.config.bytes, bytes);
    assert_eq!(image.layers(), layers);
    let sizes = store.snapshots().unwrap().iter().map(|s| s.usage).sum::<u64>();
    assert_eq!(image.size, sizes);
    assert_eq!(store.images().unwrap(), [image]);

    let unknown = config(&[diff_id("unknown")], "");
    assert!(matches!(store.put_image(&unknown, &meta), Err(Error::MissingLayer(_))));
    assert!(matches!(store.put_image(b"{}", &meta), Err(Error::InvalidConfig { .. })));
    assert!(matches!(store.put_image(b"\xff", &meta), Err(Error::InvalidConfig { .. })));
    assert_clean(store);
}

#[test]
fn an_image_may_have_its_layers_as_blobs_only() {
    let t = temporary();
    let digest = t.store.put_blob(b"a layer's tar").unwrap();
    let blob = LayerBlob { digest, size: 13, media_type: "tar".to_owned() };
    t.store.add_layer_blob(&diff_id("a"), &blob).unwrap();
    let id = t.store.put_image(&config(&[diff_id("a")], ""), &ImageMeta::default()).unwrap();
    assert_eq!(t.store.image(&id).unwrap().unwrap().size, 13);
    assert!(matches!(t.store.lowers(&[diff_id("a")]), Err(Error::MissingSnapshot(_))));
    t.store.prune(&Default::default()).unwrap();
    assert_eq!(t.store.layer_blobs(&diff_id("a")).unwrap().len(), 1);
    assert_clean(&t.store);
}

#[test]
fn names_move_between_images() {
    let t = temporary();
    let store = &t.store;
    let first = image(store, Some("app"), &["a"]).unwrap();
    let second = image(store, None, &["b"]).unwrap();
    let app = Reference::parse("app:latest").unwrap();
    assert_eq!(store.set_reference(&app, &second).unwrap(), Some(first.clone()));
    assert_eq!(store.set_reference(&app, &second).unwrap(), Some(second.clone()));
    store.set_reference(&Reference::parse("app:1").unwrap(), &second).unwrap();
    assert_eq!(store.references_of(&first).unwrap(), []);
    let names: Vec<String> = store.references_of(&second).unwrap().iter().map(|r| r.familiar()).collect();
    assert_eq!(names, ["app:1", "app:latest"]);
    assert_eq!(store.remove_reference(&Reference::parse("app").unwrap()).unwrap(), Some(second.clone()));
    assert_eq!(store.remove_reference(&app).unwrap(), None);
    assert_eq!(store.references().unwrap(), [(Reference::parse("app:1").unwrap(), second.clone())]);

    let digest = Digest::sha256(b"m");
    let pinned = Reference::parse(&format!("app@{digest}")).unwrap();
    assert!(matches!(store.set_reference(&pinned, &second), Err(Error::InvalidReference { .. })));
    assert!(store.add_repo_digest("app", &digest, &second).is_err());
    store.add_repo_digest("docker.io/library/app", &digest, &second).unwrap();
    assert_eq!(store.reference(&pinned).unwrap(), Some(second.clone()));
    assert_eq!(store.repo_digests(&second).unwrap().len(), 1);

    let removed = store.remove_image(&second).unwrap();
    assert_eq!(
        removed.untagged,
        ["docker.io/library/app:1".to_owned(), format!("docker.io/library/app@{digest}")]
    );
    assert_eq!(removed.snapshots, [ChainId::of(&[diff_id("b")]).unwrap()]);
    assert!(removed.freed > 0);
    assert!(matches!(store.set_reference(&app, &second), Err(Error::MissingImage(_))));
    assert!(matches!(store.remove_image(&second), Err(Error::MissingImage(_))));
    assert_clean(store);
}

#[test]
fn removing_an_image_leaves_what_others_need() {
    let t = temporary();
    let store = &t.store;
    let first = image(store, None, &["base", "a"]).unwrap();
    let second = image(store, None, &["base", "b"]).unwrap();
    let third = image(store, None, &["base", "c"]).unwrap();
    let chain = |names: [&str; 2]| ChainId::of(&names.map(diff_id)).unwrap();
    store.cache_put(&cache_record("c", Some(chain(["base", "c"])), 1)).unwrap();
    let lock = store.create_container(&container("box", &second, Some(chain(["base", "b"])))).unwrap();
    assert_eq!(store.remove_image(&first).unwrap().snapshots, [chain(["base", "a"])]);
    assert_eq!(store.remove_image(&second).unwrap().snapshots, []);
    assert_eq!(store.remove_image(&third).unwrap().snapshots, []);
    assert_eq!(store.snapshots().unwrap().len(), 3);
    assert!(store.remove_container(&container_id("box"), lock).unwrap() > 0);
    assert_eq!(store.snapshots().unwrap().len(), 2);
    assert_clean(store);
}

#[test]
fn cache_records_come_back_whole() {
    let t = temporary();
    let store = &t.store;
    let chain_id = layer(store, None, "a").unwrap();
    let record = cache_record("a", Some(chain_id.clone()), 5);
    store.cache_put(&record).unwrap();
    assert_eq!(store.cache_get(&record.key).unwrap(), Some(record.clone()));
    assert_eq!(store.cache_get(&Digest::sha256(b"?")).unwrap(), None);
    let newer = store::CacheRecord { identity: record.identity.clone(), ..cache_record("b", None, 9) };
    store.cache_put(&newer).unwrap();
    assert_eq!(store.cache_nearest(&record.identity, 9).unwrap(), [newer.clone(), record.clone()]);
    assert_eq!(store.cache_nearest(&record.identity, 1).unwrap(), [newer]);
    store.cache_touch(std::slice::from_ref(&record.key)).unwrap();
    let touched = store.cache_get(&record.key).unwrap().unwrap();
    assert!(touched.last_used > 9 && touched.uses == 1);
    assert_eq!(store.cache_records().unwrap()[0], touched);

    let missing = ChainId::of(&[diff_id("missing")]);
    assert!(matches!(store.cache_put(&cache_record("c", missing, 1)), Err(Error::MissingSnapshot(_))));
    assert!(store.cache_remove(&record.key).unwrap());
    assert!(!store.cache_remove(&record.key).unwrap());
    assert_clean(store);
}

#[test]
fn containers_have_one_name_one_lock_and_a_directory() {
    let t = temporary();
    let store = &t.store;
    let image_id = image(store, Some("app"), &["a"]).unwrap();
    let chain_id = ChainId::of(&[diff_id("a")]);
    let record = container("box", &image_id, chain_id.clone());
    let lock = store.create_container(&record).unwrap();
    assert!(store.container_dir(&record.id).join("fs").is_dir());
    assert!(store.container_locked(&record.id).unwrap());
    assert!(store.lock_container(&record.id).unwrap().is_none());
    drop(lock);
    assert!(!store.container_locked(&record.id).unwrap());
    assert_eq!(store.containers().unwrap(), std::slice::from_ref(&record));

    let mut other = container("box", &image_id, None);
    other.id = container_id("other");
    assert!(matches!(store.create_container(&other), Err(Error::NameInUse { id, .. }) if id == record.id));
    other.name = "a b".to_owned();
    assert!(matches!(store.create_container(&other), Err(Error::InvalidContainer { .. })));
    other.name = "other".to_owned();
    other.chain_id = ChainId::of(&[diff_id("?")]);
    assert!(matches!(store.create_container(&other), Err(Error::MissingSnapshot(_))));
    other.chain_id = chain_id;
    drop(store.create_container(&other).unwrap());
    other.name = "box".to_owned();
    assert!(matches!(store.put_container(&other), Err(Error::NameInUse { .. })));
    other.name = "renamed".to_owned();
    other.state = "{\"x\":1}".to_owned();
    store.put_container(&other).unwrap();

    assert_eq!(store.container("renamed").unwrap(), other);
    assert_eq!(store.container("/renamed").unwrap(), other);
    assert_eq!(store.container(&other.id).unwrap(), other);
    assert_eq!(store.container(&other.id[..4]).unwrap(), other);
    for text in ["", "nothing", "fffffffff", "%", "../x"] {
        assert!(matches!(store.container(text), Err(ContainerError::NotFound(_))), "{text:?}");
    }
    assert!(matches!(store.lock_container("../x"), Err(Error::InvalidContainer { .. })));
    assert!(matches!(store.lock_container(&container_id("?")), Err(Error::MissingContainer(_))));

    // A name that looks like the beginning of an ID is a name.
    other.name = record.id[..6].to_owned();
    store.put_container(&other).unwrap();
    assert_eq!(store.container(&record.id[..6]).unwrap().id, other.id);
    assert_eq!(store.container(&record.id[..7]).unwrap().id, record.id);

    let lock = store.lock_container(&record.id).unwrap().unwrap();
    store.remove_container(&record.id, lock).unwrap();
    assert!(!store.container_dir(&record.id).exists());
    assert_clean(store);
}

#[test]
fn ids_of_containers_may_be_ambiguous() {
    let t = temporary();
    let image_id = image(&t.store, None, &["a"]).unwrap();
    let ids = ["ab1", "ab2"].map(|start| format!("{start:0<64}"));
    for (id, name) in ids.iter().zip(["one", "two"]) {
        let record = store::ContainerRecord { id: id.clone(), ..container(name, &image_id, None) };
        t.store.create_container(&record).unwrap();
    }
    match t.store.container("ab") {
        Err(error @ ContainerError::Ambiguous { .. }) => {
            assert_eq!(
                error.to_string(),
                "\"ab\" is ambiguous, it is the beginning of ab1000000000, ab2000000000"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(t.store.container("ab1").unwrap().name, "one");
}

#[test]
fn a_store_is_refused_where_it_should_be() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("a/b/store");
    drop(Store::open(&root).unwrap());
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_to_string(root.join("version")).unwrap(), "2\n");

    fs::write(root.join("version"), "3\n").unwrap();
    let error = Store::open(&root).unwrap_err();
    assert!(matches!(error, Error::NewerFormat { found: 3, known: 2, .. }), "{error}");
    assert!(error.to_string().contains("newer strake"));
    fs::write(root.join("version"), "rubbish").unwrap();
    assert!(matches!(Store::open(&root), Err(Error::NotAStore { .. })));

    let foreign = dir.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("letter.txt"), "").unwrap();
    let error = Store::open(&foreign).unwrap_err().to_string();
    assert!(error.contains("letter.txt"), "{error}");
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);
    assert!(matches!(Store::open(&foreign.join("letter.txt")), Err(Error::NotAStore { .. })));
}

#[test]
fn context_files_are_by_path() {
    let t = temporary();
    let a = t.store.context_file(Path::new("/a"));
    assert_ne!(a, t.store.context_file(Path::new("/b")));
    assert_eq!(a.parent().unwrap(), t.store.root().join("contexts"));
}
