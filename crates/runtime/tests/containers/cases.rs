//! Running commands: exit codes, output, streams, users, terminals.

use crate::bed::{self, Bed, ModeName, Which, is_empty};
use crate::{Case, EMBEDDED, EVERY, MODES, OTHERS, WITH_IDS};
use runtime::spec::{Rlimit, Spec};
use runtime::{RuntimeChoice, Stdio};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

pub(crate) const CASES: &[Case] = &[
    Case { name: "true_leaves_nothing", run: true_leaves_nothing, on: EVERY, modes: MODES },
    Case { name: "exit_codes", run: exit_codes, on: EVERY, modes: MODES },
    Case { name: "commands_that_cannot_run", run: commands_that_cannot_run, on: EVERY, modes: MODES },
    Case { name: "exec_errors_in_words", run: exec_errors_in_words, on: EMBEDDED, modes: MODES },
    Case { name: "output_is_complete", run: output_is_complete, on: EVERY, modes: MODES },
    Case { name: "stdin", run: stdin, on: EVERY, modes: MODES },
    Case { name: "environment", run: environment, on: EVERY, modes: MODES },
    Case { name: "home_of_nobody", run: home_of_nobody, on: EVERY, modes: MODES },
    Case { name: "spec_of_another_tool", run: spec_of_another_tool, on: OTHERS, modes: MODES },
    Case { name: "user", run: user, on: EVERY, modes: WITH_IDS },
    Case { name: "unmapped_user", run: unmapped_user, on: EMBEDDED, modes: &[ModeName::Single] },
    Case { name: "working_directory_is_made", run: working_directory_is_made, on: EVERY, modes: MODES },
    Case { name: "rlimits", run: rlimits, on: EVERY, modes: MODES },
    Case { name: "terminal", run: terminal, on: EVERY, modes: MODES },
    Case { name: "changes_go_to_the_upper", run: changes_go_to_the_upper, on: EVERY, modes: MODES },
];

fn true_leaves_nothing(bed: &Bed) {
    let output = bed.run(bed.spec(&["true"])).ok();
    assert!(is_empty(&output.upper), "the upper directory has entries");
    assert_eq!(output.exit.warnings, Vec::<String>::new());
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
}

fn exit_codes(bed: &Bed) {
    assert_eq!(bed.sh("exit 7").exit.code, 7);
    assert_eq!(bed.sh("sh -c 'kill -TERM $$'; exit $?").exit.code, 143);
    assert_eq!(bed.sh("exit 255").exit.code, 255);
}

fn commands_that_cannot_run(bed: &Bed) {
    let output = bed.run(bed.spec(&["foo"]));
    assert_eq!(output.exit.code, 127);
    let error = output.exit.error.expect("an error");
    assert_eq!(error, "exec: \"foo\": executable file not found in $PATH");
    assert_eq!(bed.run(bed.spec(&["/no/such"])).exit.code, 127);

    let plain = bed.dir.join("root/data/plain");
    fs::write(&plain, "x").expect("write");
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).expect("chmod");
    let output = bed.run(bed.spec(&["/data/plain"]));
    assert_eq!(output.exit.code, 126, "{:?}", output.exit.error);
    assert!(output.exit.error.expect("an error").contains("ermission denied"));
}

fn exec_errors_in_words(bed: &Bed) {
    let script = |name: &str, text: &str| {
        let path = bed.dir.join("root/data").join(name);
        fs::write(&path, text).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
        let exit = bed.run(bed.spec(&[&format!("/data/{name}")])).exit;
        (exit.code, exit.error.unwrap_or_default())
    };
    let (code, error) = script("noshebang", "\x7fELFgarbage");
    assert_eq!(code, 126);
    assert!(error.contains("exec format error"), "{error}");
    let (code, error) = script("nointerpreter", "#!/usr/bin/perl -w\n");
    assert_eq!(code, 127);
    assert!(error.contains("/usr/bin/perl is missing"), "{error}");
    let (code, error) = script("dos", "#!/bin/sh\r\ntrue\r\n");
    assert_eq!(code, 127);
    assert!(error.contains("Windows line endings"), "{error}");
    let exit = bed.run(bed.spec(&["/data"])).exit;
    assert_eq!((exit.code, exit.error.as_deref()), (126, Some("exec: \"/data\": is a directory")));
    assert_eq!(bed.run(bed.spec(&[])).exit.code, 127);
}

