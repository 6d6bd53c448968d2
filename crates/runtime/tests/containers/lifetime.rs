//! Starting, signalling and ending; many at once; what is left when somebody is killed.

use crate::bed::{self, Bed, eventually, processes};
use crate::{Case, EMBEDDED, EVERY, MODES};
use std::io::{BufRead, BufReader};
use std::process::Stdio as ProcessStdio;
use std::time::Duration;

pub(crate) const CASES: &[Case] = &[
    Case { name: "signals", run: signals, on: EVERY, modes: MODES },
    Case { name: "started", run: started, on: EVERY, modes: MODES },
    Case { name: "dropping_kills", run: dropping_kills, on: EVERY, modes: MODES },
    Case { name: "twenty_at_once", run: twenty_at_once, on: EMBEDDED, modes: MODES },
    Case { name: "four_at_once", run: four_at_once, on: EVERY, modes: MODES },
    Case { name: "init_forwards_and_reaps", run: init_forwards_and_reaps, on: EMBEDDED, modes: MODES },
    Case {
        name: "killing_strake_leaves_nothing",
        run: killing_strake_leaves_nothing,
        on: EVERY,
        modes: MODES,
    },
    Case { name: "sleeper", run: sleeper, on: EVERY, modes: MODES },
    Case { name: "killing_the_supervisor", run: killing_the_supervisor, on: EVERY, modes: MODES },
    Case {
        name: "ending_the_supervisor_ends_all",
        run: ending_the_supervisor_ends_all,
        on: EVERY,
        modes: MODES,
    },
    Case { name: "ten_in_a_row_reuse_nothing", run: ten_in_a_row, on: EVERY, modes: MODES },
];

fn signals(bed: &Bed) {
    // A handler runs; without one process 1 is spared, as with Docker; KILL always works.
    let script = "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    let (mut running, out, _err) = bed.start(&bed.container(bed.shell(script)), None);
    let mut lines = BufReader::new(std::fs::File::from(out)).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "ready");
    running.signal(15);
    assert_eq!(lines.next().expect("a line").expect("text"), "caught");
    assert_eq!(running.wait().expect("wait").code, 5);

    let script = "echo ready; read x < /dev/null; sleep 1; echo still; exec sleep 100";
    let (mut running, out, _err) = bed.start(&bed.container(bed.shell(script)), None);
    let mut lines = BufReader::new(std::fs::File::from(out)).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "ready");
    running.signal(15);
    assert_eq!(lines.next().expect("a line").expect("text"), "still");
    let signaller = running.signaller();
    let waiter = std::thread::spawn(move || running.wait().expect("wait").code);
    signaller.signal(9);
    assert_eq!(waiter.join().expect("waiter"), 137);
}

fn started(bed: &Bed) {
    let (mut running, ..) = bed.start(&bed.container(bed.spec(&["sleep", "100"])), None);
    assert!(running.wait_started().expect("the supervisor lives"));
    running.signal(9);
    assert_eq!(running.wait().expect("wait").code, 137);
    let (mut running, ..) = bed.start(&bed.container(bed.spec(&["nothing"])), None);
    assert!(!running.wait_started().expect("the supervisor lives"));
    assert_eq!(running.wait().expect("wait").code, 127);
}

/// A number that makes a command line findable.
fn marker() -> String {
    format!("1{:09}", std::process::id())
}

fn dropping_kills(bed: &Bed) {
    let mark = marker();
    let sleep = format!("sleep {mark}");
    let (mut running, ..) = bed.start(&bed.container(bed.shell(&format!("{sleep} & {sleep}"))), None);
    assert!(running.wait_started().expect("the supervisor lives"));
    eventually("both sleep", || processes(&sleep).len() >= 2);
    drop(running);
    eventually("none sleeps", || processes(&sleep).is_empty());
    bed.run(bed.spec(&["true"])).ok();
}

fn many_at_once(bed: &Bed, count: u32) {
    let containers: Vec<_> = (0..count)
        .map(|n| bed.container(bed.shell(&format!("echo {n} > /data/n; sleep 0.2; cat /data/n; exit {n}"))))
        .collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> = containers.iter().map(|c| scope.spawn(move || bed.run_container(c))).collect();
        for (n, thread) in threads.into_iter().enumerate() {
            let output = thread.join().expect("runs");
            assert_eq!(output.exit.code, n as i32, "{:?}", output.exit);
            assert_eq!(output.stdout, format!("{n}\n"));
        }
    });
}

fn twenty_at_once(bed: &Bed) {
    many_at_once(bed, 20);
}

fn four_at_once(bed: &Bed) {
    many_at_once(bed, 4);
}

fn ten_in_a_row(bed: &Bed) {
    for _ in 0..10 {
        assert_eq!(bed.sh("test ! -e /data/x && touch /data/x && hostname").ok().stdout, "box\n");
    }
}

