//! Dockerfiles and contexts from standard input.

use std::process::Command;

use crate::project::Project;

#[test]
fn a_dockerfile_alone() {
    let project = Project::new(&[]);
    let ran = project.store.run_with(&["build", "-t", "t", "-"], b"FROM busybox\nRUN echo 1 > /one\n");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(project.sh("cat /one"), "1\n");
}

#[test]
fn a_dockerfile_for_a_directory() {
    let project = Project::new(&[("f", "x\n")]);
    let dir = project.path("");
    let ran = project
        .store
        .run_with(&["build", "-t", "t", "-f", "-", dir.to_str().unwrap()], b"FROM busybox\nCOPY f /f\n");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(project.sh("cat /f"), "x\n");
    let both = project.store.run_with(&["build", "-f", "-", "-"], b"");
    assert_ne!(both.code, 0);
    assert!(both.stderr.contains("stdin"), "{}", both.stderr);
}

#[test]
fn a_context_in_a_tar() {
    let project = Project::new(&[
        ("Dockerfile", "FROM busybox\nCOPY . /ctx\n"),
        ("sub/f", "x\n"),
        (".dockerignore", "skipped\n"),
        ("skipped", ""),
    ]);
    for compression in ["--gzip", "--zstd", "--xz", "--bzip2", "--no-auto-compress"] {
        let tar = Command::new("tar")
            .arg(compression)
            .args(["-cf", "-", "-C"])
            .arg(project.path(""))
            .arg(".")
            .output();
        let tar = tar.unwrap();
        assert!(tar.status.success(), "tar {compression}: {}", String::from_utf8_lossy(&tar.stderr));
        let ran = project.store.run_with(&["build", "-t", "t", "-"], &tar.stdout);
        assert_eq!(ran.code, 0, "{compression}: {}", ran.stderr);
        assert_eq!(
            project.sh("find /ctx -type f | sort"),
            "/ctx/.dockerignore\n/ctx/Dockerfile\n/ctx/sub/f\n"
        );
    }
    let cut =
        Command::new("tar").args(["-czf", "-", "-C"]).arg(project.path("")).arg(".").output().unwrap().stdout;
    let ran = project.store.run_with(&["build", "-t", "broken", "-"], &cut[..cut.len() / 2]);
    assert_ne!(ran.code, 0);
    assert!(!project.store.ok(&["images"]).contains("broken"));
}
