//! `--on-error=shell`, `--shell-after` and `run failed:last`, on a terminal.

use crate::project::Project;
use crate::session::Session;

const FAILING: &str = "FROM busybox\nENV GREETING=hello PS1=ready>\nWORKDIR /work\nRUN chown app /work\nUSER app\n\
    RUN --mount=type=cache,target=/cache,mode=0777 --mount=type=secret,id=key,mode=0444 \
    echo half > done-so-far; echo kept > /cache/f; cat /run/secrets/key > /dev/null; exit 7\n";

fn project(dockerfile: &str) -> Project {
    Project::new(&[("Dockerfile", dockerfile), ("key", "correct-horse-battery")])
}

fn build(project: &Project, args: &[&str]) -> Session {
    let dir = project.path(".");
    let mut all = vec!["build", "--progress", "plain"];
    all.extend_from_slice(args);
    all.push(dir.to_str().unwrap());
    Session::new(&project.store, &all)
}

#[test]
fn a_shell_in_what_a_failed_step_left() {
    let project = project(FAILING);
    let key = project.path("key");
    let secret = format!("id=key,src={}", key.display());
    let mut shell = build(&project, &["--on-error", "shell", "--secret", &secret]);
    let said = shell.until("It ends with exit.");
    assert!(said.contains("failed with exit code 7. A shell in what it left"), "{said}");
    shell.until("ready>");
    assert_eq!(
        shell.ask("cat done-so-far /cache/f /run/secrets/key; echo"),
        "half\r\nkept\r\ncorrect-horse-battery\r\n"
    );
    assert_eq!(shell.ask("pwd; id -un; echo $GREETING; stty size"), "/work\r\napp\r\nhello\r\n31 97\r\n");
    shell.ask("echo more > by-hand");
    shell.keys("exit\n");
    let said = shell.until("opens a shell that has them");
    assert!(said.contains("exit code: 7"), "{said}");
    assert!(said.contains("its mounts are not there (/cache, /run/secrets/key)"), "{said}");
    assert_eq!(shell.end(), 1);
    // Later, too; without the mounts, and without the secret.
    let later = project.store.ok(&[
        "run",
        "--rm",
        "failed:last",
        "sh",
        "-c",
        "pwd; cat done-so-far by-hand; ls -A /cache /run/secrets 2>/dev/null | grep -v :; id -un",
    ]);
    assert_eq!(later, "/work\nhalf\nmore\napp\n");
    assert!(
        project
            .store
            .ok(&["ps", "-a", "--format", "{{.Names}} {{.Image}}"])
            .contains("failed-last failed:last")
    );
    assert!(
        project.store.ok(&["system", "df", "--format", "{{.Type}} {{.TotalCount}}"]).contains("Containers 1")
    );
    project.store.ok(&["system", "check"]);
    project.store.ok(&["system", "prune", "-f"]);
    assert!(project.store.fails(125, &["run", "failed:last"]).contains("is not kept here (any more)"));
}

#[test]
fn only_the_last_is_kept() {
    let project = project("FROM busybox\nARG N\nRUN echo $N > /n; exit 3\n");
    for n in ["1", "2"] {
        let said = project.refused(&["--build-arg", &format!("N={n}")]);
        assert!(said.contains("strake run -it failed:last"), "{said}");
    }
    assert_eq!(project.store.ok(&["run", "--rm", "failed:last", "cat", "/n"]), "2\n");
    assert_eq!(project.store.ok(&["ps", "-aq"]).lines().count(), 1);
}

#[test]
fn without_a_terminal_it_is_said() {
    let project = project("FROM busybox\nRUN exit 3\n");
    let said = project.refused(&["--on-error", "shell"]);
    assert!(said.contains("no shell was opened, for there is no terminal"), "{said}");
    assert!(project.refused(&["--shell-after", "2"]).contains("there is no terminal for it"));
}

#[test]
fn an_image_without_a_shell_is_lent_one() {
    let project = project(
        "FROM busybox AS b\nFROM scratch\nCOPY --from=b /bin/busybox /busybox\nRUN [\"/busybox\", \"false\"]\n",
    );
    let mut shell = build(&project, &["--on-error", "shell"]);
    let said = shell.until("It ends with exit.");
    assert!(said.contains("The image has no shell: this is busybox of the host"), "{said}");
    assert_eq!(shell.ask("ls / | grep busy"), "busybox\r\n");
    shell.keys("exit\n");
    assert_eq!(shell.end(), 1);
    assert!(
        !project.store.ok(&["run", "--rm", "failed:last", "/busybox", "ls", "-A", "/"]).contains("strake")
    );
}

/// What a failed step left is a stranger's: a link in the place that busybox is lent at leads to nothing of the host's.
#[test]
fn what_is_lent_is_taken_back_from_the_step_alone() {
    let host = tempfile::tempdir().unwrap();
    std::fs::write(host.path().join("busybox"), "the host's").unwrap();
    let project = project(&format!(
        "FROM busybox AS b\nFROM scratch\nCOPY --from=b /bin/busybox /b\nRUN [\"/b\", \"sh\", \"-c\", \"/b ln -s {} /.strake; exit 3\"]\n",
        host.path().display()
    ));
    let mut shell = build(&project, &["--on-error", "shell"]);
    shell.until("It ends with exit.");
    shell.keys("exit\n");
    assert_eq!(shell.end(), 1);
    assert_eq!(std::fs::read_to_string(host.path().join("busybox")).unwrap(), "the host's");
}

#[test]
fn a_shell_after_a_step_that_works() {
    let project = project(
        "FROM busybox AS one\nENV PS1=ready>\nWORKDIR /w\nRUN echo 1 > made\nRUN echo 2 > later\nFROM busybox\nCOPY --from=one /w/later /\nRUN test ! -e /by-hand\n",
    );
    let mut shell = build(&project, &["--shell-after", "4", "-t", "t"]);
    let said = shell.until("It ends with exit.");
    assert!(
        said.contains("(Dockerfile:4). What is changed here is dropped; then the build goes on."),
        "{said}"
    );
    shell.until("ready>");
    assert_eq!(shell.ask("pwd; cat made; ls"), "/w\r\n1\r\nmade\r\n");
    shell.ask("echo changed > made; touch /by-hand");
    shell.keys("exit\n");
    shell.until("naming to");
    assert_eq!(shell.end(), 0);
    assert_eq!(project.sh("cat /later"), "2\n");
    let mut shell = build(&project, &["--shell-after", "one"]);
    shell.until("ready>");
    assert_eq!(shell.ask("cat made later"), "1\r\n2\r\n");
    shell.keys("exit\n");
    assert_eq!(shell.end(), 0);
    let mut shell = build(&project, &["--shell-after", "nowhere"]);
    let said = shell.until("a number is a line of the Dockerfile");
    assert!(said.contains("no stage of this build has that name"), "{said}");
    assert_eq!(shell.end(), 1);
}
