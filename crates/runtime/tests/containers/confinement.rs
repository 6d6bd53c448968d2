//! What a container sees and may: namespaces, /proc, /dev, capabilities, seccomp.

use crate::bed::{Bed, ModeName, Which};
use crate::{Case, EMBEDDED, EVERY, MODES};
use runtime::spec::NamespaceKind;
use std::fs;

pub(crate) const CASES: &[Case] = &[
    Case { name: "namespaces", run: namespaces, on: EVERY, modes: MODES },
    Case { name: "no_network", run: no_network, on: EVERY, modes: MODES },
    Case { name: "proc_shows_own_processes", run: proc_shows_own_processes, on: EVERY, modes: MODES },
    Case { name: "devices", run: devices, on: EVERY, modes: MODES },
    Case {
        name: "made_devices_do_not_work",
        run: made_devices_do_not_work,
        on: EMBEDDED,
        modes: &[ModeName::Root],
    },
    Case { name: "masked_and_read_only_paths", run: masked_and_read_only_paths, on: EVERY, modes: MODES },
    Case { name: "capabilities", run: capabilities, on: EVERY, modes: MODES },
    Case { name: "filter_is_dockers", run: filter_is_dockers, on: EVERY, modes: MODES },
    Case { name: "no_new_privileges", run: no_new_privileges, on: EVERY, modes: MODES },
    Case { name: "privileged", run: privileged, on: EMBEDDED, modes: MODES },
    Case { name: "a_device_on_request", run: a_device_on_request, on: EMBEDDED, modes: MODES },
    Case {
        name: "own_executable_is_out_of_reach",
        run: own_executable_is_out_of_reach,
        on: EMBEDDED,
        modes: MODES,
    },
    Case { name: "descriptors_do_not_leak", run: descriptors_do_not_leak, on: EVERY, modes: MODES },
    Case { name: "covered_proc", run: covered_proc, on: EMBEDDED, modes: &[ModeName::Single] },
    Case { name: "covered_proc_inside", run: covered_proc_inside, on: EMBEDDED, modes: &[ModeName::Single] },
    Case { name: "sysctl", run: sysctl, on: EVERY, modes: MODES },
];

fn namespaces(bed: &Bed) {
    let output = bed.sh("for n in mnt pid ipc uts net user; do readlink /proc/self/ns/$n; done").ok();
    let lines: Vec<&str> = output.stdout.lines().collect();
    for (n, kind) in ["mnt", "pid", "ipc", "uts", "net", "user"].iter().enumerate() {
        let ours = fs::read_link(format!("/proc/self/ns/{kind}")).expect("readlink");
        let shared = ours.to_str() == Some(lines[n]);
        assert_eq!(shared, n >= 4, "{kind}: {} here, {} there", ours.display(), lines[n]);
    }
}

fn no_network(bed: &Bed) {
    let mut spec = bed.shell("readlink /proc/self/ns/net; ifconfig -a; ping -c1 127.0.0.1");
    spec.linux.set_namespace(NamespaceKind::Network, true);
    let output = bed.run(spec).ok();
    let ours = fs::read_link("/proc/self/ns/net").expect("readlink");
    assert!(!output.stdout.contains(ours.to_str().expect("text")), "{}", output.stdout);
    assert!(output.stdout.contains("inet addr:127.0.0.1"), "{}", output.stdout);
    assert!(!output.stdout.contains("eth0"), "{}", output.stdout);
}

fn proc_shows_own_processes(bed: &Bed) {
    let output = bed.sh("echo $$; ls /proc | grep -c '^[0-9]'; cat /proc/1/comm; true").ok();
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!((lines[0], lines[2]), ("1", "sh"));
    // The shell, ls and grep.
    assert!(lines[1].parse::<u32>().expect("a number") <= 3, "{lines:?}");
}

