//! `--secret` in its forms, and what `RUN --mount=type=secret` makes of one.

use crate::harness::ran;
use crate::project::Project;

#[test]
fn given_by_files_and_variables() {
    let project = Project::new(&[
        (
            "Dockerfile",
            "FROM busybox\nARG ID\nRUN --mount=type=secret,id=s,required cat /run/secrets/s > /seen; test \"$(tr a-z n-za-m < /seen)\" = uhagre2; rm /seen\n",
        ),
        ("file", "hunter2"),
        ("s", "hunter2"),
    ]);
    for secret in [
        "id=s,src=file",
        "type=file,id=s,source=file",
        "id=s,env=VARIABLE",
        "type=env,id=s,src=VARIABLE",
        "id=s",
    ] {
        let built = ran(project
            .store
            .command()
            .args(["build", "--no-cache", "--secret", secret, "."])
            .env("VARIABLE", "hunter2")
            .current_dir(project.path("")));
        assert_eq!(built.code, 0, "{secret}: {}", built.stderr);
        assert!(!built.stderr.contains("hunter2"), "{}", built.stderr);
    }
    for (secret, why) in [
        ("id=s,env=UNSET", "is not set"),
        ("type=env,id=s,src=UNSET", "is not set"),
        ("type=other,id=s", "unsupported secret type"),
        ("id=s,src=none", "there is no file"),
        ("id=x,src=file", "is required by this step"),
        ("id=s,what=x", "unexpected key"),
    ] {
        let said = project.refused(&["--no-cache", "--secret", secret]);
        assert!(said.contains(why), "{secret}: {said}");
    }
}

#[test]
fn mounted_as_asked_for() {
    let project = Project::new(&[
        (
            "Dockerfile",
            "FROM busybox\nRUN --mount=type=secret,id=a,target=/etc/x/y,mode=0440,uid=1000,gid=1001 stat -c '%a %u %g' /etc/x/y > /stat\n\
             RUN --mount=type=secret,id=a,env=TOKEN test \"$TOKEN\" = hunter2; ls /run/secrets > /none 2>&1; true\n\
             RUN --mount=type=secret,id=a,env=TOKEN,target=/both test \"$TOKEN\" = \"$(cat /both)\" && echo same > /same\n\
             WORKDIR /w\nRUN --mount=type=secret,src=a,target=rel test -e /rel -o -e /w/rel && echo there > /rel.txt\n\
             RUN --mount=type=secret,id=missing test ! -e /run/secrets/missing && echo absent > /absent\n",
        ),
        ("a", "hunter2"),
    ]);
    project.built(&["--secret", "id=a,src=a"]);
    assert_eq!(project.sh("cat /stat /same /rel.txt /absent"), "440 1000 1001\nsame\nthere\nabsent\n");
    assert_eq!(project.sh("ls -d /etc/x /run/secrets 2>/dev/null | wc -l"), "0\n");
    // Another value is no other step.
    project.write("a", "other");
    assert_eq!(project.built(&["--secret", "id=a,src=a"]).matches("CACHED").count(), 6);
}
