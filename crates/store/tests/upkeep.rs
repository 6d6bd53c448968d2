//! Prune, usage, check and sweep, in one process; what dead processes leave is planted.

mod support;

use std::fs;

use oci::{ChainId, Digest, ImageId, Reference};
use store::{
    CacheSpace, Error, Hooks, ImageMeta, LayerBlob, PruneCache, PruneImages, PruneOptions, PrunedItem, Store,
};
use support::*;

fn chain(contents: &[&str]) -> ChainId {
    let layers: Vec<_> = contents.iter().map(|c| diff_id(c)).collect();
    ChainId::of(&layers).unwrap()
}

const ALL: PruneCache = PruneCache { all: true, unused_since: None, keep: None };

fn everything() -> PruneOptions<'static> {
    PruneOptions {
        containers: Some(&|_| true),
        images: PruneImages::Unused,
        cache: Some(&ALL),
        contexts: true,
        compact: true,
        ..PruneOptions::default()
    }
}

/// The sum of all files, which `usage` has to account for.
fn file_bytes(store: &Store) -> u64 {
    paths(store.root())
        .iter()
        .map(|p| p.symlink_metadata().unwrap())
        .filter(|m| m.is_file())
        .map(|m| m.len())
        .sum()
}

#[track_caller]
fn assert_accounted(store: &Store) {
    let usage = store.usage().unwrap();
    assert_eq!(usage.total, file_bytes(store), "{usage:#?}");
}

#[test]
fn prune_of_everything_leaves_an_empty_store() {
    let t = temporary();
    drop(t.store);
    let root = t.dir.path().join("store");
    let store = Store::open(&root).unwrap();
    let empty = du(&root);
    for i in 0..60 {
        let own = format!("layer {i}");
        let id = image(&store, Some(&format!("app:{i}")), &["base", &own]).unwrap();
        store.cache_put(&cache_record(&own, Some(chain(&["base", &own])), i)).unwrap();
        drop(store.create_container(&container(&format!("box{i}"), &id, None)).unwrap());
        fs::write(store.context_file(t.dir.path()), "stat cache").unwrap();
        let layer = diff_id(&own);
        let digest = store.put_blob(own.as_bytes()).unwrap();
        let blob = LayerBlob { digest, size: own.len() as u64, media_type: "x".to_owned() };
        store.add_layer_blob(&layer, &blob).unwrap();
    }
    assert_accounted(&store);
    assert!(du(&root) > empty + 60 * 4096);
    let report = store.prune(&everything()).unwrap();
    let count = |f: fn(&PrunedItem) -> bool| report.items.iter().filter(|i| f(&i.what)).count();
    assert_eq!(count(|i| matches!(i, PrunedItem::Container(_))), 60);
    assert_eq!(count(|i| matches!(i, PrunedItem::Image(_))), 60);
    assert_eq!(count(|i| matches!(i, PrunedItem::Untagged(_))), 60);
    assert_eq!(count(|i| matches!(i, PrunedItem::Cache(_))), 60);
    assert_eq!(count(|i| matches!(i, PrunedItem::Snapshot { of_image: true, .. })), 61);
    assert_eq!(count(|i| matches!(i, PrunedItem::Blob(_))), 120);
    assert_eq!(count(|i| matches!(i, PrunedItem::Contexts)), 1);
    assert!(report.freed() > 0);
    drop(store);
    assert_eq!(du(&root), empty, "{:?}", paths(&root));
    let store = Store::open(&root).unwrap();
    assert_clean(&store);
    assert_accounted(&store);
    // And it works as before.
    image(&store, Some("app"), &["base"]).unwrap();
    assert_clean(&store);
}

