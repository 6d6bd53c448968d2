//! Mistakes that other builders made, not to be made here.

use std::fs;

use crate::project::Project;

/// buildah#5400
#[test]
fn an_edit_behind_a_bind_mount_is_noticed() {
    let project = Project::new(&[
        ("Dockerfile", "FROM busybox\nRUN --mount=type=bind,source=data,target=/d cat /d > /seen\n"),
        ("data", "1"),
    ]);
    project.built(&[]);
    project.write("data", "2");
    project.built(&[]);
    assert_eq!(project.sh("cat /seen"), "2");
}

/// moby#42662
#[test]
fn a_directory_made_anew_does_not_show_old_files() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nRUN mkdir /d && touch /d/old\nRUN rm -r /d && mkdir /d && touch /d/new\n",
    )]);
    project.built(&[]);
    assert_eq!(project.sh("ls /d"), "new\n");
    // Also after it left and came back as a tar.
    let archive = project.path("a.tar");
    project.store.ok(&["save", "-o", archive.to_str().unwrap(), "t"]);
    project.store.ok(&["rmi", "-f", "t"]);
    project.store.ok(&["system", "prune", "-af"]);
    project.store.ok(&["load", "-i", archive.to_str().unwrap()]);
    assert_eq!(project.sh("ls /d"), "new\n");
}

/// kaniko#1637
#[test]
fn cold_and_cached_builds_are_the_same() {
    let project = Project::new(&[
        (
            "Dockerfile",
            "FROM busybox AS a\nCOPY f /f\nRUN rm /f && mkdir /f && echo 1 > /f/x\nFROM busybox\nCOPY --from=a /f /f\nRUN echo 2 >> /f/x\n",
        ),
        ("f", "x"),
    ]);
    let epoch = ["--build-arg", "SOURCE_DATE_EPOCH=5"];
    project.built(&epoch);
    let cold = project.id();
    project.built(&epoch);
    assert_eq!(project.id(), cold);
    project.built(&["--no-cache", "--build-arg", "SOURCE_DATE_EPOCH=5"]);
    assert_eq!(project.id(), cold);
}

/// moby#41433
#[test]
fn negation_under_an_ignored_parent() {
    let project = Project::new(&[
        ("Dockerfile", "FROM busybox\nCOPY . /ctx\n"),
        (".dockerignore", "parent\n!parent/child/kept\n"),
        ("parent/gone", ""),
        ("parent/child/kept", ""),
        ("parent/child/gone", ""),
    ]);
    project.built(&[]);
    assert_eq!(project.sh("find /ctx/parent -type f"), "/ctx/parent/child/kept\n");
}

/// kaniko#1743
#[test]
fn hard_links_are_stored_once() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nRUN head -c 1000000 /dev/zero > /a && ln /a /b\nRUN ln /a /c\n",
    )]);
    project.built(&[]);
    let sizes = project.store.ok(&["history", "--human=false", "--format", "{{.Size}}", "t"]);
    let sizes: Vec<u64> = sizes.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(sizes[1], 1_000_000);
    assert_eq!(project.sh("stat -c %h /b"), "2\n");
}

/// moby#41035
#[test]
fn links_in_a_destination_stay_links() {
    let project = Project::new(&[
        (
            "Dockerfile",
            "FROM busybox\nRUN mkdir /real && ln -s /real /link\nCOPY d /link\nCOPY d/ /link/sub/\nCOPY f /link/f\n",
        ),
        ("d/x", "x"),
        ("f", "f"),
    ]);
    project.built(&[]);
    assert_eq!(project.sh("readlink /link; cd /real && find . -type f | sort"), "/real\n./f\n./sub/x\n./x\n");
}

/// CVE-2024-1753, CVE-2024-23652
#[test]
fn a_mount_source_does_not_reach_the_host() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox AS evil\nRUN ln -s / /root-link && ln -s ../../../../../../etc /up\nFROM busybox\n\
         RUN --mount=from=evil,source=/root-link,target=/m ls /m > /listing; ls -A /m/home > /home.txt 2>&1 || true\n\
         RUN --mount=from=evil,source=/up,target=/e cat /e/passwd > /passwd\n",
    )]);
    project.built(&[]);
    let listing = project.sh("cat /listing");
    assert!(listing.contains("root-link") && !listing.contains("boot"), "{listing}");
    assert_eq!(project.sh("grep -c . /passwd"), "2\n");
}

/// A stub for a mount point must not be removed through a link (CVE-2024-23652).
#[test]
fn a_mount_target_does_not_reach_the_host() {
    let project = Project::new(&[("Dockerfile", "")]);
    let canary = project.path("canary");
    fs::create_dir(&canary).unwrap();
    fs::write(canary.join("file"), "kept").unwrap();
    project.write(
        "Dockerfile",
        &format!(
            "FROM busybox\nRUN ln -s {0} /t\nRUN --mount=type=tmpfs,target=/t/file true; true\nRUN --mount=type=tmpfs,target=/t/new touch /t/new/x\n",
            canary.display()
        ),
    );
    project.built(&[]);
    assert_eq!(fs::read_to_string(canary.join("file")).unwrap(), "kept");
    assert!(!canary.join("new").exists());
}
