//! What runs again, and what does not.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::project::Project;

/// Names of the steps that ran, and of those that were cached.
fn steps(said: &str) -> (Vec<String>, Vec<String>) {
    let (mut ran, mut cached) = (Vec::new(), Vec::new());
    let lines: Vec<&str> = said.lines().collect();
    for pair in lines.windows(2) {
        let Some((number, name)) = pair[0].split_once(" [") else { continue };
        if !number.starts_with('#') || name.starts_with("internal]") {
            continue;
        }
        let step = name.split_once("] ").map_or(name, |(_, step)| step).to_owned();
        // An image that is there is a step without work.
        if step.starts_with("FROM ") {
            continue;
        }
        match pair[1].ends_with(" CACHED") {
            true => cached.push(step),
            false => ran.push(step),
        }
    }
    (ran, cached)
}

const DOCKERFILE: &str = "FROM busybox\nCOPY a b /\nRUN cat /a > /from-a\nCOPY c /c\nRUN cat /c > /from-c\n";

fn project() -> Project {
    Project::new(&[("Dockerfile", DOCKERFILE), ("a", "1"), ("b", "2"), ("c", "3")])
}

#[test]
fn an_unchanged_build_runs_nothing() {
    let project = project();
    project.built(&[]);
    let id = project.id();
    let (ran, cached) = steps(&project.built(&[]));
    assert_eq!((ran.len(), cached.len()), (0, 4), "{ran:?}");
    assert_eq!(project.id(), id);
    let (ran, _) = steps(&project.built(&["--no-cache"]));
    assert_eq!(ran.len(), 4);
}

#[test]
fn a_changed_file_runs_what_depends_on_it() {
    let project = project();
    project.built(&[]);
    project.write("c", "changed");
    let (ran, cached) = steps(&project.built(&[]));
    assert_eq!(ran, ["COPY c /c", "RUN cat /c > /from-c"]);
    assert_eq!(cached.len(), 2);
    assert_eq!(project.sh("cat /from-c"), "changed");
    project.write("b", "changed");
    assert_eq!(steps(&project.built(&[])).0.len(), 4);
    // Back to what it was: found again.
    project.write("b", "2");
    project.write("c", "3");
    assert_eq!(steps(&project.built(&[])).0.len(), 0);
}

#[test]
fn touching_a_file_runs_nothing() {
    let project = project();
    project.built(&[]);
    for name in ["a", "b", "c"] {
        let file = fs::File::options().write(true).open(project.path(name)).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(100)).unwrap();
    }
    assert_eq!(steps(&project.built(&[])).0.len(), 0);
}

#[test]
fn modes_and_names_count() {
    use std::os::unix::fs::PermissionsExt;
    let project = Project::new(&[("Dockerfile", "FROM busybox\nCOPY d /d\n"), ("d/x", "1")]);
    project.built(&[]);
    fs::set_permissions(project.path("d/x"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(steps(&project.built(&[])).0.len(), 1);
    assert_eq!(project.sh("stat -c %a /d/x"), "755\n");
    fs::rename(project.path("d/x"), project.path("d/y")).unwrap();
    assert_eq!(steps(&project.built(&[])).0.len(), 1);
}

#[test]
fn comments_stage_names_and_case_do_not_count() {
    let project = project();
    project.built(&[]);
    project.write(
        "Dockerfile",
        &format!("# a remark\n{}", DOCKERFILE.replace("FROM busybox", "from busybox as named")),
    );
    let (ran, _) = steps(&project.built(&[]));
    assert_eq!(ran.len(), 0, "{ran:?}");
    let text = "FROM busybox AS Build\nRUN echo 1 > /f\nFROM busybox\nCOPY --from=Build /f /f\nRUN cat /f\n";
    project.write("Dockerfile", text);
    project.built(&[]);
    for other in [
        text.replace("RUN", "run").replace("COPY", "Copy"),
        text.replace("AS Build", "as build").replace("=Build", "=BUILD"),
        text.replace("Build", "other").replace("RUN echo", "\n\n  # remark\nRUN \\\n# within\n  echo"),
    ] {
        project.write("Dockerfile", &other);
        let (ran, _) = steps(&project.built(&[]));
        assert_eq!(ran.len(), 0, "{other}: {ran:?}");
    }
}

#[test]
fn copies_depend_on_what_they_take_of_a_stage() {
    let text = "FROM busybox AS build\nRUN echo V > /noise; echo same > /f; touch -d @0 /f\nFROM busybox\nCOPY --from=build /f /f\nRUN cat /f\n";
    let project = Project::new(&[("Dockerfile", text)]);
    project.built(&[]);
    project.write("Dockerfile", &text.replace("echo V", "echo W"));
    let (ran, cached) = steps(&project.built(&[]));
    assert_eq!((ran.len(), cached.len()), (1, 2), "{ran:?}");
    project.write("Dockerfile", &text.replace("echo same", "echo other"));
    assert_eq!(steps(&project.built(&[])).0.len(), 3);
}

#[test]
fn mounts_count_by_what_they_show() {
    let text = "FROM busybox AS tool\nRUN mkdir /out; echo 1 > /out/f; echo V > /noise\nFROM busybox\nRUN --mount=type=bind,source=d,target=/d --mount=from=tool,source=/out,target=/o cat /d/a /o/f > /all\n";
    let project = Project::new(&[("Dockerfile", text), ("d/a", "1"), ("other", "1")]);
    project.built(&[]);
    project.write("other", "2");
    assert_eq!(steps(&project.built(&[])).0.len(), 0);
    // The stage is another one, and what is mounted of it is not.
    project.write("Dockerfile", &text.replace("echo V", "echo W"));
    let (ran, cached) = steps(&project.built(&[]));
    assert_eq!((ran.len(), cached.len()), (1, 1), "{ran:?}");
    assert_eq!(steps(&project.built(&[])).0.len(), 0);
    project.write("Dockerfile", &text.replace("echo 1", "echo 2"));
    assert_eq!(steps(&project.built(&[])).0.len(), 2);
    assert_eq!(project.sh("cat /all"), "12\n");
    project.write("d/a", "3");
    assert_eq!(steps(&project.built(&[])).0.len(), 1);
    assert_eq!(project.sh("cat /all"), "32\n");
}

#[test]
fn a_copy_with_one_file_changed_is_what_it_says() {
    let project = Project::new(&[("Dockerfile", "FROM busybox\nCOPY d /d\n")]);
    (0..100).for_each(|n| project.write(&format!("d/f{n}"), &format!("file {n}")));
    // What has only just changed is not remembered.
    std::thread::sleep(Duration::from_millis(200));
    project.built(&[]);
    project.write("d/f5", "changed");
    project.built(&[]);
    // Most of it is linked from the layer before, unread: the layers must be what their digests say.
    assert_eq!(project.store.run(&["system", "check"]).code, 0);
    assert_eq!(project.sh("cat /d/f5 /d/f99; ls /d | wc -l"), "changedfile 99100\n");
    let id = project.id();
    project.built(&["--no-cache", "--build-arg", "SOURCE_DATE_EPOCH=1700000000"]);
    assert_ne!(project.id(), id);
    assert_eq!(project.store.run(&["system", "check"]).code, 0);
}

#[test]
fn secrets_are_in_no_key() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nRUN --mount=type=secret,id=s,required=true wc -c /run/secrets/s\n",
    )]);
    for (turn, secret) in ["one", "another"].into_iter().enumerate() {
        let path = project.store.dir().join("secret");
        fs::write(&path, secret).unwrap();
        let (ran, _) = steps(&project.built(&["--secret", &format!("id=s,src={}", path.display())]));
        assert_eq!(ran.len(), usize::from(turn == 0));
    }
    // Not even given: there is nothing to run.
    assert_eq!(steps(&project.built(&[])).0.len(), 0);
}

