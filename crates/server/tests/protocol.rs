//! What the specification says and its conformance program does not ask, and what we promise beyond it.

mod support;

use oci::Digest;
use serde_json::{Value, json};
use server::{MANIFEST_LIMIT, Options};
use support::{Answer, IMAGE, INDEX, Registry, noise};

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
}

#[test]
fn version_check() {
    let registry = Registry::start();
    for path in ["/v2/", "/v2"] {
        let answer = registry.client.get(path);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("docker-distribution-api-version"), Some("registry/2.0"));
    }
}

#[test]
fn what_is_wrong_has_its_code() {
    let registry = Registry::start();
    let client = &registry.client;
    client.push_image("a", "t", b"layer");
    let none = Digest::sha256(b"none");
    refused(&client.get(&format!("/v2/a/blobs/{none}")), 404, "BLOB_UNKNOWN");
    refused(&client.get(&format!("/v2/b/blobs/{none}")), 404, "NAME_UNKNOWN");
    refused(&client.get("/v2/a/manifests/none"), 404, "MANIFEST_UNKNOWN");
    refused(&client.get("/v2/a/manifests/.INVALID_MANIFEST_NAME"), 404, "MANIFEST_UNKNOWN");
    refused(&client.get("/v2/b/manifests/t"), 404, "NAME_UNKNOWN");
    refused(&client.get("/v2/b/tags/list"), 404, "NAME_UNKNOWN");
    refused(&client.get("/v2/A/tags/list"), 400, "NAME_INVALID");
    refused(&client.get("/v2/a/../b/tags/list"), 400, "NAME_INVALID");
    refused(&client.get("/v2/a/blobs/sha256:1"), 400, "DIGEST_INVALID");
    refused(&client.get("/v2/a/blobs/uploads/1"), 404, "BLOB_UPLOAD_UNKNOWN");
    refused(&client.get("/v2/a/tags/list?n=x"), 400, "PAGINATION_NUMBER_INVALID");
    refused(&client.get("/v2/a/nothing"), 404, "UNSUPPORTED");
    refused(&client.post("/v2/a/blobs/uploads/?digest=sha256:1"), 400, "DIGEST_INVALID");
    refused(&client.post("/v2/a/blobs/uploads/?digest-algorithm=md5"), 400, "DIGEST_INVALID");
    let wrong = client.send("PUT", "/v2/a/tags/list", &[], b"");
    refused(&wrong, 405, "UNSUPPORTED");
    assert_eq!(wrong.header("allow"), Some("GET, HEAD"));
    let put = |reference: &str, kind: &str, manifest: &Value| {
        let path = format!("/v2/a/manifests/{reference}");
        client.send("PUT", &path, &[("Content-Type", kind)], manifest.to_string().as_bytes())
    };
    let image = client.image("a", b"layer");
    refused(&put("-t", IMAGE, &image), 400, "TAG_INVALID");
    refused(&put("t", INDEX, &image), 400, "MANIFEST_INVALID");
    refused(&put(none.as_str(), IMAGE, &image), 400, "DIGEST_INVALID");
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [
        { "mediaType": IMAGE, "digest": none, "size": 1 },
    ]});
    let missing = put("t", INDEX, &index);
    refused(&missing, 404, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(missing.json()["errors"][0]["detail"]["digest"], json!(none));
    // In another repository it needs its blobs there too.
    let elsewhere =
        client.send("PUT", "/v2/c/manifests/t", &[("Content-Type", IMAGE)], image.to_string().as_bytes());
    refused(&elsewhere, 404, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(elsewhere.json()["errors"].as_array().unwrap().len(), 2);
    let large = vec![b' '; MANIFEST_LIMIT + 1];
    let large = client.send("PUT", "/v2/a/manifests/t", &[("Content-Type", IMAGE)], &large);
    refused(&large, 413, "SIZE_INVALID");
}

#[test]
fn pages() {
    let registry = Registry::start();
    let client = &registry.client;
    for (name, tag) in [("b", "v2"), ("b", "v1"), ("b", "V3"), ("b", "v10"), ("a", "t"), ("c/d", "t")] {
        client.push_image(name, tag, name.as_bytes());
    }
    assert_eq!(
        client.get("/v2/b/tags/list").json(),
        json!({ "name": "b", "tags": ["V3", "v1", "v10", "v2"] })
    );
    let page = |path: &str| {
        let answer = client.get(path);
        let next = answer.header("link").map(|link| {
            let (url, rel) = link.split_once(">; ").unwrap();
            assert_eq!(rel, "rel=\"next\"");
            url.trim_start_matches('<').to_owned()
        });
        (answer.json(), next)
    };
    let (first, next) = page("/v2/b/tags/list?n=3");
    assert_eq!(first["tags"], json!(["V3", "v1", "v10"]));
    let (second, next) = page(&next.unwrap());
    assert_eq!((&second["tags"], next), (&json!(["v2"]), None));
    assert_eq!(page("/v2/b/tags/list?n=4").1, None);
    assert_eq!(page("/v2/b/tags/list?n=0"), (json!({ "name": "b", "tags": [] }), None));
    let (first, next) = page("/v2/_catalog?n=2");
    assert_eq!(first, json!({ "repositories": ["a", "b"] }));
    assert_eq!(page(&next.unwrap()), (json!({ "repositories": ["c/d"] }), None));
}

#[test]
fn referrers_come_in_pages() {
    let registry = Registry::with(Options { sparse: true, ..Options::default() });
    let subject = Digest::sha256(b"subject");
    let layer = Digest::sha256(b"layer");
    let put = |n: usize, text: usize| {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": IMAGE, "artifactType": format!("kind/{}", n % 2),
            "config": { "mediaType": "x", "digest": layer, "size": 1 }, "layers": [],
            "subject": { "mediaType": IMAGE, "digest": subject, "size": 1 },
            "annotations": { "n": n.to_string(), "text": "x".repeat(text) },
        });
        let path = format!("/v2/a/manifests/t{n}");
        let answer =
            registry.client.send("PUT", &path, &[("Content-Type", IMAGE)], manifest.to_string().as_bytes());
        assert_eq!(answer.header("oci-subject"), Some(subject.as_str()), "{answer:?}");
    };
    (0..5).for_each(|n| put(n, 2_000_000));
    let mut path = Some(format!("/v2/a/referrers/{subject}?artifactType=kind/0"));
    let (mut found, mut pages) = (Vec::new(), 0);
    while let Some(at) = path {
        let answer = registry.client.get(&at);
        assert_eq!(answer.header("oci-filters-applied"), Some("artifactType"));
        found.extend(answer.json()["manifests"].as_array().unwrap().clone());
        pages += 1;
        path = answer.header("link").map(|link| link[1..link.find('>').unwrap()].to_owned());
    }
    assert_eq!((found.len(), pages), (3, 2));
    assert!(found.iter().all(|entry| entry["artifactType"] == "kind/0"));
}