#[test]
fn dangling_and_unused_images() {
    let t = temporary();
    let store = &t.store;
    let tagged = image(store, Some("tagged"), &["base", "a"]).unwrap();
    let dangling = image(store, None, &["base", "b"]).unwrap();
    let digest_only = image(store, None, &["base", "c"]).unwrap();
    store.add_repo_digest("docker.io/library/x", &Digest::sha256(b"x"), &digest_only).unwrap();
    let used = image(store, None, &["base", "d"]).unwrap();
    drop(store.create_container(&container("box", &used, Some(chain(&["base", "d"])))).unwrap());

    let report = store.prune(&PruneOptions::default()).unwrap();
    assert_eq!(report.items, []);
    let left = || -> Vec<ImageId> {
        let mut ids: Vec<_> = store.images().unwrap().into_iter().map(|i| i.id).collect();
        ids.sort();
        ids
    };
    let sorted = |mut ids: Vec<ImageId>| {
        ids.sort();
        ids
    };
    let none = |_: &store::Image| false;
    let dangling_only = PruneOptions { images: PruneImages::Dangling, ..PruneOptions::default() };
    store.prune(&PruneOptions { image_filter: Some(&none), ..dangling_only }).unwrap();
    assert_eq!(left().len(), 4);
    let report = store.prune(&dangling_only).unwrap();
    assert_eq!(left(), sorted(vec![tagged, used.clone()]));
    let snapshots: Vec<_> = report
        .items
        .iter()
        .filter_map(|i| match &i.what {
            PrunedItem::Snapshot { chain_id, of_image: true } => Some((chain_id.clone(), i.bytes)),
            _ => None,
        })
        .collect();
    assert_eq!(snapshots.len(), 2);
    assert!(snapshots.iter().all(|(_, bytes)| *bytes > 0));
    assert!(report.items.iter().any(|i| i.what == PrunedItem::Image(dangling.clone())));
    store.prune(&PruneOptions { images: PruneImages::Unused, ..PruneOptions::default() }).unwrap();
    assert_eq!(left(), [used]);
    assert_accounted(store);
    assert_clean(store);
}

#[test]
fn the_build_cache_by_use_age_and_size() {
    let t = temporary();
    let store = &t.store;
    image(store, Some("app"), &["base", "a"]).unwrap();
    for (time, content) in [(10, "a"), (20, "b"), (30, "c"), (40, "d")] {
        let chain_id = layer(store, Some(&chain(&["base"])), content).unwrap();
        store.cache_put(&cache_record(content, Some(chain_id), time)).unwrap();
    }
    let upper = layer(store, Some(&chain(&["base", "d"])), "e").unwrap();
    store.cache_put(&cache_record("e", Some(upper), 40)).unwrap();
    let left = || -> String {
        let mut steps: Vec<_> = store.cache_records().unwrap().into_iter().map(|r| r.step).collect();
        steps.sort();
        steps.join(",").replace("RUN ", "")
    };
    let prune = |cache: &PruneCache| {
        store.prune(&PruneOptions { cache: Some(cache), ..PruneOptions::default() }).unwrap()
    };
    let cache = PruneCache { all: false, unused_since: Some(25), keep: None };
    let report = prune(&cache);
    assert_eq!(left(), "a,c,d,e", "the image has a; b is old");
    assert!(store.snapshot(&chain(&["base", "b"])).unwrap().is_none());
    assert!(report.freed() > 0);

    let one = store.snapshot(&chain(&["base", "c"])).unwrap().unwrap().usage;
    prune(&PruneCache { all: false, unused_since: None, keep: Some(CacheSpace::at_most(3 * one)) });
    assert_eq!(left(), "a,c,d,e");
    prune(&PruneCache { all: false, unused_since: None, keep: Some(CacheSpace::at_most(2 * one)) });
    assert_eq!(left(), "a,d,e", "the oldest goes");
    prune(&PruneCache { all: false, unused_since: None, keep: Some(CacheSpace::at_most(one)) });
    assert_eq!(left(), "a,d", "of one time, the upper one goes");
    prune(&PruneCache::default());
    assert_eq!(left(), "a");
    let report = prune(&ALL);
    assert_eq!(left(), "");
    assert_eq!(report.freed(), 0);
    assert_clean(store);
}

