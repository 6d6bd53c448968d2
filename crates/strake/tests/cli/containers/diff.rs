//! `diff`: A, C and D as Docker prints them, for changes of every kind.

use super::{is_root, store};

#[test]
fn changes_are_dockers() {
    let store = store();
    std::fs::create_dir(store.dir().join("context")).unwrap();
    std::fs::write(
        store.dir().join("context/Dockerfile"),
        "FROM bb\nRUN mkdir -p /d/sub /home/app/sub && echo 1 > /d/sub/f && echo 2 > /d/g && ln -s etc /lnk && ln -s x /home/app/lx\n",
    )
    .unwrap();
    store.ok(&["build", "-t", "base", "context"]);
    // All but the order within a directory is what dockerd 20.10 said.
    for (script, expected) in [
        ("true", &[][..]),
        (
            "echo x > /etc/new; rm /etc/group; echo y >> /etc/passwd",
            &["C /etc", "D /etc/group", "A /etc/new", "C /etc/passwd"],
        ),
        ("chmod 700 /home/app", &["C /home", "C /home/app"]),
        ("rm -r /home", &["D /home"]),
        ("rm -r /home; mkdir /home; touch /home/z", &["C /home", "D /home/app", "A /home/z"]),
        ("mv /d /moved", &["D /d", "A /moved", "A /moved/g", "A /moved/sub", "A /moved/sub/f"]),
        ("rm -r /d; mkdir -p /d/sub; touch /d/o", &["C /d", "D /d/g", "A /d/o", "C /d/sub", "D /d/sub/f"]),
        ("rm -r /d; touch /d", &["C /d"]),
        ("rm /lnk; mkdir /lnk; touch /lnk/x", &["C /lnk", "A /lnk/x"]),
        (
            "touch -d 2001-01-01 /d/g; ln /d/g /d/hard; mkfifo /d/pipe",
            &["C /d", "C /d/g", "A /d/hard", "A /d/pipe"],
        ),
        ("mkdir -p /a/b/c; rmdir /a/b/c; touch /tmp/t; rm /tmp/t", &["A /a", "A /a/b"]),
        ("chmod 600 /d/g; chmod 644 /d/g; cat /d/g", &[]),
        (
            "rm -r /home/app/sub; mkdir /home/app/sub; rm /home/app/lx; ln -s x /home/app/lx",
            &["C /home", "C /home/app", "C /home/app/lx"],
        ),
        ("touch '/sp ace' /.dot", &["A /.dot", "A /sp ace"]),
    ] {
        store.ok(&["run", "--name", "cc", "base", "sh", "-c", script]);
        let found = store.ok(&["diff", "cc"]);
        assert_eq!(found.lines().collect::<Vec<_>>(), expected, "{script}");
        store.ok(&["rm", "cc"]);
    }
    if is_root() {
        store.ok(&["run", "--name", "cc", "base", "sh", "-c", "chown app /d/g; mknod /d/null c 1 3"]);
        assert_eq!(store.ok(&["diff", "cc"]), "C /d\nC /d/g\nA /d/null\n");
    }
    assert!(store.fails(1, &["diff", "nosuch"]).contains("No such container: nosuch"));
}

#[test]
fn nothing_of_the_surroundings_is_a_change() {
    let store = store();
    let script = "echo x > /in/x; echo x > /t/x; echo 1.1.1.1 x >> /etc/hosts; touch /dev/shm/x";
    store.ok(&[
        "run", "--name", "cc", "-v", "./in:/in", "--tmpfs", "/t", "-v", "/v", "-w", "/tmp", "bb", "sh", "-c",
        script,
    ]);
    assert_eq!(store.ok(&["diff", "cc"]), "");
}

#[test]
fn names_that_are_no_text() {
    let store = store();
    store.ok(&["run", "--name", "cc", "bb", "sh", "-c", "touch \"/$(printf 'caf\\351')\""]);
    let output = store.command().args(["diff", "cc"]).output().unwrap();
    assert_eq!(output.stdout, b"A /caf\xe9\n");
}
