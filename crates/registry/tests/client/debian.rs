//! The client against Debian's `docker-registry`: the whole protocol, there and back.

use std::cell::Cell;
use std::io::{Cursor, Read, Write};

use crate::support::debian::{DebianRegistry, Kind};
use crate::support::{bytes, layer, options, password, reference, repository, with_account};
use oci::{Digest, media_type};
use registry::{Client, Error, Mount, Repository};

fn push(repository: &Repository, blob: &[u8]) -> Result<(), Error> {
    let (told, held) = (Cell::new(0), blob.to_vec());
    let pushed = repository.push_blob(
        &layer(blob),
        &mut |offset| Ok(Box::new(Cursor::new(held[offset as usize..].to_vec()))),
        &|sent| told.set(sent),
    );
    if pushed.is_ok() {
        assert_eq!(told.get(), blob.len() as u64);
    }
    pushed
}

fn pull(repository: &Repository, blob: &[u8], offset: u64) -> Vec<u8> {
    let mut read = Vec::new();
    repository.blob(&layer(blob), offset).unwrap().read_to_end(&mut read).unwrap();
    read
}

#[test]
fn there_and_back() {
    let Some(server) = DebianRegistry::start(Kind::Plain) else { return };
    let repository = repository(&server.host());
    let blob = bytes(3_000_000);
    let digest = Digest::sha256(&blob);
    assert_eq!(repository.has_blob(&digest).unwrap(), None);
    push(&repository, &blob).unwrap();
    assert_eq!(repository.has_blob(&digest).unwrap(), Some(3_000_000));
    assert_eq!(pull(&repository, &blob, 0), blob);
    assert_eq!(pull(&repository, &blob, 2_000_000), &blob[2_000_000..]);
    assert_eq!(repository.small_blob(&layer(&blob), 3_000_000).unwrap(), blob);
    assert!(matches!(repository.small_blob(&layer(&blob), 2_999_999), Err(Error::Malformed { .. })));
    let missing = layer(b"missing");
    assert!(matches!(repository.blob(&missing, 0), Err(Error::NoBlob { .. })));

    // Nothing, as a blob.
    push(&repository, b"").unwrap();
    assert_eq!(pull(&repository, b"", 0), b"");
}

#[test]
fn chunks_and_mounts() {
    let Some(server) = DebianRegistry::start(Kind::Plain) else { return };
    let repository = repository(&server.host());
    // More than two chunks, written in odd pieces.
    let blob = bytes((17 << 20) + 5);
    let mut upload = repository.upload().unwrap();
    for piece in blob.chunks(333_333) {
        upload.write_all(piece).unwrap();
    }
    assert_eq!(upload.len(), blob.len() as u64);
    upload.finish(&Digest::sha256(&blob)).unwrap();
    assert_eq!(repository.has_blob(&Digest::sha256(&blob)).unwrap(), Some(blob.len() as u64));

    let client = Client::new(options());
    let other = client.repository(&reference(&server.host(), "other"));
    assert!(matches!(other.mount(&Digest::sha256(&blob), "a/b").unwrap(), Mount::Mounted));
    assert_eq!(other.has_blob(&Digest::sha256(&blob)).unwrap(), Some(blob.len() as u64));
    // What is not there is uploaded.
    match other.mount(&Digest::sha256(b"small"), "a/b").unwrap() {
        Mount::Mounted => panic!("mounted out of nothing"),
        Mount::Upload(mut upload) => {
            upload.write_all(b"small").unwrap();
            upload.finish(&Digest::sha256(b"small")).unwrap();
        }
    }
    assert_eq!(other.has_blob(&Digest::sha256(b"small")).unwrap(), Some(5));

    // A wrong digest is the registry's to refuse; one dropped is cancelled.
    let mut upload = other.upload().unwrap();
    upload.write_all(b"one").unwrap();
    let refused = upload.finish(&Digest::sha256(b"two")).unwrap_err();
    assert!(refused.to_string().contains("digest"), "{refused}");
    drop(other.upload().unwrap());
}