#[test]
fn usage_tells_shared_from_unique() {
    let t = temporary();
    let store = &t.store;
    let first = image(store, Some("first"), &["base", "a"]).unwrap();
    let second = image(store, Some("second"), &["base", "b"]).unwrap();
    let cached = layer(store, Some(&chain(&["base"])), "cached").unwrap();
    store.cache_put(&cache_record("cached", Some(cached.clone()), 1)).unwrap();
    store.cache_put(&cache_record("a", Some(chain(&["base", "a"])), 1)).unwrap();
    let record = container("box", &first, Some(chain(&["base", "a"])));
    let lock = store.create_container(&record).unwrap();
    fs::write(store.container_dir(&record.id).join("fs/new"), [0; 777]).unwrap();
    fs::write(store.context_file(t.dir.path()), [0; 55]).unwrap();
    assert_accounted(store);

    let bytes = |c: &ChainId| store.snapshot(c).unwrap().unwrap().usage;
    let [base, a, b] = [&["base"][..], &["base", "a"], &["base", "b"]].map(|c| bytes(&chain(c)));
    let usage = store.usage().unwrap();
    let of = |id: &ImageId| usage.images.iter().find(|i| i.id == *id).unwrap();
    assert_eq!((of(&first).size, of(&first).shared, of(&first).unique), (base + a, base, a));
    assert_eq!((of(&first).containers, of(&second).containers), (1, 0));
    assert_eq!(usage.images_size, base + a + b);
    assert_eq!(usage.cache_size, bytes(&cached) + 55);
    assert_eq!((usage.containers[0].size, usage.containers[0].size_root_fs), (777, base + a));
    assert_eq!(store.container_size(&record.id).unwrap(), 777);
    assert!(usage.containers[0].running);
    assert_eq!(usage.containers_reclaimable, 0);
    assert!(usage.cache.iter().any(|c| c.shared && c.in_use) && usage.cache.iter().any(|c| !c.shared));
    assert_eq!(usage.garbage, 0);
    drop(lock);
    assert_eq!(store.usage().unwrap().containers_reclaimable, usage.containers_size);

    // Nobody needs it any more, but it is still there.
    store.cache_remove(&Digest::sha256(b"cached")).unwrap();
    let root = store.root().to_owned();
    drop(t.store);
    let store = Store::open(&root).unwrap();
    assert_eq!(store.usage().unwrap().garbage, bytes_of(&store, &cached));
    assert_accounted(&store);
}

fn bytes_of(store: &Store, chain_id: &ChainId) -> u64 {
    store.snapshots().unwrap().iter().find(|s| s.chain_id == *chain_id).unwrap().usage
}

#[test]
fn a_lease_protects_what_it_touched_and_ends_with_its_holder() {
    let t = temporary();
    let (mine, other) = (&t.store, Store::open(t.store.root()).unwrap());
    let held = layer(mine, None, "made long ago").unwrap();
    let blob = mine.put_blob(b"made long ago").unwrap();
    // Ends the lease that was taken for want of one, without pruning what it made.
    drop(mine.cache_put(&cache_record("x", Some(held.clone()), 1)));
    let dangling = mine.put_image(&config(&[diff_id("made long ago")], ""), &ImageMeta::default()).unwrap();

    let lease = other.lease().unwrap();
    assert!(other.snapshot(&held).unwrap().is_some());
    assert!(other.has_blob(&blob).unwrap());
    let made = layer(&other, None, "made under it").unwrap();
    mine.prune(&everything()).unwrap();
    assert!(mine.image(&dangling).unwrap().is_none());
    assert!(mine.snapshot(&held).unwrap().is_some());
    assert!(mine.snapshot(&made).unwrap().is_some());
    assert!(mine.has_blob(&blob).unwrap());
    assert!(mine.usage().unwrap().in_progress > 0);

    drop(other.lease().unwrap());
    mine.prune(&everything()).unwrap();
    assert!(mine.snapshot(&made).unwrap().is_some(), "the first lease is still held");
    drop(lease);
    mine.prune(&everything()).unwrap();
    assert!(mine.snapshot(&held).unwrap().is_none());
    assert!(mine.snapshot(&made).unwrap().is_none());
    assert!(!mine.has_blob(&blob).unwrap());
    assert_clean(mine);
}

