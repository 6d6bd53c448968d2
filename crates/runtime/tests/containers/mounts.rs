//! The root file system and what is mounted in it.

use crate::bed::{Bed, ModeName, is_empty};
use crate::{Case, EMBEDDED, EVERY, MODES};
use runtime::spec::Mount;
use runtime::{Overlay, Source, mount_overlay};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

pub(crate) const CASES: &[Case] = &[
    Case { name: "read_only_root", run: read_only_root, on: EVERY, modes: MODES },
    Case { name: "tmpfs", run: tmpfs, on: EVERY, modes: MODES },
    Case { name: "binds", run: binds, on: EVERY, modes: MODES },
    Case { name: "etc_files_leave_no_stub", run: etc_files_leave_no_stub, on: EVERY, modes: MODES },
    Case { name: "links_stay_inside", run: links_stay_inside, on: EVERY, modes: MODES },
    Case {
        name: "dangling_link_as_mount_point",
        run: dangling_link_as_mount_point,
        on: EMBEDDED,
        modes: MODES,
    },
    Case { name: "sources_by_descriptor", run: sources_by_descriptor, on: EVERY, modes: MODES },
    Case { name: "many_layers", run: many_layers, on: EVERY, modes: MODES },
    Case { name: "upper_used_again", run: upper_used_again, on: EVERY, modes: MODES },
    Case { name: "no_layers_at_all", run: no_layers_at_all, on: EMBEDDED, modes: MODES },
    Case { name: "bad_mounts_are_errors", run: bad_mounts_are_errors, on: EMBEDDED, modes: MODES },
    Case { name: "hostile_proc_and_sys", run: hostile_proc_and_sys, on: EMBEDDED, modes: MODES },
    Case { name: "owners_are_recorded", run: owners_are_recorded, on: EMBEDDED, modes: &[ModeName::Single] },
    Case { name: "host_mounts_are_gone", run: host_mounts_are_gone, on: EVERY, modes: MODES },
];

fn read_only_root(bed: &Bed) {
    let script = "touch /x || echo no; touch /dev/shm/y && echo yes; touch /etc/hosts || echo no";
    let mut container = bed.container(bed.shell(script));
    container.rootfs.read_only = true;
    let output = bed.run_container(&container).ok();
    assert_eq!(output.stdout, "no\nyes\nno\n");
    assert!(output.stderr.contains("Read-only file system"), "{}", output.stderr);
    assert!(is_empty(&output.upper));
    // The same without a writable layer.
    container.rootfs.upper = None;
    assert_eq!(bed.run_container(&container).ok().stdout, "no\nyes\nno\n");
}

fn tmpfs(bed: &Bed) {
    let script = "echo x > /scratch/x; grep ' /scratch ' /proc/mounts; stat -c %a /scratch";
    let mut spec = bed.shell(script);
    let options = ["noexec", "nosuid", "nodev", "size=1m", "mode=0770"];
    spec.mounts.push(Mount::new("/scratch", "tmpfs", "tmpfs", &options));
    let output = bed.run(spec).ok();
    for option in ["noexec", "nosuid", "nodev", "size=1024k", "rw"] {
        assert!(output.stdout.contains(option), "{option}: {}", output.stdout);
    }
    assert!(output.stdout.ends_with("770\n"), "{}", output.stdout);
}

fn binds(bed: &Bed) {
    let host = bed.dir.join("host");
    fs::create_dir(&host).expect("mkdir");
    fs::write(host.join("file"), "from the host\n").expect("write");
    let script = "cat /rw/file /ro/file /one; echo new > /rw/new; touch /ro/new || echo no; echo x > /one || echo no; \
                  cat /deep/er/file";
    let mut spec = bed.shell(script);
    spec.mounts.push(Mount::bind(&host, "/rw", false));
    spec.mounts.push(Mount::bind(&host, "/ro", true));
    spec.mounts.push(Mount::bind(host.join("file"), "/one", true));
    spec.mounts.push(Mount::bind(&host, "/deep/er", true));
    let output = bed.run(spec).ok();
    let lines: Vec<&str> = output.stdout.lines().collect();
    let host_line = "from the host";
    assert_eq!(lines, [host_line, host_line, host_line, "no", "no", host_line], "{}", output.stderr);
    assert_eq!(fs::read_to_string(host.join("new")).expect("read"), "new\n");
    assert!(is_empty(&output.upper), "mount points were left");
}

