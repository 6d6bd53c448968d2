//! What is kept of a build: its steps' output, whole, and the list of builds.

use std::fs;

use crate::harness::ran;
use crate::project::Project;

#[test]
fn a_step_that_failed_is_shown_by_its_end_and_kept_whole() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nRUN echo before\nRUN seq 1 50000; echo the end >&2; exit 3\n",
    )]);
    let said = project.refused(&["--progress", "none"]);
    assert!(said.contains("\n49999\n50000\nthe end\n------\n"), "{said}");
    assert!(!said.contains("\n49000\n") && said.contains("lines before]"), "{said}");
    assert!(said.contains("strake build logs "), "{said}");
    let whole = project.store.ok(&["build", "logs", "3/3"]);
    assert_eq!(whole.lines().count(), 50_001);
    assert!(whole.starts_with("1\n2\n") && whole.ends_with("50000\nthe end\n"));
    assert_eq!(project.store.ok(&["build", "logs", "echo before"]), "before\n");
    let all = project.store.ok(&["build", "logs"]);
    assert!(
        all.contains("RUN echo before\nbefore\n") && all.contains("ERROR after"),
        "{}",
        &all[all.len() - 300..]
    );
    let unknown = project.store.fails(1, &["build", "logs", "nothing like it"]);
    assert!(unknown.contains("its steps are") && unknown.contains("RUN echo before"), "{unknown}");
}

#[test]
fn builds_are_listed_and_their_logs_stay() {
    let project = Project::new(&[("Dockerfile", "FROM busybox\nRUN echo first\n")]);
    project.built(&[]);
    project.write("Dockerfile", "FROM busybox\nRUN echo second; false\n");
    project.refused(&[]);
    let list = project.store.ok(&["build", "history", "--format", "{{.ID}} {{.Status}}"]);
    let lines: Vec<(&str, &str)> = list.lines().filter_map(|line| line.split_once(' ')).collect();
    assert_eq!(lines.iter().map(|(_, status)| *status).collect::<Vec<_>>(), ["Error", "Completed"]);
    assert_eq!(project.store.ok(&["build", "logs", "--build", lines[1].0, "2/2"]), "first\n");
    assert_eq!(project.store.ok(&["build", "logs", "2/2"]), "second\n");
    let pruned = project.store.run(&["system", "prune", "-af"]);
    assert_eq!(pruned.code, 0, "{pruned:?}");
    assert!(project.store.fails(1, &["build", "logs"]).contains("no build"));
    assert_eq!(project.store.run(&["system", "check"]).code, 0);
}

#[test]
fn directories_that_are_called_as_a_command() {
    let project = Project::new(&[("logs/Dockerfile", "FROM busybox\n"), ("Dockerfile", "FROM busybox\n")]);
    let here = |args: &[&str]| ran(project.store.command().args(args).current_dir(project.path("")));
    assert_eq!(here(&["build", "./logs"]).code, 0);
    assert_eq!(here(&["build", "-t", "t", "logs"]).code, 0);
    assert_eq!(here(&["build", "logs"]).code, 0);
    let none = here(&["build"]);
    assert!(none.code != 0 && none.stderr.contains("PATH"), "{none:?}");
    assert_eq!(here(&["image", "build", "--pull=false", "."]).code, 0);
}

#[test]
fn secrets_are_in_no_log() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nRUN --mount=type=secret,id=key cat /run/secrets/key; echo key is $(cat /run/secrets/key); false\n",
    )]);
    fs::write(project.path("key"), "s3same-0pen\n").unwrap();
    let said = project.refused(&["--secret", "id=key,src=key", "--progress", "plain"]);
    assert!(said.contains("key is ***") && !said.contains("s3same"), "{said}");
    let kept = project.store.ok(&["build", "logs"]);
    assert!(kept.contains("key is ***") && !kept.contains("s3same"), "{kept}");
}