#[test]
fn what_is_in_progress_is_never_swept() {
    let t = temporary();
    let (mine, other) = (&t.store, Store::open(t.store.root()).unwrap());
    let pending = other.begin_snapshot().unwrap();
    let stat = fill(pending.fs(), "a");
    let mut writer = other.blob_writer().unwrap();
    std::io::Write::write_all(&mut writer, b"blob").unwrap();
    let report = mine.sweep(&Hooks::default()).unwrap();
    assert_eq!(report.unfinished, 0);
    mine.prune(&everything()).unwrap();
    other.prune(&everything()).unwrap();
    let usage = mine.usage().unwrap();
    assert!(usage.in_progress >= stat.usage && usage.garbage == 0, "{usage:?}");
    other.commit_snapshot(pending, None, &stat).unwrap();
    writer.commit(None).unwrap();
    assert_clean(mine);
}

#[test]
fn sweep_clears_what_dead_processes_left() {
    let t = temporary();
    let store = &t.store;
    let image_id = image(store, Some("app"), &["a"]).unwrap();
    let root = store.root();
    let listed =
        || -> Vec<_> { paths(root).into_iter().filter(|p| !p.starts_with(root.join("leases/"))).collect() };
    let before = listed();
    fs::create_dir_all(root.join("work/dead-1.0/fs/x")).unwrap();
    fs::write(root.join("tmp/dead-1.1"), "half a blob").unwrap();
    fs::write(root.join("tmp/rubbish"), "").unwrap();
    fs::write(root.join("leases/dead-1"), "").unwrap();
    fs::create_dir_all(root.join("containers").join(container_id("half")).join("fs")).unwrap();
    let report = store.check(false, &hooks()).unwrap();
    assert!(report.is_sound());
    assert_eq!(report.garbage.len(), 5, "{:?}", report.garbage);
    assert_accounted(store);
    let mut running = container("box", &image_id, None);
    running.auto_remove = true;
    let lock = store.create_container(&running).unwrap();
    assert_eq!(store.sweep(&Hooks::default()).unwrap().containers, Vec::<String>::new());
    drop(lock);
    let report = store.sweep(&Hooks::default()).unwrap();
    assert_eq!(report.containers, [running.id]);
    assert_eq!(listed(), before);
    assert_eq!(store.sweep(&Hooks::default()).unwrap(), Default::default());
}

#[test]
fn orphans_do_not_stand_in_the_way() {
    let t = temporary();
    let store = &t.store;
    let orphan = store.snapshot_dir(&chain(&["a"]));
    fs::create_dir_all(orphan.join("stale")).unwrap();
    let blob = store.root().join("blobs/sha256").join(Digest::sha256(b"x").hex());
    fs::write(&blob, "half").unwrap();
    layer(store, None, "a").unwrap();
    assert!(!orphan.join("stale").exists());
    assert_eq!(store.put_blob(b"x").unwrap(), Digest::sha256(b"x"));
    assert_eq!(store.read_blob(&Digest::sha256(b"x"), 9).unwrap(), b"x");
    assert_clean(store);
    store.prune(&PruneOptions::default()).unwrap();

    fs::create_dir_all(store.snapshot_dir(&chain(&["b"]))).unwrap();
    fs::write(store.snapshot_dir(&chain(&["b"])).join("file"), [0; 99]).unwrap();
    assert_eq!(store.usage().unwrap().garbage, 99);
    let report = store.prune(&PruneOptions::default()).unwrap();
    assert_eq!(report.items, [store::Pruned { what: PrunedItem::Garbage, bytes: 99 }]);
    assert_clean(store);
}

