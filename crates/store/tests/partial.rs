//! Parts of blobs: they outlive their process, are one process's at a time, and count only once verified.

mod support;

use std::os::unix::fs::FileExt;

use oci::{ChainId, Digest};
use store::{Error, PruneOptions};

const TEXT: &[u8] = b"all of the bytes";

fn store() -> (tempfile::TempDir, store::Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = store::Store::open(&dir.path().join("root")).unwrap();
    (dir, store)
}

#[test]
fn a_part_is_taken_up_by_the_next() {
    let (dir, store) = store();
    let digest = Digest::sha256(TEXT);
    let mut part = store.partial_blob(&digest).unwrap().unwrap();
    assert!(store.partial_blob(&digest).unwrap().is_none(), "it is one's at a time");
    part.append(&TEXT[..5]).unwrap();
    drop(part);
    drop(store);

    let store = store::Store::open(&dir.path().join("root")).unwrap();
    assert_eq!(store.partial_len(&digest), Some(5));
    assert_eq!(store.usage().unwrap().garbage, 5);
    let mut part = store.partial_blob(&digest).unwrap().unwrap();
    assert_eq!((part.len(), part.hashed()), (5, 0));
    assert!(part.append(b"x").is_err(), "what was held is looked at first");
    let mut buffer = [0; 3];
    while part.rehash(&mut buffer).unwrap() > 0 {}
    assert_eq!(store.usage().unwrap().in_progress, 5);
    let reading = part.file().unwrap();
    part.append(&TEXT[5..]).unwrap();
    assert!(!store.has_blob(&digest).unwrap());
    assert_eq!(part.commit().unwrap(), TEXT.len() as u64);
    drop(part);
    let mut all = [0; TEXT.len()];
    reading.read_exact_at(&mut all, 0).unwrap();
    assert_eq!((store.read_blob(&digest, 100).unwrap().as_slice(), &all[..]), (TEXT, TEXT));
    assert_eq!(store.partial_len(&digest), None);
}

#[test]
fn other_bytes_are_refused() {
    let (_dir, store) = store();
    let digest = Digest::sha256(TEXT);
    let mut part = store.partial_blob(&digest).unwrap().unwrap();
    part.append(b"other").unwrap();
    assert!(matches!(part.commit(), Err(Error::DigestMismatch { .. })));
    assert!(!store.has_blob(&digest).unwrap());
    part.restart().unwrap();
    part.append(TEXT).unwrap();
    part.commit().unwrap();
    drop(part);
    // Where the blob is here by now, the part goes.
    let mut again = store.partial_blob(&digest).unwrap().unwrap();
    again.append(TEXT).unwrap();
    again.commit().unwrap();
    drop(again);
    assert_eq!(store.partial_len(&digest), None);
    let sha512 = format!("sha512:{}", "0".repeat(128)).parse().unwrap();
    assert!(matches!(store.partial_blob(&sha512), Err(Error::Algorithm(_))));
}

#[test]
fn sweeps_leave_parts_and_prunes_take_them() {
    let (_dir, store) = store();
    let mut part = store.partial_blob(&Digest::sha256(b"1")).unwrap().unwrap();
    part.append(b"kept").unwrap();
    drop(part);
    let mut busy = store.partial_blob(&Digest::sha256(b"2")).unwrap().unwrap();
    busy.append(b"busy").unwrap();
    let hooks = store::Hooks::default();
    store.sweep(&hooks).unwrap();
    store.prune(&PruneOptions::default()).unwrap();
    assert_eq!(store.partial_len(&Digest::sha256(b"1")), Some(4));
    assert!(store.check(false, &hooks).unwrap().garbage.is_empty());
    let report = store.prune(&PruneOptions { partial: true, ..PruneOptions::default() }).unwrap();
    assert_eq!(report.freed(), 4);
    assert_eq!(store.partial_len(&Digest::sha256(b"1")), None);
    assert_eq!(store.partial_len(&Digest::sha256(b"2")), Some(4), "what is being fetched stays");
    // One that nobody went on with for a week.
    drop(busy);
    let path = store.root().join("partial").join(Digest::sha256(b"2").hex());
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(8 * 24 * 3600);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    store.sweep(&hooks).unwrap();
    assert!(!path.exists());
}

#[test]
fn a_claim_is_one_threads_at_a_time() {
    let (_dir, store) = store();
    let chain = ChainId(Digest::sha256(b"chain"));
    let claim = store.claim_snapshot(&chain).unwrap().unwrap();
    assert!(store.claim_snapshot(&chain).unwrap().is_none());
    drop(claim);
    assert!(store.claim_snapshot(&chain).unwrap().is_some());
}