fn init_forwards_and_reaps(bed: &Bed) {
    let script = "(sleep 0.1 & exec sleep 0.2) & trap 'echo caught; exit 5' TERM; echo ready; \
                  while :; do sleep 0.05; done";
    let mut container = bed.container(bed.shell(script));
    container.init = true;
    let (mut running, out, _err) = bed.start(&container, None);
    assert!(running.wait_started().expect("the supervisor lives"));
    let mut lines = BufReader::new(std::fs::File::from(out)).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "ready");
    running.signal(15);
    assert_eq!(lines.next().expect("a line").expect("text"), "caught");
    assert_eq!(running.wait().expect("wait").code, 5);

    let mut container = bed.container(bed.shell("echo $$; (true &); sleep 0.3; ps -o stat | grep -c Z"));
    container.init = true;
    let output = bed.run_container(&container);
    assert_eq!(output.stdout, "2\n0\n", "the shell is process 2, and no zombie is left");
    // Without init's protection of process 1, the default action of TERM applies.
    let mut container = bed.container(bed.spec(&["sleep", "100"]));
    container.init = true;
    let (mut running, ..) = bed.start(&container, None);
    assert!(running.wait_started().expect("the supervisor lives"));
    running.signal(15);
    assert_eq!(running.wait().expect("wait").code, 143);
    let mut container = bed.container(bed.spec(&["nothing"]));
    container.init = true;
    assert_eq!(bed.run_container(&container).exit.code, 127);
}

/// Not a test of its own: the victim of the next one. Started as a test it ends at once.
fn sleeper(bed: &Bed) {
    let Ok(mark) = std::env::var("STRAKE_TEST_MARK") else { return };
    let script = format!("setsid sleep {mark} & (sleep {mark} &); exec sleep {mark}");
    let container = bed.container(bed.shell(&script));
    let (mut running, ..) = bed.start(&container, None);
    assert!(running.wait_started().expect("the supervisor lives"));
    let mark = format!("sleep {mark}");
    eventually("all sleep", || processes(&mark).len() >= 3);
    println!("{}", bed.dir.display());
    let _ = running.wait();
}

fn killing_strake_leaves_nothing(bed: &Bed) {
    let mark = marker();
    let name = format!("{}::{}::sleeper", bed.mode, bed.which);
    // We are that user already.
    let own = std::env::current_exe().expect("own path");
    let mut victim = std::process::Command::new(own)
        .args(["--in-process", &name])
        .env("STRAKE_TEST_MARK", &mark)
        .env("STRAKE_USERNS", std::env::var("STRAKE_USERNS").unwrap_or_default())
        .stdout(ProcessStdio::piped())
        .spawn()
        .expect("start");
    let mut line = String::new();
    BufReader::new(victim.stdout.take().expect("stdout")).read_line(&mut line).expect("read");
    let sleep = format!("sleep {mark}");
    let running = processes(&sleep).len();
    victim.kill().expect("kill");
    victim.wait().expect("wait");
    assert_eq!(running, 3, "{line}");
    eventually("no container is left", || processes(&sleep).is_empty());
    let dir = line.trim();
    eventually("no supervisor is left", || !mounted_anywhere(dir));
    let _ = std::process::Command::new("rm").args(["-rf", dir]).status();
}

/// Whether any process's mount namespace has a mount that names `dir`.
fn mounted_anywhere(dir: &str) -> bool {
    let Ok(entries) = std::fs::read_dir("/proc") else { return false };
    entries.flatten().any(|entry| {
        let mounts = std::fs::read_to_string(entry.path().join("mountinfo")).unwrap_or_default();
        !dir.is_empty() && mounts.contains(dir)
    })
}

fn supervisor_pid() -> i32 {
    let own = std::process::id() as i32;
    let parent = |pid: i32| -> Option<i32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    let found: Vec<i32> =
        processes("strake-supervisor").into_iter().filter(|&pid| parent(pid) == Some(own)).collect();
    assert_eq!(found.len(), 1);
    found[0]
}

fn killing_the_supervisor(bed: &Bed) {
    let mark = marker();
    let sleep = format!("sleep {mark}");
    let (mut running, ..) = bed.start(&bed.container(bed.shell(&format!("{sleep} & {sleep}"))), None);
    assert!(running.wait_started().expect("the supervisor lives"));
    eventually("both sleep", || processes(&sleep).len() >= 2);
    let pid = rustix::process::Pid::from_raw(supervisor_pid()).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("kill");
    let error = running.wait().expect_err("it is dead");
    assert!(error.to_string().contains("died"), "{error}");
    eventually("none sleeps", || processes(&sleep).is_empty());
    let (_, stdout) = bed::pipe();
    let (_, stderr) = bed::pipe();
    let stdio = runtime::Stdio::Pipes { stdin: None, stdout, stderr };
    assert!(bed.supervisor.run(&bed.container(bed.spec(&["true"])), stdio).is_err());
}

fn ending_the_supervisor_ends_all(bed: &Bed) {
    let mark = marker();
    let sleep = format!("sleep {mark}");
    let supervisor = runtime::Supervisor::start().expect("a second one");
    let (_out, stdout) = bed::pipe();
    let (_err, stderr) = bed::pipe();
    let stdio = runtime::Stdio::Pipes { stdin: None, stdout, stderr };
    let mut running =
        supervisor.run(&bed.container(bed.shell(&format!("{sleep} & {sleep}"))), stdio).expect("run");
    assert!(running.wait_started().expect("the supervisor lives"));
    eventually("both sleep", || processes(&sleep).len() >= 2);
    drop(supervisor);
    // At once, not eventually: whoever dropped it may now remove directories.
    assert!(processes(&sleep).is_empty());
    let _ = running.wait();
    std::thread::sleep(Duration::from_millis(1));
}
