//! A container's chown family where there is one id, without the container: a process in the root of an overlay, with
//! pids of its own, and the recorder beside it.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, fchown, lchown, symlink};
use std::path::{Path, PathBuf};

use runtime::owners::{Device, FileId, OwnerRecord, Recorder, decode, listen};
use runtime::{Mode, Overlay, Upper, mount_overlay};
use rustix::fs::{CWD, FileType};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::Scratch;
use crate::{Case, Who};

pub const CASES: &[Case] = &[
    Case { name: "owners_follow_files_to_other_names", who: ONE_ID, run: follow_renames },
    Case { name: "owners_by_every_kind_of_path", who: ONE_ID, run: every_kind_of_path },
    Case { name: "owners_of_lower_files_are_copied_up", who: ONE_ID, run: copied_up },
    Case { name: "owners_calls_that_fail_fail", who: ONE_ID, run: failures },
    Case { name: "owners_of_devices", who: ONE_ID, run: devices },
    Case { name: "owners_identity_calls_succeed", who: ONE_ID, run: identity },
    Case { name: "owners_asked_by_many_processes", who: ONE_ID, run: many_processes },
    Case { name: "owners_of_deleted_files_are_no_one_elses", who: ONE_ID, run: deleted },
    Case { name: "owners_after_a_kill", who: ONE_ID, run: after_a_kill },
    Case { name: "owners_stay_in_the_container", who: ONE_ID, run: stay_inside },
    Case { name: "owners_cost", who: ONE_ID, run: cost },
];

const ONE_ID: &[Who] = &[Who::Nobody, Who::Single];

struct Ground {
    scratch: Scratch,
    lower: PathBuf,
    upper: PathBuf,
}

impl Ground {
    fn new() -> Ground {
        assert_eq!(runtime::enter().unwrap(), Mode::SingleId);
        let scratch = Scratch::new();
        let (lower, upper) = (scratch.dir("lower"), scratch.dir("upper"));
        scratch.dir("work");
        for directory in ["etc", "tmp", "bin", "proc", "dev"] {
            fs::create_dir(lower.join(directory)).unwrap();
        }
        fs::write(lower.join("etc/passwd"), "root").unwrap();
        fs::write(lower.join("bin/su"), "su").unwrap();
        fs::set_permissions(lower.join("bin/su"), fs::Permissions::from_mode(0o4755)).unwrap();
        Ground { scratch, lower, upper }
    }

    /// Runs `inside` in the container; the records of it, by path.
    fn run(&self, inside: impl FnOnce()) -> BTreeMap<PathBuf, OwnerRecord> {
        let lowers = [self.lower.clone(), self.scratch.dir("bottom")];
        let work = self.scratch.0.join("work");
        let upper = Upper { fs: &self.upper, work: &work };
        let root = mount_overlay(&Overlay { lowers: &lowers, upper: Some(upper) }).unwrap();
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let child = fork_into(libc::CLONE_NEWPID, || {
            rustix::process::fchdir(&root).unwrap();
            rustix::process::chroot(".").unwrap();
            std::env::set_current_dir("/").unwrap();
            let listener = listen().unwrap();
            writer.write_all(&listener.as_raw_fd().to_le_bytes()).unwrap();
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
            // Not closed: the supervisor may not have it yet. The first call that is held waits for the recorder.
            std::mem::forget(listener);
            inside();
        });
        let mut number = [0; 4];
        reader.read_exact(&mut number).unwrap();
        let pidfd = pidfd_open(child, PidfdFlags::empty()).unwrap();
        let listener = pidfd_getfd(pidfd, i32::from_le_bytes(number), PidfdGetfdFlags::empty()).unwrap();
        let recorder = Recorder::start(listener, child, Some(&self.upper)).unwrap();
        drop(root);
        let status = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
        assert_eq!(status.unwrap().unwrap().1.exit_status(), Some(0), "the container's process");
        let records = decode(recorder.finish().unwrap()).unwrap();
        for record in &records {
            println!("{record:?}");
        }
        records.into_iter().map(|record| (record.path.clone(), record)).collect()
    }

