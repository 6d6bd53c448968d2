//! Containers that are kept, in the background, signalled, stopped, killed, and removed.

use std::process::{Child, Stdio};

use super::{sleeper, store, until};
use crate::harness::TestStore;

fn state(store: &TestStore, name: &str) -> String {
    store.ok(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name]).trim_end().to_owned()
}

/// A `run` in the foreground that has printed `ready`.
fn foreground(store: &TestStore, args: &[&str], script: &str) -> Child {
    let mut child = store
        .command()
        .arg("run")
        .args(args)
        .args(["bb", "sh", "-c", &format!("echo ready; {script}")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0u8; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
    assert_eq!(&ready, b"ready\n");
    child
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}

#[test]
fn signals_are_passed_on() {
    use rustix::process::Signal;
    let store = store();
    for (number, name) in [
        (Signal::TERM, "TERM"),
        (Signal::INT, "INT"),
        (Signal::HUP, "HUP"),
        (Signal::QUIT, "QUIT"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
    ] {
        // The trap has to be there before the signal.
        let trap = format!("trap 'echo got {name}; exit 9' {name}; echo set; while :; do sleep 0.02; done");
        let mut child = foreground(&store, &["--rm"], &trap);
        let mut set = [0u8; 4];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut set).unwrap();
        signal(&child, number);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!((output.status.code(), said.as_str()), (Some(9), format!("got {name}\n").as_str()));
    }
    assert_eq!(store.ok(&["ps", "-aq"]), "");
}

#[test]
fn the_third_interrupt_kills_the_deaf() {
    let store = store();
    let child = foreground(&store, &["--rm"], "sleep 1000");
    for _ in 0..3 {
        signal(&child, rustix::process::Signal::INT);
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(137));
    assert!(String::from_utf8_lossy(&output.stderr).contains("killing the container"));
}

#[test]
fn a_killed_strake_takes_its_container_along() {
    let store = store();
    for (args, left) in [(&["--rm", "--name", "gone"][..], ""), (&["--name", "kept"], "kept Exited (137)\n")]
    {
        let mut child = foreground(&store, args, "sleep 1000");
        let pid = || store.ok(&["inspect", "-f", "{{.State.Pid}}", args[args.len() - 1]]);
        until("its process is known", || pid() != "0\n");
        let pid = pid();
        let process = format!("/proc/{}/cmdline", pid.trim_end());
        assert!(std::fs::read_to_string(&process).unwrap().contains("sleep"));
        child.kill().unwrap();
        child.wait().unwrap();
        until("the container ends", || !std::fs::read_to_string(&process).is_ok_and(|c| c.contains("sleep")));
        until("its lock is free", || store.ok(&["ps", "-q"]).is_empty());
        assert_eq!(store.ok(&["ps", "-a", "--format", "{{.Names}} {{.Status}}"]), left);
    }
    // The next command that changes anything clears away what was to go.
    store.ok(&["rm", "kept"]);
    assert_eq!(std::fs::read_dir(store.root().join("containers")).unwrap().count(), 0);
    store.ok(&["system", "check"]);
}

#[test]
fn in_the_background() {
    let store = store();
    let script = "trap 'echo bye; exit 3' TERM; echo hello; while :; do sleep 0.02; done";
    let id = store.ok(&["run", "-d", "--name", "dd", "bb", "sh", "-c", script]);
    assert_eq!(id.len(), 65);
    assert!(store.ok(&["ps", "--format", "{{.Names}} {{.Status}}"]).starts_with("dd Up "));
    until("it says hello", || store.ok(&["logs", "dd"]) == "hello\n");
    let waiting = store.command().args(["wait", "dd"]).stdout(Stdio::piped()).spawn().unwrap();
    let following = store.command().args(["logs", "-f", "dd"]).stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(store.ok(&["stop", "dd"]), "dd\n");
    assert_eq!(waiting.wait_with_output().unwrap().stdout, b"3\n");
    assert_eq!(following.wait_with_output().unwrap().stdout, b"hello\nbye\n");
    assert_eq!(state(&store, "dd"), "exited 3");
    assert_eq!(store.ok(&["stop", "dd"]), "dd\n", "it is stopped already");
    assert_eq!(store.ok(&["start", "dd"]), "dd\n");
    assert_eq!(state(&store, "dd"), "running 0");
    assert_eq!(store.ok(&["kill", "dd"]), "dd\n");
    assert_eq!(state(&store, "dd"), "exited 137");
    assert!(store.fails(1, &["kill", "dd"]).contains("is not running"));
    assert!(store.fails(1, &["kill", "-s", "NOPE", "dd"]).contains("invalid signal: NOPE"));
    assert_eq!(store.ok(&["logs", "dd"]).matches("hello").count(), 2, "the log goes on");
    assert_eq!(store.ok(&["logs", "-n", "1", "dd"]), "hello\n");
    assert_eq!(store.ok(&["logs", "--tail", "0", "dd"]), "");
    assert!(store.ok(&["logs", "-t", "dd"]).starts_with("20"));
    assert_eq!(store.ok(&["logs", "--since", "2000-01-01", "--until", "2001-01-01", "dd"]), "");
    assert_eq!(store.ok(&["rm", "dd"]), "dd\n");
}

#[test]
fn whoever_reads_its_output_is_not_kept_waiting() {
    let store = store();
    // Both streams of the command end while the container lives.
    let output = store.command().args(["run", "-d", "--rm", "bb", "sleep", "1000"]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    let id = String::from_utf8(output.stdout).unwrap();
    assert_eq!(store.ok(&["ps", "-q", "--no-trunc"]), id);
    store.ok(&["kill", id.trim_end()]);
    until("it is removed", || store.ok(&["ps", "-aq"]).is_empty());
    assert!(store.fails(1, &["wait", id.trim_end()]).contains("No such container"));
}

#[test]
fn input_of_what_runs_in_the_background() {
    let store = store();
    // -i keeps it open, though nothing ever comes.
    store.ok(&["run", "-d", "-i", "--name", "ii", "bb", "cat"]);
    store.ok(&["run", "-d", "-it", "--name", "it", "bb", "sh"]);
    store.ok(&["run", "-d", "--name", "none", "bb", "cat"]);
    until("cat without input ends", || state(&store, "none") == "exited 0");
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!((state(&store, "ii"), state(&store, "it")), ("running 0".into(), "running 0".into()));
    store.ok(&["rm", "-f", "ii", "it", "none"]);
}

#[test]
fn a_stubborn_one_is_killed() {
    let store = store();
    let deaf = ["bb", "sh", "-c", "trap '' TERM; echo set; while :; do sleep 0.02; done"];
    let run: Vec<&str> =
        ["run", "-d", "--name", "ss", "--stop-timeout", "1"].iter().chain(&deaf).copied().collect();
    store.ok(&run);
    until("the trap is set", || store.ok(&["logs", "ss"]) == "set\n");
    let began = std::time::Instant::now();
    store.ok(&["stop", "ss"]);
    assert!(began.elapsed() >= std::time::Duration::from_secs(1));
    assert_eq!(state(&store, "ss"), "exited 137");
    store.ok(&["start", "ss"]);
    store.ok(&["stop", "-t", "0", "ss"]);
    assert_eq!(state(&store, "ss"), "exited 137");
}

#[test]
fn the_images_stop_signal_stops_it() {
    let store = store();
    let script = "trap 'exit 5' USR1; echo set; while :; do sleep 0.02; done";
    store.ok(&["run", "-d", "--name", "ss", "--stop-signal", "SIGUSR1", "bb", "sh", "-c", script]);
    until("the trap is set", || store.ok(&["logs", "ss"]) == "set\n");
    store.ok(&["stop", "ss"]);
    assert_eq!(state(&store, "ss"), "exited 5");
}

#[test]
fn what_does_not_start_is_told() {
    let store = store();
    let ran = store.run(&["run", "-d", "--name", "ff", "bb", "nosuch"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (127, ""));
    assert!(ran.stderr.contains("executable file not found"), "{ran:?}");
    assert_eq!(store.ok(&["ps", "-a", "--format", "{{.Names}} {{.Status}}"]), "ff Created\n");
    assert_eq!(state(&store, "ff"), "created 127");
    assert_eq!(store.run(&["start", "ff"]).code, 1);
    assert_eq!(store.run(&["start", "-a", "ff"]).code, 1);
    store.ok(&["rm", "ff"]);
    assert_eq!(store.run(&["run", "-d", "--rm", "bb", "nosuch"]).code, 127);
    assert_eq!(store.ok(&["ps", "-aq"]), "");
}

#[test]
fn made_kept_and_started_again() {
    let store = store();
    let script = "echo run >> /count; wc -l < /count; exit 4";
    store.ok(&["create", "--name", "cc", "bb", "sh", "-c", script]);
    assert_eq!(state(&store, "cc"), "created 0");
    assert_eq!(store.ok(&["wait", "cc"]), "0\n");
    // The overlay is mounted volatile: each start clears what forbids the next.
    for count in 1..=3 {
        let ran = store.run(&["start", "-a", "cc"]);
        assert_eq!((ran.code, ran.stdout.trim()), (4, count.to_string().as_str()));
    }
    assert_eq!(state(&store, "cc"), "exited 4");
    let ran = store.run(&["start", "-a", "-i", "cc"]);
    assert_eq!(ran.stdout.trim(), "4");
    assert!(store.fails(1, &["start", "nosuch"]).contains("No such container: nosuch"));
    store.ok(&["restart", "cc"]);
    until("it ended", || state(&store, "cc") == "exited 4");
    assert_eq!(store.ok(&["logs", "-n", "1", "cc"]).trim(), "5");
}

#[test]
fn removing() {
    let store = store();
    let id = sleeper(&store, "rr");
    assert!(store.fails(1, &["rm", "rr"]).contains("container is running"));
    assert_eq!(store.ok(&["rm", "-f", "rr"]), "rr\n");
    assert_eq!(store.ok(&["ps", "-aq"]), "");
    assert!(!store.root().join("containers").join(&id).exists());
    let ran = store.run(&["rm", "rr", "qq"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("No such container: rr") && ran.stderr.contains("No such container: qq"));
    let ran = store.run(&["rm", "-f", "rr"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "it is gone, which was wanted: {ran:?}");
}

#[test]
fn names() {
    let store = store();
    let one = store.ok(&["create", "--name", "one", "bb"]);
    let stderr = store.fails(1, &["create", "--name", "/one", "bb"]);
    assert!(stderr.contains("already in use by container") && stderr.contains(one.trim_end()), "{stderr}");
    store.ok(&["rename", "one", "two"]);
    assert_eq!(store.ok(&["ps", "-a", "--format", "{{.Names}}"]), "two\n");
    assert!(store.fails(1, &["rename", "two", "x/y"]).contains("only [a-zA-Z0-9]"));
    // By name, with Docker's slash, by ID, by the beginning of an ID.
    for name in ["two", "/two", one.trim_end(), &one[..12], &one[..3]] {
        assert_eq!(store.ok(&["inspect", "-f", "{{.Name}}", name]), "/two\n", "{name}");
    }
    store.ok(&["create", "bb"]);
    assert!(store.ok(&["ps", "-l", "--format", "{{.Names}}"]).contains('_'), "two words where none is given");
}

#[test]
fn a_running_container_can_be_renamed() {
    let store = store();
    sleeper(&store, "before");
    store.ok(&["rename", "before", "after"]);
    store.ok(&["kill", "after"]);
    assert_eq!(store.ok(&["ps", "-a", "--format", "{{.Names}}"]), "after\n");
}

#[test]
fn ambiguous_beginnings_are_refused_with_candidates() {
    let store = store();
    // Among 17 there are two that begin with the same digit.
    let ids: Vec<String> = (0..17).map(|_| store.ok(&["create", "bb"])).collect();
    let first = |id: &String| id[..1].to_owned();
    let shared =
        ids.iter().map(first).find(|d| ids.iter().filter(|id| id.starts_with(d)).count() > 1).unwrap();
    let stderr = store.fails(1, &["rm", &shared]);
    assert!(stderr.contains("is ambiguous") && stderr.contains("hint: one of: "), "{stderr}");
    assert_eq!(store.ok(&["ps", "-aq"]).lines().count(), 17);
    assert!(store.ok(&["container", "prune", "-f"]).starts_with("Deleted Containers:\n"));
    assert_eq!(store.ok(&["ps", "-aq"]), "");
}
