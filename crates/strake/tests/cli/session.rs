//! A command on a terminal: what it shows, and keys.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::harness::TestStore;

/// A command on a terminal of its own, of 97 columns and 31 rows.
pub struct Session {
    pub master: File,
    /// Held open, so that the terminal outlives the command.
    _slave: File,
    child: Child,
    seen: String,
}

impl Session {
    pub fn new(store: &TestStore, args: &[&str]) -> Session {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        set_size(&master, 97, 31);
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        // With a controlling terminal, so that its keys are signals.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", env!("CARGO_BIN_EXE_strake")]).args(args);
        command.env("STRAKE_ROOT", store.root()).env("HOME", store.dir()).current_dir(store.dir());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        Session { master: File::from(master), _slave: slave, child, seen: String::new() }
    }

    /// Reads until `text` has been seen; gives all up to there.
    #[track_caller]
    pub fn until(&mut self, text: &str) -> String {
        let began = Instant::now();
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            assert!(began.elapsed() < Duration::from_secs(20), "no {text:?} in {:?}", self.seen);
            let timeout = rustix::time::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
            if poll(&mut [PollFd::new(&self.master, PollFlags::IN)], Some(&timeout)).unwrap() == 0 {
                continue;
            }
            let mut buffer = [0u8; 4096];
            let read = self.master.read(&mut buffer).unwrap();
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    }

    pub fn keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Has the shell in it say something, after which it is ready again.
    #[track_caller]
    pub fn ask(&mut self, script: &str) -> String {
        // The marks are typed otherwise than they are printed: the echo of what is typed holds neither.
        self.keys(&format!("echo be''gin; {script}; echo e''nd\n"));
        let said = self.until("end\r\n");
        let answer = said.split_once("begin\r\n").map_or("", |(_, answer)| answer);
        answer.replace("end\r\n", "")
    }

    pub fn end(mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap()
    }
}

pub fn set_size(terminal: impl AsFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).unwrap();
}
