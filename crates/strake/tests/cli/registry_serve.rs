//! `registry serve`: how it starts, refuses and ends. What it says on the wire is tested in `crates/server`.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::TestStore;
use crate::served::Served;

/// The answer to a request without a body, as text.
fn ask(address: &str, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn starts_answers_and_ends() {
    let mut served = Served::start();
    let answer = ask(served.address(), "GET", "/v2/");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let begun = ask(served.address(), "POST", "/v2/a/blobs/uploads/");
    assert!(begun.starts_with("HTTP/1.1 202 Accepted"), "{begun}");
    assert_eq!(served.interrupt(), Some(0));
    // The upload is the store's, not the server's.
    let again = Served::start_on(std::mem::replace(&mut served.store, TestStore::new()), &[]);
    let location = begun.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
    let there = ask(again.address(), "GET", location);
    assert!(there.starts_with("HTTP/1.1 204 No Content"), "{there}");
}

#[test]
fn refuses_to_be_open_to_all() {
    let store = TestStore::new();
    let error = store.fails(1, &["registry", "serve", "--addr", "0.0.0.0:0"]);
    assert!(error.contains("there are no accounts"), "{error}");
    assert!(error.contains("--htpasswd FILE") && error.contains("--allow-anonymous"), "{error}");
    for (args, expected) in
        [(["--addr", "nowhere"], "there is no port"), (["--htpasswd", "/none"], "htpasswd file /none")]
    {
        let error = store.fails(1, &["registry", "serve", args[0], args[1]]);
        assert!(error.contains(expected), "{error}");
    }
    let mut taken = Served::start();
    let error = store.fails(1, &["registry", "serve", "--addr", taken.address()]);
    assert!(error.contains("cannot listen on"), "{error}");
    assert_eq!(taken.interrupt(), Some(0));
}
