//! What the doctor says here, where all is well, and in places where it is not.

use std::path::Path;

use runtime::doctor::{Check, Status, checks};

use super::Scratch;
use crate::{Case, Who};

pub const CASES: &[Case] = &[
    Case {
        name: "doctor_agrees_with_what_works",
        who: &[Who::Root, Who::Tester, Who::Nobody, Who::Single],
        run: agrees_with_what_works,
    },
    Case { name: "doctor_names_what_is_missing", who: &[Who::Root], run: names_what_is_missing },
    Case { name: "doctor_in_a_container", who: &[Who::Root], run: in_a_container },
];

fn find<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no check of {name}"))
}

fn show(checks: &[Check]) {
    for check in checks {
        println!(
            "{:?} {}: {} | {} | {}",
            check.status, check.name, check.detail, check.without, check.remedy
        );
    }
}

fn agrees_with_what_works(who: Who) {
    let scratch = Scratch::new();
    let checks = checks(&scratch.0.join("not/there/yet"));
    show(&checks);
    for check in &checks {
        assert_ne!(check.status, Status::Missing, "{check:?}");
        assert!(check.status == Status::Ok || !check.without.is_empty(), "{check:?}");
    }
    let ids = find(&checks, "ids");
    match who {
        Who::Root => assert_eq!(ids.detail, "root: every id is itself"),
        Who::Tester => assert!(ids.detail.ends_with(" ids can be mapped"), "{ids:?}"),
        Who::Nobody | Who::Single => {
            assert_eq!(ids.status, Status::Degraded);
            let word = if who == Who::Nobody { "/etc/subuid" } else { "STRAKE_USERNS" };
            assert!(ids.remedy.contains(word), "{ids:?}");
        }
    }
    for name in ["overlayfs", "namespaces", "/proc", "/sys", "seccomp", "seccomp notification"] {
        assert_eq!(find(&checks, name).status, Status::Ok);
    }
    assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 0, "nothing is left");
    assert_eq!(runtime::mode(), None);
}

/// Root without CAP_SYS_ADMIN and with user namespaces used up.
fn names_what_is_missing(_: Who) {
    // The setting is per user namespace: one of our own, in which there may be no other.
    own_user_namespace();
    std::fs::write("/proc/sys/user/max_user_namespaces", "0").unwrap();
    let mut sets = rustix::thread::capabilities(None).unwrap();
    sets.effective -= rustix::thread::CapabilitySet::SYS_ADMIN;
    sets.permitted -= rustix::thread::CapabilitySet::SYS_ADMIN;
    rustix::thread::set_capabilities(None, sets).unwrap();

    let error = runtime::enter().unwrap_err();
    assert!(error.to_string().contains("max_user_namespaces"), "{error}");
    let checks = checks(Path::new("/proc"));
    show(&checks);
    for name in ["user namespaces", "ids"] {
        let check = find(&checks, name);
        assert_eq!(check.status, Status::Missing);
        assert!(check.remedy.contains("sysctl -w user.max_user_namespaces"), "{check:?}");
    }
    assert_eq!(find(&checks, "seccomp").status, Status::Ok);
}

fn own_user_namespace() {
    use rustix::thread::UnshareFlags;
    // SAFETY: the process has one thread.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) }.unwrap();
    for (file, map) in [("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1")] {
        std::fs::write(format!("/proc/self/{file}"), map).unwrap();
    }
}

/// A masked /proc, and a store on overlayfs, as in a CI job's container.
fn in_a_container(_: Who) {
    use rustix::mount::{MountFlags, mount, mount_bind};
    assert_eq!(runtime::enter().unwrap(), runtime::Mode::Root);
    let scratch = Scratch::new();
    mount_bind("/dev/null", "/proc/timer_list").unwrap();
    let (lower, upper, work, root) =
        (scratch.dir("lower"), scratch.dir("upper"), scratch.dir("work"), scratch.dir("root"));
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let options = std::ffi::CString::new(options).unwrap();
    mount("overlay", &root, "overlay", MountFlags::empty(), options.as_c_str()).unwrap();

    // Inside, with a user namespace, where a part of /proc that is hidden forbids mounting a whole one.
    let output = std::process::Command::new("/proc/self/exe")
        .args(["--inside", crate::DOCTOR])
        .arg(root.join("store"))
        .env("STRAKE_USERNS", "single")
        .output()
        .unwrap();
    rustix::mount::unmount(&root, rustix::mount::UnmountFlags::empty()).unwrap();
    rustix::mount::unmount("/proc/timer_list", rustix::mount::UnmountFlags::empty()).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    let line = |name: &str| text.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(line(" /proc: ").starts_with("Degraded") && line(" /proc: ").contains("systempaths=unconfined"));
    let file_system = line("store's file system");
    assert!(file_system.starts_with("Missing") && file_system.contains("--root"), "{file_system}");
    // What overlayfs writes to an upper layer, a tmpfs keeps since Linux 6.6.
    if super::overlay::kernel() >= (6, 6) {
        assert!(line(" overlayfs: ").starts_with("Ok") && line(" overlayfs: ").contains("on a tmpfs"));
    }
}

/// What [`in_a_container`] starts.
pub fn main(store: &Path) {
    show(&checks(store));
}
