//! A server of S3's protocol for tests: one bucket in memory, for whoever signs by the right key.
//!
//! What is signed is worked out here from the words of AWS Signature Version 4, and not by the library that signs.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use ring::{digest, hmac};

pub const KEY: &str = "AKIATEST";
pub const SECRET: &str = "a/secret+key=";
pub const BUCKET: &str = "cache";
pub const REGION: &str = "test-1";

/// The server; its objects and what was asked of it.
#[derive(Clone)]
pub struct S3 {
    address: String,
    pub objects: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl S3 {
    pub fn start() -> S3 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let s3 = S3 { address, objects: Arc::default(), asked: Arc::default() };
        let serving = s3.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let s3 = serving.clone();
                std::thread::spawn(move || s3.serve(&stream));
            }
        });
        s3
    }

    /// The options of a cache there, without its key.
    pub fn cache(&self) -> String {
        format!(
            "type=s3,bucket={BUCKET},region={REGION},endpoint_url=http://{},use_path_style=true",
            self.address
        )
    }

    /// `METHOD key` of what was asked since the last call, sorted.
    pub fn asked(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.sort();
        asked
    }

    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some((first, headers)) = head(&mut reader) {
            let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let words: Vec<&str> = first.split(' ').collect();
            let [method, target, _] = words.as_slice() else { return };
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let (status, answer) = match refusal(method, path, query, &headers["host"]) {
                Some(code) => (403, format!("<Error><Code>{code}</Code></Error>").into_bytes()),
                None => self.answer(method, path, headers.get("range"), body),
            };
            let said = answer.len();
            let mut out = format!("HTTP/1.1 {status} X\r\nContent-Length: {said}\r\n\r\n").into_bytes();
            if *method != "HEAD" {
                out.extend(answer);
            }
            let mut stream = stream;
            if stream.write_all(&out).is_err() {
                return;
            }
        }
    }

    fn answer(&self, method: &str, path: &str, range: Option<&String>, body: Vec<u8>) -> (u16, Vec<u8>) {
        let Some(key) = path.strip_prefix(&format!("/{BUCKET}/")) else {
            return (404, b"<Error><Code>NoSuchBucket</Code></Error>".to_vec());
        };
        let key = key.replace("%3A", ":");
        self.asked.lock().unwrap().push(format!("{method} {key}"));
        let mut objects = self.objects.lock().unwrap();
        if method == "PUT" {
            objects.insert(key, body);
            return (200, Vec::new());
        }
        let Some(object) = objects.get(&key) else {
            return (404, b"<Error><Code>NoSuchKey</Code></Error>".to_vec());
        };
        match range {
            Some(range) => {
                let from = range.strip_prefix("bytes=").unwrap().trim_end_matches('-').parse::<usize>();
                (206, object[from.unwrap()..].to_vec())
            }
            None => (200, object.clone()),
        }
    }
}

fn head(reader: &mut BufReader<TcpStream>) -> Option<(String, BTreeMap<String, String>)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let first = lines.remove(0);
    let headers = lines.iter().filter_map(|line| line.split_once(": "));
    Some((first, headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect()))
}

/// The code of the refusal of a request that is not signed as it has to be ("Authenticating Requests: Using Query
/// Parameters").
fn refusal(method: &str, path: &str, query: &str, host: &str) -> Option<&'static str> {
    let pairs: BTreeMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let Some(signature) = pairs.get("X-Amz-Signature") else { return Some("AccessDenied") };
    let scope = format!("{}%2F{REGION}%2Fs3%2Faws4_request", &pairs["X-Amz-Date"][..8]);
    if pairs["X-Amz-Credential"] != format!("{KEY}%2F{scope}") {
        return Some("InvalidAccessKeyId");
    }
    assert_eq!((pairs["X-Amz-Algorithm"], pairs["X-Amz-SignedHeaders"]), ("AWS4-HMAC-SHA256", "host"));
    let signed: Vec<String> = pairs
        .iter()
        .filter(|(name, _)| **name != "X-Amz-Signature")
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let canonical = format!("{method}\n{path}\n{}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD", signed.join("&"));
    let canonical = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let scope = scope.replace("%2F", "/");
    let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{canonical}", pairs["X-Amz-Date"]);
    let mac = |key: &[u8], text: &str| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
    };
    let key = scope.split('/').fold(format!("AWS4{SECRET}").into_bytes(), |key, part| mac(&key, part));
    (hex(&mac(&key, &text)) != *signature).then_some("SignatureDoesNotMatch")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
