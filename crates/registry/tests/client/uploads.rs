//! Uploads that are cut, forgotten, refused half-way, and go on all the same.

use std::io::{self, Cursor, Write};
use std::sync::{Arc, Mutex};

use oci::Digest;
use registry::{Client, Error, Mount, Repository};

use crate::support::fault::{Fault, Reply, Seen};
use crate::support::{bytes, layer, options, password, reference, repository, with_account};

/// What a registry holds of one upload.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    /// The upload's name changes with each answer, as distribution's does.
    state: usize,
    done: bool,
}

/// A registry with one upload. `forgets`: it drops the upload when its connection is cut.
fn uploads(held: &Arc<Mutex<Held>>, forgets: bool) -> impl Fn(&Seen) -> Reply + Send + Sync + 'static {
    let held = Arc::clone(held);
    move |seen| {
        let mut held = held.lock().unwrap();
        let place = |held: &mut Held, status| {
            held.state += 1;
            let last = held.bytes.len().saturating_sub(1);
            Reply::new(status)
                // Relative, and with a query of its own.
                .header("Location", format!("../../../../../../up/load?state={}&x=a%2Fb", held.state))
                .header("Range", format!("0-{last}"))
        };
        match (seen.method.as_str(), seen.path.starts_with("/up/load")) {
            ("POST", _) => {
                *held = Held { state: held.state, ..Held::default() };
                place(&mut held, 202)
            }
            ("HEAD", _) if held.done => Reply::new(200).said_length(held.bytes.len() as u64),
            ("HEAD", _) => Reply::new(404),
            (_, true) if !seen.path.contains(&format!("state={}&x=a%2Fb", held.state)) => Reply::new(404),
            ("GET", true) => place(&mut held, 204),
            ("DELETE", true) => Reply::new(204),
            ("PATCH" | "PUT", true) => {
                let from = seen.header("content-range").and_then(|r| r.split('-').next()?.parse().ok());
                if from.unwrap_or(held.bytes.len()) != held.bytes.len() {
                    return Reply::new(416);
                }
                held.bytes.extend_from_slice(&seen.body);
                if seen.cut {
                    if forgets {
                        held.state += 100;
                    }
                    return Reply::none();
                }
                if seen.method == "PATCH" {
                    return place(&mut held, 202);
                }
                let digest = Digest::sha256(&held.bytes).to_string().replace(':', "%3A");
                held.done = seen.path.ends_with(&format!("&digest={digest}"));
                match held.done {
                    true => Reply::new(201).header("Location", "/v2/a/b/blobs/x"),
                    false => {
                        Reply::error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
                    }
                }
            }
            _ => Reply::new(405),
        }
    }
}

/// Pushes; what it opened, by offset.
fn push(repository: &Repository, blob: &[u8]) -> (Result<(), Error>, Vec<u64>) {
    let mut opened = Vec::new();
    let held = blob.to_vec();
    let mut open = |offset: u64| {
        opened.push(offset);
        Ok(Box::new(Cursor::new(held[offset as usize..].to_vec())) as Box<dyn io::Read + Send>)
    };
    let result = repository.push_blob(&layer(blob), &mut open, &|_| {});
    (result, opened)
}

#[test]
fn one_request_that_is_cut_goes_on() {
    let (blob, held) = (bytes(1_000_000), Arc::default());
    let server = Fault::start_cutting(Some(300_000), uploads(&held, false));
    let (result, opened) = push(&repository(&server.host()), &blob);
    result.unwrap();
    assert_eq!(opened, [0, 300_000, 600_000, 900_000]);
    assert_eq!(held.lock().unwrap().bytes, blob);
}

#[test]
fn an_upload_that_is_forgotten_begins_anew() {
    let (blob, held) = (bytes(1_000_000), Arc::default());
    let server = Fault::start_cutting(Some(300_000), uploads(&held, true));
    let (result, opened) = push(&repository(&server.host()), &blob);
    // It is forgotten each time: so it ends after as many attempts as are allowed.
    assert!(matches!(result, Err(Error::Cut { .. } | Error::Unreachable { .. })), "{result:?}");
    assert_eq!(opened, [0; 4]);

    let held = Arc::default();
    let script = uploads(&held, false);
    // The third request's upload is unknown, once.
    let server = Fault::start(move |seen| match seen.number {
        1 => Reply::none(),
        2 => Reply::new(404),
        _ => script(seen),
    });
    let (result, opened) = push(&repository(&server.host()), &blob);
    result.unwrap();
    assert_eq!(opened, [0, 0]);
    assert_eq!(held.lock().unwrap().bytes, blob);
}

#[test]
fn an_answer_that_is_lost() {
    let (blob, held) = (bytes(100_000), Arc::default());
    let script = uploads(&held, false);
    let server = Fault::start(move |seen| match (seen.method.as_str(), seen.path.contains("digest=")) {
        // It takes the blob, forgets the upload, and says nothing.
        ("PUT", true) => {
            script(seen);
            Reply::none()
        }
        ("GET", _) => Reply::new(404),
        _ => script(seen),
    });
    let (result, opened) = push(&repository(&server.host()), &blob);
    result.unwrap();
    assert_eq!(opened, [0]);
    assert!(held.lock().unwrap().done);
}

