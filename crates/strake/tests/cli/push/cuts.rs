//! A registry behind a wire that breaks.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::debian::DockerRegistry;
use super::{manifest, push, with_app};
use crate::served::Served;

/// Passes connections on to a registry, and cuts each after so many bytes from the client, but not oftener than told.
struct Wire {
    address: String,
    cuts: Arc<AtomicUsize>,
}

impl Wire {
    fn to(registry: &str, most: usize, times: usize) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let cuts = Arc::new(AtomicUsize::new(0));
        let (registry, counted) = (registry.to_owned(), Arc::clone(&cuts));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&registry) else { return };
                let (mut up, mut down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut down, &mut &client).map(drop));
                let cuts = Arc::clone(&counted);
                std::thread::spawn(move || {
                    let mut buffer = [0; 16 << 10];
                    let whole = cuts.load(Ordering::Relaxed) >= times;
                    let mut left = if whole { usize::MAX } else { most };
                    while let Ok(n @ 1..) = up.read(&mut buffer) {
                        let n = n.min(left);
                        left -= n;
                        if (&server).write_all(&buffer[..n]).is_err() || left == 0 {
                            break;
                        }
                    }
                    if left == 0 {
                        cuts.fetch_add(1, Ordering::Relaxed);
                    }
                    let _ = server.shutdown(Shutdown::Both);
                    let _ = up.shutdown(Shutdown::Both);
                });
            }
        });
        Wire { address, cuts }
    }
}

/// What is pushed through a wire that is cut, and how often it was.
fn through(registry: &str, times: usize) -> (String, usize) {
    let store = with_app();
    let wire = Wire::to(registry.trim_end_matches('/'), 1 << 20, times);
    let name = format!("{}/app:1", wire.address);
    store.ok(&["tag", "app:1", &name]);
    let digest = push(&store, &name, &[]);
    // It is all there: a registry takes no manifest of what it lacks.
    assert_eq!(manifest(&store, &format!("{registry}app:1"))["layers"].as_array().unwrap().len(), 3);
    (digest, wire.cuts.load(Ordering::Relaxed))
}

#[test]
fn uploads_go_on_where_they_broke_off() {
    let (digest, cuts) = through(&Served::start().name(""), usize::MAX);
    assert!(cuts >= 3, "the wire was cut {cuts} times only");
    // Debian's drops an upload that broke off within a chunk: there it begins again.
    let Some(debian) = DockerRegistry::start() else { return };
    let (again, cuts) = through(&debian.name(""), 2);
    assert!(again == digest && cuts >= 2, "cut {cuts} times: {again}");
}