fn devices(bed: &Bed) {
    let script = "head -c 3 /dev/zero | wc -c; echo x > /dev/null; cat /dev/null; head -c 4 /dev/urandom | wc -c; \
                  echo x > /dev/full || echo full; ls /dev | tr '\\n' ' '; echo; stat -c %a /dev/null /dev/shm /dev/pts/ptmx; \
                  for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done; echo x > /dev/shm/x && cat /dev/shm/x";
    let output = bed.sh(script).ok();
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines[..3], ["3", "4", "full"]);
    let mut names: Vec<&str> =
        lines[3].split_whitespace().filter(|n| *n != "core" && *n != "console").collect();
    names.sort_unstable();
    let all = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero";
    assert_eq!(names.join(" "), all);
    assert_eq!(lines[4..7], ["666", "1777", "666"]);
    let links = ["/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2", "pts/ptmx"];
    assert_eq!(lines[7..12], links);
    assert_eq!(lines[12], "x");
}

fn made_devices_do_not_work(bed: &Bed) {
    for place in ["/zero", "/dev/z", "/dev/shm/z", "/tmp/z"] {
        let output = bed.sh(&format!("mknod {place} c 1 5 && echo made; head -c1 {place}"));
        assert_eq!(output.stdout, "made\n", "{place}: {}", output.stderr);
        assert!(output.stderr.contains("Permission denied"), "{place}: {}", output.stderr);
    }
}

fn masked_and_read_only_paths(bed: &Bed) {
    let script = "for f in kcore keys timer_list interrupts; do test -e /proc/$f && head -c 10 /proc/$f; done; \
                  for d in /proc/acpi /proc/scsi /sys/firmware; do test -e $d && ls -A $d; done; \
                  echo 1 > /proc/sys/kernel/randomize_va_space || echo sys; \
                  echo h > /proc/sysrq-trigger || echo sysrq; \
                  mkdir /sys/x || echo ro; touch /sys/kernel/mm/ksm/run 2>/dev/null && echo 1 > /sys/kernel/mm/ksm/run || echo ro2";
    let output = bed.sh(script).ok();
    assert_eq!(output.stdout, "sys\nsysrq\nro\nro2\n", "{}", output.stderr);
    assert!(output.stderr.contains("Read-only file system"), "{}", output.stderr);
}

fn capabilities(bed: &Bed) {
    let output = bed.sh("grep ^Cap /proc/self/status | cut -f2 | tr '\\n' ' '").ok();
    let want = "0000000000000000 00000000a80425fb 00000000a80425fb 00000000a80425fb 0000000000000000 ";
    assert_eq!(output.stdout, want);
    let mut spec = bed.shell("grep ^CapEff /proc/self/status | cut -f2");
    let base = runtime::capability::docker_default();
    let names = runtime::capability::adjust(base, &["NET_ADMIN".into()], &["chown".into()]).expect("names");
    spec.set_capabilities(names);
    assert_eq!(bed.run(spec).ok().stdout, "00000000a80435fa\n");
}

fn filter_is_dockers(bed: &Bed) {
    let script = "grep ^Seccomp: /proc/self/status | cut -f2; unshare -m true || echo no-unshare; \
                  mount -t tmpfs x /tmp || echo no-mount; chroot / true && echo chroot";
    let output = bed.sh(script).ok();
    assert_eq!(output.stdout, "2\nno-unshare\nno-mount\nchroot\n", "{}", output.stderr);
    assert!(output.stderr.contains("Operation not permitted"), "{}", output.stderr);
}

fn no_new_privileges(bed: &Bed) {
    let script = "grep ^NoNewPrivs /proc/self/status | cut -f2";
    assert_eq!(bed.sh(script).ok().stdout, "0\n");
    let mut spec = bed.shell(script);
    spec.process.no_new_privileges = true;
    assert_eq!(bed.run(spec).ok().stdout, "1\n");
}

