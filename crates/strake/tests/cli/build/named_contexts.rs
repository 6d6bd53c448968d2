//! `--build-context`: what a name may stand for, and where it is looked for.

use crate::project::Project;

#[test]
fn directories_with_ignore_files_of_their_own() {
    let project = Project::new(&[
        (
            "Dockerfile",
            "FROM busybox\nCOPY --from=more . /more\nCOPY . /main\nRUN --mount=from=more,target=/m ls -A /m > /mounted\n",
        ),
        (".dockerignore", "more\nDockerfile\n"),
        ("more/a", "1\n"),
        ("more/b", "2\n"),
        ("more/.dockerignore", "b\n"),
    ]);
    project.built(&["--build-context", "more=more"]);
    assert_eq!(
        project.sh("ls -A /more /main; cat /mounted"),
        "/main:\n.dockerignore\n\n/more:\n.dockerignore\na\n.dockerignore\na\n"
    );
    let said = project.built(&["--build-context", "more=more"]);
    assert_eq!(said.matches("CACHED").count(), 3, "{said}");
    // What is left out does not count; what is not, does.
    project.write("more/b", "3\n");
    assert_eq!(project.built(&["--build-context", "more=more"]).matches("CACHED").count(), 3);
    project.write("more/a", "3\n");
    assert_eq!(project.built(&["--build-context", "more=more"]).matches("CACHED").count(), 0);
    let said = project.refused(&["--build-context", "more=none"]);
    assert!(said.contains("build context more") && said.contains("not found"), "{said}");
}

#[test]
fn stages_and_images_are_replaced() {
    let project = Project::new(&[
        (
            "Dockerfile",
            "FROM nowhere AS base\nRUN left out\nFROM base\nCOPY --from=registry.example/x:1 /a /a\nRUN ls / > /ls\n",
        ),
        ("rootfs/a", "from a directory\n"),
        ("Dockerfile.image", "FROM busybox\nENV X=1\nRUN echo image > /a\n"),
    ]);
    project.store.ok(&[
        "build",
        "-t",
        "image",
        "-f",
        project.path("Dockerfile.image").to_str().unwrap(),
        ".",
    ]);
    let x = "registry.example/x:1=rootfs";
    project.built(&["--build-context", "base=docker-image://image", "--build-context", x]);
    assert_eq!(project.sh("cat /a; echo $X"), "from a directory\n1\n");
    let layout = project.path("layout");
    std::fs::create_dir(&layout).unwrap();
    let archive = project.path("archive.tar");
    project.store.ok(&["tag", "image", "image:v1"]);
    project.store.ok(&["save", "-o", archive.to_str().unwrap(), "image:v1"]);
    let unpacked = std::process::Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&layout).status();
    assert!(unpacked.unwrap().success());
    for form in ["", ":v1"] {
        let base = format!("base=oci-layout://{}{form}", layout.display());
        project.built(&["--build-context", &base, "--build-context", x]);
        assert_eq!(project.inspect("{{index .Config.Env 1}}"), "X=1");
    }
    let said = project.refused(&[
        "--build-context",
        &format!("base=oci-layout://{}:v2", layout.display()),
        "--build-context",
        x,
    ]);
    assert!(said.contains("has no image \"v2\""), "{said}");
}

#[test]
fn a_directory_is_a_base_and_a_target() {
    let project = Project::new(&[
        ("Dockerfile", "FROM files AS tree\nCOPY Dockerfile /in/\nFROM busybox AS stage\nFROM stage\n"),
        ("root/bin/x", "1\n"),
    ]);
    let busybox =
        ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| std::path::Path::new(path).exists());
    std::fs::copy(busybox.unwrap(), project.path("root/bin/busybox")).unwrap();
    project.built(&["--build-context", "files=root", "--target", "tree"]);
    assert_eq!(project.sh("/bin/busybox ls /bin /in"), "/bin:\nbusybox\nx\n\n/in:\nDockerfile\n");
    assert_eq!(project.inspect("{{len .RootFS.Layers}}"), "2");
    assert!(project.store.ok(&["history", "t"]).contains("local source for files"));
    // A stage that a directory stands for, as what is built and as what is built on.
    project.built(&["--build-context", "stage=root"]);
    assert_eq!(project.sh("/bin/busybox cat /bin/x"), "1\n");
    project.built(&["--build-context", "stage=root", "--target", "stage"]);
}

#[test]
fn a_name_may_stand_for_a_stage() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox AS one\nRUN echo one > /f\nFROM busybox AS two\nRUN echo two > /f\nFROM base\nCOPY --from=deps /f /deps\n",
    )]);
    project.built(&["--build-context", "base=target:one", "--build-context", "deps=target:two"]);
    assert_eq!(project.sh("cat /f /deps"), "one\ntwo\n");
    let said =
        project.refused(&["--build-context", "base=target:none", "--build-context", "deps=target:two"]);
    assert!(said.contains("there is no stage \"none\""), "{said}");
}

#[test]
fn names_and_values_that_are_none() {
    let project = Project::new(&[("Dockerfile", "FROM busybox\n")]);
    for (text, why) in [
        ("x", "expected key=value"),
        ("a b=.", "invalid context name"),
        ("context=.", "main context"),
        ("x=docker-image://A:B:C", "invalid reference"),
        ("x=https://h/r.git#-x", "invalid git ref"),
    ] {
        let said = project.refused(&["--build-context", text]);
        assert!(said.contains(why), "{text}: {said}");
    }
    let said = project.refused(&["https://h/r.git?foo=1"]);
    assert!(!said.is_empty());
}

#[test]
fn triggers_take_from_contexts_and_stages() {
    let project = Project::new(&[
        (
            "Base",
            "FROM busybox\nONBUILD COPY --from=more a /a\nONBUILD RUN --mount=from=build,target=/b cat /b/f > /f\nONBUILD ADD more/a /added\n",
        ),
        ("Dockerfile", "FROM busybox AS build\nRUN echo built > /f\nFROM base\n"),
        ("more/a", "1\n"),
    ]);
    project.store.ok(&["build", "-t", "base", "-f", project.path("Base").to_str().unwrap(), "."]);
    project.built(&["--build-context", "more=more"]);
    assert_eq!(project.sh("cat /a /f /added"), "1\nbuilt\n1\n");
}