    /// The identity of a file in the upper directory.
    fn file(&self, path: &str) -> FileId {
        FileId::of(CWD, self.upper.join(path)).unwrap()
    }
}

fn fork(inside: impl FnOnce()) -> Pid {
    fork_into(0, inside)
}

fn fork_into(namespaces: libc::c_int, inside: impl FnOnce()) -> Pid {
    // SAFETY: without a stack of its own this is a fork, and the process has one thread.
    match unsafe { libc::syscall(libc::SYS_clone, namespaces | libc::SIGCHLD, 0, 0, 0, 0) as i32 } {
        0 => {
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(inside));
            // SAFETY: ends the process.
            unsafe { libc::_exit(i32::from(ended.is_err())) }
        }
        pid => Pid::from_raw(pid).unwrap(),
    }
}

fn ids(record: &OwnerRecord) -> (Option<u32>, Option<u32>) {
    (record.uid, record.gid)
}

fn follow_renames(_: Who) {
    let ground = Ground::new();
    let records = ground.run(|| {
        // As dpkg does.
        fs::write("/etc/foo.dpkg-new", "x").unwrap();
        chown("/etc/foo.dpkg-new", Some(33), Some(33)).unwrap();
        fs::rename("/etc/foo.dpkg-new", "/etc/foo").unwrap();
        fs::create_dir("/tmp/dir").unwrap();
        fs::write("/tmp/dir/file", "").unwrap();
        chown("/tmp/dir/file", Some(7), None).unwrap();
        chown("/tmp/dir", None, Some(8)).unwrap();
        fs::rename("/tmp/dir", "/etc/moved").unwrap();
        fs::hard_link("/etc/foo", "/etc/linked").unwrap();
        chown("/etc/linked", None, Some(99)).unwrap();
    });
    let by_file = |path: &str| {
        let id = ground.file(path);
        records.values().find(|record| record.file == id).unwrap_or_else(|| panic!("no record of {path}"))
    };
    assert_eq!(records.len(), 3);
    assert_eq!(ids(by_file("etc/foo")), (Some(33), Some(99)));
    assert_eq!(ground.file("etc/foo"), ground.file("etc/linked"));
    assert_eq!(by_file("etc/foo").path, Path::new("/etc/linked"));
    assert_eq!(ids(by_file("etc/moved/file")), (Some(7), None));
    assert_eq!(ids(by_file("etc/moved")), (None, Some(8)));
}

