//! Stages: which are built, and what they take from each other.

use crate::project::Project;

#[test]
fn only_what_the_target_needs_is_built() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox AS a\nRUN echo a > /a\nFROM busybox AS unused\nRUN exit 1\nFROM a AS b\nRUN echo b > /b\nFROM busybox\nCOPY --from=b /b /from-b\nCOPY --from=0 /a /from-0\n",
    )]);
    project.built(&[]);
    assert_eq!(
        project.sh("cat /from-b /from-0; ls /a 2>&1; true"),
        "b\na\nls: /a: No such file or directory\n"
    );
    // The last of several counts, as with Docker.
    project.built(&["--target", "unused", "--target", "a"]);
    assert_eq!(project.sh("ls /b /a 2>&1; true"), "ls: /b: No such file or directory\n/a\n");
    let said = project.refused(&["--target", "unused"]);
    assert!(said.contains("exit code: 1"), "{said}");
    let said = project.refused(&["--target", "bee"]);
    assert!(said.contains("bee"), "{said}");
}

#[test]
fn from_scratch_and_from_an_image() {
    let project = Project::new(&[
        (
            "Dockerfile",
            "FROM scratch\nCOPY --from=busybox /bin/busybox /bin/busybox\nCOPY hello /\nCMD [\"/bin/busybox\", \"cat\", \"/hello\"]\n",
        ),
        ("hello", "hi\n"),
    ]);
    project.built(&[]);
    assert_eq!(project.store.ok(&["run", "--rm", "t"]), "hi\n");
    assert_eq!(project.inspect("{{len .RootFS.Layers}}"), "2");
}

#[test]
fn onbuild_runs_in_the_child() {
    let project = Project::new(&[
        ("Dockerfile", "FROM busybox\nONBUILD COPY f /f\nONBUILD RUN cat /f > /g\n"),
        ("f", "x\n"),
    ]);
    project.built(&[]);
    assert_eq!(project.inspect("{{json .Config.OnBuild}}"), r#"["COPY f /f","RUN cat /f > /g"]"#);
    project.store.ok(&["tag", "t", "parent"]);
    project.write("Dockerfile", "FROM parent\nRUN cat /g > /h\n");
    project.built(&[]);
    assert_eq!(project.sh("cat /h"), "x\n");
    assert_eq!(project.inspect("{{json .Config.OnBuild}}"), "null");
}

#[test]
fn config_and_history_are_dockers() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nMAINTAINER me <me@example.com>\nENV A=1\nLABEL k=\"v w\"\nEXPOSE 80 53/udp\nVOLUME /data\nUSER app\nSTOPSIGNAL SIGINT\n\
         HEALTHCHECK --interval=5s --retries=2 CMD true\nSHELL [\"/bin/sh\", \"-ec\"]\nRUN true\nENTRYPOINT [\"/bin/echo\"]\nCMD [\"x\"]\n",
    )]);
    project.built(&[]);
    assert_eq!(project.inspect("{{json .Config.Labels}}"), r#"{"k":"v w"}"#);
    assert_eq!(project.inspect("{{json .Config.ExposedPorts}}"), r#"{"53/udp":{},"80/tcp":{}}"#);
    assert_eq!(project.inspect("{{json .Config.Volumes}}"), r#"{"/data":{}}"#);
    assert_eq!(project.inspect("{{.Config.StopSignal}} {{.Author}}"), "SIGINT me <me@example.com>");
    assert_eq!(
        project.inspect("{{json .Config.Healthcheck.Test}} {{.Config.Healthcheck.Retries}}"),
        r#"["CMD-SHELL","true"] 2"#
    );
    assert_eq!(project.inspect("{{json .Config.Shell}}"), r#"["/bin/sh","-ec"]"#);
    let history = project.store.ok(&[
        "history",
        "--no-trunc",
        "--format",
        "{{.CreatedBy}}|{{.Size}}|{{.Comment}}",
        "t",
    ]);
    let lines: Vec<&str> = history.lines().collect();
    assert_eq!(lines[0], "CMD [\"x\"]|0B|buildkit.dockerfile.v0");
    assert_eq!(lines[1], "ENTRYPOINT [\"/bin/echo\"]|0B|buildkit.dockerfile.v0");
    assert_eq!(lines[2], "RUN /bin/sh -ec true # buildkit|0B|buildkit.dockerfile.v0");
    assert_eq!(project.store.ok(&["run", "--rm", "t"]), "x\n");
}

#[test]
fn an_entrypoint_drops_the_inherited_command() {
    let project = Project::new(&[("Dockerfile", "FROM busybox\nENTRYPOINT [\"echo\", \"only\"]\n")]);
    project.built(&[]);
    assert_eq!(project.store.ok(&["run", "--rm", "t"]), "only\n");
    assert_eq!(project.inspect("{{json .Config.Cmd}}"), "null");
}
