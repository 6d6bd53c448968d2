//! Why steps ran: `build --explain`, `build explain`, `--require-cached`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::project::Project;

/// What `build explain` says of each step that was not cached, without its first word, and of those the reasons.
#[track_caller]
fn explained(project: &Project) -> String {
    let all = project.store.ok(&["build", "explain"]);
    let kept = all.lines().filter(|line| !line.starts_with("CACHED"));
    // When an earlier build was is no matter.
    kept.map(|line| line.split("  (last built").next().unwrap_or_default().trim())
        .collect::<Vec<_>>()
        .join("\n")
}

const DOCKERFILE: &str = "FROM busybox\nCOPY d /d\nRUN cat /d/* > /all\n";

fn project() -> Project {
    Project::new(&[("Dockerfile", DOCKERFILE), ("d/a", "1"), ("d/b", "2"), ("d/c", "3")])
}

#[test]
fn each_way_that_files_change_is_told() {
    let project = project();
    let said = project.built(&["--explain"]);
    assert!(
        said.contains("RAN     [2/3] COPY d /d\n        no earlier build of this step is known\n"),
        "{said}"
    );
    project.built(&[]);
    assert_eq!(explained(&project), "");
    project.write("d/a", "changed");
    fs::set_permissions(project.path("d/b"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(project.path("d/c")).unwrap();
    project.write("d/new", "");
    symlink("a", project.path("d/link")).unwrap();
    project.built(&[]);
    assert_eq!(
        explained(&project),
        "RAN     [2/3] COPY d /d
d/a: content changed
d/b: mode 0644 -> 0600
d/c: removed
d/link: added
d/new: added
RAN     [3/3] RUN cat /d/* > /all
parent step [2/3] COPY d /d was rebuilt with another result"
    );
    fs::remove_file(project.path("d/link")).unwrap();
    project.write("d/link", "a");
    project.built(&[]);
    assert!(explained(&project).contains("d/link: type symbolic link -> file\n"), "{}", explained(&project));
}

#[test]
fn arguments_environment_and_commands_are_told() {
    let text = "FROM busybox\nARG V=1\nARG API_TOKEN=a\nENV E=x\nRUN echo hello\n";
    let project = Project::new(&[("Dockerfile", text)]);
    project.built(&[]);
    project.write("Dockerfile", &text.replace("E=x", "E=y").replace("FROM", "# a remark\nFROM"));
    project.built(&["--build-arg", "V=2", "--build-arg", "API_TOKEN=b"]);
    let said = "RAN     [2/2] RUN echo hello
ARG API_TOKEN: \"****\" -> \"****\" (another value)
ENV E: \"x\" -> \"y\"
ARG V: \"1\" -> \"2\"";
    assert_eq!(explained(&project), said);
    project.write("Dockerfile", &text.replace("hello", "bye"));
    project.built(&[]);
    assert_eq!(explained(&project), "RAN     [2/2] RUN echo bye\ninstruction RUN echo hello -> RUN echo bye");
    project.write("Dockerfile", &text.replace("RUN", "WORKDIR /w\nRUN"));
    project.built(&[]);
    let said = explained(&project);
    assert!(said.starts_with("RAN     [2/3] WORKDIR /w\nno earlier build of this step is known\n"), "{said}");
    assert!(said.contains("working directory: \"/\" -> \"/w\""), "{said}");
}

#[test]
fn a_moved_step_is_not_another_one() {
    let project = Project::new(&[("Dockerfile", "FROM busybox\nRUN echo 1\nRUN echo 2\n")]);
    project.built(&[]);
    project.write("Dockerfile", "FROM busybox\nRUN echo new\nRUN echo 1\nRUN echo 2\n");
    project.built(&[]);
    let said = explained(&project);
    assert!(
        said.starts_with("RAN     [2/4] RUN echo new\nno earlier build of this step is known\n"),
        "{said}"
    );
    assert!(
        said.contains("[3/4] RUN echo 1\nparent step [2/4] RUN echo new was rebuilt with another result")
    );
}

#[test]
fn bases_caches_and_mounts_are_told() {
    let text = "FROM busybox\nRUN --mount=type=bind,source=d,target=/m cat /m/a > /a\nRUN --mount=type=tmpfs,target=/t true\n";
    let project = Project::new(&[("Dockerfile", text), ("d/a", "1")]);
    project.built(&[]);
    project.built(&["--no-cache"]);
    assert_eq!(explained(&project).matches("it was asked to run without cache").count(), 2);
    project.write("d/a", "2");
    project.built(&[]);
    assert!(explained(&project).contains("mount /m: d/a: content changed"), "{}", explained(&project));
    assert_eq!(project.sh("cat /a"), "2");
    project.write("Dockerfile", &text.replace("type=tmpfs", "type=tmpfs,size=100k"));
    project.built(&[]);
    let said = explained(&project);
    assert!(said.contains("mount /t: ") && said.contains("Tmpfs"), "{said}");
    project.store.ok(&["builder", "prune", "-af"]);
    project.built(&[]);
    assert!(explained(&project).contains("its result was pruned"), "{}", explained(&project));
    // Another base of the same name.
    project.write("Base", "FROM busybox\nRUN echo other > /other\n");
    project.built(&["-f", "Base"]);
    project.store.ok(&["tag", "t", "busybox"]);
    project.built(&[]);
    let said = explained(&project);
    assert!(said.contains("base image busybox:latest (sha256:") && said.contains(" -> busybox"), "{said}");
}

#[test]
fn a_report_can_be_read_by_programs() {
    let project = project();
    project.built(&[]);
    project.write("d/a", "changed");
    project.built(&[]);
    let json: serde_json::Value =
        serde_json::from_str(&project.store.ok(&["build", "explain", "--format", "json"])).unwrap();
    let step = &json["steps"][0];
    assert_eq!((step["name"].as_str(), step["line"].as_u64()), (Some("[2/3] COPY d /d"), Some(2)));
    assert_eq!((step["outcome"].as_str(), step["stage"].as_str()), (Some("ran"), Some("stage-0")));
    let reason = &step["why"]["reasons"][0];
    assert_eq!((reason["kind"].as_str(), reason["path"].as_str()), (Some("file"), Some("d/a")));
    assert_eq!(reason["change"]["changed"][0], "content");
}

#[test]
fn a_build_that_must_be_cached_runs_nothing() {
    let text = "FROM busybox AS base\nRUN echo base\nFROM base AS test\nCOPY d /d\nRUN cat /d/a > /a\nFROM base\nCOPY --from=test /a /a\nRUN touch /ran\n";
    let project = Project::new(&[("Dockerfile", text), ("d/a", "1")]);
    let said = project.refused(&["--require-cached"]);
    assert!(said.contains("--require-cached asks: no earlier build of this step is known"), "{said}");
    assert!(said.contains("RUN echo base"), "{said}");
    project.built(&[]);
    project.built(&["--require-cached"]);
    project.write("d/a", "2");
    for option in ["--require-cached", "--require-cached=test", "--require-cached=TEST"] {
        let said = project.refused(&[option]);
        assert!(said.contains("d/a: content changed"), "{option}: {said}");
        assert!(said.contains(">>> COPY d /d"), "{option}: {said}");
    }
    // What may run runs.
    project.write("Dockerfile", &text.replace("touch /ran", "touch /more"));
    project.write("d/a", "1");
    project.built(&["--require-cached=test"]);
    let said = project.refused(&["--require-cached=nothing"]);
    assert!(said.contains("no stage \"nothing\""), "{said}");
}