fn every_kind_of_path(_: Who) {
    let ground = Ground::new();
    let records = ground.run(|| {
        for name in
            ["absolute", "relative", "descriptor", "at", "target", "linked", "up", "not \u{fffd}", "empty"]
        {
            fs::write(Path::new("/tmp").join(name), "").unwrap();
        }
        chown("/tmp/absolute", Some(1), Some(1)).unwrap();
        std::env::set_current_dir("/tmp").unwrap();
        chown("relative", Some(2), Some(2)).unwrap();
        fchown(File::open("descriptor").unwrap(), Some(3), Some(3)).unwrap();
        let directory = File::open("/tmp").unwrap();
        let at = |path: &str, id: u32, flags: i32| {
            let path = CString::new(path).unwrap();
            // SAFETY: a system call with a C string.
            let rc = unsafe { libc::fchownat(directory.as_raw_fd(), path.as_ptr(), id, id, flags) };
            assert_eq!(rc, 0, "{path:?}: {}", std::io::Error::last_os_error());
        };
        at("at", 4, 0);
        symlink("target", "link").unwrap();
        chown("link", Some(5), Some(5)).unwrap();
        symlink("/tmp/linked", "link2").unwrap();
        lchown("link2", Some(6), Some(6)).unwrap();
        at("../../../tmp/./up", 7, 0);
        at("", 8, libc::AT_EMPTY_PATH);
        let empty = File::open("empty").unwrap();
        // SAFETY: a system call with a C string.
        let rc = unsafe { libc::fchownat(empty.as_raw_fd(), c"".as_ptr(), 9, 9, libc::AT_EMPTY_PATH) };
        assert_eq!(rc, 0);
        chown("/", Some(10), Some(10)).unwrap();

        // A long path, over the end of a page, and a working directory beyond PATH_MAX.
        let long = "d".repeat(200);
        for _ in 0..30 {
            fs::create_dir(&long).unwrap();
            std::env::set_current_dir(&long).unwrap();
        }
        fs::write("deep", "").unwrap();
        lchown("deep", Some(11), Some(11)).map_err(|error| error.raw_os_error()).unwrap_or_else(|error| {
            assert_eq!(error, Some(libc::ENAMETOOLONG));
        });
        std::env::set_current_dir("/tmp").unwrap();

        // A pipe or a terminal, by its usual names.
        symlink("/dev/stderr", "/tmp/log").unwrap();
        for path in ["/dev/stdout", "/proc/self/fd/2", "/tmp/log"] {
            chown(path, Some(1), Some(1)).unwrap();
        }

        // Chrooted inside.
        fs::create_dir_all("/tmp/jail/etc").unwrap();
        fs::write("/tmp/jail/etc/inner", "").unwrap();
        symlink("/etc/inner", "/tmp/jail/link").unwrap();
        let child = fork(|| {
            rustix::process::chroot("/tmp/jail").unwrap();
            std::env::set_current_dir("/").unwrap();
            chown("/link", Some(12), Some(12)).unwrap();
            chown("../../etc", Some(13), Some(13)).unwrap();
        });
        let status = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
        assert_eq!(status.unwrap().unwrap().1.exit_status(), Some(0));
        chown("/tmp/absolute", None, Some(14)).unwrap();
    });
    let expected = [
        ("/tmp/absolute", 1),
        ("/tmp/relative", 2),
        ("/tmp/descriptor", 3),
        ("/tmp/at", 4),
        ("/tmp/target", 5),
        ("/tmp/link2", 6),
        ("/tmp/up", 7),
        ("/tmp", 8),
        ("/tmp/empty", 9),
        ("/", 10),
        ("/tmp/jail/etc/inner", 12),
        ("/tmp/jail/etc", 13),
    ];
    for (path, id) in expected {
        let record = records.get(Path::new(path)).unwrap_or_else(|| panic!("no record of {path}"));
        let gid = if path == "/tmp/absolute" { 14 } else { id };
        assert_eq!(ids(record), (Some(id), Some(gid)), "{path}");
        assert_eq!(record.file, ground.file(&path[1..]), "{path}");
    }
}

fn copied_up(_: Who) {
    let ground = Ground::new();
    let records = ground.run(|| {
        chown("/etc/passwd", Some(3), Some(4)).unwrap();
        // Giving a file away takes its setuid bit.
        chown("/bin/su", Some(5), Some(5)).unwrap();
        chown("/etc", Some(u32::MAX), Some(u32::MAX)).unwrap();
        // Back to root is a record too: the layer below may have had another.
        chown("/dev", Some(0), Some(0)).unwrap();
    });
    assert_eq!(ids(&records[Path::new("/etc/passwd")]), (Some(3), Some(4)));
    assert_eq!(ids(&records[Path::new("/dev")]), (Some(0), Some(0)));
    assert_eq!(records.len(), 3);
    assert_eq!(fs::read_to_string(ground.upper.join("etc/passwd")).unwrap(), "root");
    assert_eq!(records[Path::new("/etc/passwd")].file, ground.file("etc/passwd"));
    assert_eq!(fs::metadata(ground.upper.join("bin/su")).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(fs::metadata(ground.lower.join("bin/su")).unwrap().mode() & 0o7777, 0o4755);
}

fn failures(_: Who) {
    let ground = Ground::new();
    let records = ground.run(|| {
        let errno = |path: &str| chown(path, Some(1), Some(1)).unwrap_err().raw_os_error();
        assert_eq!(errno("/missing"), Some(libc::ENOENT));
        assert_eq!(errno("/etc/passwd/x"), Some(libc::ENOTDIR));
        assert_eq!(errno(""), Some(libc::ENOENT));
        symlink("loop", "/loop").unwrap();
        assert_eq!(errno("/loop"), Some(libc::ELOOP));
        assert_eq!(errno(&"x".repeat(300)), Some(libc::ENAMETOOLONG));
        assert_eq!(errno(&"x/".repeat(3000)), Some(libc::ENAMETOOLONG));
        // SAFETY: the kernel, or the recorder in its place, checks the address and the descriptor.
        unsafe {
            assert_eq!(libc::chown(8 as *const libc::c_char, 1, 1), -1);
            assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EFAULT));
            assert_eq!(libc::fchown(999, 1, 1), -1);
            assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EBADF));
            assert_eq!(libc::fchownat(999, c"x".as_ptr(), 1, 1, 0), -1);
            assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EBADF));
        }
    });
    assert!(records.is_empty());
}