/// After a reboot (another boot ID), what no sync covered does not count until it is verified.
#[test]
fn an_earlier_boot_is_verified_before_it_counts() {
    let dir = tempfile::tempdir().unwrap();
    let boot = |n: &str| Store::open_in_boot(dir.path().join("s").as_path(), Some(n)).unwrap();
    let store = boot("1");
    image(&store, Some("synced"), &["base"]).unwrap();
    store.sync().unwrap();
    image(&store, Some("whole"), &["base", "whole"]).unwrap();
    let torn = image(&store, Some("torn"), &["base", "torn", "upper"]).unwrap();
    store.cache_put(&cache_record("torn", Some(chain(&["base", "torn"])), 1)).unwrap();
    let blobs = ["whole", "torn"].map(|b| store.put_blob(b.as_bytes()).unwrap());
    let lock =
        store.create_container(&container("box", &torn, Some(chain(&["base", "torn", "upper"])))).unwrap();
    drop(lock);
    let torn_dir = store.snapshot_dir(&chain(&["base", "torn"]));
    drop(store);
    fs::write(torn_dir.join("data"), [0; 10]).unwrap();
    fs::write(dir.path().join("s/blobs/sha256").join(blobs[1].hex()), [0; 4]).unwrap();

    let store = boot("2");
    assert!(store.snapshot(&chain(&["base"])).unwrap().is_some());
    assert!(store.snapshot(&chain(&["base", "whole"])).unwrap().is_none());
    assert!(matches!(
        store.lowers(&["base", "torn"].map(diff_id)),
        Err(Error::MissingSnapshot(c)) if c == chain(&["base", "torn"])
    ));
    assert!(store.cache_get(&Digest::sha256(b"torn")).unwrap().is_none());
    assert!(store.has_blob(&blobs[0]).unwrap());
    assert!(!store.has_blob(&blobs[1]).unwrap());
    // One that was made anew before the sweep counts at once.
    let anew = layer(&store, Some(&chain(&["base"])), "whole").unwrap();
    assert!(store.snapshot(&anew).unwrap().is_some());

    let report = store.sweep(&hooks()).unwrap();
    let dropped = report.dropped.join("\n");
    for part in
        ["snapshot", "image", "reference docker.io/library/torn:latest", "container", "cache record", "blob"]
    {
        assert!(dropped.contains(part), "{part} in\n{dropped}");
    }
    assert_eq!(store.containers().unwrap(), []);
    assert_eq!(store.references().unwrap().len(), 2);
    assert!(store.resolve("whole").is_ok());
    assert_clean(&store);
    assert_eq!(store.sweep(&hooks()).unwrap(), Default::default());
    store.sync().unwrap();
    drop(store);
    let store = boot("3");
    assert!(store.lowers(&["base", "whole"].map(diff_id)).is_ok());
    assert_eq!(store.sweep(&Hooks::default()).unwrap(), Default::default());
}

#[test]
fn without_hooks_an_earlier_boot_loses_what_was_not_synced() {
    let dir = tempfile::tempdir().unwrap();
    let boot = |n: &str| Store::open_in_boot(dir.path().join("s").as_path(), Some(n)).unwrap();
    let store = boot("1");
    image(&store, Some("synced"), &["base"]).unwrap();
    store.sync().unwrap();
    image(&store, Some("unsynced"), &["base", "b"]).unwrap();
    drop(store);
    let store = boot("2");
    assert!(!store.sweep(&Hooks::default()).unwrap().dropped.is_empty());
    assert_eq!(store.references().unwrap().len(), 1);
    assert_clean(&store);
}

