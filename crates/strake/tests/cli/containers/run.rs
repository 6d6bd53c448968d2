//! `run`: what a container gets, and the exit code.

use super::{is_root, sh, store, with_busybox};
use crate::harness::{TestStore, ran};

/// `--init` is strake's own process within the container: nothing of strake or of who runs it is to be seen by it.
#[test]
fn init_gives_nothing_away() {
    let script = "cat /proc/1/environ /proc/1/maps /proc/1/mem; readlink /proc/1/exe; head -c 4 /proc/1/exe";
    for store in [Some(store()), TestStore::of_an_ordinary_user().map(with_busybox)].into_iter().flatten() {
        let mut command = store.command();
        command.env("TOKEN_OF_THE_HOST", "open-sesame");
        let ran = ran(command.args(["run", "--rm", "--init", "bb", "sh", "-c", script]));
        assert_eq!(ran.stdout, "", "{}", ran.stderr);
        assert!(ran.stderr.contains("Permission denied"), "{}", ran.stderr);
        // Who has the capability to look at any process finds nothing there either.
        let mut command = store.command();
        command.env("TOKEN_OF_THE_HOST", "open-sesame");
        let script = "tr '\\0' '\\n' < /proc/1/environ";
        let args = ["run", "--rm", "--init", "--cap-add", "SYS_PTRACE", "bb", "sh", "-c", script];
        let shown = crate::harness::ran(command.args(args)).stdout;
        assert!(!shown.contains("TOKEN_OF_THE_HOST"), "{shown}");
    }
}

