//! `cp`: Docker's rules of what lands where, both ways, and containers that would lead elsewhere.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::{is_root, store};
use crate::harness::TestStore;

/// A tree to copy, in `src`: a file, a directory with links of both kinds, links to both, a dangling one.
fn tree(store: &TestStore) {
    let src = store.dir().join("src");
    fs::create_dir_all(src.join("d/sub")).unwrap();
    fs::write(src.join("f"), "f\n").unwrap();
    fs::set_permissions(src.join("f"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::write(src.join("d/x"), "x\n").unwrap();
    fs::hard_link(src.join("d/x"), src.join("d/y")).unwrap();
    fs::set_permissions(src.join("d"), fs::Permissions::from_mode(0o710)).unwrap();
    for (target, name) in [("x", "d/link"), ("d", "to-d"), ("f", "to-f"), ("nowhere", "dangling")] {
        symlink(target, src.join(name)).unwrap();
    }
}

fn list(store: &TestStore, container: &str, path: &str) -> String {
    store.ok(&["commit", container, "looked-at"]);
    let script = format!("cd {path} && find . | sort | tr '\\n' ' '");
    store.ok(&["run", "--rm", "looked-at", "sh", "-c", &script]).trim_end().to_owned()
}

#[test]
fn into_a_container() {
    let store = store();
    tree(&store);
    // What dockerd 20.10 leaves in /t, or that it refuses.
    for (source, dest, expected) in [
        ("src/f", "/t/new", Some(". ./new")),
        ("src/f", "/t/", Some(". ./f")),
        ("src/f", "/t/.", Some(". ./f")),
        ("src/f", "t/relative", Some(". ./relative")),
        ("src/f", "/t/../t/./x", Some(". ./x")),
        ("src/d", "/t/new", Some(". ./new ./new/link ./new/sub ./new/x ./new/y")),
        ("src/d", "/t", Some(". ./d ./d/link ./d/sub ./d/x ./d/y")),
        ("src/d/", "/t", Some(". ./d ./d/link ./d/sub ./d/x ./d/y")),
        ("src/d/.", "/t", Some(". ./link ./sub ./x ./y")),
        ("src/d/.", "/t/new", Some(". ./new ./new/link ./new/sub ./new/x ./new/y")),
        ("src/to-d", "/t", Some(". ./to-d")),
        ("src/to-d/", "/t", Some(". ./to-d ./to-d/link ./to-d/sub ./to-d/x ./to-d/y")),
        ("src/to-d/.", "/t", Some(". ./link ./sub ./x ./y")),
        ("src/dangling", "/t", Some(". ./dangling")),
        ("src/f", "/nodir/f", None),
        ("src/f", "/t/newdir/", None),
        ("src/d", "/etc/passwd", None),
        ("src/f/", "/t", None),
        ("src/f", "/etc/passwd/", None),
        ("src/f", "/etc/passwd/x", None),
        ("src/nothere", "/t", None),
    ] {
        store.ok(&["run", "--name", "cc", "bb", "mkdir", "/t"]);
        let ran = store.run(&["cp", source, &format!("cc:{dest}")]);
        match expected {
            Some(expected) => {
                assert_eq!(ran.code, 0, "{source} {dest}: {ran:?}");
                assert_eq!(list(&store, "cc", "/t"), expected, "{source} {dest}");
            }
            None => {
                assert_eq!(ran.code, 1, "{source} {dest}: {ran:?}");
                assert_eq!(list(&store, "cc", "/t"), ".", "{source} {dest}");
            }
        }
        store.ok(&["rm", "cc"]);
    }
}

#[test]
fn links_are_followed_where_docker_does() {
    let store = store();
    tree(&store);
    store.ok(&[
        "run",
        "--name",
        "cc",
        "bb",
        "sh",
        "-c",
        "mkdir /t; ln -s /t /to-t; ln -s t/made /dangling; ln -s etc/passwd /to-file",
    ]);
    store.ok(&["cp", "-L", "src/to-f", "cc:/t"]);
    store.ok(&["cp", "-L", "src/to-d", "cc:/t/followed"]);
    store.ok(&["cp", "src/f", "cc:/to-t/through"]);
    store.ok(&["cp", "src/f", "cc:/dangling"]);
    store.ok(&["cp", "src/f", "cc:/to-file"]);
    store.fails(1, &["cp", "-L", "src/dangling", "cc:/t"]);
    assert_eq!(
        list(&store, "cc", "/t"),
        ". ./followed ./followed/link ./followed/sub ./followed/x ./followed/y ./made ./through ./to-f"
    );
    let look =
        "cat /etc/passwd /t/to-f; readlink /to-file; stat -c '%a %h' /t/followed /t/followed/x /t/to-f";
    let found = store.ok(&["run", "--rm", "looked-at", "sh", "-c", look]);
    assert_eq!(found, "f\nf\netc/passwd\n710 3\n644 2\n4755 1\n", "modes and hard links are kept");
}

#[test]
fn out_of_a_container() {
    let store = store();
    let script = "mkdir -p /t/d/sub; echo x > /t/d/x; ln /t/d/x /t/d/y; ln -s x /t/d/link; ln -s d /t/to-d; chmod 4711 /t/d/x; touch -d '2001-02-03 00:00:00' /t/d/x";
    store.ok(&["run", "--name", "cc", "bb", "sh", "-c", script]);
    let out = store.dir().join("out");
    let find = || {
        let mut all: Vec<String> = Vec::new();
        let mut todo = vec![out.clone()];
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    todo.push(entry.path());
                }
                all.push(entry.path().strip_prefix(&out).unwrap().to_str().unwrap().to_owned());
            }
        }
        all.sort();
        all.join(" ")
    };
    for (source, dest, expected) in [
        ("/t/d/x", "out", Some("x")),
        ("/t/d/x", "out/", Some("x")),
        ("/t/d/x", "out/new", Some("new")),
        ("/t/d", "out", Some("d d/link d/sub d/x d/y")),
        ("/t/d", "out/new", Some("new new/link new/sub new/x new/y")),
        ("/t/d/.", "out", Some("link sub x y")),
        ("/t/to-d", "out", Some("to-d")),
        ("/t/to-d/", "out", Some("to-d to-d/link to-d/sub to-d/x to-d/y")),
        ("/t/d/../d/x", "out", Some("x")),
        ("/../../t/d/x", "out", Some("x")),
        ("/t/nothere", "out", None),
        ("/t/d/x", "out/nodir/", None),
        ("/t/d/x", "out/nodir/x", None),
        ("/t/d/x/", "out", None),
    ] {
        fs::create_dir(&out).unwrap();
        let ran = store.run(&["cp", &format!("cc:{source}"), dest]);
        assert_eq!(ran.code, i32::from(expected.is_none()), "{source} {dest}: {ran:?}");
        assert_eq!(find(), expected.unwrap_or(""), "{source} {dest}");
        fs::remove_dir_all(&out).unwrap();
    }
    store.ok(&["cp", "cc:/t/d", "out"]);
    let (x, y) = (fs::metadata(out.join("x")).unwrap(), fs::metadata(out.join("y")).unwrap());
    assert_eq!((x.ino(), x.mode() & 0o7777, x.mtime()), (y.ino(), 0o4711, 981_158_400));
    assert_eq!(x.uid(), rustix::process::geteuid().as_raw(), "what comes out is whose who took it");
    // A file does not take a directory's place, nor the other way round; what was there stays.
    fs::create_dir_all(store.dir().join("busy/x")).unwrap();
    assert!(store.fails(1, &["cp", "cc:/t/d/x", "busy"]).contains("a directory is in the way"));
    fs::write(store.dir().join("busy/d"), "kept").unwrap();
    assert!(store.fails(1, &["cp", "cc:/t/d", "busy"]).contains("a file is in the way"));
    assert_eq!(fs::read(store.dir().join("busy/d")).unwrap(), b"kept");
}

