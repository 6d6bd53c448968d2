//! `-t`: a real terminal, its size, its keys, and ours as it was afterwards.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::store;
use crate::harness::TestStore;

/// A command on a terminal of its own, of 97 columns and 31 rows.
struct Session {
    master: File,
    /// Held open, so that the terminal outlives the command.
    _slave: File,
    child: Child,
    seen: String,
}

impl Session {
    fn new(store: &TestStore, args: &[&str]) -> Session {
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
        command.env("STRAKE_ROOT", store.root()).current_dir(store.dir());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        Session { master: File::from(master), _slave: slave, child, seen: String::new() }
    }

    /// Reads until `text` has been seen; gives all up to there.
    #[track_caller]
    fn until(&mut self, text: &str) -> String {
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

    fn keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Has the shell in it say something, after which it is ready again.
    #[track_caller]
    fn ask(&mut self, script: &str) -> String {
        // The marks are typed otherwise than they are printed: the echo of what is typed holds neither.
        self.keys(&format!("echo be''gin; {script}; echo e''nd\n"));
        let said = self.until("end\r\n");
        let answer = said.split_once("begin\r\n").map_or("", |(_, answer)| answer);
        answer.replace("end\r\n", "")
    }

    fn end(mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap()
    }
}

fn set_size(terminal: impl AsFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).unwrap();
}

#[test]
fn a_shell_on_a_terminal() {
    let store = store();
    let mut shell = Session::new(&store, &["run", "--rm", "-it", "-e", "PS1=ready> ", "bb", "sh"]);
    let before = tcgetattr(&shell.master).unwrap();
    shell.until("ready> ");
    let raw = tcgetattr(&shell.master).unwrap();
    assert!(!raw.local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
    assert_eq!(shell.ask("stty size"), "31 97\r\n");
    assert_eq!(shell.ask("tty; echo $TERM"), "/dev/pts/0\r\nxterm\r\n");
    set_size(&shell.master, 120, 50);
    super::until("the new size arrives", || shell.ask("stty size") == "50 120\r\n");
    // Ctrl-C is the container's: it ends what runs there, and no more.
    shell.keys("sleep 1000\n");
    shell.until("sleep 1000\r\n");
    std::thread::sleep(Duration::from_millis(300));
    shell.keys("\x03");
    shell.keys("echo rc=$?\n");
    shell.until("rc=130");
    shell.keys("exit 5\n");
    let terminal = shell.master.try_clone().unwrap();
    assert_eq!(shell.end(), 5);
    let after = tcgetattr(&terminal).unwrap();
    assert_eq!((after.local_modes, after.output_modes), (before.local_modes, before.output_modes));
}

#[test]
fn the_end_of_input() {
    let store = store();
    let mut shell = Session::new(&store, &["run", "--rm", "-it", "-e", "PS1=ready> ", "bb", "sh"]);
    shell.until("ready> ");
    shell.keys("\x04");
    assert_eq!(shell.end(), 0);
    // Without a terminal in the container, ours stays as it is, and the end is the end of a pipe.
    let mut cat = Session::new(&store, &["run", "--rm", "-i", "bb", "sh", "-c", "echo up; cat"]);
    cat.until("up\r\n");
    cat.keys("hello\n");
    cat.until("hello\r\nhello\r\n");
    cat.keys("\x04");
    assert_eq!(cat.end(), 0);
}

#[test]
fn interrupts_without_input() {
    let store = store();
    let trap = "trap 'echo got it; exit 9' INT; echo ready; while :; do sleep 0.02; done";
    let mut session = Session::new(&store, &["run", "--rm", "-t", "bb", "sh", "-c", trap]);
    session.until("ready");
    session.keys("\x03");
    session.until("got it");
    assert_eq!(session.end(), 9);
}

#[test]
fn both_streams_of_a_terminal_are_one() {
    let store = store();
    let ran =
        store.run(&["run", "--rm", "-t", "bb", "sh", "-c", "echo out; echo err >&2; test -t 0 && test -t 1"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "out\r\nerr\r\n", ""));
}