#[test]
fn exit_codes_are_dockers() {
    let store = store();
    let code = |args: &[&str]| {
        let all: Vec<&str> = ["run", "--rm"].iter().chain(args).copied().collect();
        let ran = store.run(&all);
        (ran.code, ran.stderr)
    };
    assert_eq!(code(&["bb", "true"]).0, 0);
    assert_eq!(code(&["bb", "sh", "-c", "exit 42"]).0, 42);
    assert_eq!(code(&["--init", "bb", "sh", "-c", "kill -SEGV $$"]).0, 128 + 11);
    for (args, wanted, words) in [
        (&["bb", "nosuch"][..], 127, "exec: \"nosuch\": executable file not found in $PATH"),
        (&["bb", "/bin/nosuch"], 127, "stat /bin/nosuch: no such file or directory"),
        (&["bb", "/etc/passwd"], 126, "permission denied"),
        (&["bb", "/etc"], 126, "is a directory"),
        (&["-u", "nosuch", "bb", "id"], 125, "unable to find user nosuch"),
        (&["-u", "app:nosuch", "bb", "id"], 125, "unable to find group nosuch"),
        (&["-w", "rel", "bb", "id"], 125, "the working directory 'rel' is invalid"),
        (&["--pull", "never", "nosuch:1"], 125, "No such image: nosuch:1"),
        (&["UPPER"], 125, "must be lowercase"),
        (&["--bogus", "bb"], 125, "--bogus"),
        (&["--entrypoint", "", "bb"], 125, "no command specified"),
        (&["--cap-add", "BOGUS", "bb"], 125, "BOGUS"),
        (&["--stop-signal", "BOGUS", "bb"], 125, "invalid signal: BOGUS"),
        (&["--network", "mine", "bb"], 125, "network mine not found"),
        (&["--ulimit", "nofile=3:2", "bb"], 125, "soft limit must be less than or equal to hard limit"),
        (&["--name", "x/y", "bb"], 125, "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
        (&["-v", "/a:/", "bb"], 125, "can't be '/'"),
        (&["-v", "/tmp:/x", "--tmpfs", "/x/", "bb"], 125, "Duplicate mount point: /x"),
        (&["--mount", "type=bind,src=/nosuch/x,dst=/x", "bb"], 125, "does not exist: /nosuch/x"),
        (&["-v", "named:/x", "bb"], 125, "named volumes are not supported"),
        (&["-a", "stdfoo", "bb"], 125, "valid streams are STDIN, STDOUT and STDERR"),
    ] {
        let (code, stderr) = code(args);
        assert_eq!(code, wanted, "{args:?}: {stderr}");
        assert!(stderr.contains(words) && stderr.starts_with("strake: "), "{args:?}: {stderr}");
    }
    assert_eq!(store.ok(&["ps", "-aq"]), "", "nothing is left of what did not start");
}

#[test]
fn an_unknown_image_is_looked_for_and_not_found() {
    let store = store();
    // Nobody listens there.
    let ran = store.run(&["run", "--rm", "localhost:1/nosuch", "true"]);
    assert_eq!(ran.code, 125);
    assert!(ran.stderr.starts_with("Unable to find image 'localhost:1/nosuch:latest' locally\n"), "{ran:?}");
    assert!(ran.stderr.contains("strake: registry localhost:1 cannot be reached"), "{ran:?}");
    assert!(ran.stderr.contains("hint: "), "{ran:?}");
}

#[test]
fn what_follows_the_image_is_the_commands() {
    let store = store();
    assert_eq!(store.ok(&["run", "--rm", "bb", "echo", "--rm", "-v", "--root", "x"]), "--rm -v --root x\n");
    assert_eq!(store.ok(&["run", "--rm", "--entrypoint", "echo", "bb", "-c", "--help"]), "-c --help\n");
    assert_eq!(store.ok(&["run", "--rm", "--entrypoint", "", "bb", "echo", "x"]), "x\n");
}

#[test]
fn environment() {
    let store = store();
    std::fs::write(store.dir().join("env"), "A=file\n# note\n\n  L=1\r\nFROM_HOST\nNOT_SET\nQ=\"q\"\n")
        .unwrap();
    let ran = ran(store.command().env("FROM_HOST", "yes").args([
        "run",
        "--rm",
        "--env-file",
        "env",
        "-e",
        "A=line",
        "-e",
        "FROM_HOST",
        "-e",
        "EMPTY=",
        "-e",
        "HOSTNAME",
        "bb",
        "env",
    ]));
    let mut lines: Vec<&str> = ran.stdout.lines().collect();
    lines.sort();
    assert_eq!(
        lines,
        ["A=line", "EMPTY=", "FROM_HOST=yes", "HOME=/root", "L=1", "PATH=/bin", "Q=\"q\""],
        "a name alone takes a variable away: {ran:?}"
    );
    std::fs::write(store.dir().join("env"), "A B=1\n").unwrap();
    let stderr = store.fails(125, &["run", "--rm", "--env-file", "env", "bb"]);
    assert!(stderr.contains("variable 'A B' contains whitespaces"), "{stderr}");
    assert!(store.fails(125, &["run", "--rm", "--env-file", "nosuch", "bb"]).contains("cannot read nosuch"));
    assert!(sh(&store, "env").contains("HOSTNAME="));
}

#[test]
fn users_groups_and_places() {
    let store = store();
    let id = |args: &[&str]| {
        let all: Vec<&str> = ["run", "--rm"].iter().chain(args).chain(&["bb", "id"]).copied().collect();
        store.ok(&all).trim_end().to_owned()
    };
    assert_eq!(id(&[]), "uid=0(root) gid=0(root) groups=0(root)");
    let app = "uid=1000(app) gid=1001(app) groups=1001(app),2000(extra)";
    if id(&["-u", "app"]) != app {
        assert!(!is_root());
        println!("skipped: only one id is mapped here");
        return;
    }
    assert_eq!(id(&["-u", "1000"]), app);
    assert_eq!(id(&["-u", "4711:2000"]), "uid=4711 gid=2000(extra) groups=2000(extra)");
    assert_eq!(
        id(&["--group-add", "extra", "--group-add", "77"]),
        "uid=0(root) gid=0(root) groups=0(root),77,2000(extra)"
    );
    let place =
        store.ok(&["run", "--rm", "-u", "app", "-w", "/new/dir", "bb", "sh", "-c", "pwd; echo $HOME"]);
    assert_eq!(place, "/new/dir\n/home/app\n");
    let names = store.ok(&[
        "run",
        "--rm",
        "-h",
        "box",
        "--domainname",
        "dom",
        "--add-host",
        "db:10.0.0.9",
        "bb",
        "sh",
        "-c",
        "hostname; cat /etc/hostname /proc/sys/kernel/domainname; grep -c -w -e box -e 10.0.0.9 /etc/hosts",
    ]);
    assert_eq!(names, "box\nbox\ndom\n2\n");
}

#[test]
fn mounts() {
    let store = store();
    let host = store.dir().join("host");
    std::fs::create_dir(&host).unwrap();
    std::fs::write(host.join("file"), "from the host\n").unwrap();
    let host = host.to_str().unwrap();
    let run = |args: &[&str], script: &str| {
        let all: Vec<&str> =
            ["run", "--rm"].iter().chain(args).chain(&["bb", "sh", "-c", script]).copied().collect();
        store.ok(&all)
    };
    let bind = format!("{host}:/in");
    assert_eq!(run(&["-v", &bind], "cat /in/file; echo new > /in/made"), "from the host\n");
    assert_eq!(std::fs::read_to_string(format!("{host}/made")).unwrap(), "new\n");
    let read_only = "touch /in/x 2>/dev/null || echo refused";
    assert_eq!(run(&["-v", &format!("{bind}:ro")], read_only), "refused\n");
    let long = format!("type=bind,src={host},dst=/in,readonly");
    assert_eq!(run(&["--mount", &long], read_only), "refused\n");
    assert_eq!(run(&["-v", &format!("{host}/file:/etc/passwd")], "cat /etc/passwd"), "from the host\n");
    assert_eq!(run(&["-v", "./later:/in"], "ls /in | wc -l"), "0\n", "a missing source is made");
    assert!(store.dir().join("later").is_dir());
    // Given the other way round, the inner one still is in the outer one.
    let inner = run(&["--tmpfs", "/in/tmp", "-v", &bind], "touch /in/tmp/x; ls /in/tmp /in");
    assert!(inner.contains("x\n") && inner.contains("file\n"), "{inner}");
    let tmpfs = "grep ' /t ' /proc/mounts | cut -d' ' -f4; stat -c %a /t";
    let options = run(&["--tmpfs", "/t:size=1m,mode=700,exec"], tmpfs);
    assert!(options.contains("nosuid,nodev") && options.contains("size=1024k"), "{options}");
    assert!(!options.contains("noexec") && options.ends_with("700\n"), "{options}");
    let shm = run(&["--shm-size", "1m"], "df /dev/shm | tail -n1 | awk '{print $2}'");
    assert_eq!(shm, "1024\n");
}

#[test]
fn volumes_begin_as_what_the_image_has() {
    let store = store();
    std::fs::create_dir(store.dir().join("context")).unwrap();
    std::fs::write(
        store.dir().join("context/Dockerfile"),
        "FROM bb\nRUN mkdir -p /data/sub && echo kept > /data/sub/file && chmod 750 /data\nVOLUME /data /empty relative\n",
    )
    .unwrap();
    store.ok(&["build", "-t", "vol", "context"]);
    let look = "cat /data/sub/file; stat -c %a /data /empty; grep -c -e ' /data ' -e ' /empty ' -e ' /relative ' /proc/mounts";
    assert_eq!(store.ok(&["run", "--name", "vv", "vol", "sh", "-c", look]), "kept\n750\n755\n3\n");
    store.ok(&["run", "--name", "ww", "vol", "sh", "-c", "echo more >> /data/sub/file"]);
    store.ok(&["rm", "vv"]);
    assert_eq!(store.ok(&["diff", "ww"]), "", "what is in a volume is no change of the container");
    store.ok(&["cp", "ww:/data/sub/file", "out"]);
    assert_eq!(std::fs::read_to_string(store.dir().join("out")).unwrap(), "kept\nmore\n");
    assert_eq!(store.ok(&["run", "--rm", "vol", "cat", "/data/sub/file"]), "kept\n", "each has its own");
    assert_eq!(
        store.ok(&["run", "--rm", "-v", "/home", "vol", "sh", "-c", "touch /home/x; ls /home"]),
        "x\n"
    );
}

#[test]
fn read_only_root() {
    let store = store();
    let script = "touch /x 2>/dev/null || echo no; touch /etc/hosts 2>/dev/null || echo no; touch /t/x /dev/shm/x && echo yes";
    assert_eq!(
        store.ok(&["run", "--rm", "--read-only", "--tmpfs", "/t", "bb", "sh", "-c", script]),
        "no\nno\nyes\n"
    );
}

#[test]
fn privileges() {
    let store = store();
    let status = |args: &[&str], field: &str| {
        let pattern = format!("^{field}:");
        let tail = ["bb", "grep", &pattern, "/proc/self/status"];
        let all: Vec<&str> = ["run", "--rm"].iter().chain(args).chain(&tail).copied().collect();
        store.ok(&all).split_whitespace().last().unwrap().to_owned()
    };
    assert_eq!(status(&[], "CapEff"), "00000000a80425fb");
    assert_eq!(status(&["--cap-drop", "ALL"], "CapBnd"), "0000000000000000");
    assert_eq!(status(&["--cap-add", "NET_ADMIN", "--cap-drop", "CAP_CHOWN"], "CapEff"), "00000000a80435fa");
    assert_eq!(status(&["--cap-drop", "all", "--cap-add", "kill"], "CapPrm"), "0000000000000020");
    assert_eq!(status(&[], "Seccomp"), "2");
    assert_eq!(status(&["--security-opt", "seccomp=unconfined"], "Seccomp"), "0");
    assert_eq!(status(&["--privileged"], "Seccomp"), "0");
    assert_eq!(status(&["--security-opt", "no-new-privileges"], "NoNewPrivs"), "1");
    let limits =
        store.ok(&["run", "--rm", "--ulimit", "nofile=100:200", "bb", "sh", "-c", "ulimit -n; ulimit -Hn"]);
    assert_eq!(limits, "100\n200\n");
    let sysctl = ["run", "--rm", "--sysctl", "kernel.msgmax=1000", "bb", "cat", "/proc/sys/kernel/msgmax"];
    assert_eq!(store.ok(&sysctl), "1000\n");
}

#[test]
fn networks() {
    let store = store();
    let links = |network: &str| {
        store.ok(&["run", "--rm", "--network", network, "bb", "sh", "-c", "ls /sys/class/net | tr '\\n' ' '"])
    };
    assert_eq!(links("none"), "lo ");
    assert_eq!(links("host"), links("bridge"));
    let ping = store.ok(&["run", "--rm", "--net", "none", "bb", "sh", "-c", "ip -o addr show lo | head -n1"]);
    assert!(ping.contains("127.0.0.1/8"), "{ping}");
    let dns = ["run", "--rm", "--dns", "9.9.9.9", "--dns-search", "ex.com", "bb", "cat", "/etc/resolv.conf"];
    let text = store.ok(&dns);
    assert!(text.contains("search ex.com\nnameserver 9.9.9.9\n"), "{text}");
    let ran = store.run(&[
        "run",
        "--rm",
        "-p",
        "80:80",
        "--memory-reservation",
        "1g",
        "--restart",
        "always",
        "bb",
        "echo",
        "hi",
    ]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "hi\n"));
    assert_eq!(ran.stderr.matches("WARNING: ").count(), 3, "{ran:?}");
}