fn mknod(path: &str, kind: FileType, mode: u32, major: u32, minor: u32) -> rustix::io::Result<()> {
    let mode = rustix::fs::Mode::from_raw_mode(mode);
    rustix::fs::mknodat(CWD, path, kind, mode, rustix::fs::makedev(major, minor))
}

fn devices(_: Who) {
    let ground = Ground::new();
    let records = ground.run(|| {
        mknod("/dev/sda", FileType::BlockDevice, 0o660, 8, 300).unwrap();
        mknod("/dev/tty9", FileType::CharacterDevice, 0o666, 4, 9).unwrap();
        chown("/dev/sda", Some(0), Some(6)).unwrap();
        assert_eq!(mknod("/dev/sda", FileType::BlockDevice, 0o660, 8, 1), Err(rustix::io::Errno::EXIST));
        assert_eq!(mknod("/no/dev", FileType::BlockDevice, 0o660, 8, 1), Err(rustix::io::Errno::NOENT));
        // These the kernel makes itself.
        mknod("/dev/fifo", FileType::Fifo, 0o644, 0, 0).unwrap();
        mknod("/dev/file", FileType::RegularFile, 0o600, 0, 0).unwrap();
        let kind = fs::symlink_metadata("/dev/fifo").unwrap().mode() & libc::S_IFMT;
        assert_eq!(kind, libc::S_IFIFO);
    });
    assert_eq!(records.len(), 2);
    let disk = &records[Path::new("/dev/sda")];
    let rdev = rustix::fs::makedev(8, 300);
    assert_eq!(disk.device, Some(Device { mode: libc::S_IFBLK | 0o640, rdev }));
    assert_eq!(ids(disk), (Some(0), Some(6)));
    assert_eq!(records[Path::new("/dev/tty9")].device.unwrap().mode, libc::S_IFCHR | 0o644);
    let stand_in = fs::symlink_metadata(ground.upper.join("dev/sda")).unwrap();
    assert!(stand_in.is_file() && stand_in.len() == 0 && stand_in.mode() & 0o7777 == 0o640);
}

fn identity(_: Who) {
    let ground = Ground::new();
    let records = ground.run(|| {
        // SAFETY: system calls with plain numbers, and a list of the length given.
        unsafe {
            assert_eq!(libc::setgroups(2, [5, 6].as_ptr()), 0);
            assert_eq!(libc::setgid(1000), 0);
            assert_eq!(libc::setresgid(1, 2, 3), 0);
            assert_eq!(libc::setregid(1, 2), 0);
            assert_eq!(libc::setfsgid(1), 0);
            assert_eq!(libc::setuid(1000), 0);
            assert_eq!(libc::setresuid(1, 2, 3), 0);
            assert_eq!(libc::setreuid(1, 2), 0);
            assert_eq!(libc::seteuid(1), 0);
            assert_eq!(libc::setfsuid(1), 0);
        }
        assert!(rustix::process::geteuid().is_root());
    });
    assert!(records.is_empty());
}

fn many_processes(_: Who) {
    let ground = Ground::new();
    let records = ground.run(|| {
        let children: Vec<Pid> = (0..20_u32)
            .map(|child| {
                fork(|| {
                    std::thread::scope(|scope| {
                        for thread in 0..3_u32 {
                            scope.spawn(move || {
                                for n in 0..20_u32 {
                                    let new = format!("/tmp/{child}-{thread}-{n}.new");
                                    fs::write(&new, "").unwrap();
                                    chown(&new, Some(child), Some(thread * 100 + n)).unwrap();
                                    fs::rename(&new, new.trim_end_matches(".new")).unwrap();
                                }
                            });
                        }
                    });
                })
            })
            .collect();
        for child in children {
            let status = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
            assert_eq!(status.unwrap().unwrap().1.exit_status(), Some(0));
        }
    });
    assert_eq!(records.len(), 20 * 3 * 20);
    let by_file: BTreeMap<FileId, &OwnerRecord> =
        records.values().map(|record| (record.file, record)).collect();
    for child in 0..20 {
        for thread in 0..3 {
            for n in 0..20 {
                let record = by_file[&ground.file(&format!("tmp/{child}-{thread}-{n}"))];
                assert_eq!(ids(record), (Some(child), Some(thread * 100 + n)));
            }
        }
    }
}

