//! RUN, and the instructions that set what it runs in.

use crate::project::Project;

#[test]
fn shell_and_exec_forms() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nRUN echo \"shell $((1 + 1))\" > /a\nRUN [\"/bin/sh\", \"-c\", \"echo 'exec $0' > /b\"]\n",
    )]);
    project.built(&[]);
    assert_eq!(project.sh("cat /a /b"), "shell 2\nexec $0\n");
}

#[test]
fn heredocs() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nARG WHO=you\nRUN <<EOF\nset -e\necho one $WHO > /a\necho two >> /a\nEOF\n\
         RUN <<EOF\n#!/bin/sh -e\necho script $0 > /b\nEOF\n\
         RUN cat <<-ONE > /c && cat <<'TWO' > /d\n\tindented $WHO\n\tONE\nplain $WHO\nTWO\n\
         COPY <<FIRST <<'second.txt' /files/\nhello ${WHO}\nFIRST\nraw ${WHO}\nsecond.txt\n",
    )]);
    project.built(&[]);
    assert_eq!(project.sh("cat /a"), "one you\ntwo\n");
    assert!(project.sh("cat /b").starts_with("script /"));
    assert_eq!(project.sh("cat /c /d"), "indented you\nplain $WHO\n");
    assert_eq!(project.sh("cat /files/FIRST /files/second.txt"), "hello you\nraw ${WHO}\n");
}

#[test]
fn a_step_is_a_container() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nRUN cat /proc/1/comm > /pid1; hostname > /hostname.txt; id -u > /uid; \
         grep -E '^(CapEff|Seccomp):' /proc/self/status > /status; cat /etc/hosts | grep -c localhost > /hosts.txt; \
         ls /sys > /dev/null; test -c /dev/null; echo ok > /dev/shm/x; mount -t tmpfs x /mnt 2> /refused || true\n",
    )]);
    project.built(&[]);
    assert_eq!(project.sh("cat /pid1"), "sh\n");
    assert_eq!(project.sh("cat /uid"), "0\n");
    assert!(project.sh("cat /status").contains("CapEff:\t00000000a80425fb"), "{}", project.sh("cat /status"));
    assert!(project.sh("cat /status").contains("Seccomp:\t2"));
    assert!(!project.sh("cat /refused").is_empty());
    // Nothing that the step was lent is in the layer.
    let names = project.sh("ls /; ls -A /etc /dev /proc 2>/dev/null | head -0; ls /etc");
    assert!(!names.contains("resolv.conf.") && !names.contains("dev/shm/x"), "{names}");
    let diff = project.store.ok(&["history", "--format", "{{.Size}}", "t"]);
    assert!(diff.lines().next().is_some());
}

#[test]
fn stubs_stay_out_of_the_layer() {
    let project = Project::new(&[("Dockerfile", "FROM busybox\nRUN true\n")]);
    project.built(&[]);
    let archive = project.path("out.tar");
    project.store.ok(&["save", "-o", archive.to_str().unwrap(), "t"]);
    let layers = project.inspect("{{range .RootFS.Layers}}{{println .}}{{end}}");
    let last =
        layers.lines().rfind(|line| !line.is_empty()).unwrap().strip_prefix("sha256:").unwrap().to_owned();
    let bytes = std::process::Command::new("tar")
        .args(["-xOf", archive.to_str().unwrap(), &format!("blobs/sha256/{last}")])
        .output()
        .unwrap()
        .stdout;
    assert!(bytes.iter().all(|b| *b == 0), "the layer of `true` is not empty");
}

#[test]
fn env_workdir_user_and_shell() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nENV A=1 B=\"two words\"\nENV A=2 C=$A\nWORKDIR /w\nWORKDIR sub\nRUN pwd > /tmp/pwd; env > /tmp/env\n\
         RUN chmod 777 /w/sub\nUSER app\nRUN id > out; echo $HOME >> out\nSHELL [\"/bin/sh\", \"-ec\"]\nRUN false; true || echo no > never\n",
    )]);
    let said = project.refused(&[]);
    assert!(said.contains("exit code: 1"), "{said}");
    let dockerfile = std::fs::read_to_string(project.path("Dockerfile")).unwrap();
    project.write("Dockerfile", dockerfile.split("SHELL").next().unwrap());
    project.built(&[]);
    assert_eq!(project.sh("cat /tmp/pwd"), "/w/sub\n");
    let env = project.sh("cat /tmp/env");
    assert!(env.contains("A=2\n") && env.contains("B=two words\n") && env.contains("C=1\n"), "{env}");
    assert_eq!(
        project.sh("cat /w/sub/out"),
        "uid=1000(app) gid=1001(app) groups=1001(app),2000(extra)\n/home/app\n"
    );
    assert_eq!(project.inspect("{{.Config.User}} {{.Config.WorkingDir}}"), "app /w/sub");
}