fn etc_files_leave_no_stub(bed: &Bed) {
    let resolv = bed.dir.join("resolv.conf");
    fs::write(&resolv, "nameserver 192.0.2.1\n").expect("write");
    let mut spec = bed.shell("cat /etc/resolv.conf /etc/hosts /etc/hostname");
    for name in ["resolv.conf", "hosts", "hostname"] {
        spec.mounts.push(Mount::bind(&resolv, format!("/etc/{name}"), true));
    }
    let output = bed.run(spec).ok();
    assert_eq!(output.stdout, "nameserver 192.0.2.1\n".repeat(3));
    assert!(is_empty(&output.upper));
}

fn links_stay_inside(bed: &Bed) {
    let root = bed.dir.join("root");
    let outside = bed.dir.join("outside");
    fs::create_dir(&outside).expect("mkdir");
    symlink(&outside, root.join("abs")).expect("symlink");
    symlink("../../../../../../..", root.join("up")).expect("symlink");
    let host = bed.dir.join("host");
    fs::create_dir(&host).expect("mkdir");
    fs::write(host.join("f"), "f").expect("write");
    // Absolute in the image means the image's root; `..` stops there.
    fs::create_dir_all(root.join(outside.strip_prefix("/").expect("absolute"))).expect("mkdir");
    let mut spec = bed.shell(&format!("cat {}/in/f /data/f", outside.display()));
    spec.mounts.push(Mount::bind(&host, "/abs/in", false));
    spec.mounts.push(Mount::bind(&host, "/up/data", false));
    assert_eq!(bed.run(spec).ok().stdout, "ff");
    assert!(is_empty(&outside));
}

fn dangling_link_as_mount_point(bed: &Bed) {
    // As in images whose resolver is systemd-resolved.
    symlink("../run/systemd/resolve/stub-resolv.conf", bed.dir.join("root/etc/resolv.conf"))
        .expect("symlink");
    let resolv = bed.dir.join("resolv.conf");
    fs::write(&resolv, "nameserver 192.0.2.1\n").expect("write");
    let mut spec = bed.shell("cat /etc/resolv.conf");
    spec.mounts.push(Mount::bind(&resolv, "/etc/resolv.conf", true));
    let output = bed.run(spec).ok();
    assert_eq!(output.stdout, "nameserver 192.0.2.1\n");
    assert!(is_empty(&output.upper));
}

fn sources_by_descriptor(bed: &Bed) {
    let (a, b) = (bed.dir.join("a"), bed.dir.join("b"));
    for (dir, name) in [(&a, "one"), (&b, "two")] {
        fs::create_dir_all(dir.join("sub")).expect("mkdir");
        fs::write(dir.join("sub").join(name), name).expect("write");
    }
    symlink("/etc", a.join("escape")).expect("symlink");
    let lowers: Vec<PathBuf> = vec![a, b.clone()];
    let detached = mount_overlay(&Overlay { lowers: &lowers, upper: None }).expect("mount");
    let plain = runtime::beneath::open_root(&b).expect("open");
    let mut container = bed.container(bed.shell("cat /from/one /from/two /plain; ls /whole"));
    for destination in ["/from", "/plain", "/whole"] {
        container.spec.mounts.push(Mount {
            source: None,
            ..Mount::new(destination, "bind", "", &["rbind", "rprivate", "ro"])
        });
    }
    let source = |destination: &str, root, path: &str| Source {
        destination: destination.into(),
        root,
        path: path.into(),
    };
    container.sources = vec![
        source("/from", detached.try_clone().expect("dup"), "/sub"),
        source("/plain", plain, "sub/two"),
        source("/whole", detached.try_clone().expect("dup"), "/"),
    ];
    assert_eq!(bed.run_container(&container).ok().stdout, "onetwotwoescape\nsub\n");
    let mut container = bed.container(bed.spec(&["true"]));
    container.spec.mounts.push(Mount { source: None, ..Mount::new("/x", "bind", "", &["bind"]) });
    container.sources = vec![source("/x", detached, "/escape/passwd")];
    let exit = bed.run_container(&container).exit;
    assert_eq!(exit.code, 125, "the link must not lead to the host's /etc");
}