#[test]
fn stages_can_be_left_out_of_the_cache() {
    let text = "FROM busybox AS One\nRUN echo 1 > /f\nFROM busybox AS two\nRUN echo 2 > /g\nFROM busybox\nCOPY --from=one /f /f\nCOPY --from=two /g /g\n";
    let project = Project::new(&[("Dockerfile", text)]);
    project.built(&[]);
    let (ran, cached) = steps(&project.built(&["--no-cache-filter", "one"]));
    assert_eq!(ran, ["RUN echo 1 > /f"], "{cached:?}");
    let (ran, _) = steps(&project.built(&["--no-cache-filter=ONE,two"]));
    assert_eq!(ran.len(), 2, "{ran:?}");
    let said = project.refused(&["--no-cache", "--no-cache-filter", "one"]);
    assert!(said.contains("cannot currently be used together"), "{said}");
}

#[test]
fn arguments_count_where_they_are_declared() {
    let project =
        Project::new(&[("Dockerfile", "FROM busybox\nRUN echo before\nARG V=1\nRUN echo $V > /v\n")]);
    project.built(&[]);
    let (ran, cached) = steps(&project.built(&["--build-arg", "V=2"]));
    assert_eq!((ran.len(), cached.len()), (1, 1));
    assert_eq!(project.sh("cat /v"), "2\n");
    assert_eq!(steps(&project.built(&["--build-arg", "V=1"])).0.len(), 0);
}

#[test]
fn a_parent_with_the_same_bytes_hits_again() {
    let project = Project::new(&[("Dockerfile", "FROM busybox\nRUN echo same > /f\nRUN cat /f > /g\n")]);
    let epoch = ["--build-arg", "SOURCE_DATE_EPOCH=100"];
    project.built(&epoch);
    // Another command, the same tree.
    project.write("Dockerfile", "FROM busybox\nRUN printf 'same\\n' > /f\nRUN cat /f > /g\n");
    let (ran, cached) = steps(&project.built(&epoch));
    assert_eq!((ran.len(), cached.len()), (1, 1), "{ran:?} {cached:?}");
}

#[test]
fn the_same_bytes_in_two_stores() {
    let files = [
        (
            "Dockerfile",
            "FROM busybox AS a\nWORKDIR /x\nRUN date > /dev/null; echo 1 > one; mkdir d\nFROM busybox\nCOPY --from=a /x /x\nCOPY f /f\nENV A=1\n",
        ),
        ("f", "x"),
    ];
    let ids: Vec<String> = (0..2)
        .map(|turn| {
            let project = Project::new(&files);
            let jobs = if turn == 0 { "1" } else { "8" };
            let file = fs::File::options().write(true).open(project.path("f")).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(turn)).unwrap();
            project.built(&["--build-arg", "SOURCE_DATE_EPOCH=1700000000", "--jobs", jobs]);
            assert!(project.inspect("{{.Created}}").starts_with("2023-11-14T22:13:20"));
            project.id()
        })
        .collect();
    assert_eq!(ids[0], ids[1]);
}
