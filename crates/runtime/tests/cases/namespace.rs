//! Entering.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use runtime::Mode;

use super::Scratch;
use crate::{Case, Who};

pub const CASES: &[Case] = &[
    Case { name: "enter_gives_the_ids_there_are", who: EVERYONE, run: enter_gives_the_ids_there_are },
    Case { name: "enter_again_inside", who: EVERYONE, run: enter_again_inside },
    Case { name: "root_without_sys_admin_maps_all_its_ids", who: &[Who::Root], run: root_without_sys_admin },
    Case { name: "root_without_any_capability", who: &[Who::Root], run: root_without_any_capability },
    Case { name: "threads_are_refused", who: &[Who::Tester], run: threads_are_refused },
    Case { name: "helpers_that_fail_leave_one_id", who: &[Who::Tester], run: helpers_that_fail_leave_one_id },
    Case { name: "no_new_privileges_leaves_one_id", who: &[Who::Tester], run: no_new_privileges },
];

const EVERYONE: &[Who] = &[Who::Root, Who::Tester, Who::Nobody, Who::Single];

fn enter_gives_the_ids_there_are(who: Who) {
    assert_eq!(runtime::mode(), None);
    let mode = runtime::enter().unwrap();
    assert_eq!(runtime::mode(), Some(mode));
    assert_eq!(runtime::enter().unwrap(), mode, "a second call does nothing");
    let expected = match who {
        Who::Root => Mode::Root,
        Who::Tester => Mode::Mapped,
        Who::Nobody | Who::Single => Mode::SingleId,
    };
    assert_eq!(mode, expected, "{:?}", runtime::why_single());
    assert_eq!(runtime::why_single().is_some(), mode == Mode::SingleId);
    assert!(rustix::process::geteuid().is_root());

    let scratch = Scratch::new();
    let file = scratch.0.join("file");
    fs::write(&file, "").unwrap();
    let given = chown(&file, Some(65_534), Some(7));
    match mode {
        Mode::SingleId => assert_eq!(given.unwrap_err().raw_os_error(), Some(libc::EINVAL)),
        Mode::Root | Mode::Mapped => {
            given.unwrap();
            let status = fs::metadata(&file).unwrap();
            assert_eq!((status.uid(), status.gid()), (65_534, 7));
        }
    }
    if who == Who::Nobody {
        let why = runtime::why_single().unwrap();
        assert!(why.contains("/etc/subuid has no range for 47110"), "{why}");
    }
}

/// As in a CI job that runs inside `unshare`, `podman unshare` or rootless podman with --privileged.
fn enter_again_inside(_: Who) {
    let mode = runtime::enter().unwrap();
    let again = enter_in_child(|_| {});
    // Whoever enters inside has what we have.
    assert!(again.starts_with(&format!("{mode:?}")), "{mode:?}, then {again}");
}

fn root_without_sys_admin(_: Who) {
    let mode = child_without(rustix::thread::CapabilitySet::SYS_ADMIN);
    assert!(mode.starts_with("Mapped"), "{mode}");
}

fn root_without_any_capability(_: Who) {
    // The kernel then refuses to map the parent's root, and the error says what to give.
    let words = child_without(rustix::thread::CapabilitySet::all());
    assert!(words.contains("CAP_SETFCAP"), "{words}");
}

fn threads_are_refused(_: Who) {
    let (stop, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || wait.recv());
    let error = runtime::enter().unwrap_err();
    assert!(error.to_string().contains("threads"), "{error}");
    drop(stop);
    let _ = thread.join().unwrap();
}

fn helpers_that_fail_leave_one_id(_: Who) {
    let scratch = Scratch::new();
    for name in ["newuidmap", "newgidmap"] {
        let path = scratch.0.join(name);
        fs::write(&path, "#!/bin/sh\necho no such luck >&2\nexit 1\n").unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let path = scratch.0.clone();
    let mode = enter_in_child(|command| {
        command.env("PATH", &path);
    });
    assert!(mode.starts_with("SingleId"), "{mode}");
    assert!(mode.contains("no such luck"), "{mode}");

    fs::remove_file(scratch.0.join("newuidmap")).unwrap();
    let words = enter_in_child(|command| {
        command.env("PATH", &path);
    });
    // The real newuidmap is found in its usual place, so only one of two maps is written.
    assert!(words.contains("no such luck") && !words.starts_with("SingleId"), "{words}");
}

fn no_new_privileges(_: Who) {
    rustix::thread::set_no_new_privs(true).unwrap();
    assert_eq!(runtime::enter().unwrap(), Mode::SingleId);
    let why = runtime::why_single().unwrap();
    assert!(why.contains("no_new_privs"), "{why}");
}

/// Enters in a new process; what it says came of it.
fn enter_in_child(prepare: impl FnOnce(&mut std::process::Command)) -> String {
    let mut command = std::process::Command::new("/proc/self/exe");
    command.args(["--inside", crate::ENTER]).env_remove("STRAKE_USERNS");
    prepare(&mut command);
    let output = command.output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The same, as root without some capabilities.
fn child_without(dropped: rustix::thread::CapabilitySet) -> String {
    use std::os::unix::process::CommandExt;
    enter_in_child(|command| {
        let drop = move || {
            // From the bounding set, or exec would give root them back.
            for bit in 0..41 {
                let capability = rustix::thread::CapabilitySet::from_bits_retain(1 << bit);
                if dropped.contains(capability) {
                    rustix::thread::remove_capability_from_bounding_set(capability)?;
                }
            }
            Ok(())
        };
        // SAFETY: the closure makes system calls, no more.
        unsafe { command.pre_exec(drop) };
    })
}
