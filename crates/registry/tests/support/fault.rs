//! A scripted HTTP server that does what no server should: cuts, stalls, trickles, lies about lengths,
//! never ends. For tests of this crate and of those above it; the standard library is all it needs.
//!
//! A script is a function from a request to a [`Reply`]. One thread a connection; everything ends with
//! the [`Fault`].
#![allow(dead_code, reason = "each test uses some of it")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    /// Path with query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the body ended before it was whole, because this server cut it.
    pub cut: bool,
    /// How many requests came before it.
    pub number: usize,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The first byte of a `Range: bytes=N-`.
    pub fn range(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }

    /// `METHOD path` without the query.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path.split('?').next().unwrap_or_default())
    }
}

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Said(u64),
    Chunked,
    UntilClosed,
}

/// What is sent back.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    length: Option<Length>,
    cut_after: Option<usize>,
    stall_after: Option<usize>,
    trickle: Option<(usize, Duration)>,
    head_trickle: Option<Duration>,
    endless: bool,
    extra: Vec<u8>,
    delay: Duration,
    silent: bool,
}

impl Reply {
    pub fn new(status: u16) -> Reply {
        Reply {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            length: None,
            cut_after: None,
            stall_after: None,
            trickle: None,
            head_trickle: None,
            endless: false,
            extra: Vec::new(),
            delay: Duration::ZERO,
            silent: false,
        }
    }

    pub fn ok(body: impl Into<Vec<u8>>) -> Reply {
        Reply { body: body.into(), ..Reply::new(200) }
    }

    /// The part of `whole` that the request asks for, as a server does that knows `Range`.
    pub fn part(whole: &[u8], request: &Seen) -> Reply {
        match request.range() {
            None => Reply::ok(whole),
            Some(from) if from >= whole.len() => Reply::new(416),
            Some(from) => Reply { body: whole[from..].to_vec(), ..Reply::new(206) }
                .header("Content-Range", format!("bytes {from}-{}/{}", whole.len() - 1, whole.len())),
        }
    }

    /// An error as registries send it.
    pub fn error(status: u16, code: &str, message: &str) -> Reply {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
        Reply { body: body.into_bytes(), ..Reply::new(status) }.header("Content-Type", "application/json")
    }

    pub fn redirect(status: u16, location: impl Into<String>) -> Reply {
        Reply::new(status).header("Location", location)
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Reply {
        self.body = body.into();
        self
    }

    /// `Content-Length` says so, whatever the body is.
    pub fn said_length(mut self, length: u64) -> Reply {
        self.length = Some(Length::Said(length));
        self
    }

    pub fn chunked(mut self) -> Reply {
        self.length = Some(Length::Chunked);
        self
    }

    pub fn until_closed(mut self) -> Reply {
        self.length = Some(Length::UntilClosed);
        self
    }

    /// The connection ends after so many bytes of the body.
    pub fn cut_after(mut self, bytes: usize) -> Reply {
        self.cut_after = Some(bytes);
        self
    }

    /// Nothing more comes after so many bytes of the body, and the connection stays.
    pub fn stall_after(mut self, bytes: usize) -> Reply {
        self.stall_after = Some(bytes);
        self
    }

    /// The body comes in pieces of so many bytes, with pauses.
    pub fn trickle(mut self, bytes: usize, pause: Duration) -> Reply {
        self.trickle = Some((bytes, pause));
        self
    }

    /// The head comes byte by byte, with pauses.
    pub fn head_trickle(mut self, pause: Duration) -> Reply {
        self.head_trickle = Some(pause);
        self
    }

    /// The body is sent again and again until nobody reads it.
    pub fn endless(mut self) -> Reply {
        self.endless = true;
        if self.length.is_none() {
            self.length = Some(Length::Chunked);
        }
        self
    }

    /// Bytes after the body, on the same connection.
    pub fn extra(mut self, bytes: impl Into<Vec<u8>>) -> Reply {
        self.extra = bytes.into();
        self
    }

    /// Time before the first byte.
    pub fn delay(mut self, delay: Duration) -> Reply {
        self.delay = delay;
        self
    }

    /// The connection ends without an answer.
    pub fn none() -> Reply {
        Reply { silent: true, ..Reply::new(0) }
    }
}

type Script = dyn Fn(&Seen) -> Reply + Send + Sync;

/// A running server. Dropped, it takes no more connections, and those there are end.
pub struct Fault {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    stopped: Arc<AtomicBool>,
}

struct Shared {
    script: Box<Script>,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    stopped: Arc<AtomicBool>,
    uploads_cut_after: Option<usize>,
}

impl Fault {
    /// Answers each request by the script.
    pub fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Fault {
        Fault::start_cutting(None, script)
    }

