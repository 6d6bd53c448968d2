//! Mirrors: read from first, never written to, and never in the way.

use std::io::{Cursor, Read};
use std::path::Path;

use oci::{Digest, media_type};
use registry::hosts::Registries;
use registry::{Client, Error, Hosts, Options, Repository};

use crate::support::fault::{Fault, Reply, Seen};
use crate::support::{bytes, layer, manifest, options, password, reference, with_account};

/// `a/b` at `origin`, with mirrors.
fn mirrored(origin: &Fault, mirrors: &[&str], more: &str, options: Options) -> Repository {
    let mut text = format!("[[registry]]\nlocation = \"{}\"\n", origin.host());
    for mirror in mirrors {
        text.push_str(&format!("[[registry.mirror]]\nlocation = \"{mirror}\"\n{more}\n"));
    }
    let registries = Registries::parse(&text, Path::new("registries.conf")).unwrap();
    let hosts = Hosts { registries, ..Hosts::default() };
    Client::new(Options { hosts, ..options }).repository(&reference(&origin.host(), "a/b"))
}

fn whole(blob: Vec<u8>) -> impl Fn(&Seen) -> Reply + Send + Sync + 'static {
    move |seen| match seen.line().contains("/manifests/") {
        true => Reply::ok(manifest())
            .header("Content-Type", media_type::OCI_MANIFEST)
            .header("Docker-Content-Digest", Digest::sha256(&manifest()).to_string()),
        false => Reply::part(&blob, seen),
    }
}

fn read(repository: &Repository, blob: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    repository.blob(&layer(blob), 0).unwrap().read_to_end(&mut read).unwrap();
    read
}

#[test]
fn mirrors_come_first() {
    let blob = bytes(200_000);
    let (mirror, origin) = (Fault::start(whole(blob.clone())), Fault::start(|_| Reply::new(500)));
    let repository = mirrored(&origin, &[&format!("{}/cache", mirror.host())], "", options());
    assert_eq!(repository.head("latest").unwrap().unwrap().digest, Digest::sha256(&manifest()));
    assert_eq!(repository.manifest("latest").unwrap().bytes, manifest());
    assert_eq!(read(&repository, &blob), blob);
    let name = mirror.lines();
    assert_eq!(
        name,
        [
            "HEAD /v2/cache/a/b/manifests/latest".to_owned(),
            "GET /v2/cache/a/b/manifests/latest".to_owned(),
            format!("GET /v2/cache/a/b/blobs/{}", Digest::sha256(&blob)),
        ]
    );
    assert!(origin.seen().is_empty());
    // What is about to be written is looked for where it will be.
    assert!(repository.without_mirrors().head("latest").is_err());
    assert!(repository.has_blob(&Digest::sha256(&blob)).is_err());
    assert!(!origin.seen().is_empty() && mirror.seen().len() == 3);
}

#[test]
fn the_registry_stands_in() {
    let blob = bytes(200_000);
    let mut wrong = blob.clone();
    wrong[0] ^= 1;
    // Mirrors that have nothing, fail, refuse, lie, and one that is not there.
    type Script = fn(&Seen) -> Reply;
    let scripts: [Script; 6] = [
        |_| Reply::error(404, "MANIFEST_UNKNOWN", "no"),
        |_| Reply::new(500),
        |_| Reply::new(401).header("WWW-Authenticate", "Basic realm=x"),
        |_| Reply::ok("<html>").header("Content-Type", "text/html"),
        |_| Reply::ok("{}").header("Docker-Content-Digest", Digest::sha256(b"x").to_string()),
        |_| Reply::redirect(307, "/again"),
    ];
    let mirrors: Vec<Fault> = scripts.into_iter().map(Fault::start).collect();
    let hosts: Vec<String> = mirrors.iter().map(Fault::host).chain(["127.0.0.1:1".to_owned()]).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let origin = Fault::start(whole(blob.clone()));
    let repository = mirrored(&origin, &hosts, "", options());
    assert_eq!(repository.manifest("latest").unwrap().bytes, manifest());
    assert!(mirrors.iter().all(|mirror| !mirror.seen().is_empty()));
    assert_eq!(read(&repository, &blob), blob);
    assert_eq!(origin.seen().len(), 2);

    // A mirror that is cut within a blob, again and again.
    let script = blob.clone();
    let mirror = Fault::start(move |seen| Reply::part(&script, seen).cut_after(10_000));
    let origin = Fault::start(whole(blob.clone()));
    let repository = mirrored(&origin, &[&mirror.host()], "", options());
    assert_eq!(read(&repository, &blob), blob);
    assert_eq!((mirror.seen().len(), origin.seen()[0].range()), (1, Some(10_000)));

    // The error is the registry's own.
    let origin = Fault::start(|_| Reply::error(404, "NAME_UNKNOWN", "no"));
    let repository = mirrored(&origin, &hosts, "", options());
    let error = repository.manifest("latest").unwrap_err();
    assert!(matches!(&error, Error::NoRepository { registry, .. } if *registry == origin.host()), "{error}");
    assert_eq!(repository.head("latest").unwrap(), None);
}

#[test]
fn writes_go_to_the_registry() {
    let (mirror, origin) = (
        Fault::start(|_| Reply::new(201)),
        Fault::start(|seen| match seen.method.as_str() {
            "POST" => Reply::new(202).header("Location", "/upload"),
            _ => Reply::new(201),
        }),
    );
    let repository = mirrored(&origin, &[&mirror.host()], "", options());
    repository.put_manifest("latest", media_type::OCI_MANIFEST, &manifest()).unwrap();
    repository.push_blob(&layer(b"x"), &mut |_| Ok(Box::new(Cursor::new(b"x"))), &|_| {}).unwrap();
    assert_eq!(
        origin.lines(),
        ["PUT /v2/a/b/manifests/latest", "POST /v2/a/b/blobs/uploads/", "PUT /upload"]
    );
    assert!(mirror.seen().is_empty());
}

#[test]
fn what_a_mirror_is_for() {
    let blob = bytes(1000);
    let (mirror, origin) = (Fault::start(whole(blob.clone())), Fault::start(whole(blob.clone())));
    let only = "pull-from-mirror = \"digest-only\"";
    let repository = mirrored(&origin, &[&mirror.host()], only, options());
    repository.manifest("latest").unwrap();
    assert_eq!((mirror.seen().len(), origin.seen().len()), (0, 1));
    repository.manifest(Digest::sha256(&manifest()).as_str()).unwrap();
    read(&repository, &blob);
    assert_eq!((mirror.seen().len(), origin.seen().len()), (2, 1));
}

#[test]
fn a_mirror_is_given_no_account_of_the_registry() {
    let challenge = |seen: &Seen| match seen.header("authorization") {
        None => Reply::new(401).header("WWW-Authenticate", "Basic realm=x"),
        Some(_) => Reply::ok(manifest()).header("Content-Type", media_type::OCI_MANIFEST),
    };
    let (mirror, origin) = (Fault::start(challenge), Fault::start(challenge));
    struct OnlyFor(String);
    impl registry::Credentials for OnlyFor {
        fn get(&self, registry: &str) -> Result<Option<registry::Credential>, Error> {
            Ok((registry == self.0).then(|| password("me", "hunter2")))
        }
    }
    let mut options = with_account(password("x", "y"));
    options.credentials = std::sync::Arc::new(OnlyFor(origin.host()));
    let repository = mirrored(&origin, &[&mirror.host()], "", options);
    repository.manifest("latest").unwrap();
    assert!(mirror.seen().iter().all(|seen| seen.header("authorization").is_none()));
    assert_eq!(origin.seen().len(), 2);
}
