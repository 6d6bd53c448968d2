//! Many processes at once on one store, and processes that are killed at any moment.

#[path = "support/script.rs"]
mod script;
mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use oci::{ChainId, DiffId};
use store::{Hooks, PruneCache, PruneImages, PruneOptions, Store};
use support::*;

/// Run by the other tests as a process of its own.
#[test]
fn helper() {
    script::helper();
}

fn finish(mut child: Child) {
    assert!(child.wait().unwrap().success());
}

/// Everything that the store says it has is there, whole, and can be used.
#[track_caller]
fn assert_sound(root: &Path, what: &str) {
    let store = Store::open(root).unwrap();
    let report = store.check(false, &hooks()).unwrap();
    assert_eq!(report.problems, [], "{what}");
    for image in store.images().unwrap() {
        let layers: Vec<DiffId> = image.layers().to_vec();
        for dir in store.lowers(&layers).unwrap() {
            assert!(dir.is_dir(), "{what}");
        }
    }
    for record in store.containers().unwrap() {
        assert!(store.container_dir(&record.id).join("fs").is_dir(), "{what}");
        if let Some(chain_id) = record.chain_id {
            store.layers_of(&chain_id).unwrap();
        }
    }
    for record in store.cache_records().unwrap() {
        assert!(store.cache_get(&record.key).unwrap().is_some(), "{what}");
    }
    for (_, id) in store.references().unwrap() {
        assert!(store.image(&id).unwrap().is_some(), "{what}");
    }
}

#[track_caller]
fn assert_empties(root: &Path, empty: u64) {
    let store = Store::open(root).unwrap();
    store.sweep(&Hooks::default()).unwrap();
    script::clear_registry(&store).unwrap();
    let all = PruneCache { all: true, ..PruneCache::default() };
    store
        .prune(&PruneOptions {
            containers: Some(&|_| true),
            images: PruneImages::Unused,
            cache: Some(&all),
            contexts: true,
            compact: true,
            ..PruneOptions::default()
        })
        .unwrap();
    assert_clean(&store);
    drop(store);
    assert_eq!(du(root), empty, "{:#?}", paths(root));
}

fn empty_store(root: &Path) -> u64 {
    drop(Store::open(root).unwrap());
    drop(Store::open(root).unwrap());
    du(root)
}

#[test]
fn many_processes_make_one_new_store() {
    for round in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("new/store");
        let children: Vec<_> = (0..8).map(|i| script::start(&root, round * 8 + i, 1)).collect();
        children.into_iter().for_each(finish);
        assert_sound(&root, "new store");
    }
}

#[test]
fn a_maker_killed_half_way_is_taken_over() {
    for delay in 0..30 {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("store");
        let mut child = script::start(&root, 1, 0);
        thread::sleep(Duration::from_micros(200 * delay));
        let _ = child.kill();
        child.wait().unwrap();
        let store = Store::open(&root).unwrap();
        image(&store, Some("app"), &["a"]).unwrap();
        assert_clean(&store);
    }
}

#[test]
fn parallel_builds_of_one_base_leave_one_copy() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let stores: Vec<Store> = (0..8).map(|_| Store::open(&root).unwrap()).collect();
    thread::scope(|scope| {
        for (i, store) in stores.iter().enumerate() {
            scope.spawn(move || {
                let _lease = store.lease().unwrap();
                for round in 0..10 {
                    let base = format!("base {round}");
                    let own = format!("own {i}");
                    image(store, Some(&format!("app{i}")), &[&base, "middle", &own]).unwrap();
                    store.put_blob(base.as_bytes()).unwrap();
                }
            });
        }
    });
    let store = &stores[0];
    assert_eq!(store.snapshots().unwrap().len(), 10 + 10 + 80);
    assert_eq!(fs::read_dir(root.join("snapshots")).unwrap().count(), 100);
    assert_clean(store);
    drop(stores);
    let children: Vec<_> = (0..8).map(|i| script::start(&root, 100 + i, 60)).collect();
    children.into_iter().for_each(finish);
    assert_sound(&root, "after parallel processes");
}