fn many_layers(bed: &Bed) {
    let mut container = bed.container(bed.shell("cat /layer200 /layer0; ls / | grep -c layer"));
    for n in 0..250 {
        let dir = bed.dir.join(format!("l{n}"));
        fs::create_dir(&dir).expect("mkdir");
        fs::write(dir.join(format!("layer{n}")), format!("{n}\n")).expect("write");
        container.rootfs.lowers.insert(0, dir);
    }
    assert_eq!(bed.run_container(&container).ok().stdout, "200\n0\n250\n");
}

fn upper_used_again(bed: &Bed) {
    let mut container = bed.container(bed.shell("echo 1 >> /data/n"));
    bed.run_container(&container).ok();
    container.spec = bed.shell("cat /data/n");
    container.id += "again";
    assert_eq!(bed.run_container(&container).ok().stdout, "1\n");
}

fn no_layers_at_all(bed: &Bed) {
    let mut container = bed.container(bed.spec(&["/anything"]));
    container.rootfs.lowers.clear();
    assert_eq!(bed.run_container(&container).exit.code, 127);
    container.rootfs.upper = None;
    container.rootfs.read_only = true;
    assert_eq!(bed.run_container(&container).exit.code, 127);
}

fn bad_mounts_are_errors(bed: &Bed) {
    let check = |mount: Mount, words: &str| {
        let mut spec = bed.spec(&["true"]);
        spec.mounts.push(mount);
        let exit = bed.run(spec).exit;
        let error = exit.error.unwrap_or_default();
        assert_eq!(exit.code, 125);
        assert!(error.contains(words), "{error}");
    };
    check(Mount::bind("/no/such/dir", "/x", false), "/no/such/dir");
    check(Mount::bind("relative", "/x", false), "not absolute");
    check(Mount::new("/x/../../y", "tmpfs", "tmpfs", &[]), "..");
    check(Mount::new("/", "tmpfs", "tmpfs", &[]), "cannot be /");
    check(Mount::new("/x", "nosuchfs", "x", &[]), "mounting nosuchfs on /x");
    check(Mount::bind("/etc/passwd", "/bin/sh/x", false), "/bin/sh/x");
}

fn hostile_proc_and_sys(bed: &Bed) {
    let root = bed.dir.join("root");
    symlink("/data", root.join("proc")).expect("symlink");
    let exit = bed.run(bed.spec(&["true"])).exit;
    assert_eq!(exit.code, 125);
    assert!(exit.error.expect("an error").contains("/proc"));
}

fn owners_are_recorded(bed: &Bed) {
    let script =
        "touch /data/f && chown 33:44 /data/f && chown -h 7 /bin/sh && mkdir /data/d && chgrp 9 /data/d";
    let mut container = bed.container(bed.shell(script));
    container.record_owners = true;
    let output = bed.run_container(&container).ok();
    let mut found: Vec<String> =
        output.exit.owners.iter().map(|o| format!("{} {:?} {:?}", o.path.display(), o.uid, o.gid)).collect();
    found.sort();
    assert_eq!(found, ["/bin/sh Some(7) None", "/data/d None Some(9)", "/data/f Some(33) Some(44)"]);
}

fn host_mounts_are_gone(bed: &Bed) {
    let output = bed.sh("cut -d' ' -f2 /proc/mounts; stat -c '%d %i' / /.. >&2").ok();
    let ours = ["/", "/proc", "/dev", "/sys"];
    for line in output.stdout.lines() {
        let inside = ours.contains(&line) || ["/proc/", "/dev/", "/sys/"].iter().any(|p| line.starts_with(p));
        assert!(inside, "{line}");
    }
    // A root of the host that was left on top of the container's would be found by climbing.
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert_eq!(lines[0], lines[1]);
}
