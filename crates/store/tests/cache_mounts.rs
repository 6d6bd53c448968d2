//! Cache mounts: who gets which, and what a prune leaves alone; and a store of the format before them.

mod support;

use std::fs;

use store::{CacheMountLock, CacheSpace, NewCacheMount, PruneCache, PruneOptions, PrunedItem, Store, Taken};
use support::temporary;

fn new(key: &str) -> NewCacheMount {
    NewCacheMount { key: key.to_owned(), name: key.to_owned(), description: format!("for {key}") }
}

fn make(store: &Store, key: &str, bytes: usize, alone: bool) -> CacheMountLock {
    let pending = store.begin_cache_mount().unwrap();
    fs::write(pending.dir().join("f"), vec![1; bytes]).unwrap();
    store.commit_cache_mount(pending, &new(key), None, alone).unwrap().unwrap()
}

fn id(taken: Taken) -> Result<(String, CacheMountLock), usize> {
    match taken {
        Taken::Locked(lock) => Ok((lock.mount().id.clone(), lock)),
        Taken::Busy(known) => Err(known),
    }
}

#[test]
fn shared_ones_are_shared_and_who_is_alone_is_alone() {
    let t = temporary();
    // As another process has it.
    let other = Store::open(t.store.root()).unwrap();
    assert_eq!(id(t.store.take_cache_mount("k", false).unwrap()).err(), Some(0));
    let made = make(&t.store, "k", 1, false);
    let shared = id(other.take_cache_mount("k", false).unwrap()).unwrap();
    assert_eq!(shared.0, made.mount().id);
    assert_eq!(id(other.take_cache_mount("k", true).unwrap()).err(), Some(1));
    assert!(t.store.cache_mount_in_use(&shared.0).unwrap());
    drop((made, shared));
    let alone = id(other.take_cache_mount("k", true).unwrap()).unwrap();
    assert_eq!(id(t.store.take_cache_mount("k", false).unwrap()).err(), Some(1));
    // The one that is in use is passed over for the next.
    let second = make(&t.store, "k", 1, true);
    let third = second.mount().id.clone();
    drop(second);
    assert_eq!(id(t.store.take_cache_mount("k", false).unwrap()).unwrap().0, third);
    drop(alone);
    assert_eq!(t.store.cache_mounts().unwrap().iter().map(|mount| mount.uses).sum::<u64>(), 5);
    assert_eq!(id(t.store.take_cache_mount("other", false).unwrap()).err(), Some(0));
}

#[test]
fn one_whose_files_are_gone_is_none() {
    let t = temporary();
    let made = make(&t.store, "k", 1, false);
    let top = t.store.root().join("mounts").join(&made.mount().id);
    drop(made);
    fs::remove_dir_all(top).unwrap();
    assert_eq!(id(t.store.take_cache_mount("k", true).unwrap()).err(), Some(0));
    assert_eq!(t.store.cache_mounts().unwrap(), []);
}

#[test]
fn of_two_that_find_none_one_makes_it() {
    let t = temporary();
    let (one, two) = (t.store.begin_cache_mount().unwrap(), t.store.begin_cache_mount().unwrap());
    assert!(t.store.commit_cache_mount(one, &new("k"), Some(0), false).unwrap().is_some());
    assert!(t.store.commit_cache_mount(two, &new("k"), Some(0), false).unwrap().is_none());
    assert_eq!(t.store.cache_mounts().unwrap().len(), 1);
    assert_eq!(fs::read_dir(t.store.root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn prunes_take_the_oldest_and_none_that_is_in_use() {
    let t = temporary();
    let names = ["a", "b", "c", "d"];
    let mut held = Vec::new();
    for name in names {
        held.push(make(&t.store, name, 1000, false));
    }
    let ids: Vec<String> = held.iter().map(|lock| lock.mount().id.clone()).collect();
    held.truncate(1);
    let usage = t.store.usage().unwrap();
    assert_eq!((usage.cache_size, usage.cache_reclaimable, usage.mounts.len()), (4000, 3000, 4));
    let cache = PruneCache { all: false, unused_since: None, keep: Some(CacheSpace::at_most(2000)) };
    let pruned = t.store.prune(&PruneOptions { cache: Some(&cache), ..PruneOptions::default() }).unwrap();
    let gone: Vec<_> = pruned.items.into_iter().map(|pruned| (pruned.what, pruned.bytes)).collect();
    let expected = [&ids[1], &ids[2]].map(|id| (PrunedItem::CacheMount(id.clone()), 1000));
    assert_eq!(gone, expected);
    assert!(!t.store.cache_mount_dir(&ids[1]).exists() && t.store.cache_mount_dir(&ids[0]).exists());
    drop(held);
    assert_eq!(t.store.keep_cache_within(&CacheSpace::at_most(1000)).unwrap().freed(), 1000);
    assert_eq!(t.store.keep_cache_within(&CacheSpace::at_most(1000)).unwrap().freed(), 0);
    assert_eq!(t.store.usage().unwrap().garbage, 0);
}

#[test]
fn an_older_store_is_added_to() {
    let t = temporary();
    let root = t.store.root().to_owned();
    t.store.set_setting("x", Some("y")).unwrap();
    drop(t.store);
    let database = rusqlite::Connection::open(root.join("strake.db")).unwrap();
    database.execute_batch("DROP TABLE cache_mounts; DROP TABLE settings; PRAGMA user_version = 1;").unwrap();
    drop(database);
    fs::remove_dir(root.join("mounts")).unwrap();
    fs::write(root.join("version"), "1\n").unwrap();
    let store = Store::open(&root).unwrap();
    assert_eq!(fs::read_to_string(root.join("version")).unwrap(), "2\n");
    assert_eq!(store.setting("x").unwrap(), None);
    make(&store, "k", 1, false);
    assert_eq!(store.cache_mounts().unwrap().len(), 1);
}
