//! Uploads that do not go smoothly: cut off, gone on with by another server, fought over, too slow, too many; and what
//! they leave.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use oci::Digest;
use support::{Client, Registry, noise, serve};

#[test]
fn an_upload_outlives_its_server() {
    let mut registry = Registry::start();
    let bytes = noise(1, 300_000);
    let at = registry.client.post("/v2/a/blobs/uploads/").location().to_owned();
    let half = registry.client.send("PATCH", &at, &[], &bytes[..100_000]);
    assert_eq!(half.header("range"), Some("0-99999"));
    registry.restart();
    let there = registry.client.get(&at);
    assert_eq!((there.status, there.header("range")), (204, Some("0-99999")));
    let headers = [("Content-Range", "100000-299999")];
    assert_eq!(registry.client.send("PATCH", &at, &headers, &bytes[100_000..]).status, 202);
    for digest in [Digest::sha512(&bytes), Digest::sha256(&bytes)] {
        let done = registry.client.send("PUT", &format!("{at}?digest={digest}"), &[], b"");
        // Once it is finished it is none any more.
        assert_eq!(done.status, if digest.algorithm() == "sha512" { 201 } else { 404 }, "{done:?}");
    }
}

#[test]
fn two_servers_share_a_store() {
    let registry = Registry::start();
    let other = serve(&registry.root(), server::Options::default());
    let other_client = Client::to(&other.url());
    let bytes = noise(2, 200_000);
    let at = registry.client.post("/v2/a/blobs/uploads/").location().to_owned();
    for (client, part) in [
        (&registry.client, &bytes[..50_000]),
        (&other_client, &bytes[50_000..120_000]),
        (&registry.client, &bytes[120_000..]),
    ] {
        assert_eq!(client.send("PATCH", &at, &[], part).status, 202);
    }
    let digest = Digest::sha256(&bytes);
    assert_eq!(other_client.send("PUT", &format!("{at}?digest={digest}"), &[], b"").status, 201);
    assert!(registry.client.get(&format!("/v2/a/blobs/{digest}")).body == bytes);
}

/// Opens a request by hand: its head, and so much of its body.
fn begin(addr: SocketAddr, method: &str, path: &str, length: usize, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n").unwrap();
    stream.write_all(body).unwrap();
    stream
}

