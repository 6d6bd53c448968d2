//! `.dockerignore`.

use crate::project::Project;

#[test]
fn patterns_negation_and_parents() {
    let project = Project::new(&[
        ("Dockerfile", "FROM busybox\nCOPY . /ctx\n"),
        (
            ".dockerignore",
            "# remark\n*.log\n!keep.log\nnode_modules\n**/*.tmp\nout/*\n!out/kept\nDockerfile\n",
        ),
        ("a.log", ""),
        ("keep.log", ""),
        ("deep/b.log", ""),
        ("node_modules/x", ""),
        ("deep/node_modules/x", ""),
        ("deep/er/c.tmp", ""),
        ("out/gone", ""),
        ("out/kept", ""),
    ]);
    project.built(&[]);
    assert_eq!(
        project.sh("cd /ctx && find . -type f | sort"),
        "./.dockerignore\n./deep/b.log\n./deep/node_modules/x\n./keep.log\n./out/kept\n"
    );
}

#[test]
fn the_dockerfiles_own_comes_first() {
    let project = Project::new(&[
        ("other.Dockerfile", "FROM busybox\nCOPY . /ctx\n"),
        ("other.Dockerfile.dockerignore", "*\n!a\n"),
        (".dockerignore", "a\n"),
        ("a", ""),
        ("b", ""),
    ]);
    project.built(&["-f", "other.Dockerfile"]);
    assert_eq!(project.sh("ls -A /ctx"), "a\n");
}

#[test]
fn an_ignored_source_names_the_line() {
    let project = Project::new(&[
        ("Dockerfile", "FROM busybox\nCOPY secret.txt /\n"),
        (".dockerignore", "other\n*.txt\n"),
        ("secret.txt", ""),
    ]);
    let said = project.refused(&[]);
    assert!(said.contains(".dockerignore:2") && said.contains("Dockerfile:2"), "{said}");
}

#[test]
fn ignored_files_do_not_count_for_the_cache() {
    let project = Project::new(&[
        ("Dockerfile", "FROM busybox\nCOPY . /ctx\n"),
        (".dockerignore", "noise\n"),
        ("noise", "1"),
    ]);
    project.built(&[]);
    project.write("noise", "2");
    assert!(project.built(&[]).contains("CACHED"));
}