fn deleted(_: Who) {
    let ground = Ground::new();
    let records = ground.run(|| {
        for n in 0..50 {
            fs::write("/tmp/x", "").unwrap();
            chown("/tmp/x", Some(n + 1), Some(n + 1)).unwrap();
            fs::remove_file("/tmp/x").unwrap();
            fs::write(format!("/tmp/other{n}"), "").unwrap();
        }
        // Deleted, and still open.
        let file = File::create("/tmp/y").unwrap();
        fs::remove_file("/tmp/y").unwrap();
        fchown(&file, Some(5), Some(5)).unwrap();
        // Not in the root file system at all.
        let (reader, _writer) = std::io::pipe().unwrap();
        fchown(&reader, Some(5), Some(5)).unwrap();
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        fchown(&socket, Some(5), Some(5)).unwrap();
    });
    for n in 0..50 {
        let id = ground.file(&format!("tmp/other{n}"));
        assert!(records.values().all(|record| record.file != id), "other{n} has a deleted file's owner");
    }
    assert!(!records.contains_key(Path::new("/tmp/y")));
}

fn after_a_kill(_: Who) {
    let ground = Ground::new();
    let records = ground.run(|| {
        fs::write("/tmp/before", "").unwrap();
        chown("/tmp/before", Some(1), Some(1)).unwrap();
        for _ in 0..10 {
            let child = fork(|| {
                loop {
                    chown("/tmp/before", Some(1), Some(1)).unwrap();
                }
            });
            std::thread::sleep(std::time::Duration::from_millis(3));
            rustix::process::kill_process(child, rustix::process::Signal::KILL).unwrap();
            rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty()).unwrap();
        }
        fs::write("/tmp/after", "").unwrap();
        chown("/tmp/after", Some(2), Some(2)).unwrap();
    });
    assert_eq!(ids(&records[Path::new("/tmp/before")]), (Some(1), Some(1)));
    assert_eq!(ids(&records[Path::new("/tmp/after")]), (Some(2), Some(2)));
}

fn stay_inside(_: Who) {
    let ground = Ground::new();
    let outside = ground.scratch.0.join("outside");
    fs::write(&outside, "").unwrap();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o4755)).unwrap();
    let name = outside.file_name().unwrap().as_bytes().to_vec();
    let absolute = outside.clone();
    ground.run(move || {
        let name = String::from_utf8(name).unwrap();
        symlink(format!("../../../../../../../{name}"), "/tmp/up").unwrap();
        symlink(&absolute, "/tmp/absolute").unwrap();
        for path in ["/tmp/up", "/tmp/absolute", &format!("/../{name}"), &format!("/../../upper/../{name}")] {
            let error = chown(path, Some(1), Some(1)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{path}");
        }
        assert!(mknod("/../../made", FileType::BlockDevice, 0o600, 8, 1).is_ok());
    });
    // A chown would have taken the setuid bit.
    assert_eq!(fs::metadata(&outside).unwrap().mode() & 0o7777, 0o4755);
    assert!(ground.upper.join("made").exists());
}

fn cost(_: Who) {
    let ground = Ground::new();
    let records = ground.run(|| {
        for n in 0..2000 {
            fs::write(format!("/tmp/{n}"), "").unwrap();
        }
        let start = std::time::Instant::now();
        for n in 0..2000 {
            chown(format!("/tmp/{n}"), Some(1), Some(1)).unwrap();
        }
        println!("{:?} a chown", start.elapsed() / 2000);
    });
    assert_eq!(records.len(), 2000);
}
