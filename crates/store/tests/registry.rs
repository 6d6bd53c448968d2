//! What the registry served from a store keeps there: uploads that nobody came back to, what a prune takes, and what a
//! killed process leaves.

mod support;

use std::fs;
use std::time::{Duration, SystemTime};

use oci::Digest;
use store::{Error, NewManifest, PruneOptions, PutManifest, Store};
use support::{assert_clean, hooks, temporary};

fn push(store: &Store, repository: &str, bytes: &[u8]) -> Digest {
    let mut upload = store.begin_upload(repository).unwrap();
    upload.append(bytes).unwrap();
    let digest = Digest::sha256(bytes);
    upload.finish(&digest, &digest).unwrap();
    digest
}

fn manifest<'a>(bytes: &'a [u8], digest: &'a Digest, blobs: &'a [Digest]) -> NewManifest<'a> {
    NewManifest {
        digest,
        bytes,
        media_type: "m",
        subject: None,
        artifact_type: None,
        blobs,
        manifests: &[],
        complete: true,
        tags: &[],
    }
}

#[test]
fn uploads_end_after_a_day() {
    let t = temporary();
    let uploads = t.store.root().join("uploads");
    let [old, new, held] = ["old", "new", "held"].map(|name| {
        let mut upload = t.store.begin_upload(name).unwrap();
        upload.append(b"bytes").unwrap();
        upload
    });
    let ids = [&old, &new, &held].map(|u| u.id().to_owned());
    let yesterday = SystemTime::now() - Duration::from_secs(25 * 60 * 60);
    for id in [&ids[0], &ids[2]] {
        fs::File::options().append(true).open(uploads.join(id)).unwrap().set_modified(yesterday).unwrap();
    }
    drop((old, new));
    assert_eq!(t.store.usage().unwrap().in_progress, 15);
    assert_eq!(t.store.sweep(&hooks()).unwrap().unfinished, 1);
    assert!(t.store.open_upload("old", &ids[0]).unwrap().is_none());
    assert_eq!(t.store.open_upload("new", &ids[1]).unwrap().unwrap().len(), 5);
    assert!(t.store.open_upload("other", &ids[1]).unwrap().is_none());
    assert!(matches!(t.store.open_upload("held", &ids[2]), Err(Error::UploadBusy(_))));
    held.finish(&Digest::sha256(b"bytes"), &Digest::sha256(b"bytes")).unwrap();
    t.store.open_upload("new", &ids[1]).unwrap().unwrap().cancel().unwrap();
    assert_eq!(fs::read_dir(&uploads).unwrap().count(), 0);
    assert_clean(&t.store);
}

#[test]
fn there_is_an_end_to_uploads() {
    let t = temporary();
    for _ in 0..1000 {
        t.store.begin_upload("a").unwrap();
    }
    assert!(matches!(t.store.begin_upload("a"), Err(Error::TooManyUploads(1000))));
    // One that was idle for an hour makes way.
    let name = fs::read_dir(t.store.root().join("uploads")).unwrap().next().unwrap().unwrap().path();
    let file = fs::File::options().append(true).open(name).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(2 * 60 * 60)).unwrap();
    drop(file);
    assert!(t.store.begin_upload("a").is_ok());
}

#[test]
fn what_a_kill_leaves_is_garbage() {
    let t = temporary();
    // Between a file and its row, and between a row and its file.
    fs::write(t.store.root().join("uploads/0123"), b"left").unwrap();
    let upload = t.store.begin_upload("a").unwrap();
    fs::remove_file(t.store.root().join("uploads").join(upload.id())).unwrap();
    let id = upload.id().to_owned();
    drop(upload);
    let report = t.store.check(false, &hooks()).unwrap();
    assert_eq!((report.problems.len(), report.garbage.len()), (0, 1), "{report:?}");
    assert_eq!(t.store.usage().unwrap().garbage, 4);
    assert_eq!(t.store.prune(&PruneOptions::default()).unwrap().freed(), 4);
    assert!(t.store.open_upload("a", &id).unwrap().is_none());
    assert_clean(&t.store);
}

#[test]
fn manifests_need_their_blobs_and_keep_them() {
    let t = temporary();
    let blob = push(&t.store, "a", b"blob");
    let digest = Digest::sha512(b"manifest");
    let needed = [blob.clone(), Digest::sha256(b"missing")];
    let put = |repository: &str, blobs: &[Digest]| {
        t.store.put_hosted_manifest(repository, &manifest(b"manifest", &digest, blobs)).unwrap()
    };
    assert_eq!(put("a", &needed), PutManifest::Missing(vec![needed[1].clone()]));
    assert_eq!(put("b", &needed[..1]), PutManifest::Missing(vec![blob.clone()]));
    assert_eq!(put("a", &needed[..1]), PutManifest::Done);
    assert_eq!(put("a", &needed[..1]), PutManifest::Done);
    assert_eq!(t.store.prune(&PruneOptions::default()).unwrap().freed(), 0);
    let found = t.store.hosted_manifest("a", &digest).unwrap().unwrap();
    assert_eq!((found.size, found.blob), (8, Digest::sha256(b"manifest")));
    assert!(t.store.mount_blob("b", &blob, Some("a")).unwrap());
    assert!(!t.store.mount_blob("b", &blob, Some("c")).unwrap());
    assert!(t.store.delete_hosted_manifest("a", &digest).unwrap());
    // The other repository still has the blob: it was mounted just now.
    assert_eq!(t.store.prune(&PruneOptions::default()).unwrap().freed(), 8);
    assert!(t.store.hosted_blob("a", &blob).unwrap().is_none());
    assert!(t.store.hosted_blob("b", &blob).unwrap().is_some());
    assert_clean(&t.store);
}
