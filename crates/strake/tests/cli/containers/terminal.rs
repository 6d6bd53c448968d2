//! `-t`: a real terminal, its size, its keys, and ours as it was afterwards.

use std::time::Duration;

use rustix::termios::{LocalModes, tcgetattr};

use super::store;
use crate::session::{Session, set_size};

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
