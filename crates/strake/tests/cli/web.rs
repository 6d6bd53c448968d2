//! A web server on loopback whose answers are a function of the request, and that remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// Path and query.
    pub target: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }
}

/// What is answered.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

pub enum Body {
    /// With its length.
    Whole(Vec<u8>),
    /// Cut off after these bytes, of which twice as many were said.
    Cut(Vec<u8>),
    /// Without end.
    Endless,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        Answer { status, headers: Vec::new(), body: Body::Whole(body.into()) }
    }

    pub fn header(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A server that lives as long as the test's process.
pub struct Web {
    pub address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Web {
    pub fn serve(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (answer, remembered) = (Arc::new(answer), asked.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, remembered) = (answer.clone(), remembered.clone());
                thread::spawn(move || while converse(&stream, &*answer, &remembered).unwrap_or(false) {});
            }
        });
        Web { address, asked }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What was asked since the last call, as `GET /path`.
    pub fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap();
        asked.drain(..).map(|asked| format!("{} {}", asked.method, asked.target)).collect()
    }

    /// The requests since the last call.
    pub fn requests(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().drain(..).collect()
    }
}

/// One request and its answer; whether the connection goes on.
fn converse(
    mut stream: &TcpStream,
    answer: &dyn Fn(&Asked) -> Answer,
    remembered: &Mutex<Vec<Asked>>,
) -> std::io::Result<bool> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(false);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut asked = Asked { method, target, headers: Vec::new(), body: Vec::new() };
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        asked.headers.push((name.to_owned(), value.trim().to_owned()));
    }
    if asked.header("transfer-encoding").is_some() {
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let length = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
            let mut chunk = vec![0; length + 2];
            reader.read_exact(&mut chunk)?;
            if length == 0 {
                break;
            }
            asked.body.extend_from_slice(&chunk[..length]);
        }
    } else if let Some(length) = asked.header("content-length").and_then(|length| length.parse().ok()) {
        asked.body = vec![0; length];
        reader.read_exact(&mut asked.body)?;
    }
    remembered.lock().unwrap().push(asked.clone());
    let Answer { status, headers, body } = answer(&asked);
    let length = match &body {
        Body::Whole(bytes) => Some(bytes.len()),
        Body::Cut(bytes) => Some(2 * bytes.len()),
        Body::Endless => None,
    };
    let mut head = format!("HTTP/1.1 {status} X\r\n");
    for (name, value) in &headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match length {
        Some(_) if status == 304 => {}
        Some(length) => head.push_str(&format!("Content-Length: {length}\r\n")),
        None => head.push_str("Connection: close\r\n"),
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if asked.method == "HEAD" || status == 304 {
        return Ok(true);
    }
    match body {
        Body::Whole(bytes) => stream.write_all(&bytes)?,
        Body::Cut(bytes) => {
            stream.write_all(&bytes)?;
            return Ok(false);
        }
        Body::Endless => loop {
            stream.write_all(&[b'x'; 1 << 16])?;
        },
    }
    Ok(true)
}