fn privileged(bed: &Bed) {
    let script = "grep ^Seccomp: /proc/self/status | cut -f2; mount -t tmpfs x /tmp && echo mounted; \
                  grep -c ' /sys sysfs rw' /proc/mounts; grep ^CapEff /proc/self/status | cut -f2";
    let mut spec = bed.shell(script);
    spec.make_privileged();
    let output = bed.run(spec).ok();
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines[..3], ["0", "mounted", "1"], "{}", output.stderr);
    let got = u64::from_str_radix(lines[3], 16).expect("hexadecimal");
    assert_eq!(got.count_ones() as usize, runtime::capability::held().len());
}

fn a_device_on_request(bed: &Bed) {
    // Not one of the default ones, and harmless.
    let path = std::path::Path::new("/dev/kmsg");
    let mut spec = bed.shell("stat -c '%F %t %T' /dev/kmsg");
    if spec.add_device(path, None).is_err() {
        return;
    }
    assert_eq!(bed.run(spec).ok().stdout, "character special file 1 b\n");
}

fn own_executable_is_out_of_reach(bed: &Bed) {
    let mut container = bed.container(bed.shell("readlink /proc/1/exe; echo x > /proc/1/exe"));
    container.init = true;
    let output = bed.run_container(&container);
    assert_ne!(output.exit.code, 0);
    let refused = ["Read-only file system", "Permission denied", "Operation not permitted"];
    assert!(refused.iter().any(|r| output.stderr.contains(r)), "{} {}", output.stdout, output.stderr);
}

fn descriptors_do_not_leak(bed: &Bed) {
    let output = bed.sh("ls /proc/self/fd | tr '\\n' ' '").ok();
    assert_eq!(output.stdout, "0 1 2 3 ", "3 is that of ls");
    // A link to one that setting up has open must not become a working directory.
    if bed.which == Which::Embedded {
        for n in 3..20 {
            let mut spec = bed.spec(&["pwd"]);
            spec.process.cwd = format!("/proc/self/fd/{n}");
            let output = bed.run(spec);
            let refused = output.exit.code == 125;
            // One is of the container's own root.
            assert!(refused || output.stdout == "/\n", "{n}: {:?} {}", output.exit, output.stdout);
        }
    }
}

fn sysctl(bed: &Bed) {
    let mut spec = bed.shell("cat /proc/sys/net/ipv4/ip_default_ttl");
    spec.linux.set_namespace(NamespaceKind::Network, true);
    spec.linux.sysctl.insert("net.ipv4.ip_default_ttl".into(), "33".into());
    let output = bed.run(spec);
    assert_eq!(output.stdout, "33\n", "{:?}", output.exit);
    let mut spec = bed.spec(&["true"]);
    spec.linux.sysctl.insert("kernel.panic".into(), "33".into());
    assert_eq!(bed.run(spec).exit.code, 125);
}

/// As in a container of an engine that masks parts of /proc, where no new one can be mounted.
fn covered_proc(_: &Bed) {
    let own = std::env::current_exe().expect("own path");
    let script = "mount -t tmpfs none /proc/acpi || exit 77; exec unshare -U -r -m \"$0\" --in-process \
                  single::embedded::covered_proc_inside";
    let status = std::process::Command::new("unshare")
        .args(["-U", "-r", "-m", "sh", "-c", script])
        .arg(own)
        .env_remove("STRAKE_USERNS")
        .env("STRAKE_TEST_COVERED", "1")
        .status()
        .expect("unshare is installed");
    // 77: there is nothing to cover on this machine.
    assert!(matches!(status.code(), Some(0 | 77)), "{status}");
}

/// Not a test of its own: the inner part of the one before.
fn covered_proc_inside(bed: &Bed) {
    if std::env::var_os("STRAKE_TEST_COVERED").is_none() {
        return;
    }
    let output =
        bed.sh("echo $$; test -e /proc/self/status && cat /proc/self/comm; echo 1 > /proc/sys/kernel/panic");
    assert_eq!(output.stdout, "1\ncat\n");
    assert!(output.stderr.contains("Read-only"), "{}", output.stderr);
    let warnings = output.exit.warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("/proc shows the processes outside"), "{warnings:?}");
}
