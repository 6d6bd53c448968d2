//! Bad input: each is named, with its line, and leaves nothing half made.

use std::os::unix::fs::symlink;

use crate::project::Project;

#[track_caller]
fn refused(dockerfile: &str, expected: &[&str]) {
    let project = Project::new(&[("Dockerfile", dockerfile), ("file.txt", "x")]);
    let said = project.refused(&[]);
    for part in expected {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
    assert_eq!(project.store.ok(&["images", "-q"]).lines().count(), 1, "an image was left");
}

#[test]
fn of_the_language() {
    refused("FROM busybox\nRUNN true\n", &["Dockerfile:2", "unknown instruction", "RUN"]);
    refused("FROM busybox\nCOPY --chwon=1 file.txt /\n", &["Dockerfile:2", "chown"]);
    refused("FROM busybox\nRUN <<EOF\necho\n", &["unterminated heredoc"]);
    refused("FROM busybox\nENV A=\"open\n", &["Dockerfile:2"]);
    refused("RUN true\n", &["Dockerfile:1", "FROM"]);
    refused("", &["no instructions"]);
    refused("FROM busybox\nRUN true\nENV Y=\"${X:?must be set}\"\n", &["must be set", "Dockerfile:3"]);
}

#[test]
fn of_stages() {
    refused("FROM a AS b\nCOPY --from=b / /\n", &["b"]);
    refused("FROM busybox AS first\nFROM busybox\nCOPY --from=frist /bin /x\n", &["frist", "first"]);
}

#[test]
fn a_missing_source_is_told_before_anything_runs() {
    let project = Project::new(&[
        ("Dockerfile", "FROM busybox\nRUN echo r''an\nCOPY here /\nCOPY nosuch /\n"),
        ("here", ""),
    ]);
    let said = project.refused(&["--progress=plain"]);
    assert!(said.contains("Dockerfile:4") && said.contains("\"/nosuch\" not found"), "{said}");
    assert!(!said.contains(" ran\n"), "{said}");
}

#[test]
fn of_sources() {
    refused("FROM busybox\nCOPY fil.txt /\n", &["Dockerfile:2", "fil.txt", "file.txt"]);
    refused("FROM busybox\nRUN false\n", &["exit code: 1", ">>> RUN false"]);
    refused("FROM busybox\nUSER nobodyknows\nRUN true\n", &["nobodyknows"]);
    refused("FROM busybox\nCOPY --chown=ghost file.txt /\n", &["ghost"]);
    refused(
        "FROM busybox\nCOPY --link --chown=app file.txt /\n",
        &["user app", "Dockerfile:2", "--link", "numbers"],
    );
    refused("FROM nosuch.invalid/image:1\n", &["nosuch.invalid"]);
}

#[test]
fn of_contexts() {
    let project = Project::new(&[("Dockerfile", "FROM busybox\n")]);
    let ran = project.store.run(&["build", "/no/such/dir"]);
    assert!(ran.code != 0 && ran.stderr.contains("/no/such/dir"), "{ran:?}");
    let file = project.path("Dockerfile");
    let ran = project.store.run(&["build", file.to_str().unwrap()]);
    assert!(ran.code != 0 && ran.stderr.contains("not a directory"), "{ran:?}");
    let said = project.refused(&["-f", "nosuch"]);
    assert!(said.contains("nosuch"), "{said}");
}

#[test]
fn links_do_not_lead_out_of_the_context() {
    let project = Project::new(&[("Dockerfile", "FROM busybox\nCOPY out/passwd /p\n"), ("inside/x", "in\n")]);
    symlink("/etc", project.path("out")).unwrap();
    let said = project.refused(&[]);
    assert!(said.contains("passwd"), "{said}");
    // A link itself is copied as a link; `..` stops at the root of the context.
    symlink("/etc/passwd", project.path("link")).unwrap();
    project.write("Dockerfile", "FROM busybox\nCOPY inside/../../../inside/x /x\nCOPY . /all\n");
    project.built(&[]);
    assert_eq!(project.sh("cat /x; readlink /all/link"), "in\n/etc/passwd\n");
}

#[test]
fn an_image_of_another_platform() {
    let project = Project::new(&[("Dockerfile", "FROM busybox\nRUN true\n")]);
    let said = project.refused(&["--platform", "linux/s390x"]);
    assert!(said.contains("s390x") && said.contains("busybox"), "{said}");
}
