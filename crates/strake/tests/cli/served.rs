//! A registry of our own for a test: `strake registry serve` on a free port of loopback, over a store of its own.
#![allow(dead_code, reason = "each test uses its own part")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::harness::TestStore;

/// A registry that runs as long as this value is there.
pub struct Served {
    /// Its store, for looking at and for running commands on beside it.
    pub store: TestStore,
    child: Child,
    address: String,
}

impl Served {
    /// Plain HTTP, for everybody on loopback.
    pub fn start() -> Served {
        Served::start_on(TestStore::new(), &[])
    }

    /// On that store and with those options as well.
    pub fn start_on(store: TestStore, options: &[&str]) -> Served {
        let mut child = store
            .command()
            .args(["registry", "serve", "--addr", "127.0.0.1:0"])
            .args(options)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        told.read_line(&mut line).unwrap();
        let Some(address) = line.trim_end().strip_prefix("listening on http") else {
            panic!("registry serve said {line:?}");
        };
        let address = address.trim_start_matches(['s', ':', '/']).to_owned();
        // What it tells later goes to the test's output; nobody else would read it.
        std::thread::spawn(move || {
            told.lines().map_while(Result::ok).for_each(|line| println!("registry: {line}"))
        });
        Served { store, child, address }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The name of something there: `127.0.0.1:PORT/REST`.
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    /// Ends it as Ctrl-C does; its exit code.
    pub fn interrupt(&mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
