//! Layers: stacked, shared, and never written to.

use std::process::Command;

use crate::harness::ran;
use crate::project::Project;

/// Every file of the store's snapshots with its digest, mode, owner and time.
fn snapshots(project: &Project) -> String {
    let script = "cd \"$1\" && find . -printf '%p %m %U:%G %T@ %y %l\\n' | LC_ALL=C sort && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum";
    let root = project.store.root().join("snapshots");
    let output = Command::new("sh").args(["-c", script, "sh"]).arg(root).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn containers_on_a_shared_layer_leave_it_as_it_was() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nRUN mkdir /d && echo 1 > /d/f && ln /d/f /d/hard && ln -s f /d/link && chmod 4755 /d/f\n",
    )]);
    project.built(&[]);
    let before = snapshots(&project);
    for script in [
        "echo 2 >> /d/f; chmod 600 /d/f; chown app /d/f; touch -d @5 /d/link",
        "rm -r /d /etc /lib; mkdir /d; echo new > /d/f",
        "mv /d /moved; ln /moved/f /other; truncate -s 0 /bin/busybox; true",
        "cp -a /bin /bin2; : > /d/hard; mkdir -p /d/x/y/z",
    ] {
        project.store.run(&["run", "--rm", "t", "sh", "-c", script]);
        project.store.run(&["run", "--rm", "--privileged", "t", "sh", "-c", script]);
    }
    project.write("Dockerfile", "FROM t\nRUN rm -r /d && echo 3 > /d\n");
    project.built(&[]);
    assert_eq!(project.sh("cat /d"), "3\n");
    let after = snapshots(&project);
    for line in before.lines() {
        // The directory that snapshots are put in is written to, of course.
        assert!(line.starts_with(". ") || after.lines().any(|now| now == line), "gone or changed: {line}");
    }
}

#[test]
fn a_hundred_and_thirty_layers() {
    let mut dockerfile = "FROM busybox\n".to_owned();
    for layer in 0..130 {
        dockerfile.push_str(&format!("COPY f /layers/{layer}\n"));
    }
    dockerfile.push_str("RUN rm /layers/0 && ls /layers | wc -l > /count\n");
    let project = Project::new(&[("Dockerfile", &dockerfile), ("f", "x")]);
    project.built(&[]);
    assert_eq!(
        project.sh("cat /count /layers/129; ls /layers/0 2>&1 || true"),
        "129\nxls: /layers/0: No such file or directory\n"
    );
    assert_eq!(project.inspect("{{len .RootFS.Layers}}"), "132");
    // It leaves and comes back.
    let archive = project.path("a.tar");
    project.store.ok(&["save", "-o", archive.to_str().unwrap(), "t"]);
    let id = project.id();
    project.store.ok(&["rmi", "-f", "t"]);
    project.store.ok(&["builder", "prune", "-af"]);
    project.store.ok(&["load", "-i", archive.to_str().unwrap()]);
    assert_eq!(project.id(), id);
    assert_eq!(project.sh("cat /count"), "129\n");
}

#[test]
fn many_processes_leave_one_copy() {
    let project = Project::new(&[("Dockerfile", "FROM busybox\nCOPY f /f\nRUN cat /f > /g\n"), ("f", "x")]);
    let archive = project.path("base.tar");
    let archive = archive.to_str().unwrap();
    project.store.ok(&["save", "-o", archive, "busybox"]);
    project.store.ok(&["system", "prune", "-af"]);
    let dir = project.path("");
    let dir = dir.to_str().unwrap();
    let results: Vec<_> = std::thread::scope(|scope| {
        let (store, dir) = (&project.store, &dir);
        let running: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(move || {
                    let loaded = ran(store.command().args(["load", "-q", "-i", archive]));
                    (
                        loaded,
                        ran(store
                            .command()
                            // The same bytes whoever makes them, so that all can meet.
                            .env("SOURCE_DATE_EPOCH", "1")
                            .args(["build", "-t", "t", dir])),
                    )
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (loaded, built) in results {
        assert_eq!(loaded.code, 0, "{loaded:?}");
        assert_eq!(built.code, 0, "{built:?}");
    }
    let snapshots = std::fs::read_dir(project.store.root().join("snapshots")).unwrap().count();
    assert_eq!(snapshots, 3, "base, COPY and RUN");
    project.store.ok(&["system", "check"]);
}
