//! Real commands killed at random moments, by SIGKILL: the store stays sound, nothing stays mounted or
//! running, and after a prune not a byte is left over.
//!
//! `STRAKE_CRASH_ROUNDS` says how often (default 40), `STRAKE_CRASH_SEED` with which random numbers.

#[path = "cli/harness.rs"]
#[allow(dead_code)]
mod harness;
#[path = "cli/project.rs"]
#[allow(dead_code)]
mod project;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use project::Project;

/// Numbers that look random (xorshift), the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn killed_commands_leave_a_sound_store() {
    let rounds = number("STRAKE_CRASH_ROUNDS").unwrap_or(40);
    let seed = number("STRAKE_CRASH_SEED").unwrap_or_else(|| {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos().into()
    });
    eprintln!("STRAKE_CRASH_SEED={seed} STRAKE_CRASH_ROUNDS={rounds}");
    let mut dice = Dice(seed | 1);

    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox AS a\nCOPY files /files\nRUN for i in 1 2 3 4 5 6 7 8 9; do echo $i > /n$i; done; sleep 0.02\n\
         FROM busybox\nCOPY --from=a /files /n1 /x/\nRUN rm /x/n1; mkdir /y; sleep 0.01\n",
    )]);
    for file in 0..150 {
        project.write(&format!("files/d{}/f{file}", file % 7), &format!("{file} {}", "x".repeat(file * 10)));
    }
    let base = project.path("base.tar");
    let base = base.to_str().unwrap();
    project.store.ok(&["save", "-o", base, "busybox"]);
    project.store.ok(&["system", "prune", "-af"]);
    let baseline = disk(&project.store.root());

    let dir = project.path("");
    let dir = dir.to_str().unwrap();
    let mut done = [0u32; 2];
    for round in 0..rounds {
        if round % 7 == 0 {
            project.store.ok(&["load", "-q", "-i", base]);
        }
        let changed = round.to_string();
        let args: Vec<&str> = match dice.roll(9) {
            0 => vec!["build", "-t", "t", "--no-cache", dir],
            1 | 2 => {
                project.write("files/changing", &changed);
                vec!["build", "-t", "t", dir]
            }
            3 => vec!["load", "-i", base],
            4 => vec!["run", "busybox", "sh", "-c", "echo 1 > /kept; sleep 0.05"],
            5 => vec!["run", "--rm", "busybox", "sh", "-c", "mkdir -p /a/b; sleep 0.05"],
            6 => vec!["rmi", "-f", "t"],
            7 => vec!["system", "prune", "-f"],
            _ => vec!["container", "prune", "-f"],
        };
        let mut child =
            project.store.command().args(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(dice.roll(120_000)));
        let _ = child.kill();
        let status = child.wait().unwrap();
        done[usize::from(status.code().is_some())] += 1;
        let check = project.store.run(&["system", "check"]);
        assert_eq!(check.code, 0, "round {round}, seed {seed}: after {args:?}: {check:?}");
    }
    eprintln!("{} killed, {} done before", done[0], done[1]);

    // The store goes on working.
    project.store.ok(&["load", "-q", "-i", base]);
    project.built(&["--no-cache"]);
    assert_eq!(project.sh("cat /x/d0/f0"), "0 ");

    assert_eq!(left_running(&project.store.root()), Vec::<String>::new());
    project.store.ok(&["container", "prune", "-f"]);
    project.store.ok(&["system", "prune", "-af"]);
    let left = disk(&project.store.root());
    assert!(
        left <= baseline + 64 * 1024,
        "{left} bytes are left of {baseline}: {}",
        list(&project.store.root())
    );
}

/// Bytes on disk below `root`.
fn disk(root: &Path) -> u64 {
    let output = std::process::Command::new("du").arg("-s").arg("--block-size=1").arg(root).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

fn list(root: &Path) -> String {
    let output = std::process::Command::new("find").arg(root).arg("-ls").output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Processes that still have to do with the store: by their command line, or by a mount of it.
fn left_running(root: &Path) -> Vec<String> {
    let root = root.to_str().unwrap();
    // The kernel takes a moment to end what lost its parent.
    for _ in 0..50 {
        let left = processes(root);
        if left.is_empty() {
            return left;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    processes(root)
}

fn processes(root: &str) -> Vec<String> {
    let mut left = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        let mounts = fs::read_to_string(path.join("mountinfo")).unwrap_or_default();
        if mounts.contains(root) {
            let command = fs::read_to_string(path.join("cmdline")).unwrap_or_default();
            left.push(format!("{}: {}", path.display(), command.replace('\0', " ")));
        }
    }
    left
}
