//! Real containers on a busybox root, by every runtime that is installed, as root and as an ordinary user.
//!
//! A harness of its own: each case runs in a process of its own, as its user, because entering namespaces is for
//! once and for good. It answers the questions that `cargo test` and `cargo nextest` put to a test binary. Cases are
//! named `mode::runtime::case`; modes and runtimes that this machine lacks are left out.

mod bed;
mod cases;
mod confinement;
mod lifetime;
mod mounts;

use bed::{Bed, ModeName, Which};
use std::process::{Command, ExitCode};

/// One case.
pub(crate) struct Case {
    name: &'static str,
    run: fn(&Bed),
    /// The runtimes it is for.
    on: &'static [Which],
    /// The modes it is for.
    modes: &'static [ModeName],
}

pub(crate) const EVERY: &[Which] = &[Which::Embedded, Which::Crun, Which::Runc];
pub(crate) const OTHERS: &[Which] = &[Which::Crun, Which::Runc];
pub(crate) const EMBEDDED: &[Which] = &[Which::Embedded];
pub(crate) const MODES: &[ModeName] = &[ModeName::Root, ModeName::Mapped, ModeName::Single];
/// Where more than one id exists.
pub(crate) const WITH_IDS: &[ModeName] = &[ModeName::Root, ModeName::Mapped];

fn all() -> Vec<(String, ModeName, Which, Case)> {
    let root = rustix::process::geteuid().is_root();
    let mut all = Vec::new();
    for mode in MODES.iter().copied() {
        if mode == ModeName::Root && !root {
            continue;
        }
        for which in EVERY.iter().copied().filter(|w| w.installed()) {
            let lists = [cases::CASES, confinement::CASES, lifetime::CASES, mounts::CASES];
            for case in lists.into_iter().flatten() {
                if case.on.contains(&which) && case.modes.contains(&mode) {
                    let name = format!("{mode}::{which}::{}", case.name);
                    all.push((name, mode, which, Case { ..*case }));
                }
            }
        }
    }
    all
}

fn main() -> ExitCode {
    runtime::init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name] = args.as_slice()
        && flag == "--in-process"
    {
        return in_process(name);
    }
    let has = |flag: &str| args.iter().any(|a| a == flag);
    let ignored = has("--ignored");
    if has("--list") {
        for (name, ..) in all().into_iter().filter(|_| !ignored) {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let exact = has("--exact");
    let skip = ["--format", "--color", "--test-threads", "--logfile"];
    let wanted: Vec<&String> = args
        .iter()
        .enumerate()
        .filter(|(n, a)| !a.starts_with("--") && (*n == 0 || !skip.contains(&args[n - 1].as_str())))
        .map(|(_, a)| a)
        .collect();
    let mut failed = 0;
    for (name, mode, ..) in all().into_iter().filter(|_| !ignored) {
        let is_wanted = |w: &&String| if exact { name == **w } else { name.contains(w.as_str()) };
        if !wanted.is_empty() && !wanted.iter().any(is_wanted) {
            continue;
        }
        let passed = in_own_process(&name, mode);
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += u32::from(!passed);
    }
    ExitCode::from(u8::from(failed > 0))
}

/// The command that runs this program as the user of `mode`.
fn as_user(mode: ModeName) -> Command {
    let own = std::env::current_exe().expect("own path");
    let root = rustix::process::geteuid().is_root();
    let mut command = if mode == ModeName::Root || !root {
        Command::new(own)
    } else {
        bed::ensure_tester();
        let mut command = Command::new("runuser");
        command.args(["-u", bed::TESTER, "--"]).arg(own);
        command
    };
    if mode == ModeName::Single {
        command.env("STRAKE_USERNS", "single");
    }
    command
}

fn in_own_process(name: &str, mode: ModeName) -> bool {
    as_user(mode).args(["--in-process", name]).status().expect("own executable runs").success()
}

fn in_process(name: &str) -> ExitCode {
    let (_, mode, which, case) = all_named(name);
    let bed = Bed::new(mode, which);
    (case.run)(&bed);
    ExitCode::SUCCESS
}

fn all_named(name: &str) -> (String, ModeName, Which, Case) {
    // Not by `all`, which leaves root's cases out for others.
    let (mode, rest) = name.split_once("::").expect("mode");
    let (which, case_name) = rest.split_once("::").expect("runtime");
    let mode = MODES.iter().copied().find(|m| m.to_string() == mode).expect("a mode");
    let which = EVERY.iter().copied().find(|w| w.to_string() == which).expect("a runtime");
    let lists = [cases::CASES, confinement::CASES, lifetime::CASES, mounts::CASES];
    let case = lists.into_iter().flatten().find(|c| c.name == case_name).expect("a case");
    (name.to_owned(), mode, which, Case { ..*case })
}