    /// Besides, cuts each request after so many bytes of its body. The script is told of those too; what it
    /// replies is not sent.
    pub fn start_cutting(
        uploads_cut_after: Option<usize>,
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Fault {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, connections, stopped) = (Arc::default(), Arc::default(), Arc::new(AtomicBool::new(false)));
        let shared = Arc::new(Shared {
            script: Box::new(script),
            seen: Arc::clone(&seen),
            connections: Arc::clone(&connections),
            stopped: Arc::clone(&stopped),
            uploads_cut_after,
        });
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                if shared.stopped.load(Ordering::SeqCst) {
                    break;
                }
                shared.connections.lock().unwrap().push(stream.try_clone().unwrap());
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let _ = serve(&stream, &shared);
                    let _ = stream.shutdown(std::net::Shutdown::Both);
                });
            }
        });
        Fault { address, seen, connections, stopped }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The requests that came so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Their methods and paths.
    pub fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }

    /// Connections that were made so far; TLS that is tried first counts.
    pub fn connections(&self) -> usize {
        self.connections.lock().unwrap().len()
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        for connection in self.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    // Who speaks TLS is told at once that this does not.
    if reader.fill_buf()?.first() == Some(&0x16) {
        return (&*stream).write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
    }
    while let Some(seen) = read_request(&mut reader, shared)? {
        let reply = (shared.script)(&seen);
        let head = seen.method == "HEAD";
        let cut = seen.cut;
        if cut || !send(stream, &reply, head, shared)? {
            break;
        }
    }
    Ok(())
}

fn read_request(reader: &mut BufReader<&TcpStream>, shared: &Shared) -> io::Result<Option<Seen>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_ascii_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let path = words.next().unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(n, _)| n == "content-length").and_then(|(_, v)| v.parse().ok());
    let length: usize = length.unwrap_or(0);
    let taken = shared.uploads_cut_after.map_or(length, |most| most.min(length));
    let mut body = vec![0; taken];
    reader.read_exact(&mut body)?;
    let mut all = shared.seen.lock().unwrap();
    let seen = Seen { method, path, headers, body, cut: taken < length, number: all.len() };
    all.push(seen.clone());
    Ok(Some(seen))
}

/// Whether the connection can be used again.
fn send(mut stream: &TcpStream, reply: &Reply, head_only: bool, shared: &Shared) -> io::Result<bool> {
    thread::sleep(reply.delay);
    if reply.silent {
        return Ok(false);
    }
    let length = reply.length.unwrap_or(Length::Said(reply.body.len() as u64));
    let mut head = format!("HTTP/1.1 {} Scripted\r\n", reply.status);
    match length {
        Length::Said(length) => head.push_str(&format!("Content-Length: {length}\r\n")),
        Length::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
        Length::UntilClosed => head.push_str("Connection: close\r\n"),
    }
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    match reply.head_trickle {
        None => stream.write_all(head.as_bytes())?,
        Some(pause) => {
            for byte in head.bytes() {
                stream.write_all(&[byte])?;
                thread::sleep(pause);
            }
        }
    }
    if head_only {
        return Ok(true);
    }
    let mut sent = 0;
    let piece = reply.trickle.map_or(64 << 10, |(bytes, _)| bytes).max(1);
    loop {
        for piece in reply.body.chunks(piece) {
            let limit = reply.cut_after.or(reply.stall_after).map_or(piece.len(), |most| most - sent);
            let piece = &piece[..piece.len().min(limit)];
            match length {
                Length::Chunked if !piece.is_empty() => {
                    stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
                    stream.write_all(piece)?;
                    stream.write_all(b"\r\n")?;
                }
                _ => stream.write_all(piece)?,
            }
            sent += piece.len();
            if reply.cut_after == Some(sent) {
                return Ok(false);
            }
            if reply.stall_after == Some(sent) {
                while !shared.stopped.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(10));
                }
                return Ok(false);
            }
            if let Some((_, pause)) = reply.trickle {
                thread::sleep(pause);
            }
        }
        if !reply.endless {
            break;
        }
    }
    if length == Length::Chunked {
        stream.write_all(b"0\r\n\r\n")?;
    }
    stream.write_all(&reply.extra)?;
    Ok(length != Length::UntilClosed)
}