fn output_is_complete(bed: &Bed) {
    let script =
        "head -c 3000000 /dev/zero | tr '\\0' a; head -c 1000000 /dev/zero | tr '\\0' b >&2; echo end";
    let output = bed.sh(script).ok();
    assert_eq!(output.stdout.len(), 3_000_000 + 4);
    assert!(output.stdout.ends_with("aend\n"));
    assert_eq!(output.stderr.len(), 1_000_000);
}

fn stdin(bed: &Bed) {
    assert_eq!(bed.sh("cat; echo done").ok().stdout, "done\n");
    let (theirs, ours) = bed::pipe();
    let (mut running, out, _err) = bed.start(&bed.container(bed.spec(&["cat"])), Some(theirs));
    let reader = bed::read(out);
    let mut ours = fs::File::from(ours);
    for _ in 0..100 {
        ours.write_all(&[b'x'; 10_000]).expect("write");
    }
    drop(ours);
    assert_eq!(running.wait().expect("wait").code, 0);
    assert_eq!(reader.join().expect("reader").len(), 1_000_000);
}

fn environment(bed: &Bed) {
    let mut spec = bed.spec(&["env"]);
    spec.process.env.push("A=b c".into());
    let output = bed.run(spec).ok();
    let mut lines: Vec<&str> = output.stdout.lines().collect();
    lines.sort_unstable();
    let path = format!("PATH={}", runtime::spec::DEFAULT_PATH);
    assert_eq!(lines, ["A=b c", "HOME=/root", path.as_str()]);
    let signals = bed.run(bed.spec(&["grep", "-E", "SigIgn|SigBlk", "/proc/self/status"])).ok().stdout;
    for line in signals.lines() {
        let mask = line.rsplit('\t').next().and_then(|m| u64::from_str_radix(m, 16).ok()).expect("a mask");
        // 32 and 33 are the C library's own; starting another runtime, it leaves them ignored.
        assert_eq!(mask & !(3 << 31), 0, "{line}");
    }
    assert_eq!(bed.sh("umask; pwd; hostname").ok().stdout, "0022\n/\nbox\n");
}

fn user(bed: &Bed) {
    let mut spec = bed.shell(
        "id -u; id -g; id -G; grep -E 'CapEff|CapPrm' /proc/self/status; echo $HOME; echo hi >/dev/stdout",
    );
    spec.process.user.uid = 1000;
    spec.process.user.gid = 1000;
    spec.process.user.additional_gids = vec![5, 27];
    let output = bed.run(spec).ok();
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines[..3], ["1000", "1000", "1000 5 27"]);
    assert!(lines[3..5].iter().all(|l| l.ends_with("0000000000000000")), "{lines:?}");
    assert_eq!(lines[5..], ["/home/user", "hi"]);
}

fn unmapped_user(bed: &Bed) {
    let mut spec = bed.spec(&["id"]);
    spec.process.user.uid = 1000;
    let exit = bed.run(spec).exit;
    assert_eq!(exit.code, 125);
    assert!(exit.error.expect("an error").contains("only id 0 is mapped"));
}

fn working_directory_is_made(bed: &Bed) {
    let mut spec = bed.spec(&["pwd"]);
    spec.process.cwd = "/a/new/place".into();
    let output = bed.run(spec).ok();
    assert_eq!(output.stdout, "/a/new/place\n");
    assert!(output.upper.join("a/new/place").is_dir());
}

fn rlimits(bed: &Bed) {
    // Unless asked, those that we have ourselves.
    let ours = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let text = |n: Option<u64>| n.map_or("unlimited".into(), |n| n.to_string());
    let inherited = format!("{}\n{}\n", text(ours.current), text(ours.maximum));
    if bed.which != Which::Runc {
        // Go 1.19 raises its own, and runc forgets to lower it again.
        assert_eq!(bed.sh("ulimit -Sn; ulimit -Hn").ok().stdout, inherited);
    }
    let mut spec = bed.shell("ulimit -Sn; ulimit -Hn");
    spec.process.rlimits = vec![Rlimit { kind: "RLIMIT_NOFILE".into(), soft: 100, hard: 200 }];
    assert_eq!(bed.run(spec).ok().stdout, "100\n200\n");
}