#[test]
fn what_cannot_be_read_is_not_sent_again() {
    let held = Arc::default();
    let server = Fault::start(uploads(&held, false));
    let repository = repository(&server.host());
    let mut opened = 0;
    let short = repository.push_blob(
        &layer(&bytes(1000)),
        &mut |_| {
            opened += 1;
            Ok(Box::new(Cursor::new(bytes(999))))
        },
        &|_| {},
    );
    assert!(
        matches!(&short, Err(Error::Local { source, .. }) if source.to_string().contains("shorter")),
        "{short:?}"
    );
    let refused = repository.push_blob(
        &layer(&bytes(1000)),
        &mut |_| Err(io::Error::from(io::ErrorKind::PermissionDenied)),
        &|_| {},
    );
    assert!(matches!(refused, Err(Error::Local { .. })), "{refused:?}");
    assert_eq!(opened, 1);
    // The uploads were given up in order.
    assert_eq!(server.lines().iter().filter(|line| line.starts_with("DELETE")).count(), 2);
    // A wrong digest is no matter of trying again.
    let mut descriptor = layer(b"abc");
    descriptor.digest = Digest::sha256(b"x");
    let wrong = repository.push_blob(&descriptor, &mut |_| Ok(Box::new(Cursor::new(b"abc"))), &|_| {});
    assert!(
        matches!(&wrong, Err(Error::Status { status: 400, message, .. }) if message.contains("digest")),
        "{wrong:?}"
    );
}

#[test]
fn chunks_that_are_cut_go_on() {
    let (blob, held) = (bytes((9 << 20) + 3), Arc::default());
    // A chunk has 8 MiB: the registry takes three million bytes at a time.
    let server = Fault::start_cutting(Some(3_000_000), uploads(&held, false));
    let mut upload = repository(&server.host()).upload().unwrap();
    upload.write_all(&blob).unwrap();
    upload.finish(&Digest::sha256(&blob)).unwrap();
    assert!(held.lock().unwrap().bytes == blob);
    // A small one is one request.
    let server = Fault::start(uploads(&held, false));
    let mut upload = repository(&server.host()).upload().unwrap();
    upload.write_all(b"small").unwrap();
    upload.finish(&Digest::sha256(b"small")).unwrap();
    assert_eq!(server.lines(), ["POST /v2/a/b/blobs/uploads/", "PUT /up/load"]);
    // One that is given up is cancelled.
    drop(repository(&server.host()).upload().unwrap());
    assert_eq!(server.lines().last().unwrap(), "DELETE /up/load");
}

#[test]
fn uploads_elsewhere_get_no_account() {
    let held = Arc::default();
    let storage = Fault::start(uploads(&held, false));
    let elsewhere = format!("http://{}/up/load?state=0&x=a%2Fb", storage.host());
    let server = Fault::start(move |seen| match seen.header("authorization") {
        None => Reply::new(401).header("WWW-Authenticate", "Basic realm=x"),
        Some(_) => Reply::new(202).header("Location", elsewhere.clone()),
    });
    let repository =
        Client::new(with_account(password("me", "hunter2"))).repository(&reference(&server.host(), "a/b"));
    let (result, _) = push(&repository, b"abc");
    result.unwrap();
    assert_eq!(storage.lines(), ["PUT /up/load"]);
    assert!(storage.seen().iter().all(|seen| seen.header("authorization").is_none()));
    assert!(server.seen()[1].header("authorization").is_some());
}

#[test]
fn odd_answers_to_uploads() {
    let fails = |script: fn(&Seen) -> Reply| {
        let server = Fault::start(script);
        let error = repository(&server.host()).upload().unwrap_err();
        assert!(server.seen().len() <= options().retry.attempts as usize);
        error
    };
    assert!(matches!(fails(|_| Reply::new(202)), Error::Malformed { .. }));
    assert!(matches!(fails(|_| Reply::new(202).header("Location", "ftp://x")), Error::Malformed { .. }));
    assert!(matches!(fails(|_| Reply::new(200)), Error::Status { status: 200, .. }));
    assert!(matches!(fails(|_| Reply::redirect(302, "/x")), Error::Redirects { .. }));
    assert!(matches!(fails(|_| Reply::redirect(307, "http://localhost:1/x")), Error::Redirects { .. }));
    assert!(matches!(fails(|_| Reply::error(404, "NAME_UNKNOWN", "no")), Error::NoRepository { .. }));
    assert!(matches!(fails(|_| Reply::new(503)), Error::Status { status: 503, .. }));
    let huge =
        |_: &Seen| Reply::new(202).header("Location", "/x").header("OCI-Chunk-Min-Length", "99999999999");
    assert!(matches!(fails(huge), Error::Malformed { .. }));
    // A mount that is not understood is an upload.
    let server = Fault::start(|seen| match seen.path.contains("mount=") {
        true => Reply::new(400),
        false => Reply::new(202).header("Location", "/x"),
    });
    let mount = repository(&server.host()).mount(&Digest::sha256(b"x"), "c/d").unwrap();
    assert!(matches!(mount, Mount::Upload(_)));
    // The same at a host that is moved for good, within it.
    let server = Fault::start(|seen| match seen.path.starts_with("/new") {
        false => Reply::redirect(308, format!("/new{}", seen.path)),
        true => Reply::new(202).header("Location", "/x"),
    });
    repository(&server.host()).upload().unwrap();
}