#[test]
fn standard_streams() {
    let store = store();
    let run = |args: &[&str], input: &[u8]| {
        let all: Vec<&str> = ["run", "--rm"].iter().chain(args).copied().collect();
        store.run_with(&all, input)
    };
    assert_eq!(run(&["-i", "bb", "cat"], b"in").stdout, "in");
    assert_eq!(run(&["bb", "cat"], b"in").stdout, "", "without -i there is nothing to read");
    let both = run(&["bb", "sh", "-c", "echo out; echo err >&2"], b"");
    assert_eq!((both.stdout.as_str(), both.stderr.as_str()), ("out\n", "err\n"));
    let only = run(&["-a", "stderr", "bb", "sh", "-c", "echo out; echo err >&2"], b"");
    assert_eq!((only.stdout.as_str(), only.stderr.as_str()), ("", "err\n"));
    assert_eq!(run(&["-a", "stdin", "-a", "stdout", "bb", "cat"], b"in").stdout, "in");
    let tty = run(&["-it", "bb", "true"], b"");
    assert_eq!((tty.code, tty.stderr.as_str()), (1, "the input device is not a TTY\n"));
    // A file of the host is read through a pipe: a container that had it could open it anew to write.
    std::fs::write(store.dir().join("file"), "x").unwrap();
    let mut command = store.command();
    command.stdin(std::fs::File::open(store.dir().join("file")).unwrap());
    let kind = ran(command.args(["run", "--rm", "-i", "bb", "sh", "-c", "readlink /proc/self/fd/0; cat"]));
    assert!(kind.stdout.starts_with("pipe:") && kind.stdout.ends_with("x"), "{kind:?}");
    let much = run(&["bb", "sh", "-c", "seq 200000"], b"");
    assert_eq!(much.stdout.lines().count(), 200_000, "all of it comes");
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let store = store();
    let script = format!(
        "{} run --rm bb seq 1 10000000 | head -n 1; echo ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_strake")
    );
    let mut command = std::process::Command::new("bash");
    command.args(["-c", &script]).env("STRAKE_ROOT", store.root());
    let out = ran(&mut command);
    assert!(out.stdout.starts_with("1\n") && out.stderr.is_empty(), "{out:?}");
    assert_eq!(store.ok(&["ps", "-aq"]), "");
}