#[test]
fn streams() {
    let store = store();
    store.ok(&[
        "run",
        "--name",
        "cc",
        "bb",
        "sh",
        "-c",
        "mkdir -p /t/sub; echo x > /t/x; ln /t/x /t/y; ln -s x /t/l",
    ]);
    let names = |path: &str| {
        let tar = store.command().args(["cp", &format!("cc:{path}"), "-"]).output().unwrap().stdout;
        fs::write(store.dir().join("out.tar"), &tar).unwrap();
        let listed =
            std::process::Command::new("tar").arg("tf").arg(store.dir().join("out.tar")).output().unwrap();
        String::from_utf8(listed.stdout).unwrap().replace('\n', " ")
    };
    assert_eq!(names("/t"), "t/ t/l t/sub/ t/x t/y ");
    assert_eq!(names("/t/."), "./ ./l ./sub/ ./x ./y ");
    assert_eq!(names("/t/x"), "x ");
    names("/t");
    let tar = fs::read(store.dir().join("out.tar")).unwrap();
    store.ok(&["run", "--name", "dd", "bb", "mkdir", "/in"]);
    assert_eq!(store.run_with(&["cp", "-", "dd:/in"], &tar).code, 0);
    assert_eq!(list(&store, "dd", "/in"), ". ./t ./t/l ./t/sub ./t/x ./t/y");
    assert_eq!(store.run_with(&["cp", "-", "dd:/nodir"], &tar).code, 1);
    assert_eq!(store.run_with(&["cp", "-", "dd:/etc/passwd"], &tar).code, 1);
    store.ok(&["cp", "dd:/tmp", "before"]);
    for bad in [&b"no tar"[..], &tar[..tar.len() - 1024 - 512 - 100]] {
        assert_eq!(store.run_with(&["cp", "-", "dd:/tmp"], bad).code, 1);
    }
    store.ok(&["cp", "dd:/tmp", "after"]);
    let is_as = |dir: &str| {
        let dir = store.dir().join(dir);
        (fs::metadata(&dir).unwrap().mode(), fs::read_dir(dir).unwrap().count())
    };
    assert_eq!(is_as("after"), is_as("before"), "what is no whole archive changes nothing");
    assert!(
        store.fails(1, &["cp", "cc:/x", "dd:/y"]).contains("copying between containers is not supported")
    );
    assert!(store.fails(1, &["cp", "a", "b"]).contains("must specify at least one container"));
    assert!(store.fails(1, &["cp", "a", "cc:"]).contains("empty"));
    assert!(store.fails(1, &["cp", "nosuch:/x", "."]).contains("No such container: nosuch"));
}

