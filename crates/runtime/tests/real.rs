//! Real namespaces, mounts and containers, each case in a process of its own, as the user it names: root, an ordinary
//! user with subordinate ids (`strake-test`), one without, and root confined to one id. Cases that need root, or the user
//! `strake-test` with a line in /etc/subuid, say so and pass where there is none.
//!
//! The process must be single-threaded to enter namespaces, which the usual test harness is not: hence this `main`,
//! which speaks as much of its language as `cargo test` and nextest need.
#![allow(missing_docs)]

mod cases;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// On whose behalf a case runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Root,
    /// An ordinary user with ranges in /etc/subuid and /etc/subgid.
    Tester,
    /// A user that no file knows.
    Nobody,
    /// Whoever runs this, with `STRAKE_USERNS=single`.
    Single,
}

pub struct Case {
    pub name: &'static str,
    pub who: &'static [Who],
    pub run: fn(Who),
}

/// Not a case but what some cases start: enters, and says what came of it.
pub const ENTER: &str = "enter";

/// Another: shows what the doctor says of a store.
pub const DOCTOR: &str = "doctor";

fn enter() {
    match runtime::enter() {
        Ok(mode) => println!("{mode:?} {}", runtime::why_single().unwrap_or_default()),
        Err(error) => println!("{error}"),
    }
}

/// No entry in any file.
const NOBODY: u32 = 47_110;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let all = all();
    if let [flag, name, store] = arguments.as_slice()
        && flag == "--inside"
        && name == DOCTOR
    {
        cases::doctor::main(store.as_ref());
        return ExitCode::SUCCESS;
    }
    if let [flag, name] = arguments.as_slice()
        && flag == "--inside"
    {
        if name == ENTER {
            enter();
            return ExitCode::SUCCESS;
        }
        let (case, who) = all.iter().find(|(case, who)| title(case, *who) == *name).expect("a known case");
        (case.run)(*who);
        return ExitCode::SUCCESS;
    }
    if has("--list") {
        if !has("--ignored") {
            for (case, who) in &all {
                println!("{}: test", title(case, *who));
            }
        }
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let chosen = |title: &str| {
        wanted.is_empty()
            || wanted.iter().any(|name| if has("--exact") { *name == title } else { title.contains(*name) })
    };
    let mut failed = 0;
    for (case, who) in &all {
        let title = title(case, *who);
        if chosen(&title) {
            let ok = run(&title, *who);
            println!("test {title} ... {}", if ok { "ok" } else { "FAILED" });
            failed += usize::from(!ok);
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn all() -> Vec<(&'static Case, Who)> {
    cases::CASES
        .iter()
        .flat_map(|cases| cases.iter())
        .flat_map(|case| case.who.iter().map(move |who| (case, *who)))
        .collect()
}

fn title(case: &Case, who: Who) -> String {
    format!("{}::{}", case.name, format!("{who:?}").to_lowercase())
}

/// Runs a case in a new process as its user, and checks that no mount of it is left.
fn run(title: &str, who: Who) -> bool {
    let executable = std::env::current_exe().expect("an executable");
    let mut command = Command::new(executable);
    command.args(["--inside", title]).env_remove("STRAKE_USERNS").env_remove("STRAKE_OVERLAY_MOUNT");
    let root = rustix::process::geteuid().is_root();
    match who {
        Who::Single => {
            command.env("STRAKE_USERNS", "single");
        }
        Who::Root if !root => {
            println!("skipped: {title} needs root");
            return true;
        }
        Who::Root => {}
        Who::Tester if root => match tester() {
            Some(uid) => {
                command.uid(uid).gid(uid).env("HOME", "/tmp").current_dir("/");
            }
            None => {
                println!("skipped: {title} needs a user `strake-test` with a range in /etc/subuid");
                return true;
            }
        },
        Who::Tester => {}
        Who::Nobody if root => {
            command.uid(NOBODY).gid(NOBODY).env("HOME", "/tmp").current_dir("/");
        }
        Who::Nobody => {
            println!("skipped: {title} needs root to become another user");
            return true;
        }
    }
    let before = mounts();
    let ok = finish(command.process_group(0).spawn().expect("the case's process"));
    let after = mounts();
    let same = before == after;
    if !same {
        println!("{title} left mounts behind:\n{after}");
    }
    ok && same
}

/// Waits, but not for ever: what hangs is killed with its children.
fn finish(mut child: std::process::Child) -> bool {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("the case's process") {
            return status.success();
        }
        if start.elapsed() > Duration::from_secs(60) {
            println!("killed after a minute");
            let group = rustix::process::Pid::from_child(&child);
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn mounts() -> String {
    let all = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    // Others may mount at the same time; ours have this source, or are in this directory.
    let ours = |line: &&str| line.contains(" strake ") || line.contains("/strake-");
    all.lines().filter(ours).map(|line| format!("{line}\n")).collect()
}

fn tester() -> Option<u32> {
    let ranges = std::fs::read_to_string("/etc/subuid").ok()?;
    if !ranges.lines().any(|line| line.starts_with("strake-test:")) {
        return None;
    }
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| line.strip_prefix("strake-test:")?.split(':').nth(1)?.parse().ok())
}
