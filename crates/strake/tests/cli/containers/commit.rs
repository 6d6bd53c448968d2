//! `commit`: the image of a container; `export`: its files.

use super::{sleeper, store};

#[test]
fn the_image_runs_as_the_container_did() {
    let store = store();
    store.ok(&[
        "run",
        "--name",
        "cc",
        "-e",
        "A=1",
        "-l",
        "x=y",
        "-w",
        "/tmp",
        "--expose",
        "80",
        "-v",
        "/vol",
        "bb",
        "sh",
        "-c",
        "touch /tmp/made; mkdir -p /gone; rm -r /root",
    ]);
    let id = store.ok(&["commit", "-m", "a message", "-a", "Me <me@x>", "-p", "cc", "img"]);
    assert!(id.starts_with("sha256:") && id.len() == 72, "{id}");
    let config = |template: &str| store.ok(&["inspect", "-f", template, "img"]).trim_end().to_owned();
    assert_eq!(config("{{json .Config.Env}}"), "[\"A=1\",\"PATH=/bin\"]");
    assert_eq!(
        config("{{index .Config.Cmd 0}} {{.Config.WorkingDir}} {{json .Config.Labels}}"),
        "sh /tmp {\"x\":\"y\"}"
    );
    assert_eq!(
        config("{{json .Config.ExposedPorts}} {{json .Config.Volumes}}"),
        "{\"80/tcp\":{}} {\"/vol\":{}}"
    );
    assert_eq!(config("{{.Author}} {{.Comment}} {{len .RootFS.Layers}}"), "Me <me@x> a message 2");
    let history = store.ok(&["history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Comment}}", "img"]);
    assert!(
        history.starts_with("sh -c touch /tmp/made; mkdir -p /gone; rm -r /root|a message\n"),
        "{history}"
    );
    assert_eq!(store.ok(&["run", "--rm", "img", "ls", "/tmp", "/"]).matches("made").count(), 1);
    assert!(!store.ok(&["run", "--rm", "img", "ls", "/"]).contains("root"));
    store.ok(&["system", "check"]);
}

#[test]
fn instructions_change_it() {
    let store = store();
    store.ok(&["run", "--name", "cc", "--entrypoint", "echo", "bb", "x"]);
    store.ok(&[
        "commit",
        "-c",
        "CMD [\"ls\", \"/tmp\"]",
        "-c",
        "ENV B=2",
        "--change",
        "LABEL q=z",
        "-c",
        "USER app",
        "cc",
        "i",
    ]);
    let config =
        |image: &str, template: &str| store.ok(&["inspect", "-f", template, image]).trim_end().to_owned();
    assert_eq!(
        config("i", "{{json .Config.Cmd}} {{json .Config.Entrypoint}} {{.Config.User}}"),
        "[\"ls\",\"/tmp\"] [\"echo\"] app"
    );
    store.ok(&["commit", "-c", "ENTRYPOINT [\"sh\"]", "cc", "j"]);
    assert_eq!(config("j", "{{json .Config.Cmd}} {{json .Config.Entrypoint}}"), "null [\"sh\"]");
    let before = store.ok(&["system", "df"]);
    for wrong in ["RUN true", "BOGUS x", "ENV"] {
        store.fails(1, &["commit", "-c", wrong, "cc", "k"]);
    }
    assert_eq!(store.ok(&["system", "df"]), before, "nothing is left of what was refused");
    assert!(store.fails(1, &["commit", "cc", "UPPER"]).contains("must be lowercase"));
    assert!(store.fails(1, &["commit", "nosuch"]).contains("No such container: nosuch"));
}

#[test]
fn no_change_is_no_layer() {
    let store = store();
    store.ok(&["run", "--name", "cc", "bb", "true"]);
    store.ok(&["commit", "cc", "same"]);
    assert_eq!(store.ok(&["inspect", "-f", "{{len .RootFS.Layers}}", "same"]), "1\n");
    let history = store.ok(&["history", "--format", "{{.CreatedBy}} {{.Size}}", "same"]);
    assert!(history.starts_with("true 0B\n"), "{history}");
}

#[test]
fn the_same_container_gives_the_same_layer() {
    let store = store();
    store.ok(&[
        "run",
        "--name",
        "cc",
        "bb",
        "sh",
        "-c",
        "mkdir /d; echo x > /d/f; ln /d/f /d/g; ln -s f /d/l",
    ]);
    for name in ["one", "two"] {
        store.ok(&["commit", "cc", name]);
    }
    let layers = |name: &str| store.ok(&["inspect", "-f", "{{json .RootFS.Layers}}", name]);
    assert_eq!(layers("one"), layers("two"));
    assert_eq!(store.ok(&["run", "--rm", "one", "stat", "-c", "%h", "/d/f"]), "2\n", "hard links stay");
}

#[test]
fn a_running_container() {
    let store = store();
    sleeper(&store, "cc");
    store.ok(&["commit", "--pause=false", "cc", "img"]);
    assert_eq!(store.ok(&["inspect", "-f", "{{json .Config.Cmd}}", "img"]), "[\"sleep\",\"1000\"]\n");
    store.ok(&["rm", "-f", "cc"]);
}

#[test]
fn exported_and_imported_again() {
    let store = store();
    store.ok(&[
        "run",
        "--name",
        "cc",
        "bb",
        "sh",
        "-c",
        "rm -r /root; echo new > /new; echo more >> /etc/group",
    ]);
    store.ok(&["export", "-o", "c.tar", "cc"]);
    let tar = std::fs::read(store.dir().join("c.tar")).unwrap();
    assert_eq!(store.command().args(["export", "cc"]).output().unwrap().stdout, tar);
    let imported =
        store.run_with(&["import", "-m", "from c", "-c", "CMD [\"cat\", \"/new\"]", "-", "back"], &tar);
    assert_eq!(imported.code, 0, "{imported:?}");
    assert_eq!(store.ok(&["run", "--rm", "-e", "PATH=/bin", "back"]), "new\n");
    let look = "ls -d /root 2>/dev/null || tail -n1 /etc/group";
    assert_eq!(store.ok(&["run", "--rm", "-e", "PATH=/bin", "back", "sh", "-c", look]), "more\n");
    assert_eq!(store.ok(&["inspect", "-f", "{{.Comment}}", "back"]), "from c\n");
    // Whatever way it comes, the same tree is the same layer.
    for (program, args) in
        [("gzip", &["-c"][..]), ("xz", &["-c", "-1"]), ("bzip2", &["-c"]), ("zstd", &["-qc"])]
    {
        let packed = std::process::Command::new(program).args(args).arg(store.dir().join("c.tar")).output();
        let Ok(packed) = packed else {
            println!("skipped: {program} is not installed");
            continue;
        };
        let imported = store.run_with(&["import", "-", program], &packed.stdout);
        assert_eq!(imported.code, 0, "{program}: {imported:?}");
        let layers = |name: &str| store.ok(&["inspect", "-f", "{{json .RootFS.Layers}}", name]);
        assert_eq!(layers(program), layers("back"), "{program}");
    }
    assert!(store.fails(1, &["export", "nosuch"]).contains("No such container: nosuch"));
    assert!(store.fails(1, &["import", "/nosuch.tar"]).contains("cannot open /nosuch.tar"));
    assert_eq!(store.run_with(&["import", "-", "cut"], &tar[..tar.len() / 2]).code, 1);
    assert_eq!(store.run(&["inspect", "cut"]).code, 1);
}