#[test]
fn what_did_not_change_is_not_sent() {
    let registry = Registry::start();
    let client = &registry.client;
    let manifest = client.push_image("a", "t", b"layer");
    for (path, digest) in [
        ("/v2/a/manifests/t".to_owned(), manifest),
        (format!("/v2/a/blobs/{}", Digest::sha256(b"layer")), Digest::sha256(b"layer")),
    ] {
        let etag = client.get(&path).header("etag").unwrap().to_owned();
        assert_eq!(etag, format!("\"{digest}\""));
        let answer = client.send("GET", &path, &[("If-None-Match", &etag)], b"");
        assert_eq!((answer.status, answer.body.len()), (304, 0));
        let other = client.send("GET", &path, &[("If-None-Match", "\"x\"")], b"");
        assert_eq!(other.status, 200);
    }
    let path = format!("/v2/a/blobs/{}", Digest::sha256(b"layer"));
    let part = |etag: &str| client.send("GET", &path, &[("Range", "bytes=1-2"), ("If-Range", etag)], b"");
    assert_eq!(part("\"x\"").body, b"layer");
    assert_eq!(part(&format!("\"{}\"", Digest::sha256(b"layer"))).body, b"ay");
}

#[test]
fn tags_move_and_manifests_stay() {
    let registry = Registry::start();
    let client = &registry.client;
    let (old, new) = (client.push_image("a", "t", b"one"), client.push_image("a", "t", b"two"));
    assert_eq!(client.get("/v2/a/manifests/t").header("docker-content-digest"), Some(new.as_str()));
    assert_eq!(client.get(&format!("/v2/a/manifests/{old}")).status, 200);
    assert_eq!(client.delete("/v2/a/manifests/t").status, 202);
    assert_eq!(client.get(&format!("/v2/a/manifests/{new}")).status, 200);
    assert_eq!(client.delete(&format!("/v2/a/manifests/{new}")).status, 202);
    refused(&client.delete(&format!("/v2/a/manifests/{new}")), 404, "MANIFEST_UNKNOWN");
}

#[test]
fn docker_types_and_sha512() {
    let registry = Registry::start();
    let client = &registry.client;
    let mut manifest = client.image("a", b"layer");
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    manifest["mediaType"] = json!(docker);
    let answer =
        client.send("PUT", "/v2/a/manifests/t", &[("Content-Type", docker)], manifest.to_string().as_bytes());
    assert_eq!(answer.status, 201);
    assert_eq!(client.head("/v2/a/manifests/t").header("content-type"), Some(docker));
    // By both algorithms one blob of the store.
    let bytes = noise(1, 1 << 20);
    let digest = Digest::sha512(&bytes);
    let begun = client.post("/v2/a/blobs/uploads/?digest-algorithm=sha512").location().to_owned();
    assert_eq!(client.send("PATCH", &begun, &[], &bytes).status, 202);
    let answer = client.send("PUT", &format!("{begun}?digest={digest}"), &[], b"");
    assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
    client.push("a", &bytes);
    assert_eq!(client.get(&format!("/v2/a/blobs/{digest}")).body, bytes);
    assert_eq!(
        registry.store().usage().unwrap().registry_size,
        1_048_576 + 5 + 37 + manifest.to_string().len() as u64
    );
    // It says nothing of what it is under another name.
    refused(&client.get(&format!("/v2/b/blobs/{digest}")), 404, "NAME_UNKNOWN");
}

#[test]
fn a_manifest_can_be_addressed_by_sha512_and_tagged() {
    let registry = Registry::start();
    let client = &registry.client;
    let manifest = client.image("a", b"layer").to_string();
    let digest = Digest::sha512(manifest.as_bytes());
    let path = format!("/v2/a/manifests/{digest}?tag=x&tag=y");
    let answer = client.send("PUT", &path, &[("Content-Type", IMAGE)], manifest.as_bytes());
    assert_eq!(answer.status, 201, "{answer:?}");
    for tag in ["x", "y"] {
        let answer = client.get(&format!("/v2/a/manifests/{tag}"));
        assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
    }
    let too_many: String = (0..101).map(|n| format!("&tag=t{n}")).collect();
    let path = format!("/v2/a/manifests/{digest}?{}", &too_many[1..]);
    let answer = client.send("PUT", &path, &[("Content-Type", IMAGE)], manifest.as_bytes());
    refused(&answer, 414, "TAG_INVALID");
}