#[test]
fn cidfile() {
    let store = store();
    store.ok(&["run", "--name", "cc", "--cidfile", "id", "bb", "true"]);
    let id = std::fs::read_to_string(store.dir().join("id")).unwrap();
    assert_eq!(id, store.ok(&["ps", "-aq", "--no-trunc"]).trim_end());
    let stderr = store.fails(125, &["run", "--rm", "--cidfile", "id", "bb", "true"]);
    assert!(stderr.contains("container ID file found"), "{stderr}");
    store.fails(125, &["run", "--rm", "--cidfile", "id2", "-w", "rel", "bb", "true"]);
    assert!(!store.dir().join("id2").exists(), "no container, no file");
}

#[test]
fn other_runtimes() {
    let store = store();
    for runtime in ["crun", "runc"] {
        let found = std::process::Command::new(runtime).arg("--version").output().is_ok();
        if !found {
            println!("skipped: {runtime} is not installed");
            continue;
        }
        let run = |args: &[&str]| {
            let all: Vec<&str> = ["run", "--rm", "--runtime", runtime].iter().chain(args).copied().collect();
            store.run(&all)
        };
        let out = run(&["-e", "A=1", "-w", "/tmp", "bb", "sh", "-c", "pwd; echo $A; exit 7"]);
        assert_eq!((out.code, out.stdout.as_str()), (7, "/tmp\n1\n"), "{runtime}: {out:?}");
        assert_eq!(run(&["bb", "nosuch"]).code, 127, "{runtime}");
        assert_eq!(run(&["bb", "/etc"]).code, 126, "{runtime}");
    }
    let stderr = store.fails(125, &["run", "--rm", "--runtime", "/no/such", "bb", "true"]);
    assert!(stderr.contains("/no/such"), "{stderr}");
}