#[test]
fn secrets_and_other_mounts() {
    let project = Project::new(&[
        (
            "Dockerfile",
            "FROM busybox AS tool\nRUN mkdir /t && echo tool > /t/x\nFROM busybox\n\
             RUN --mount=type=secret,id=s cat /run/secrets/s | sed s/e/E/ > /seen; ls -l /run/secrets/s > /mode\n\
             RUN --mount=type=secret,id=s,env=TOKEN echo ${#TOKEN} > /length\n\
             RUN --mount=from=tool,source=/t,target=/mnt cat /mnt/x > /x; ! touch /mnt/y\n\
             RUN --mount=target=/ctx cat /ctx/data > /data\n\
             RUN --mount=type=tmpfs,target=/scratch echo 1 > /scratch/f\n\
             RUN --mount=type=cache,target=/cache echo 1 >> /cache/n; wc -l < /cache/n > /n\n\
             RUN --mount=type=cache,target=/cache echo 1 >> /cache/n; wc -l < /cache/n > /m\n",
        ),
        ("data", "from the context\n"),
        ("secret", "sesame"),
    ]);
    project.built(&["--secret", "id=s,src=secret"]);
    assert_eq!(project.sh("cat /seen /length /x /data"), "sEsame6\ntool\nfrom the context\n");
    assert!(project.sh("cat /mode").starts_with("-r--------"));
    assert_eq!(
        project
            .sh("cat /n; cat /m; ls /scratch /cache /run 2>/dev/null; true")
            .lines()
            .take(2)
            .collect::<Vec<_>>(),
        ["1", "2"]
    );
    // The secret is nowhere in the store.
    let found = std::process::Command::new("grep")
        .args(["-rl", "sesame"])
        .arg(project.store.root())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    // Without it there is none, and the step fails by itself.
    let said = project.refused(&["--no-cache"]);
    assert!(said.contains("/run/secrets/s: No such file or directory"), "{said}");
}

#[test]
fn output_is_whole_and_exit_codes_are_told() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nRUN seq 1 30000; echo to stderr >&2; printf 'no end of line'\nRUN exit 42\n",
    )]);
    let said = project.refused(&["--progress", "plain"]);
    assert!(
        said.contains(" 30000\n") && said.contains(" 15000\n") && said.contains("to stderr"),
        "a line is missing"
    );
    assert!(said.contains("no end of line\n"));
    assert!(said.contains("exit code: 42") && said.contains("Dockerfile:3"), "{said}");
    assert!(said.contains(">>> RUN exit 42"), "{said}");
}

#[test]
fn network_none_has_loopback_only() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nRUN ip -o link | wc -l > /links; ip -o link show lo up | wc -l > /lo\n",
    )]);
    project.built(&["--network", "none"]);
    assert_eq!(project.sh("cat /links /lo"), "1\n1\n");
}

#[test]
fn other_runtimes_give_the_same() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nRUN echo $((6 * 7)) > /a; chown app /a; mkdir -m 700 /d\n",
    )]);
    let mut ids = Vec::new();
    for runtime in [None, Some("crun"), Some("runc")] {
        if runtime.is_some_and(|name| !installed(name)) {
            eprintln!("{runtime:?} is not installed: left out");
            continue;
        }
        let mut args = vec!["--no-cache", "--build-arg", "SOURCE_DATE_EPOCH=1000"];
        args.extend(runtime.iter().flat_map(|name| ["--runtime", *name]));
        project.built(&args);
        assert_eq!(project.sh("cat /a; stat -c '%U %a' /a /d"), "42\napp 644\nroot 700\n");
        ids.push(project.id());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
}

fn installed(name: &str) -> bool {
    ["/usr/bin", "/usr/sbin"].iter().any(|dir| std::path::Path::new(dir).join(name).exists())
}