fn terminal(bed: &Bed) {
    let script = "stty size; tty; test -t 0 && test -t 2 && echo all; ls /dev/console; read line; echo got $line; \
                  read line; stty size; exit 3";
    let container = bed.container(bed.shell(script));
    let stdio = Stdio::Terminal { columns: 93, rows: 31 };
    let mut running = bed.supervisor.run(&container, stdio).expect("run");
    let master = running.terminal().expect("a terminal");
    let mut writer = fs::File::from(master.try_clone().expect("dup"));
    let mut reader = fs::File::from(master);
    let mut text = String::new();
    let mut read_until = |text: &mut String, mark: &str| {
        let mut buffer = [0; 1024];
        while !text.contains(mark) {
            match reader.read(&mut buffer) {
                Ok(0) | Err(_) => return false,
                Ok(n) => text.push_str(&String::from_utf8_lossy(&buffer[..n])),
            }
        }
        true
    };
    assert!(read_until(&mut text, "/dev/console"), "{text}");
    assert!(text.contains("31 93"), "{text}");
    assert!(text.contains("/dev/pts/0") || text.contains("/dev/console"), "{text}");
    assert!(text.contains("all"), "{text}");
    writer.write_all(b"hello\n").expect("write");
    assert!(read_until(&mut text, "got hello"), "{text}");
    running.resize(120, 50).expect("resize");
    writer.write_all(b"\n").expect("write");
    assert!(read_until(&mut text, "50 120"), "{text}");
    assert_eq!(running.wait().expect("wait").code, 3);
    assert!(!read_until(&mut text, "never"));
}

fn changes_go_to_the_upper(bed: &Bed) {
    let output = bed.sh("echo new > /etc/new; rm /etc/group; mkdir -p /data/x").ok();
    assert_eq!(fs::read_to_string(output.upper.join("etc/new")).expect("read"), "new\n");
    assert!(output.upper.join("data/x").is_dir());
    assert!(bed.dir.join("root/etc/group").exists());
    let names: Vec<_> = fs::read_dir(&output.upper).expect("read").flatten().map(|e| e.file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

fn home_of_nobody(bed: &Bed) {
    fs::remove_file(bed.dir.join("root/etc/passwd")).expect("remove");
    assert_eq!(bed.sh("echo $HOME").ok().stdout, "/\n");
    let mut spec = bed.shell("echo $HOME");
    spec.process.env.push("HOME=/mine".into());
    assert_eq!(bed.run(spec).ok().stdout, "/mine\n");
}

/// What `runc spec` and `crun spec` write is read, and carried out by us.
fn spec_of_another_tool(bed: &Bed) {
    let mut command = std::process::Command::new(bed.which.to_string());
    command.arg("spec").current_dir(&bed.dir);
    let output = command.output().expect("the tool is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(bed.dir.join("config.json")).expect("config.json");
    let mut spec: Spec = serde_json::from_str(&text).expect("a spec");
    assert!(!spec.process.args.is_empty() && spec.process.rlimits.len() == 1 && spec.mounts.len() >= 6);
    assert!(spec.process.no_new_privileges && spec.linux.masked_paths.len() >= 8);
    // And comes out the same again, as far as it is ours.
    let again = serde_json::to_string(&spec).expect("json");
    assert_eq!(serde_json::from_str::<Spec>(&again).expect("a spec"), spec);
    spec.process.args = vec!["sh".into(), "-c".into(), "hostname; ulimit -n; echo $TERM".into()];
    if bed.mode == ModeName::Single {
        // Group 5 is not mapped.
        for mount in &mut spec.mounts {
            mount.options.retain(|option| option != "gid=5");
        }
    }
    let mut container = bed.container(spec);
    container.runtime = RuntimeChoice::Embedded;
    let output = bed.run_container(&container).ok();
    assert_eq!(output.stdout.lines().nth(1), Some("1024"), "{}", output.stdout);
    assert_eq!(output.stdout.lines().nth(2), Some("xterm"), "{}", output.stdout);
}
