//! Registries that mean ill, or are broken: each case is bounded, named, and over soon.

use std::io::Read;
use std::time::{Duration, Instant};

use crate::support::fault::{Fault, Reply, Seen};
use crate::support::{
    bytes, layer, manifest, options, password, reference, repository, repository_with, with_account,
};
use oci::{Descriptor, Digest, media_type};
use registry::{Client, Error, Repository};

const MANIFEST: &str = "GET /v2/a/b/manifests/latest";

/// Reads a blob to its end, or to its error.
fn read(repository: &Repository, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
    let mut read = Vec::new();
    match repository.blob(descriptor, 0)?.read_to_end(&mut read) {
        Ok(_) => Ok(read),
        Err(error) => Err(error.downcast::<Error>().expect("an error of the client")),
    }
}

fn served(body: Vec<u8>) -> Reply {
    Reply::ok(body).header("Content-Type", media_type::OCI_MANIFEST)
}

/// The error of a manifest that the script gives, after no more than `most` requests.
fn refused(most: usize, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Error {
    let server = Fault::start(script);
    let started = Instant::now();
    let error = repository(&server.host()).manifest("latest").unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(20), "{error}");
    assert!(server.seen().len() <= most, "{:?}", server.lines());
    // Whoever answered is named.
    assert!(error.to_string().contains("127.0.0.1:"), "{error}");
    error
}

#[test]
fn redirect_loops() {
    let circle = refused(3, |seen| match seen.path.as_str() {
        "/a" => Reply::redirect(307, "/b"),
        "/b" => Reply::redirect(307, "/a"),
        _ => Reply::redirect(307, "/a"),
    });
    assert!(matches!(&circle, Error::Redirects { reason, .. } if reason == "in a circle"), "{circle}");
    let endless = refused(11, |seen| Reply::redirect(302, format!("/{}", seen.number)));
    assert!(matches!(&endless, Error::Redirects { reason, .. } if reason.contains("10 times")), "{endless}");
    for location in ["ftp://x/", "http://user:pw@x/", "http://", &format!("http://x/{}", "y".repeat(20_000))]
    {
        let location = location.to_owned();
        let error = refused(1, move |_| Reply::redirect(307, location.clone()));
        assert!(matches!(error, Error::Redirects { .. } | Error::Malformed { .. }), "{error}");
    }
    // A redirect to nowhere is an answer of its own.
    assert!(matches!(refused(1, |_| Reply::new(307)), Error::Status { status: 307, .. }));
}