#[test]
fn manifests_and_tags() {
    let Some(server) = DebianRegistry::start(Kind::Plain) else { return };
    let host = server.host();
    let repository = repository(&host);
    assert!(matches!(
        repository.manifest("latest"),
        Err(Error::NoManifest { .. } | Error::NoRepository { .. })
    ));
    assert_eq!(repository.head("latest").unwrap(), None);
    assert!(matches!(repository.tags().next(), Some(Err(Error::NoRepository { .. }))));

    push(&repository, b"{}").unwrap();
    let manifest = crate::support::manifest();
    let digest = Digest::sha256(&manifest);
    for tag in ["one", "two", "three"] {
        let put = repository.put_manifest(tag, media_type::OCI_MANIFEST, &manifest).unwrap();
        assert_eq!((put.digest, put.subject_seen), (digest.clone(), false));
    }
    let head = repository.head("one").unwrap().unwrap();
    assert_eq!((head.digest, head.size), (digest.clone(), manifest.len() as u64));
    assert_eq!(head.media_type, media_type::OCI_MANIFEST);
    let got = repository.manifest(digest.as_str()).unwrap();
    assert_eq!((got.bytes, got.digest), (manifest, digest.clone()));

    let mut tags: Vec<String> = repository.tags().map(Result::unwrap).collect();
    tags.sort();
    assert_eq!(tags, ["one", "three", "two"]);
    let registry = Client::new(options()).registry(&host);
    assert_eq!(registry.catalog().map(Result::unwrap).collect::<Vec<_>>(), ["a/b"]);
    assert!(registry.get_json::<serde_json::Value>("/v1/search?q=a").unwrap().is_none());

    // It knows no referrers: neither the API nor the tag.
    assert!(repository.referrers(&digest, None).unwrap().manifests.is_empty());
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{{"mediaType":"{}","digest":"{digest}","size":1,"artifactType":"x/y"}}]}}"#,
        media_type::OCI_INDEX,
        media_type::OCI_MANIFEST
    );
    let fallback = format!("sha256-{}", digest.hex());
    repository.put_manifest(&fallback, media_type::OCI_INDEX, index.as_bytes()).unwrap();
    assert_eq!(repository.referrers(&digest, None).unwrap().manifests.len(), 1);
    assert_eq!(repository.referrers(&digest, Some("x/y")).unwrap().manifests.len(), 1);
    assert_eq!(repository.referrers(&digest, Some("x/z")).unwrap().manifests.len(), 0);

    repository.delete_manifest(&digest).unwrap();
    assert_eq!(repository.head("one").unwrap(), None);
    assert!(matches!(repository.delete_manifest(&digest), Err(Error::NoManifest { .. })));
}

#[test]
fn accounts() {
    let Some(server) = DebianRegistry::start(Kind::Htpasswd) else { return };
    let host = server.host();
    let anonymous = repository(&host);
    match push(&anonymous, b"x").unwrap_err() {
        Error::Denied { logged_in: false, repository, .. } => assert_eq!(repository, "a/b"),
        other => panic!("{other:?}"),
    }
    let wrong = Client::new(with_account(password("tester", "wrong")));
    let error = push(&wrong.repository(&reference(&host, "a/b")), b"x").unwrap_err();
    assert!(matches!(error, Error::Denied { logged_in: true, .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("wrong"));

    let right = Client::new(with_account(password("tester", "geheim"))).repository(&reference(&host, "a/b"));
    push(&right, b"x").unwrap();
    assert_eq!(pull(&right, b"x", 0), b"x");

    let registry = Client::new(options()).registry(&host);
    let login = registry.login(&password("tester", "geheim")).unwrap();
    assert_eq!((login.status.as_str(), login.identity_token), ("Login Succeeded", None));
    assert!(matches!(registry.login(&password("tester", "wrong")), Err(Error::Denied { .. })));
    // The login is not used for anything else.
    assert!(matches!(registry.catalog().next(), Some(Err(Error::Denied { .. }))));
}