#[test]
fn builders_never_lose_what_they_use_to_a_pruner() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let (builder, pruner) = (Store::open(&root).unwrap(), Store::open(&root).unwrap());
    let until = Instant::now() + Duration::from_secs(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            let all = PruneCache { all: true, ..PruneCache::default() };
            while Instant::now() < until {
                let options = PruneOptions {
                    images: PruneImages::Unused,
                    cache: Some(&all),
                    compact: true,
                    ..PruneOptions::default()
                };
                pruner.prune(&options).unwrap();
            }
        });
        let mut round = 0;
        while Instant::now() < until {
            round += 1;
            let lease = builder.lease().unwrap();
            let names = [format!("a{}", round % 3), format!("b{}", round % 2), "c".to_owned()];
            let mut parent: Option<ChainId> = None;
            let mut layers = Vec::new();
            for name in &names {
                layers.push(diff_id(name));
                let next = ChainId::extend(parent.as_ref(), &diff_id(name));
                if builder.snapshot(&next).unwrap().is_none() {
                    layer(&builder, parent.as_ref(), name).unwrap();
                }
                for dir in builder.lowers(&layers).unwrap() {
                    assert!(dir.join("data").exists());
                }
                parent = Some(next);
            }
            let blob = builder.put_blob(names[0].as_bytes()).unwrap();
            assert!(builder.open_blob(&blob).is_ok());
            drop(lease);
        }
        assert!(round > 10);
    });
    assert_clean(&builder);
}

#[test]
fn killed_at_random_moments_it_stays_sound() {
    let rounds = std::env::var("STORE_TEST_KILLS").map_or(300, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let empty = empty_store(&root);
    let told = dir.path().join("told");
    let mut random = script::Random::new(42);
    for round in 0..rounds {
        let start = |seed, count| {
            let told = fs::File::options().append(true).create(true).open(&told).unwrap();
            script::command(&root, seed, count).stderr(told).spawn().unwrap()
        };
        let mut victim = start(round * 2, 1000);
        // Now and then another works beside it, and meets what it leaves.
        let other = (random.below(3) == 0).then(|| start(round * 2 + 1, 10));
        thread::sleep(Duration::from_micros(2000 + random.below(25_000)));
        victim.kill().unwrap();
        victim.wait().unwrap();
        other.into_iter().for_each(finish);
        assert_sound(&root, &format!("round {round}"));
        if round % 50 == 49 {
            assert_empties(&root, empty);
        }
    }
    // They did what they should until they were killed.
    assert_eq!(fs::read_to_string(told).unwrap(), "");
}

/// Kills a process before each of its system calls that change something on the disk: strace counts them and
/// sends the signal.
#[test]
fn killed_before_any_system_call_it_stays_sound() {
    let strace = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
    if !strace.is_ok_and(|s| s.success()) {
        println!("skipped: strace is not installed");
        return;
    }
    const CALLS: &str = "openat,mkdir,rename,renameat,renameat2,unlink,unlinkat,rmdir,pwrite64,write,ftruncate,flock,fsync,fdatasync,fallocate";
    let dir = tempfile::tempdir().unwrap();
    let told = dir.path().join("told");
    let mut killed = 0;
    let step: usize = std::env::var("STORE_TEST_EVERY").map_or(7, |n| n.parse().unwrap());
    for seed in 0..3u64 {
        for when in (1 + seed as usize..).step_by(step) {
            let root = dir.path().join(format!("{seed}-{when}"));
            let helper = script::command(&root, 1000 + seed, 12);
            let mut strace = Command::new("strace");
            strace
                .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={CALLS}")])
                .args(["-e", &format!("inject={CALLS}:signal=KILL:when={when}")])
                .arg(helper.get_program())
                .args(helper.get_args())
                .stdout(Stdio::null())
                .stderr(fs::File::options().append(true).create(true).open(&told).unwrap());
            for (key, value) in helper.get_envs() {
                strace.env(key, value.unwrap_or_default());
            }
            let status = strace.status().unwrap();
            assert_sound(&root, &format!("seed {seed}, call {when}"));
            let store = Store::open(&root).unwrap();
            store.sweep(&Hooks::default()).unwrap();
            image(&store, Some("after"), &["n0", "n1"]).unwrap();
            store.prune(&PruneOptions::default()).unwrap();
            assert_clean(&store);
            drop(store);
            fs::remove_dir_all(&root).unwrap();
            if status.success() {
                break;
            }
            killed += 1;
        }
    }
    assert_eq!(fs::read_to_string(told).unwrap(), "");
    assert!(killed > 30, "{killed}");
    println!("killed {killed} times");
}