#[test]
fn check_names_what_is_broken_and_repair_drops_it() {
    let t = temporary();
    let store = &t.store;
    let good = image(store, Some("good"), &["base", "good"]).unwrap();
    let bad = image(store, Some("bad"), &["base", "bad", "upper"]).unwrap();
    let config_lost = image(store, Some("lost"), &["base"]).unwrap();
    store.cache_put(&cache_record("upper", Some(chain(&["base", "bad", "upper"])), 1)).unwrap();
    drop(store.create_container(&container("box", &bad, Some(chain(&["base", "bad"])))).unwrap());
    drop(store.create_container(&container("bare", &good, None)).unwrap());
    let blob = store.put_blob(b"a blob").unwrap();
    assert_clean(store);
    let report = store.check(false, &hooks()).unwrap();
    assert_eq!((report.snapshots, report.snapshots_verified, report.images), (4, 4, 3));
    assert_eq!((report.blobs, report.references, report.containers, report.cache_records), (4, 3, 2, 1));

    let root = store.root();
    fs::write(store.snapshot_dir(&chain(&["base", "bad"])).join("data"), "damaged").unwrap();
    fs::remove_file(root.join("blobs/sha256").join(config_lost.0.hex())).unwrap();
    fs::write(root.join("blobs/sha256").join(blob.hex()), "jello").unwrap();
    fs::remove_dir_all(store.container_dir(&container_id("bare"))).unwrap();
    fs::remove_dir(root.join("contexts")).unwrap();
    let found = store.check(false, &hooks()).unwrap();
    assert!(!found.is_sound() && found.problems.iter().filter(|p| p.action.is_none()).count() > 8);
    let text: String = found.problems.iter().map(|p| format!("{}: {}\n", p.subject, p.detail)).collect();
    for part in [
        format!("snapshot {}: its tree has digest", chain(&["base", "bad"])),
        format!("snapshot {}: a snapshot below it is gone", chain(&["base", "bad", "upper"])),
        format!("image {bad}: its layer {} is gone", diff_id("bad")),
        "reference docker.io/library/bad:latest: it named".to_owned(),
        format!("image {config_lost}: its config is gone"),
        format!("blob {blob}: its 5 bytes have the digest"),
        format!("container {} (box): the snapshot", container_id("box")),
        format!("container {} (bare): ", container_id("bare")),
        "(RUN upper): its result is gone".to_owned(),
        "contexts: it is missing".to_owned(),
    ] {
        assert!(text.contains(&part), "{part:?} is not in\n{text}");
    }
    assert_eq!(store.images().map(|i| i.len()).ok(), None, "the lost config is an error, not an omission");

    // The same is found, and dropped.
    let repaired = store.check(true, &hooks()).unwrap();
    let subjects = |r: &store::CheckReport| -> Vec<String> {
        r.problems.iter().map(|p| p.subject.clone()).filter(|s| !s.starts_with("directory")).collect()
    };
    assert_eq!(subjects(&repaired), subjects(&found));
    assert!(repaired.is_sound_now());
    assert_clean(store);
    assert_eq!(store.images().unwrap().len(), 1);
    assert_eq!(store.image(&good).unwrap().unwrap().id, good);
    assert!(store.snapshot(&chain(&["base", "good"])).unwrap().is_some());
    image(store, Some("bad"), &["base", "bad", "upper"]).unwrap();
    assert_clean(store);
}

#[test]
fn a_hook_that_may_not_read_drops_nothing() {
    let t = temporary();
    image(&t.store, Some("app"), &["a"]).unwrap();
    let denied = |_: &std::path::Path, _: &store::Snapshot| -> Result<Digest, store::HookError> {
        Err(std::io::Error::from(std::io::ErrorKind::PermissionDenied).into())
    };
    let hooks = Hooks { tree_digest: Some(&denied), diff_id: None };
    assert!(matches!(t.store.check(true, &hooks), Err(Error::Hook { .. })));
    assert_clean(&t.store);
}

#[test]
fn a_running_container_is_not_dropped_by_repair() {
    let t = temporary();
    let store = &t.store;
    let id = image(store, Some("app"), &["a"]).unwrap();
    let _lock = store.create_container(&container("box", &id, Some(chain(&["a"])))).unwrap();
    fs::remove_dir_all(store.snapshot_dir(&chain(&["a"]))).unwrap();
    let report = store.check(true, &hooks()).unwrap();
    assert!(!report.is_sound_now());
    assert_eq!(store.containers().unwrap().len(), 1);
}

#[test]
fn a_damaged_database_is_told() {
    let t = temporary();
    image(&t.store, Some("app"), &["a"]).unwrap();
    t.store.prune(&PruneOptions { compact: true, ..PruneOptions::default() }).unwrap();
    let root = t.store.root().to_owned();
    drop(t.store);
    let path = root.join("strake.db");
    let mut bytes = fs::read(&path).unwrap();
    let len = bytes.len();
    bytes[4096..len].chunks_mut(512).for_each(|c| c.iter_mut().take(200).for_each(|b| *b = 0x5a));
    fs::write(&path, bytes).unwrap();
    let told = match Store::open(&root).and_then(|s| s.check(true, &hooks())) {
        Ok(report) => !report.is_sound_now(),
        Err(error) => error.to_string().contains("strake.db"),
    };
    assert!(told);
    assert!(root.join("snapshots").read_dir().unwrap().count() > 0, "nothing is dropped on its word");
}

#[test]
fn a_removed_reference_leaves_a_dangling_image() {
    let t = temporary();
    let id = image(&t.store, Some("app"), &["a"]).unwrap();
    t.store.remove_reference(&Reference::parse("app").unwrap()).unwrap();
    t.store.prune(&PruneOptions::default()).unwrap();
    assert!(t.store.image(&id).unwrap().is_some());
}
