//! A registry that serves what it is given, well or badly, on a port of its own, and remembers what it was asked for.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What is sent for a path.
#[derive(Clone)]
pub struct Page {
    pub kind: String,
    pub body: Vec<u8>,
    /// Bytes that are kept back, though they are said to come.
    pub cut: usize,
    /// Where the body stops until the registry is told to go on.
    pub hold: Option<usize>,
}

impl Page {
    pub fn new(kind: &str, body: impl Into<Vec<u8>>) -> Page {
        Page { kind: kind.to_owned(), body: body.into(), cut: 0, hold: None }
    }
}

/// A registry.
#[derive(Clone)]
pub struct Registry {
    pub address: String,
    pub pages: Arc<Mutex<HashMap<String, Page>>>,
    /// `GET /path`, with ` FROM-` where a range was asked for.
    pub asked: Arc<Mutex<Vec<String>>>,
    held: Arc<(Mutex<Held>, Condvar)>,
}

#[derive(Default)]
struct Held {
    /// Responses that stand still.
    waiting: usize,
    released: bool,
}

impl Registry {
    pub fn new() -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let registry =
            Registry { address, pages: Arc::default(), asked: Arc::default(), held: Arc::default() };
        let serving = registry.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let registry = serving.clone();
                std::thread::spawn(move || registry.answer(stream));
            }
        });
        registry
    }

    fn answer(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut first = String::new();
        // A greeting by TLS is no line of text.
        if reader.read_line(&mut first).is_err() {
            return;
        }
        let mut line = String::new();
        let mut from = 0;
        while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
            if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                from = range.trim_end().trim_end_matches('-').parse().unwrap();
            }
            line.clear();
        }
        let (Some(method), Some(path)) = (first.split(' ').next(), first.split(' ').nth(1)) else { return };
        let range = if from > 0 { format!(" {from}-") } else { String::new() };
        self.asked.lock().unwrap().push(format!("{method} {path}{range}"));
        let plain = path.split('?').next().unwrap_or(path);
        let page = self.pages.lock().unwrap().get(plain).cloned();
        // Who asked may have gone.
        let _ = match page {
            Some(page) => self.send(&stream, &page, from, method == "HEAD"),
            None => (&stream)
                .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        };
    }

    fn send(&self, mut stream: &TcpStream, page: &Page, from: usize, head: bool) -> std::io::Result<()> {
        let whole = page.body.len();
        let status = match from {
            0 => "200 OK".to_owned(),
            _ => format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{whole}", whole - 1),
        };
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: {}\r\nContent-Length: {}\r\nDocker-Content-Digest: {}\r\n\
             Connection: close\r\n\r\n",
            page.kind,
            whole - from,
            digest(&page.body),
        )?;
        if head {
            return Ok(());
        }
        let end = whole - page.cut;
        let pause = page.hold.filter(|hold| (from..end).contains(hold));
        stream.write_all(&page.body[from..pause.unwrap_or(end)])?;
        if let Some(pause) = pause {
            self.wait();
            stream.write_all(&page.body[pause..end])?;
        }
        Ok(())
    }

    fn wait(&self) {
        let (held, changed) = &*self.held;
        let mut state = held.lock().unwrap();
        state.waiting += 1;
        changed.notify_all();
        while !state.released {
            state = changed.wait(state).unwrap();
        }
    }

    /// Waits until that many responses stand still.
    pub fn until_held(&self, count: usize) {
        let (held, changed) = &*self.held;
        let mut state = held.lock().unwrap();
        while state.waiting < count {
            let (next, timeout) = changed.wait_timeout(state, Duration::from_secs(20)).unwrap();
            assert!(!timeout.timed_out(), "nothing was asked for");
            state = next;
        }
    }

    /// Lets go on what stands still, and all that comes.
    pub fn release(&self) {
        let (held, changed) = &*self.held;
        held.lock().unwrap().released = true;
        changed.notify_all();
    }

    pub fn put(&self, path: &str, kind: &str, body: impl Into<Vec<u8>>) -> Value {
        let page = Page::new(kind, body);
        let described = json!({ "mediaType": kind, "digest": digest(&page.body), "size": page.body.len() });
        self.pages.lock().unwrap().insert(path.to_owned(), page);
        described
    }

    pub fn blob(&self, kind: &str, body: &[u8]) -> Value {
        self.put(&blob_path(body), kind, body)
    }

    /// Changes how the blob is served.
    pub fn spoil(&self, blob: &[u8], change: impl FnOnce(&mut Page)) {
        change(self.pages.lock().unwrap().get_mut(&blob_path(blob)).unwrap());
    }

    /// An image of `layer` that says hello to its architecture; its manifest's descriptor.
    pub fn image(&self, architecture: &str, layer: &[u8]) -> Value {
        let config = json!({ "Cmd": ["/bin/busybox", "echo", architecture] });
        self.image_of(architecture, config, &[digest(layer)], &[self.blob(LAYER, layer)])
    }

    /// An image of plain layers for this machine.
    pub fn image_of_layers(&self, layers: &[&[u8]]) -> Value {
        let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
        let blobs: Vec<Value> = layers.iter().map(|layer| self.blob(LAYER, layer)).collect();
        self.image_of(&oci::Platform::host().architecture, json!({}), &diff_ids, &blobs)
    }

    /// An image of these layers, whose blobs are described.
    pub fn image_of(
        &self,
        architecture: &str,
        config: Value,
        diff_ids: &[String],
        layers: &[Value],
    ) -> Value {
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        })
        .to_string();
        let config = self.blob(CONFIG, config.as_bytes());
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers })
                .to_string();
        self.put(&format!("/v2/app/manifests/{}", digest(manifest.as_bytes())), MANIFEST, manifest)
    }

    pub fn tag(&self, tag: &str, described: &Value) {
        let mut pages = self.pages.lock().unwrap();
        let page = pages[&format!("/v2/app/manifests/{}", described["digest"].as_str().unwrap())].clone();
        pages.insert(format!("/v2/app/manifests/{tag}"), page);
    }

    pub fn name(&self, rest: &str) -> String {
        format!("{}/app{rest}", self.address)
    }

    /// What was asked for since the last time, sorted; `GET /v2/` and what else a client asks of the registry as a
    /// whole apart.
    pub fn asked(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.retain(|line| line.contains("/v2/app/"));
        asked.sort();
        asked
    }
}

pub fn digest(bytes: &[u8]) -> String {
    oci::Digest::sha256(bytes).to_string()
}

pub fn blob_path(body: &[u8]) -> String {
    format!("/v2/app/blobs/{}", digest(body))
}

/// A layer's tar.
#[derive(Default)]
pub struct Tar(Vec<u8>);

impl Tar {
    pub fn new() -> Tar {
        Tar::default()
    }

    fn entry(mut self, kind: tar::EntryType, path: &str, link: Option<&str>, content: &[u8]) -> Tar {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind == tar::EntryType::Directory { 0o755 } else { 0o644 });
        header.set_size(content.len() as u64);
        header.set_mtime(1_000_000_000);
        header.set_path(path).unwrap();
        if let Some(link) = link {
            header.set_link_name(link).unwrap();
        }
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Tar {
        self.entry(tar::EntryType::Regular, path, None, content.as_ref())
    }

    pub fn directory(self, path: &str) -> Tar {
        self.entry(tar::EntryType::Directory, path, None, b"")
    }

    pub fn hard_link(self, path: &str, to: &str) -> Tar {
        self.entry(tar::EntryType::Link, path, Some(to), b"")
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// Bytes that do not compress, different for each `seed`.
pub fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}
