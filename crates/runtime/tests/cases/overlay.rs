//! Stacks of directories.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use runtime::{Error, MAX_LOWERS, Overlay, Upper, beneath, mount_overlay};

use super::{Scratch, own_mounts};
use crate::{Case, Who};

pub const CASES: &[Case] = &[
    Case { name: "overlay_writes_to_the_upper_only", who: EVERYONE, run: writes_to_the_upper_only },
    Case { name: "overlay_by_older_ways", who: EVERYONE, run: older_ways },
    Case { name: "overlay_of_many_layers", who: EVERYONE, run: many_layers },
    Case { name: "overlay_in_many_threads", who: &[Who::Root, Who::Tester], run: many_threads },
    Case { name: "overlay_of_few_layers", who: EVERYONE, run: few_layers },
    Case { name: "overlay_upper_on_overlay", who: EVERYONE, run: upper_on_overlay },
    Case { name: "overlay_of_missing_directories", who: EVERYONE, run: missing_directories },
    Case { name: "overlay_is_gone_when_killed", who: &[Who::Root, Who::Tester], run: gone_when_killed },
];

const EVERYONE: &[Who] = &[Who::Root, Who::Tester, Who::Nobody, Who::Single];

/// A path through an open directory.
fn at(mount: &OwnedFd, path: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{path}", mount.as_raw_fd()))
}

struct Stack {
    lowers: Vec<PathBuf>,
    fs: PathBuf,
    work: PathBuf,
}

impl Stack {
    /// `count` layers, topmost first; each has a file with its number, and its own `top`.
    fn new(scratch: &Scratch, count: usize) -> Stack {
        let lowers: Vec<PathBuf> = (0..count)
            .map(|n| {
                let layer = scratch.dir(&format!("layers/a-rather-long-directory-name-as-digests-have/{n}"));
                fs::write(layer.join(format!("file{n}")), n.to_string()).unwrap();
                fs::write(layer.join("top"), n.to_string()).unwrap();
                layer
            })
            .collect();
        Stack { lowers, fs: scratch.dir("fs"), work: scratch.dir("work") }
    }

    fn mount(&self) -> Result<OwnedFd, Error> {
        mount_overlay(&Overlay {
            lowers: &self.lowers,
            upper: Some(Upper { fs: &self.fs, work: &self.work }),
        })
    }

    fn view(&self) -> Result<OwnedFd, Error> {
        mount_overlay(&Overlay { lowers: &self.lowers, upper: None })
    }
}

fn exercise(stack: &Stack, scratch: &Scratch) {
    let bottom = stack.lowers.last().unwrap().clone();
    fs::create_dir_all(bottom.join("dir/sub")).unwrap();
    fs::write(bottom.join("dir/old"), "old").unwrap();
    fs::write(bottom.join("gone"), "").unwrap();

    let mount = stack.mount().unwrap();
    assert_eq!(fs::read_to_string(at(&mount, "top")).unwrap(), "0");
    let last = stack.lowers.len() - 1;
    assert_eq!(fs::read_to_string(at(&mount, &format!("file{last}"))).unwrap(), last.to_string());
    fs::write(at(&mount, "top"), "changed").unwrap();
    fs::write(at(&mount, "new"), "new").unwrap();
    fs::remove_file(at(&mount, "gone")).unwrap();
    fs::remove_dir_all(at(&mount, "dir")).unwrap();
    fs::create_dir(at(&mount, "dir")).unwrap();
    fs::write(at(&mount, "dir/young"), "young").unwrap();
    // The descriptor is a root for hostile paths too.
    let file = beneath::open_file(mount.as_fd(), "../../dir/./young").unwrap();
    drop(file);
    assert_eq!(own_mounts(), [""; 0], "no mount point, so nothing in mountinfo");
    drop(mount);

    assert_eq!(fs::read_to_string(stack.lowers[0].join("top")).unwrap(), "0", "lowers stay");
    assert!(bottom.join("gone").exists() && bottom.join("dir/old").exists());
    assert_eq!(fs::read_to_string(stack.fs.join("top")).unwrap(), "changed");
    let whiteout = fs::symlink_metadata(stack.fs.join("gone")).unwrap();
    assert!(whiteout.file_type().is_char_device());
    assert_eq!(whiteout.rdev(), 0);
    let mut opaque = [0; 8];
    let n = rustix::fs::getxattr(stack.fs.join("dir"), "user.overlay.opaque", &mut opaque).unwrap();
    assert_eq!(&opaque[..n], b"y");

    // Again on the same upper, which the kernel by itself refuses after a volatile mount.
    assert!(stack.work.join("work/incompat").exists());
    let again = stack.mount().unwrap();
    assert!(!at(&again, "gone").exists() && !at(&again, "dir/old").exists());
    assert_eq!(fs::read_to_string(at(&again, "dir/young")).unwrap(), "young");
    drop(again);

    let mut lowers = stack.lowers.clone();
    lowers.insert(0, stack.fs.clone());
    let view = Stack { lowers, fs: scratch.dir("fs2"), work: scratch.dir("work2") }.view().unwrap();
    assert_eq!(fs::read_to_string(at(&view, "top")).unwrap(), "changed");
    assert!(!at(&view, "dir/old").exists());
    let error = fs::write(at(&view, "new"), "").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EROFS));
    drop(view);
    assert_eq!(own_mounts(), [""; 0]);
}

