//! A wire between client and server that breaks: a forwarder of TCP connections that cuts each after so
//! many bytes, or that plays a proxy (`CONNECT`) and leads every tunnel to one place.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A running forwarder. It ends with the process.
pub struct Wire {
    address: SocketAddr,
    tunnels: Arc<Mutex<Vec<String>>>,
}

/// What it does to connections.
#[derive(Debug, Clone, Copy)]
pub enum Manner {
    /// Ends those of the first few that carried so many bytes to the server.
    CutUpwards { bytes: u64, connections: usize },
    /// Ends those that carried so many bytes to the client.
    CutDownwards(u64),
    /// A proxy.
    Proxy,
}

impl Wire {
    pub fn start(target: &str, manner: Manner) -> Wire {
        let target: SocketAddr = target.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let tunnels: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&tunnels);
        thread::spawn(move || {
            for (number, client) in listener.incoming().flatten().enumerate() {
                let manner = match manner {
                    Manner::CutUpwards { connections, .. } if number >= connections => {
                        Manner::CutDownwards(u64::MAX)
                    }
                    manner => manner,
                };
                let seen = Arc::clone(&seen);
                thread::spawn(move || carry(client, target, manner, &seen));
            }
        });
        Wire { address, tunnels }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// What a proxy was asked for, as `host:port`.
    pub fn tunnels(&self) -> Vec<String> {
        self.tunnels.lock().unwrap().clone()
    }
}

fn carry(
    mut client: TcpStream,
    target: SocketAddr,
    manner: Manner,
    tunnels: &Mutex<Vec<String>>,
) -> io::Result<()> {
    if let Manner::Proxy = manner {
        let mut head = BufReader::with_capacity(1, client.try_clone()?);
        let mut line = String::new();
        head.read_line(&mut line)?;
        let mut rest = String::from("x");
        while !rest.trim().is_empty() {
            rest.clear();
            head.read_line(&mut rest)?;
        }
        tunnels.lock().unwrap().push(line.split(' ').nth(1).unwrap_or_default().to_owned());
        client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
    }
    let server = TcpStream::connect(target)?;
    let (up, down) = match manner {
        Manner::CutUpwards { bytes, .. } => (bytes, u64::MAX),
        Manner::CutDownwards(bytes) => (u64::MAX, bytes),
        Manner::Proxy => (u64::MAX, u64::MAX),
    };
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    let upwards = thread::spawn(move || pump(&mut from, &mut to, up));
    pump(&mut server.try_clone()?, &mut client, down);
    let _ = upwards.join();
    Ok(())
}

/// Copies until the end, or so many bytes; then both sides end.
fn pump(from: &mut TcpStream, to: &mut TcpStream, most: u64) {
    let _ = io::copy(&mut Read::by_ref(from).take(most), to);
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