#[test]
fn a_running_container_is_reached_with_all_its_mounts() {
    let store = store();
    fs::create_dir(store.dir().join("host")).unwrap();
    fs::write(store.dir().join("a"), "a\n").unwrap();
    let script = "echo in memory > /tf/made; echo on disk > /tmp/made; sleep 1000";
    store.ok(&[
        "run",
        "-d",
        "--name",
        "rr",
        "-v",
        "./host:/host",
        "-v",
        "/vol",
        "--tmpfs",
        "/tf",
        "bb",
        "sh",
        "-c",
        script,
    ]);
    super::until("it is set up", || store.run(&["cp", "rr:/tmp/made", "out"]).code == 0);
    for place in ["/tmp", "/tf", "/host", "/vol"] {
        store.ok(&["cp", "a", &format!("rr:{place}/a")]);
    }
    assert_eq!(fs::read_to_string(store.dir().join("host/a")).unwrap(), "a\n");
    store.ok(&["cp", "rr:/tf/made", "out"]);
    assert_eq!(fs::read_to_string(store.dir().join("out")).unwrap(), "in memory\n");
    let tar = store.command().args(["cp", "rr:/vol", "-"]).output().unwrap().stdout;
    assert_eq!(store.run_with(&["cp", "-", "rr:/tmp"], &tar).code, 0);
    store.ok(&["cp", "rr:/tmp/vol/a", "out2"]);
    store.ok(&["kill", "rr"]);
    // Stopped, its volumes are still there, what was in memory is not.
    store.ok(&["cp", "rr:/vol/a", "out3"]);
    store.ok(&["cp", "a", "rr:/vol/b"]);
    store.fails(1, &["cp", "rr:/tf/made", "out4"]);
    assert_eq!(store.ok(&["diff", "rr"]), "C /tmp\nA /tmp/a\nA /tmp/made\nA /tmp/vol\nA /tmp/vol/a\n");
}

#[test]
fn no_link_in_a_container_leads_to_the_host() {
    let store = store();
    fs::write(store.dir().join("secret"), "of the host").unwrap();
    fs::write(store.dir().join("mine"), "harmless").unwrap();
    let host = store.dir().to_str().unwrap().to_owned();
    let script = format!(
        "ln -s {host} /abs; ln -s ../../../../../../../../{host} /up; ln -s {host}/made /new; ln -s /proc/1/root /root-of-1; mkdir /t"
    );
    let running = format!("{script}; sleep 1000");
    store.ok(&["run", "--name", "cc", "bb", "sh", "-c", &script]);
    store.ok(&["run", "-d", "--name", "rr", "bb", "sh", "-c", &running]);
    super::until("it is set up", || store.run(&["cp", "rr:/t", "t"]).code == 0);
    for container in ["cc", "rr"] {
        for path in
            ["/abs/secret", "/up/secret", &format!("/root-of-1{host}/secret"), "/proc/self/cwd/secret"]
        {
            let ran = store.run(&["cp", &format!("{container}:{path}"), "stolen"]);
            assert_eq!(ran.code, 1, "{container} {path}: {ran:?}");
            assert!(!store.dir().join("stolen").exists());
        }
        for path in ["/abs/made", "/up/made", "/new", "/abs/secret"] {
            let ran = store.run(&["cp", "mine", &format!("{container}:{path}")]);
            assert_eq!(ran.code, 1, "{container} {path}: {ran:?}");
        }
    }
    assert!(!store.dir().join("made").exists());
    assert_eq!(fs::read_to_string(store.dir().join("secret")).unwrap(), "of the host");
    // Copied as what they are: text.
    store.ok(&["cp", "cc:/abs", "link"]);
    assert_eq!(fs::read_link(store.dir().join("link")).unwrap(), Path::new(&host));
    store.ok(&["rm", "-f", "rr"]);
}

#[test]
fn owners() {
    if !is_root() {
        println!("skipped: only root can give files away");
        return;
    }
    let store = store();
    fs::write(store.dir().join("f"), "f").unwrap();
    std::os::unix::fs::chown(store.dir().join("f"), Some(1234), Some(2345)).unwrap();
    store.ok(&["run", "--name", "cc", "-u", "app", "bb", "true"]);
    store.ok(&["cp", "f", "cc:/tmp/kept"]);
    store.ok(&["cp", "-a", "f", "cc:/tmp/given"]);
    store.ok(&["commit", "cc", "i"]);
    let owners = store.ok(&["run", "--rm", "i", "stat", "-c", "%u:%g", "/tmp/kept", "/tmp/given"]);
    assert_eq!(owners, "1234:2345\n1000:1001\n");
}