fn writes_to_the_upper_only(_: Who) {
    runtime::enter().unwrap();
    let scratch = Scratch::new();
    exercise(&Stack::new(&scratch, 3), &scratch);
}

fn set_way(way: &str) {
    // SAFETY: the process has no other thread here that could read the environment.
    unsafe { std::env::set_var("STRAKE_OVERLAY_MOUNT", way) };
}

/// The kernel's version.
pub fn kernel() -> (u32, u32) {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

fn older_ways(_: Who) {
    runtime::enter().unwrap();
    for (way, since) in [("descriptor", (6, 15)), ("path", (6, 8)), ("legacy", (5, 11))] {
        set_way(way);
        let scratch = Scratch::new();
        let stack = Stack::new(&scratch, 3);
        // Distributions take some of it to older kernels.
        if kernel() < since
            && let Err(error) = stack.mount()
        {
            let unknown = [libc::EINVAL, libc::EOPNOTSUPP, libc::EBADF].map(Some);
            assert!(unknown.contains(&error.raw_os_error()), "{way}: {error}");
            continue;
        }
        exercise(&stack, &scratch);
        drop(scratch);
        let scratch = Scratch::new();
        let stack = Stack::new(&scratch, 300);
        let mount = stack.mount().unwrap();
        assert_eq!(fs::read_to_string(at(&mount, "file299")).unwrap(), "299", "{way}");
        drop(mount);
        drop(stack.view().unwrap());
        assert_eq!(own_mounts(), [""; 0]);
    }
    let left = fs::read_dir(std::env::temp_dir()).unwrap().filter_map(Result::ok);
    let ours = format!("strake-mount-{}-", std::process::id());
    assert_eq!(left.filter(|entry| entry.file_name().to_string_lossy().starts_with(&ours)).count(), 0);
}

fn many_layers(_: Who) {
    runtime::enter().unwrap();
    let scratch = Scratch::new();
    let mut stack = Stack::new(&scratch, MAX_LOWERS + 1);
    let error = stack.mount().unwrap_err();
    assert!(matches!(error, Error::TooManyLayers { count: 501, limit: 500 }), "{error}");
    assert!(matches!(stack.view().unwrap_err(), Error::TooManyLayers { .. }));
    for count in [500, 300, 130, 2] {
        stack.lowers.truncate(count);
        let start = Instant::now();
        let mount = stack.mount().unwrap();
        let mounted = start.elapsed();
        assert_eq!(
            fs::read_to_string(at(&mount, &format!("file{}", count - 1))).unwrap(),
            (count - 1).to_string()
        );
        fs::write(at(&mount, "top"), "x").unwrap();
        let start = Instant::now();
        drop(mount);
        println!("{count} layers: mount {mounted:?}, unmount {:?}", start.elapsed());
    }
}

fn many_threads(_: Who) {
    runtime::enter().unwrap();
    let ways: &[&str] = if kernel() < (6, 15) { &["legacy"] } else { &["descriptor", "legacy"] };
    for way in ways {
        set_way(way);
        let scratch = Scratch::new();
        let lowers = Stack::new(&scratch, 20).lowers;
        std::thread::scope(|scope| {
            for n in 0..8 {
                let (fs, work) = (scratch.dir(&format!("fs{n}")), scratch.dir(&format!("work{n}")));
                let lowers = lowers.clone();
                scope.spawn(move || {
                    let stack = Stack { lowers, fs, work };
                    for _ in 0..10 {
                        let mount = stack.mount().unwrap();
                        fs::write(at(&mount, "file19"), n.to_string()).unwrap();
                        let view = stack.view().unwrap();
                        assert_eq!(fs::read_to_string(at(&view, "file19")).unwrap(), "19");
                    }
                });
            }
        });
        for n in 0..8 {
            let written = fs::read_to_string(scratch.0.join(format!("fs{n}/file19"))).unwrap();
            assert_eq!(written, n.to_string());
        }
        assert_eq!(own_mounts(), [""; 0]);
    }
}

fn few_layers(_: Who) {
    runtime::enter().unwrap();
    let scratch = Scratch::new();
    let stack = Stack::new(&scratch, 1);
    let one = stack.view().unwrap();
    assert_eq!(fs::read_to_string(at(&one, "file0")).unwrap(), "0");

    let none = mount_overlay(&Overlay { lowers: &[], upper: None }).unwrap();
    assert_eq!(fs::read_dir(at(&none, "")).unwrap().count(), 0);
    assert_eq!(fs::write(at(&none, "x"), "").unwrap_err().raw_os_error(), Some(libc::EROFS));

    let upper = Some(Upper { fs: &stack.fs, work: &stack.work });
    let scratch_stage = mount_overlay(&Overlay { lowers: &[], upper }).unwrap();
    fs::write(at(&scratch_stage, "x"), "x").unwrap();
    drop(scratch_stage);
    assert_eq!(fs::read_to_string(stack.fs.join("x")).unwrap(), "x");
}

fn upper_on_overlay(_: Who) {
    runtime::enter().unwrap();
    let scratch = Scratch::new();
    let below = Stack::new(&scratch, 2);
    let outer = below.mount().unwrap();
    fs::create_dir(at(&outer, "fs")).unwrap();
    fs::create_dir(at(&outer, "work")).unwrap();
    let error = Stack { lowers: below.lowers.clone(), fs: at(&outer, "fs"), work: at(&outer, "work") }
        .mount()
        .unwrap_err();
    assert!(matches!(&error, Error::UpperFileSystem { kind, .. } if kind == "overlayfs"), "{error}");
    assert!(error.to_string().contains("--root"), "{error}");
}

fn missing_directories(_: Who) {
    runtime::enter().unwrap();
    let scratch = Scratch::new();
    let mut stack = Stack::new(&scratch, 2);
    fs::write(scratch.0.join("file"), "").unwrap();
    stack.lowers.push(scratch.0.join("missing"));
    let error = stack.mount().unwrap_err();
    assert!(error.to_string().contains(&*scratch.0.join("missing").to_string_lossy()), "{error}");
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    stack.lowers[2] = scratch.0.join("file");
    assert_eq!(stack.mount().unwrap_err().raw_os_error(), Some(libc::ENOTDIR));
    stack.lowers.pop();
    stack.work = Path::new("/proc").to_owned();
    let error = stack.mount().unwrap_err();
    println!("{error}");
}

fn gone_when_killed(_: Who) {
    runtime::enter().unwrap();
    let scratch = Scratch::new();
    let stack = Stack::new(&scratch, 3);
    // SAFETY: the process has one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let mount = stack.mount().unwrap();
        fs::write(at(&mount, "written"), "").unwrap();
        // SAFETY: kills this process, and no other.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
    let child = rustix::process::Pid::from_raw(child).unwrap();
    rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty()).unwrap();
    assert!(stack.fs.join("written").exists());
    assert_eq!(own_mounts(), [""; 0]);
    // The upper is free for the next.
    drop(stack.mount().unwrap());
}
