//! A full disk: errors name the path, nothing half-made becomes visible, pruning works, and after space was
//! freed the same thing works. On file systems of a few megabytes, which only root may mount.

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use store::{Error, PruneCache, PruneImages, PruneOptions, Store};
use support::*;

/// A small mounted file system; unmounted when it goes.
struct Small {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Drop for Small {
    fn drop(&mut self) {
        run(Command::new("umount").arg("-l").arg(&self.path));
    }
}

fn run(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

fn tmpfs(megabytes: u64) -> Option<Small> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mnt");
    fs::create_dir(&path).unwrap();
    let mounted = run(Command::new("mount")
        .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
        .arg(&path));
    mounted.then_some(Small { _dir: dir, path })
}

fn ext4(megabytes: u64) -> Option<Small> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mnt");
    fs::create_dir(&path).unwrap();
    let image = dir.path().join("disk");
    File::create(&image).unwrap().set_len(megabytes << 20).unwrap();
    // Without blocks reserved for root, who runs this.
    let made = run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))
        && run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&path));
    made.then_some(Small { _dir: dir, path })
}

fn each(test: impl Fn(&Path)) {
    for (name, small) in [("tmpfs", tmpfs(6)), ("ext4", ext4(12))] {
        match small {
            Some(small) => test(&small.path),
            None => println!("skipped on {name}: it cannot be mounted here"),
        }
    }
}

/// Fills the disk to the last block; the files are the ballast.
fn fill_up(dir: &Path) {
    for i in 0.. {
        let mut file = File::create(dir.join(format!("ballast{i}"))).unwrap();
        let mut written = 0;
        for size in [1 << 16, 1 << 12, 1] {
            let chunk = vec![1u8; size];
            while file.write_all(&chunk).is_ok() {
                written += size;
            }
        }
        drop(file);
        if written == 0 || i > 20 {
            return;
        }
    }
}

fn free_up(dir: &Path) {
    for i in 0.. {
        if fs::remove_file(dir.join(format!("ballast{i}"))).is_err() {
            return;
        }
    }
}

#[test]
fn nothing_half_made_becomes_visible() {
    each(|dir| {
        let root = dir.join("store");
        let store = Store::open(&root).unwrap();
        image(&store, Some("before"), &["a"]).unwrap();
        let before = (store.images().unwrap(), store.snapshots().unwrap());

        let mut writer = store.blob_writer().unwrap();
        let result = loop {
            if let Err(error) = writer.write_all(&[7; 100_000]) {
                break error;
            }
        };
        assert_eq!(result.kind(), std::io::ErrorKind::StorageFull);
        drop(writer);

        fill_up(dir);
        let error = store.put_blob(&[9; 200_000]).unwrap_err();
        assert!(error.is_no_space(), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(root.to_str().unwrap()) && text.contains("prune"), "{text}");
        // Until the database has no space either.
        let mut failed = false;
        for i in 0..2000 {
            let record =
                store::CacheRecord { parts: "x".repeat(9000), ..cache_record(&i.to_string(), None, 1) };
            if let Err(error) = store.cache_put(&record) {
                assert!(error.is_no_space(), "{error:?}");
                assert!(error.to_string().contains("strake.db"), "{error}");
                failed = true;
                break;
            }
        }
        assert!(failed);
        // What fits into pages that are there already may succeed; what does not is an error of space.
        match store.begin_snapshot() {
            Ok(pending) => {
                let stat = store::SnapshotStat {
                    diff_id: diff_id("empty"),
                    tar_size: 0,
                    usage: 0,
                    inodes: 0,
                    tree_digest: Some(tree_digest(pending.fs())),
                };
                let committed = store.commit_snapshot(pending, None, &stat);
                assert!(committed.as_ref().is_ok() || committed.as_ref().is_err_and(Error::is_no_space));
            }
            Err(error) => assert!(error.is_no_space(), "{error:?}"),
        }
        drop(store);

        let store = Store::open(&root).unwrap();
        assert_eq!(store.images().unwrap(), before.0);
        assert!(store.resolve("before").is_ok());
        let report = store.check(false, &hooks());
        assert!(report.as_ref().is_ok_and(|r| r.is_sound()), "{report:?}");
        free_up(dir);
        store.put_blob(&[9; 200_000]).unwrap();
        image(&store, Some("after"), &["a", "b"]).unwrap();
        assert_clean(&store);
    });
}

#[test]
fn prune_works_on_a_full_disk() {
    each(|dir| {
        let root = dir.join("store");
        let store = Store::open(&root).unwrap();
        for i in 0..20 {
            let content = format!("some content {i}").repeat(50);
            image(&store, Some(&format!("app{i}")), &["base", &content]).unwrap();
        }
        drop(store);
        fill_up(dir);
        let store = Store::open(&root).unwrap();
        while store
            .cache_put(&store::CacheRecord { parts: "x".repeat(9000), ..cache_record("r", None, 1) })
            .is_ok()
        {}
        fill_up(dir);
        drop(store);
        let store = Store::open(&root).unwrap();
        let all = PruneCache { all: true, ..PruneCache::default() };
        let report = store
            .prune(&PruneOptions {
                images: PruneImages::Unused,
                cache: Some(&all),
                compact: true,
                ..PruneOptions::default()
            })
            .unwrap();
        assert!(report.freed() > 100_000);
        assert_eq!(store.images().unwrap(), []);
        assert!(root.join("reserve").metadata().unwrap().len() > 0);
        assert_clean(&store);
        image(&store, Some("after"), &["a", "b"]).unwrap();
    });
}

#[test]
fn removing_an_image_works_on_a_full_disk() {
    each(|dir| {
        let store = Store::open(&dir.join("store")).unwrap();
        let id = image(&store, Some("app"), &["a"]).unwrap();
        fill_up(dir);
        while store
            .cache_put(&store::CacheRecord { parts: "x".repeat(9000), ..cache_record("r", None, 1) })
            .is_ok()
        {}
        store.remove_image(&id).unwrap();
        assert_clean(&store);
    });
}