#[test]
fn no_credentials_go_to_another_host() {
    let blob = bytes(100_000);
    let storage = {
        let blob = blob.clone();
        Fault::start(move |seen| Reply::part(&blob, seen).cut_after(40_000))
    };
    let elsewhere = format!("http://{}/signed?X-Signature=s3cret", storage.host());
    let server = Fault::start(move |seen| match seen.header("authorization") {
        None => Reply::new(401).header("WWW-Authenticate", "Basic realm=x"),
        Some(_) => Reply::redirect(307, elsewhere.clone()),
    });
    let client = Client::new(with_account(password("me", "hunter2")));
    let repository = client.repository(&reference(&server.host(), "a/b"));
    // 40,000 bytes are too few to count as progress; it gets there in three attempts all the same.
    assert_eq!(read(&repository, &layer(&blob)).unwrap(), blob);
    assert!(server.seen().iter().skip(1).all(|seen| seen.header("authorization").is_some()));
    assert_eq!(storage.seen().len(), 3);
    assert!(storage.seen().iter().all(|seen| seen.header("authorization").is_none()));

    // Nor does it answer a challenge there; and no signature is in an error.
    let thief = Fault::start(|_| Reply::new(401).header("WWW-Authenticate", "Basic realm=x"));
    let elsewhere = format!("http://{}/signed?X-Signature=s3cret", thief.host());
    let server = Fault::start(move |seen| match seen.header("authorization") {
        None => Reply::new(401).header("WWW-Authenticate", "Basic realm=x"),
        Some(_) => Reply::redirect(307, elsewhere.clone()),
    });
    let repository = client.repository(&reference(&server.host(), "a/b"));
    let error = read(&repository, &layer(&blob)).unwrap_err();
    assert!(thief.seen().iter().all(|seen| seen.header("authorization").is_none()));
    let shown = format!("{error} {error:?}");
    assert!(shown.contains(&thief.host()) && shown.contains("401"), "{shown}");
    assert!(!shown.contains("s3cret") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn endless_bodies() {
    let filler = vec![b' '; 1 << 16];
    let body = filler.clone();
    let error = refused(1, move |_| served(body.clone()).endless());
    assert!(matches!(&error, Error::Malformed { reason, .. } if reason.contains("4194304")), "{error}");
    // An error without end is still the error that it is.
    let error = refused(1, move |_| Reply::new(418).body(filler.clone()).endless());
    assert!(matches!(error, Error::Status { status: 418, .. }), "{error}");
    // Headers.
    let error = refused(1, |_| {
        let mut reply = served(manifest());
        for n in 0..5_000 {
            reply = reply.header("X-Filler", format!("{n:0100}"));
        }
        reply
    });
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
}

#[test]
fn manifests_of_a_hundred_megabytes() {
    // Said so: nothing is read.
    let error = refused(1, |_| served(Vec::new()).said_length(100 << 20));
    assert!(matches!(&error, Error::Malformed { reason, .. } if reason.contains("larger")), "{error}");
}

#[test]
fn bodies_longer_or_shorter_than_said() {
    let blob = bytes(300_000);
    let check = |reply: fn(&[u8]) -> Reply, most: usize| {
        let script = blob.clone();
        let server = Fault::start(move |_| reply(&script));
        let result = read(&repository(&server.host()), &layer(&blob));
        assert!(server.seen().len() <= most, "{:?}", server.lines());
        result
    };
    // By its own length, which is not that of the descriptor: at once.
    assert!(matches!(
        check(|b| Reply::ok(&b[1..]), 1),
        Err(Error::Size { expected: 300_000, found: Some(299_999), .. })
    ));
    assert!(matches!(
        check(|b| Reply::ok([b, b"x"].concat()), 1),
        Err(Error::Size { expected: 300_000, found: Some(300_001), .. })
    ));
    // Without one: when it shows.
    assert!(matches!(
        check(|b| Reply::ok([b, b"x"].concat()).chunked(), 1),
        Err(Error::Size { found: None, .. })
    ));
    assert!(matches!(
        check(|b| Reply::ok([b, b"x"].concat()).until_closed(), 1),
        Err(Error::Size { found: None, .. })
    ));
    assert!(matches!(check(|b| Reply::ok(b).chunked().endless(), 1), Err(Error::Size { found: None, .. })));
    // A whole body that is too short, again and again. (It ignores Range: no progress.)
    assert!(matches!(
        check(|b| Reply::ok(&b[..200_000]).chunked(), 6),
        Err(Error::Size { expected: 300_000, found: Some(200_000), .. })
    ));
    // More on the same connection than was said belongs to nobody.
    assert_eq!(check(|b| Reply::ok(b).extra("HTTP/1.1 200 OK\r\n\r\n"), 1).unwrap(), blob);
    // A manifest cut short is asked for again, then given up.
    let error = refused(4, |_| served(manifest()).cut_after(20));
    assert!(matches!(error, Error::Cut { .. }), "{error}");
}

#[test]
fn wrong_content_types() {
    let error =
        refused(1, |_| Reply::ok("<html>Log in first").header("Content-Type", "text/html; charset=x"));
    assert!(error.to_string().contains("text/html"), "{error}");
    let error = refused(1, |_| Reply::ok(manifest()).header("Content-Type", media_type::OCI_INDEX));
    assert!(
        matches!(&error, Error::Malformed { reason, .. } if reason.contains("says that it is")),
        "{error}"
    );
    let error = refused(1, |_| Reply::ok("\u{1}\u{2}"));
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    // What nobody asked for may hide anything.
    let error = refused(1, |_| served(manifest()).header("Content-Encoding", "gzip"));
    assert!(
        matches!(&error, Error::Malformed { reason, .. } if reason.contains("encoded (gzip)")),
        "{error}"
    );
}

#[test]
fn wrong_digests() {
    let other = Digest::sha256(b"other");
    let said = other.to_string();
    let error = refused(1, move |_| served(manifest()).header("Docker-Content-Digest", said.clone()));
    assert!(matches!(&error, Error::Digest { expected, .. } if *expected == other), "{error}");

    let server = Fault::start(|_| served(manifest()));
    let repository = repository(&server.host());
    let error = repository.manifest(other.as_str()).unwrap_err();
    assert!(matches!(&error, Error::Digest { expected, found, .. }
        if *expected == other && *found == Digest::sha256(&manifest())));
    // By sha512 too.
    let wide = format!("sha512:{}", "0".repeat(128));
    assert!(matches!(repository.manifest(&wide), Err(Error::Digest { .. })));

    let server = Fault::start(|_| Reply::ok("wrong"));
    let error = crate::support::repository(&server.host()).small_blob(&layer(b"right"), 10).unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");
    assert!(error.to_string().contains(&server.host()) && error.to_string().contains("a/b"), "{error}");
}

#[test]
fn slow_loris() {
    let tick = Duration::from_millis(5);
    let stalls = |blob: bool, reply: Reply| {
        let mut options = options();
        (options.stall, options.retry.attempts) = (Duration::from_millis(150), 2);
        let server = Fault::start(move |_| reply.clone());
        let repository = repository_with(&server.host(), options);
        let error = match blob {
            true => read(&repository, &layer(&bytes(1 << 20))).unwrap_err(),
            false => repository.manifest("latest").unwrap_err(),
        };
        assert!(matches!(error, Error::Stalled { .. }), "{error}");
        assert!(error.to_string().contains("a/b"), "{error}");
        assert!(server.seen().len() <= 2);
    };
    // Byte by byte, each within the stall limit: headers, a document, chunk sizes, a blob.
    stalls(false, served(manifest()).head_trickle(tick));
    stalls(false, served(manifest()).trickle(1, tick));
    stalls(true, Reply::ok(bytes(1 << 20)).trickle(1, tick));
    stalls(true, Reply::ok(bytes(1 << 20)).chunked().trickle(1, tick));
    // Silence: before the answer, and within it.
    stalls(false, served(manifest()).delay(Duration::from_secs(1)));
    stalls(false, served(manifest()).stall_after(10));
    stalls(true, Reply::ok(bytes(1 << 20)).stall_after(10));
}

#[test]
fn a_slow_line_is_no_loris() {
    let blob = bytes(600_000);
    let script = blob.clone();
    let server = Fault::start(move |_| Reply::ok(script.clone()).trickle(30_000, Duration::from_millis(60)));
    let mut options = options();
    options.stall = Duration::from_secs(1);
    assert_eq!(read(&repository_with(&server.host(), options), &layer(&blob)).unwrap(), blob);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn ill_behaved_ranges() {
    let blob = bytes(1_000_000);
    let check = |reply: fn(&[u8], &Seen) -> Reply| {
        let script = blob.clone();
        let server = Fault::start(move |seen| match seen.range() {
            None => Reply::ok(script.clone()).cut_after(300_000),
            Some(_) => reply(&script, seen),
        });
        let result = read(&repository(&server.host()), &layer(&blob));
        (result, server.seen().len())
    };
    // Another part than was asked for.
    let (result, requests) =
        check(|b, _| Reply::new(206).body(&b[5..]).header("Content-Range", "bytes 5-999999/1000000"));
    assert!(matches!(result, Err(Error::Malformed { .. })), "{result:?}");
    assert_eq!(requests, 2);
    let (result, _) = check(|b, seen| Reply::new(206).body(&b[seen.range().unwrap()..]));
    assert!(matches!(result, Err(Error::Malformed { .. })), "{result:?}");
    // Of another whole.
    let (result, _) = check(|b, seen| {
        let from = seen.range().unwrap();
        Reply::new(206).body(&b[from..]).header("Content-Range", format!("bytes {from}-999999/1000001"))
    });
    assert!(matches!(result, Err(Error::Size { .. })), "{result:?}");
    let (result, _) = check(|_, _| Reply::new(416));
    assert!(matches!(result, Err(Error::Size { .. })), "{result:?}");
    // Ignored: what is known is skipped.
    let (result, requests) = check(|b, _| Reply::ok(b));
    assert_eq!((result.unwrap() == blob, requests), (true, 2));
    // Ignored and cut at the same place for ever.
    let (result, requests) = check(|b, _| Reply::ok(b).cut_after(300_000));
    assert!(matches!(result, Err(Error::Cut { .. } | Error::Size { .. })), "{result:?}");
    assert!(requests <= 6, "{requests}");
}

#[test]
fn lists_without_end() {
    let tags = |script: fn(&Seen) -> Reply| {
        let server = Fault::start(script);
        let tags: Vec<Result<String, Error>> = repository(&server.host()).tags().collect();
        (tags, server.seen().len())
    };
    let (list, requests) =
        tags(|_| Reply::ok(r#"{"tags":["x"]}"#).header("Link", r#"</v2/a/b/tags/list?last=x>; rel="next""#));
    assert!(matches!(list.last(), Some(Err(Error::Malformed { reason, .. })) if reason.contains("circle")));
    assert_eq!(requests, 2);
    let (list, requests) =
        tags(|_| Reply::ok(r#"{"tags":["x"]}"#).header("Link", "<http://127.0.0.1:1/>; rel=next"));
    assert!(matches!(list.last(), Some(Err(Error::Malformed { .. }))), "{list:?}");
    assert_eq!(requests, 1);
    let (list, requests) = tags(|seen| {
        let link = format!("</v2/a/b/tags/list?last={}>; rel=next", seen.number);
        Reply::ok(r#"{"tags":[]}"#).header("Link", link)
    });
    assert!(
        matches!(list.as_slice(), [Err(Error::Malformed { reason, .. })] if reason.contains("2000 pages"))
    );
    assert_eq!(requests, 2_001);
    let (list, _) = tags(|_| Reply::ok(vec![b' '; 1 << 16]).endless());
    assert!(matches!(list.as_slice(), [Err(Error::Malformed { .. })]), "{list:?}");
    let (list, _) = tags(|_| Reply::ok(r#"{"tags":["ok","\u001b[31mred"]}"#));
    assert!(matches!(list.as_slice(), [Err(Error::Malformed { .. })]), "{list:?}");
}

#[test]
fn pages() {
    let server = Fault::start(|seen| match seen.path.as_str() {
        "/v2/a/b/tags/list?n=1000" => {
            Reply::ok(r#"{"tags":["a","b"]}"#).header("Link", r#"<list?n=1000&last=b>; rel="next""#)
        }
        "/v2/a/b/tags/list?n=1000&last=b" => Reply::ok(r#"{"tags":["c"]}"#),
        _ => Reply::new(404),
    });
    let tags: Vec<String> = repository(&server.host()).tags().map(Result::unwrap).collect();
    assert_eq!(tags, ["a", "b", "c"]);
}

#[test]
fn what_was_refused_is_told_apart() {
    let error = refused(1, |_| Reply::error(404, "NAME_UNKNOWN", "no such repository"));
    assert!(matches!(&error, Error::NoRepository { repository, .. } if repository == "a/b"), "{error}");
    let error = refused(1, |_| Reply::error(404, "MANIFEST_UNKNOWN", "no such tag"));
    assert!(matches!(&error, Error::NoManifest { name, .. } if name == "latest"), "{error}");
    let error = refused(1, |_| Reply::error(403, "DENIED", "not yours"));
    assert!(
        matches!(&error, Error::Denied { message, logged_in: false, .. } if message == "not yours"),
        "{error}"
    );
    let error = refused(1, |_| Reply::error(418, "X", "\\u001b[2Jteapot"));
    assert_eq!(error.to_string().matches('\u{1b}').count(), 0, "{error}");
    // Nobody there, and nobody who speaks the language.
    let error = repository("127.0.0.1:1").manifest("latest").unwrap_err();
    assert!(matches!(&error, Error::Unreachable { reason, .. } if reason == "connection refused"), "{error}");
    let error = repository("no-such-host.invalid").manifest("latest").unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    let error = refused(4, |_| Reply::none());
    assert!(matches!(error, Error::Cut { .. }), "{error}");
}

#[test]
fn failures_that_pass() {
    for failure in [
        Reply::new(500),
        Reply::new(503).header("Retry-After", "0"),
        Reply::new(429),
        Reply::new(429).header("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT"),
        Reply::none(),
    ] {
        let server = Fault::start(move |seen| match seen.number {
            0 | 1 => failure.clone(),
            _ => served(manifest()),
        });
        let found = repository(&server.host()).manifest("latest").unwrap();
        assert_eq!(found.digest, Digest::sha256(&manifest()));
        assert_eq!(server.lines(), [MANIFEST, MANIFEST, MANIFEST]);
    }
}

#[test]
fn waits_that_are_asked_for() {
    let server = Fault::start(|seen| match seen.number {
        0 => Reply::new(429).header("Retry-After", "1"),
        _ => served(manifest()),
    });
    let started = Instant::now();
    repository(&server.host()).manifest("latest").unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
    // Nobody waits for an hour.
    let error = refused(1, |_| {
        let reply = Reply::error(429, "TOOMANYREQUESTS", "slow down");
        reply.header("Retry-After", "3600")
    });
    assert!(matches!(error, Error::TooManyRequests { wait: Some(wait), .. } if wait.as_secs() == 3600));
    // What fails for ever is given up.
    let error = refused(options().retry.attempts as usize, |_| Reply::new(502));
    assert!(matches!(error, Error::Status { status: 502, .. }), "{error}");
    // What will not pass is not tried again.
    for status in [400, 404, 405, 501] {
        refused(1, move |_| Reply::new(status));
    }
}

#[test]
fn a_connection_cut_after_every_megabyte() {
    let blob = bytes(10 << 20);
    let script = blob.clone();
    let server = Fault::start(move |seen| Reply::part(&script, seen).cut_after(1 << 20));
    // One attempt in a row is enough, as each makes progress; and none waits.
    let mut options = options();
    options.retry.attempts = 1;
    options.retry.base = Duration::from_secs(60);
    assert_eq!(read(&repository_with(&server.host(), options), &layer(&blob)).unwrap(), blob);
    assert_eq!(server.seen().len(), 10);
}

#[test]
fn failures_within_a_blob() {
    let blob = bytes(2 << 20);
    let script = blob.clone();
    // Cut, then a 500, then a stall, then too many requests.
    let server = Fault::start(move |seen| match seen.number {
        0 => Reply::part(&script, seen).cut_after(500_000),
        1 => Reply::new(500),
        2 => Reply::part(&script, seen).stall_after(400_000),
        3 => Reply::new(429).header("Retry-After", "0"),
        _ => Reply::part(&script, seen),
    });
    assert_eq!(read(&repository(&server.host()), &layer(&blob)).unwrap(), blob);
    let ranges: Vec<_> = server.seen().iter().map(Seen::range).collect();
    assert_eq!(ranges, [None, Some(500_000), Some(500_000), Some(900_000), Some(900_000)]);
}

#[test]
fn connections_are_kept() {
    let blob = bytes(100_000);
    let script = blob.clone();
    let server = Fault::start(move |seen| match seen.line().contains("/manifests/") {
        true => Reply::error(404, "MANIFEST_UNKNOWN", "no"),
        false => Reply::ok(script.clone()),
    });
    let repository = repository(&server.host());
    for _ in 0..5 {
        assert_eq!(read(&repository, &layer(&blob)).unwrap(), blob);
        assert!(repository.manifest("x").is_err());
    }
    // One that tries TLS, and one for all the rest.
    assert_eq!(server.connections(), 2);
}