/// Asks until the upload has that many bytes and nobody has it.
fn wait_for(client: &Client, at: &str, range: &str) {
    for _ in 0..200 {
        if client.get(at).header("range") == Some(range) && client.send("PATCH", at, &[], b"").status == 202 {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{:?}", client.get(at));
}

#[test]
fn what_came_before_a_cut_counts() {
    let registry = Registry::start();
    let bytes = noise(3, 500_000);
    let at = registry.client.post("/v2/a/blobs/uploads/").location().to_owned();
    let cut = begin(registry.server().addr(), "PATCH", &at, bytes.len(), &bytes[..400_000]);
    drop(cut);
    wait_for(&registry.client, &at, "0-399999");
    let digest = Digest::sha256(&bytes);
    let rest = registry.client.send("PUT", &format!("{at}?digest={digest}"), &[], &bytes[400_000..]);
    assert_eq!(rest.status, 201, "{rest:?}");
}

#[test]
fn one_request_at_a_time() {
    let registry = Registry::start();
    let at = registry.client.post("/v2/a/blobs/uploads/").location().to_owned();
    let mut first = begin(registry.server().addr(), "PATCH", &at, 300_000, &noise(4, 299_000));
    // The first piece is on the disk by now or soon; the second request must not come between.
    let busy = loop {
        let answer = registry.client.send("PATCH", &at, &[], b"");
        if answer.status != 202 {
            break answer;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!((busy.status, busy.code().as_str()), (409, "BLOB_UPLOAD_INVALID"), "{busy:?}");
    first.write_all(&noise(5, 1000)).unwrap();
    let mut answer = [0; 12];
    first.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 202");
}

#[test]
fn what_is_under_way_when_it_stops_ends_well() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(&dir.path().join("store"), server::Options::default());
    let addr = server.addr();
    let (bytes, idle) = (noise(12, 300_000), TcpStream::connect(addr).unwrap());
    let path = format!("/v2/a/blobs/uploads/?digest={}", Digest::sha256(&bytes));
    let mut busy = begin(addr, "POST", &path, bytes.len(), &bytes[..299_000]);
    std::thread::sleep(Duration::from_millis(100));
    let stopping = std::thread::spawn(move || server.stop());
    while TcpStream::connect(addr).is_ok() {
        std::thread::sleep(Duration::from_millis(5));
    }
    busy.write_all(&bytes[299_000..]).unwrap();
    let mut answer = [0; 12];
    busy.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 201");
    stopping.join().unwrap().unwrap();
    drop(idle);
}

#[test]
fn pushes_go_on_while_others_prune() {
    let registry = Registry::start();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let pruner = scope.spawn(|| {
            let store = registry.store();
            let mut prunes = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                store.sweep(&store::Hooks::default()).unwrap();
                store.prune(&store::PruneOptions { compact: true, ..Default::default() }).unwrap();
                prunes += 1;
            }
            prunes
        });
        let pushers: Vec<_> = (0..3)
            .map(|n| {
                let client = registry.client.clone();
                scope.spawn(move || {
                    for round in 0..8 {
                        // Each layer is pushed by several, at once and one after the other.
                        let layer = noise(round % 3, 50_000);
                        let manifest = client.push_image(&format!("r{n}"), "t", &layer);
                        assert!(
                            client.get(&format!("/v2/r{n}/blobs/{}", Digest::sha256(&layer))).body == layer
                        );
                        if round % 2 == 0 {
                            assert_eq!(client.delete(&format!("/v2/r{n}/manifests/{manifest}")).status, 202);
                        }
                    }
                })
            })
            .collect();
        pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(pruner.join().unwrap() > 1);
    });
    let report = registry.store().check(false, &store::Hooks::default()).unwrap();
    assert!(report.is_sound(), "{report:?}");
}

#[test]
fn chunks_say_what_they_are() {
    let registry = Registry::start();
    let client = &registry.client;
    let at = client.post("/v2/a/blobs/uploads/").location().to_owned();
    let patch = |range: &str, bytes: &[u8]| client.send("PATCH", &at, &[("Content-Range", range)], bytes);
    for (range, status) in [("1-5", 416), ("0-", 416), ("x", 416), ("0-3", 400), ("0-4", 202), ("0-4", 416)] {
        let answer = patch(range, b"12345");
        assert_eq!(answer.status, status, "{range}: {answer:?}");
        if status == 416 {
            assert_eq!(answer.code(), "BLOB_UPLOAD_INVALID");
            assert!(answer.header("range").is_some() && answer.header("location").is_some());
        }
    }
    assert_eq!(client.get(&at).header("range"), Some("0-4"));
    // Not in another repository.
    assert_eq!(client.get(&at.replace("/a/", "/b/")).status, 404);
    let none = client.send("PUT", &at, &[], b"");
    assert_eq!((none.status, none.code().as_str()), (400, "DIGEST_INVALID"));
}

