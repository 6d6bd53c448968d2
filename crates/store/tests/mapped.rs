//! In a user namespace of an ordinary user with a range of ids: a layer's files belong to ids that the user
//! is not, in directories that nobody may write. They are made, committed, pruned and swept.

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use store::{Hooks, PruneOptions, Store};
use support::*;

/// Run as a process of its own inside of the namespace.
#[test]
fn helper() {
    let Ok(root) = std::env::var("STORE_TEST_MAPPED") else { return };
    let root = Path::new(&root);
    let store = Store::open(root).unwrap();
    let empty = paths(root).len();
    let strange = |dir: &Path| {
        fs::create_dir_all(dir.join("a/b/c")).unwrap();
        fs::write(dir.join("a/b/file"), "x").unwrap();
        for (name, mode) in [("a/b/file", 0o000), ("a/b/c", 0o000), ("a/b", 0o555), ("a", 0o111)] {
            chown(dir.join(name), Some(33), Some(44)).unwrap();
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        chown(dir, Some(33), Some(44)).unwrap();
    };
    let pending = store.begin_snapshot().unwrap();
    strange(pending.fs());
    let stat = fill_nothing();
    let chain_id = store.commit_snapshot(pending, None, &stat).unwrap();
    assert!(store.snapshot_dir(&chain_id).join("a/b/file").exists());
    let left = store.begin_snapshot().unwrap();
    strange(left.fs());
    fs::create_dir(root.join("work/dead.0")).unwrap();
    fs::rename(left.fs(), root.join("work/dead.0/fs")).unwrap();
    drop(left);
    assert_eq!(store.sweep(&Hooks::default()).unwrap().unfinished, 1);
    store.prune(&PruneOptions::default()).unwrap();
    drop(store);
    assert_eq!(paths(root).len(), empty);
    // So that the test knows that this ran.
    fs::write(root.with_extension("done"), "").unwrap();
}

fn fill_nothing() -> store::SnapshotStat {
    store::SnapshotStat { diff_id: diff_id("x"), tar_size: 0, usage: 0, inodes: 0, tree_digest: None }
}

#[test]
fn trees_of_mapped_ids_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    // Root needs no namespace to have other ids, and may have no range.
    let is_root = rustix::process::geteuid().is_root();
    let mut command = if is_root {
        Command::new(std::env::current_exe().unwrap())
    } else {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--map-auto", "--"]).arg(std::env::current_exe().unwrap());
        unshare
    };
    let output = command
        .args(["--exact", "helper"])
        .env("STORE_TEST_MAPPED", &root)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    if !is_root && !root.exists() {
        println!("skipped: no user namespace with a range of ids here");
        return;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(root.with_extension("done").exists());
}
