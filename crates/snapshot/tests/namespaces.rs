//! The same layers from root, from an ordinary user with subordinate ids (`strake-test`), from one without, and from root
//! confined to one id: whoever applies a tar, or makes one of a step's upper directory, gets the same bytes.
//!
//! A process must be single-threaded to enter namespaces, which the usual harness is not: hence this `main`, which
//! runs each case in a process of its own and speaks as much of the harness's language as cargo and nextest need.
//! Cases that need root, or `strake-test` with a range in /etc/subuid, say so and pass where there is none.

mod support;

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use runtime::{Mode, Overlay, Upper};
use rustix::fs::{AtFlags, OFlags};
use snapshot::{Entry, Error, Kind, Mtime, Owner, View};
use support::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Root,
    Tester,
    Nobody,
    Single,
}

type Case = (&'static str, fn(Mode));

const CASES: [Case; 3] = [
    ("layers_of_any_user", layers_of_any_user),
    ("a_step_of_any_user", a_step_of_any_user),
    ("owners_beyond_the_range", owners_beyond_the_range),
];

/// No entry in any file.
const NOBODY: u32 = 47_110;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if let [flag, name] = arguments.as_slice()
        && flag == "--inside"
    {
        let mode = runtime::enter().expect("namespaces");
        let (_, run) = CASES.iter().find(|(case, _)| case == name).expect("a known case");
        run(mode);
        return ExitCode::SUCCESS;
    }
    let all = CASES
        .iter()
        .flat_map(|(name, _)| [Who::Root, Who::Tester, Who::Nobody, Who::Single].map(|who| (*name, who)));
    let all: Vec<_> = all
        .map(|(name, who)| (format!("{name}::{}", format!("{who:?}").to_lowercase()), name, who))
        .collect();
    if has("--list") {
        for (title, ..) in all.iter().filter(|_| !has("--ignored")) {
            println!("{title}: test");
        }
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let mut failed = 0;
    for (title, name, who) in &all {
        if wanted.is_empty()
            || wanted.iter().any(|w| if has("--exact") { *w == title } else { title.contains(*w) })
        {
            let ok = run(name, *who);
            println!("test {title} ... {}", if ok { "ok" } else { "FAILED" });
            failed += usize::from(!ok);
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(name: &str, who: Who) -> bool {
    let root = rustix::process::geteuid().is_root();
    let mut command = Command::new(std::env::current_exe().expect("an executable"));
    command.args(["--inside", name]).env_remove("STRAKE_USERNS").current_dir("/");
    match (who, root) {
        (Who::Root, true) | (Who::Tester, false) => {}
        (Who::Single, _) => {
            command.env("STRAKE_USERNS", "single");
        }
        (Who::Tester, true) => match tester() {
            Some(uid) => {
                command.uid(uid).gid(uid);
            }
            None => {
                println!("skipped: no user `strake-test` with a range in /etc/subuid");
                return true;
            }
        },
        (Who::Nobody, true) => {
            command.uid(NOBODY).gid(NOBODY);
        }
        (Who::Root | Who::Nobody, false) => {
            println!("skipped: needs root");
            return true;
        }
    }
    command.status().expect("the case's process").success()
}

fn tester() -> Option<u32> {
    std::fs::read_to_string("/etc/subuid").ok()?.lines().find(|line| line.starts_with("strake-test:"))?;
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.starts_with("strake-test:"))?;
    line.split(':').nth(2)?.parse().ok()
}

fn owned((mut entry, content): (Entry, &[u8]), id: u32, mode: u32, sec: i64) -> (Entry, &[u8]) {
    entry.owner = Owner { uid: id, gid: id + 1 };
    entry.mode = mode;
    entry.mtime = Mtime { sec, nsec: 0 };
    (entry, content)
}

const ROOT_OWNED: u32 = 0;

fn with_ids(mut entries: Vec<(Entry, &'static [u8])>) -> Vec<u8> {
    for (entry, _) in &mut entries {
        if entry.owner.uid == ROOT_OWNED {
            entry.owner = Owner::ROOT;
        }
    }
    tar(&entries)
}

/// A tar applied is the same tar again, with owners, capabilities and devices.
fn layers_of_any_user(mode: Mode) {
    let mut ping = owned(file("bin/ping", "elf"), 0, 0o4755, 7);
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    ping.0.xattrs.insert(b"security.capability".to_vec(), capability.to_vec());
    ping.0.xattrs.insert(b"user.overlay.metacopy".to_vec(), b"".to_vec());
    let bytes = with_ids(vec![
        owned(dir("bin"), 0, 0o2755, 5),
        ping,
        owned(dir("dev"), 0, 0o755, 5),
        owned((Entry::new("dev/null", Kind::CharDevice { major: 1, minor: 3 }, 0), b""), 0, 0o666, 5),
        owned((Entry::new("dev/sda", Kind::BlockDevice { major: 8, minor: 0 }, 0), b""), 0, 0o660, 5),
        owned(dir("home"), 1000, 0o700, 5),
        owned(file("home/a", "1"), 1000, 0o600, 5),
        owned(hard_link("home/b", "home/a"), 1000, 0o600, 5),
        owned(symlink("home/l", "a"), 1000, 0o777, 5),
        owned((Entry::new("home/pipe", Kind::Fifo, 0), b""), 60_000, 0o620, 5),
    ]);
    let mut layers = Layers::new();
    layers.ids = mode;
    let (fs, applied) = layers.push(&bytes);
    assert!(diff_bytes(&fs) == bytes, "{mode:?}");
    let devices = if mode == Mode::Root { 0 } else { 2 };
    assert_eq!((applied.notes.devices, applied.notes.xattrs), (devices, 0), "{:?}", applied.notes);
    assert_eq!(fs.with_file_name("owners").exists(), mode != Mode::Root);
    layers.push(&tar(&[owned(file("home/c", "2"), 5, 0o644, 5)]));
    let view = View::open(&layers.stack).unwrap();
    let stat = view.stat(b"dev/null").unwrap().unwrap();
    assert_eq!((stat.st_mode, stat.st_rdev), (0o020666, rustix::fs::makedev(1, 3)));
    let ids = |path: &[u8]| view.lstat(path).unwrap().map(|s| (s.st_uid, s.st_gid)).unwrap();
    assert_eq!(
        (ids(b"home/a"), ids(b"home/l"), ids(b"home"), ids(b"home/c")),
        ((1000, 1001), (1000, 1001), (1000, 1001), (5, 6))
    );
    assert_eq!(view.owners().unwrap().0.contains_key(&b"home/c"[..]), mode == Mode::SingleId);
}

/// What a container could have done to a tree, done through an overlay of it.
fn a_step_of_any_user(mode: Mode) {
    let mut layers = Layers::new();
    layers.ids = mode;
    let mut skip = owned(dir("skipped"), 0, 0o755, 5);
    skip.0.xattrs.insert(b"user.note".to_vec(), b"1".to_vec());
    layers.push(&with_ids(vec![
        owned(dir("d"), 0, 0o755, 500),
        owned(file("d/gone", "1"), 0, 0o644, 400),
        owned(file("d/keep", "12345"), 5, 0o640, 400),
        owned((Entry::new("dev/null", Kind::CharDevice { major: 1, minor: 3 }, 0), b""), 0, 0o666, 5),
        owned(dir("e"), 9, 0o755, 500),
        owned(file("e/x", "1"), 9, 0o644, 300),
        owned(file("h1", "linked"), 8, 0o644, 300),
        owned(hard_link("h2", "h1"), 8, 0o644, 300),
        owned(symlink("l", "d"), 7, 0o777, 300),
        owned(dir("o"), 3, 0o750, 500),
        skip,
    ]));
    layers.push(&tar(&[owned(file("other", "1"), 0, 0o644, 400)]));
    let fs = layers.empty();
    let work = fs.with_file_name("work");
    std::fs::create_dir(&work).unwrap();
    let upper = Some(Upper { fs: &fs, work: &work });
    let mount = runtime::mount_overlay(&Overlay { lowers: &layers.stack, upper }).unwrap();
    step(&mount);
    drop(mount);
    if mode == Mode::SingleId {
        snapshot::owners::settle(&fs, &layers.stack, &[], snapshot::Owner::ROOT).unwrap();
    }
    snapshot::normalize(&fs, Some(1000)).unwrap();
    let notes = [&b"user.overlay.origin"[..], b"user.overlay.impure", b"user.overlay.uuid"];
    for path in tree(&fs).keys() {
        let found = xattrs(&fs.join(PathBuf::from(String::from_utf8(path.clone()).unwrap())));
        assert!(!notes.iter().any(|note| found.contains_key(*note)), "{found:?}");
    }
    let root_at = |entry, mode| owned(entry, 0, mode, 1000);
    let want = with_ids(vec![
        root_at(dir("d"), 0o755),
        (Entry::new("d/.wh.gone", Kind::File { size: 0 }, 0), b""),
        (Entry::new("d/.wh.keep", Kind::File { size: 0 }, 0), b""),
        owned(file("d/moved", "12345"), 5, 0o600, 400),
        root_at(dir("e"), 0o711),
        (Entry::new("e/.wh..wh..opq", Kind::File { size: 0 }, 0), b""),
        root_at(file("e/new", "new"), 0o644),
        owned(file("h1", "linked"), 8, 0o600, 300),
        owned(symlink("l", "d"), 7, 0o777, 300),
        owned(hard_link("l2", "l"), 7, 0o777, 300),
        owned(dir("o"), 3, 0o750, 1000),
        root_at(file("o/new", "new"), 0o644),
    ]);
    let made = diff_bytes(&fs);
    assert!(made == want, "{mode:?}:\n{}\n{}", listing(&made), listing(&want));
    // On a file system of its own it is the same again.
    let (again, _) = layers.push(&made);
    assert!(diff_bytes(&again) == want);
}

fn step(mount: &OwnedFd) {
    let write = |path: &str| {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(mount, path, flags, rustix::fs::Mode::empty()).unwrap();
        rustix::fs::fchmod(&fd, rustix::fs::Mode::from_raw_mode(0o644)).unwrap();
        rustix::io::write(&fd, b"new").unwrap();
    };
    let chmod = |path: &str, mode| {
        rustix::fs::chmodat(mount, path, rustix::fs::Mode::from_raw_mode(mode), AtFlags::empty()).unwrap();
    };
    let remove = |path: &str| runtime::beneath::remove_all(mount.as_fd(), Path::new(path)).unwrap();
    remove("d/gone");
    chmod("d/keep", 0o600);
    rustix::fs::renameat(mount, "d/keep", mount, "d/moved").unwrap();
    remove("e");
    rustix::fs::mkdirat(mount, "e", rustix::fs::Mode::RWXU).unwrap();
    chmod("e", 0o711);
    write("e/new");
    write("o/new");
    chmod("h1", 0o600);
    rustix::fs::linkat(mount, "l", mount, "l2", AtFlags::empty()).unwrap();
}

fn listing(bytes: &[u8]) -> String {
    let mut tar = snapshot::tar_reader::TarReader::new(bytes, 1 << 20);
    let mut text = String::new();
    while let Some(entry) = tar.next().unwrap() {
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        text += &format!(
            "{path} {:?} {:o} {}:{} {:?}\n",
            entry.kind, entry.mode, entry.uid, entry.gid, entry.mtime
        );
    }
    text
}

fn owners_beyond_the_range(mode: Mode) {
    let mut layers = Layers::new();
    layers.ids = mode;
    let bytes = tar(&[owned(file("far", "1"), 3_000_000_000, 0o644, 0)]);
    let (fs, applied) = layers.try_push(&bytes);
    match mode {
        Mode::Root | Mode::SingleId => {
            applied.unwrap();
            assert!(diff_bytes(&fs) == bytes);
        }
        Mode::Mapped => {
            let error = applied.unwrap_err();
            assert!(matches!(error, Error::UnmappedOwner { .. }));
            let text = error.to_string();
            for part in ["far", "uid 3000000000", "0-", "/etc/subuid"] {
                assert!(text.contains(part), "{text}");
            }
        }
    }
}