#[test]
fn a_head_that_never_ends_and_one_too_large() {
    let registry = Registry::start();
    let mut stream = TcpStream::connect(registry.server().addr()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET /v2/ HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(200_000)).ok();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let mut stream = TcpStream::connect(registry.server().addr()).unwrap();
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    write!(stream, "GET /v2/ HTTP/1.1\r\nHost: x\r\n{many}\r\n").unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[test]
fn blobs_are_the_stores() {
    let registry = Registry::start();
    let store = registry.store();
    let bytes = noise(6, 400_000);
    store.put_blob(&bytes).unwrap();
    // What the store has is not for everybody: a repository has what was pushed to it.
    let digest = Digest::sha256(&bytes);
    assert_eq!(registry.client.get(&format!("/v2/a/blobs/{digest}")).status, 404);
    assert_eq!(registry.client.post(&format!("/v2/a/blobs/uploads/?mount={digest}")).status, 202);
    registry.client.push("a", &bytes);
    let files = std::fs::read_dir(registry.root().join("blobs/sha256")).unwrap().count();
    assert_eq!(files, 1);
    drop(store);
    let report = registry.store().check(false, &store::Hooks::default()).unwrap();
    assert!(report.is_sound(), "{report:?}");
}

#[test]
fn a_prune_takes_what_was_deleted_and_nothing_else() {
    let registry = Registry::start();
    let client = &registry.client;
    let kept = client.push_image("a", "kept", &noise(7, 1000));
    let gone = client.push_image("a", "gone", &noise(8, 100_000));
    let waiting = client.push("a", &noise(9, 2000));
    let prune = || registry.store().prune(&store::PruneOptions::default()).unwrap().freed();
    assert_eq!(prune(), 0);
    assert_eq!(client.delete(&format!("/v2/a/manifests/{gone}")).status, 202);
    assert!((100_000..101_000).contains(&prune()));
    assert_eq!(client.get(&format!("/v2/a/blobs/{}", Digest::sha256(&noise(8, 100_000)))).status, 404);
    assert_eq!(client.get(&format!("/v2/a/manifests/{kept}")).status, 200);
    assert_eq!(client.get(&format!("/v2/a/blobs/{}", Digest::sha256(&noise(7, 1000)))).status, 200);
    assert_eq!(client.head(&format!("/v2/a/blobs/{waiting}")).status, 200);
    // Asked for between deletion and prune, a blob waits for the manifest that may come.
    client.push_image("a", "again", &noise(8, 100_000));
    let manifest = client.get("/v2/a/manifests/again");
    let digest = manifest.header("docker-content-digest").unwrap();
    assert_eq!(client.delete(&format!("/v2/a/manifests/{digest}")).status, 202);
    assert_eq!(client.head(&format!("/v2/a/blobs/{}", Digest::sha256(&noise(8, 100_000)))).status, 200);
    assert!(prune() < 1000);
    client.push_image("a", "again", &noise(8, 100_000));
    let report = registry.store().check(false, &store::Hooks::default()).unwrap();
    assert!(report.is_sound() && report.registry_manifests == 2, "{report:?}");
}

#[test]
fn what_is_damaged_is_found_and_can_be_pushed_again() {
    let registry = Registry::start();
    let client = &registry.client;
    client.push_image("a", "t", &noise(10, 5000));
    let layer = Digest::sha256(&noise(10, 5000));
    std::fs::write(registry.root().join("blobs/sha256").join(layer.hex()), b"damaged").unwrap();
    let report = registry.store().check(true, &store::Hooks::default()).unwrap();
    let subjects: Vec<&str> = report.problems.iter().map(|p| p.subject.as_str()).collect();
    assert_eq!(subjects, [format!("blob {layer}"), format!("blob {layer} of the served repository a")]);
    assert_eq!(client.head(&format!("/v2/a/blobs/{layer}")).status, 404);
    client.push("a", &noise(10, 5000));
    assert!(client.get(&format!("/v2/a/blobs/{layer}")).body == noise(10, 5000));
}

#[test]
fn a_large_blob_comes_and_goes_in_pieces() {
    let registry = Registry::start();
    let bytes = noise(11, 20 << 20);
    let digest = registry.client.push("a", &bytes);
    let answer = registry.client.get(&format!("/v2/a/blobs/{digest}"));
    assert!(answer.body == bytes);
    let range = [("Range", "bytes=5000000-17000000")];
    let part = registry.client.send("GET", &format!("/v2/a/blobs/{digest}"), &range, b"");
    assert!(part.status == 206 && part.body == bytes[5_000_000..=17_000_000]);
}
