//! `RUN --mount=type=cache|tmpfs|bind`: what is in them, who may use them at once, what is left.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::project::Project;

/// The cache mounts of the store, latest used first.
fn cache_mounts(project: &Project) -> Vec<Value> {
    let lines = project.store.ok(&["builder", "du", "--filter", "type=exec.cachemount", "--format", "json"]);
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_cache_is_told_apart_by_name_origin_and_owner() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox AS from\nRUN mkdir /seed && echo seed > /seed/f && chown 7:8 /seed/f && ln -s / /seed/out\n\
         FROM busybox\n\
         RUN --mount=type=cache,target=/a echo 1 > /a/one\n\
         RUN --mount=type=cache,id=/a,target=/b test -f /b/one\n\
         RUN --mount=type=cache,target=/a,uid=5,gid=6,mode=0700 stat -c '%u %g %a' /a > /owner; ls -A /a > /list\n\
         RUN --mount=type=cache,id=x,from=from,source=/seed,target=/s stat -c '%u %g' /s/f > /seeded; cat /s/f >> /seeded; echo more >> /s/f\n\
         RUN --mount=type=cache,id=x,from=from,source=/seed,target=/s wc -l < /s/f >> /seeded\n\
         RUN --mount=type=cache,id=x,target=/s ls -A /s > /plain\n\
         RUN --mount=type=cache,id=x,from=from,source=/seed,target=/s,ro ! touch /s/no 2>/dev/null\n",
    )]);
    project.built(&[]);
    assert_eq!(project.sh("cat /owner /list"), "5 6 700\n");
    assert_eq!(project.sh("cat /seeded /plain"), "7 8\nseed\n2\n");
    let all = cache_mounts(&project);
    assert_eq!(all.len(), 4, "{all:?}");
    let described =
        |part: &str| all.iter().any(|mount| mount["Description"].as_str().unwrap().contains(part));
    assert!(described("cached mount /a from exec /bin/sh -c echo 1"), "{all:?}");
    assert!(described("with id \"x\"") && all.iter().all(|mount| mount["Mutable"] == true), "{all:?}");
    // What is in them is in no layer.
    assert_eq!(project.sh("ls -A /a /b /s 2>/dev/null | grep -v :; true"), "");
}

#[test]
fn a_link_in_a_cache_leads_nowhere_outside() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox AS from\nRUN mkdir -p /top/sub\nFROM busybox\n\
         RUN --mount=type=cache,id=c,from=from,target=/c rm -r /c/top/sub && ln -s / /c/top/sub\n\
         RUN --mount=type=cache,id=c,from=from,source=/top/sub,target=/c ls /c > /seen; true\n",
    )]);
    // Another origin is another cache: the second is the directory itself.
    project.built(&[]);
    assert_eq!(project.sh("cat /seen"), "");
    project.write(
        "Dockerfile",
        "FROM busybox AS from\nRUN mkdir -p /top/sub\nFROM busybox\n\
         RUN --mount=type=cache,id=d,from=from,source=/top,target=/c rm -r /c/sub && ln -s / /c/sub && ls /c/sub/ > /top.txt\n\
         RUN --mount=type=cache,id=d,from=from,source=/top,target=/c ls /c/sub/ > /again.txt\n",
    );
    project.built(&[]);
    // In the container the link leads to the container's root.
    assert!(project.sh("cat /again.txt").contains("bin\n"));
}

#[test]
fn who_wants_to_be_alone_waits() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nARG WHO\nRUN --mount=type=cache,target=/c,sharing=locked \
         test ! -e /c/busy && touch /c/busy && sleep 0.4 && rm /c/busy && echo $WHO >> /c/log\n",
    )]);
    // Once, so that both then find it.
    project.built(&["--build-arg", "WHO=0"]);
    let start = |who: &str| {
        let mut command = project.store.command();
        command.args(["build", "--progress", "plain", "--build-arg", &format!("WHO={who}"), "."]);
        command.current_dir(project.path(".")).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children = [start("1"), start("2")];
    let said: Vec<String> = children
        .into_iter()
        .map(|child| {
            let out = child.wait_with_output().unwrap();
            let said = String::from_utf8(out.stderr).unwrap();
            assert!(out.status.success(), "{said}");
            said
        })
        .collect();
    assert!(said.iter().any(|said| said.contains("waiting for the cache mount /c")), "{said:?}");
    assert_eq!(cache_mounts(&project).len(), 1);
    assert_eq!(cache_mounts(&project)[0]["UsageCount"], 3);
}

#[test]
fn nobody_waits_for_what_a_failed_step_holds() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox AS one\nRUN --mount=type=cache,target=/c,sharing=locked touch /c/f; sleep 0.3; exit 3\n\
         FROM busybox AS two\nRUN --mount=type=cache,target=/c,sharing=locked sleep 0.3; exit 3\n\
         FROM busybox\nCOPY --from=one / /1\nCOPY --from=two / /2\n",
    )]);
    let said = project.refused(&["--jobs", "4"]);
    assert!(said.contains("exit code: 3"), "{said}");
}

#[test]
fn a_private_cache_in_use_gives_a_new_one() {
    // The two stages run side by side; each is done only when it has seen the other begin.
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox AS base\nRUN mkdir /m\n\
         FROM base AS one\nRUN --mount=type=cache,id=meet,target=/m --mount=type=cache,target=/c,sharing=private \
         touch /m/one /c/x; i=0; until test -e /m/two || test $i = 100; do i=$((i+1)); sleep 0.05; done; ls /c > /seen1\n\
         FROM base AS two\nRUN --mount=type=cache,id=meet,target=/m --mount=type=cache,target=/c,sharing=private \
         touch /m/two /c/y; i=0; until test -e /m/one || test $i = 100; do i=$((i+1)); sleep 0.05; done; ls /c > /seen2\n\
         FROM base\nCOPY --from=one /seen1 /\nCOPY --from=two /seen2 /\n\
         RUN --mount=type=cache,target=/c,sharing=private ls /c > /after\n",
    )]);
    project.built(&["--jobs", "4"]);
    assert_eq!(project.sh("cat /seen1 /seen2"), "x\ny\n");
    // Free again, one of the two is taken up; there are three in all.
    assert_eq!(project.sh("wc -l < /after"), "1\n");
    assert_eq!(cache_mounts(&project).len(), 3);
}

#[test]
fn one_cache_at_two_places_of_a_step_is_one() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nRUN --mount=type=cache,id=c,target=/a,sharing=locked --mount=type=cache,id=c,target=/b,sharing=locked \
         echo same > /a/f && cat /b/f > /seen\n",
    )]);
    let began = Instant::now();
    project.built(&[]);
    assert!(began.elapsed() < Duration::from_secs(60));
    assert_eq!(project.sh("cat /seen"), "same\n");
}

#[test]
fn whole_trees_side_by_side_are_told_apart() {
    let project = Project::new(&[
        (
            "Dockerfile",
            "FROM scratch AS a\nCOPY a /\nFROM scratch AS b\nCOPY b /\nFROM busybox\n\
         RUN --mount=from=a,target=/a --mount=from=b,target=/b --mount=type=cache,target=/c,id=x,from=a \
         ls /a /b /c > /seen\n",
        ),
        ("a", "1"),
        ("b", "2"),
    ]);
    project.built(&[]);
    assert_eq!(project.sh("cat /seen"), "/a:\na\n\n/b:\nb\n\n/c:\na\n");
}

#[test]
fn the_size_of_a_tmpfs_is_kept() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nRUN --mount=type=tmpfs,target=/t,size=1m df -k /t | tail -1 | tr -s ' ' | cut -d' ' -f2 > /size; \
         ! dd if=/dev/zero of=/t/f bs=1024 count=2000 2>/dev/null\n",
    )]);
    project.built(&[]);
    assert_eq!(project.sh("cat /size"), "1024\n");
}

#[test]
fn an_ordinary_user_has_caches_too() {
    let Some(project) = Project::of_an_ordinary_user(&[(
        "Dockerfile",
        "FROM busybox\nRUN --mount=type=cache,target=/c,uid=1000,gid=1001,mode=0750 \
         stat -c '%u %g %a' /c > /owner; echo 1 >> /c/n\n\
         RUN --mount=type=cache,target=/c,uid=1000,gid=1001,mode=0750,sharing=locked wc -l < /c/n > /n\n",
    )]) else {
        return;
    };
    project.built(&[]);
    assert_eq!(project.sh("cat /owner /n"), "1000 1001 750\n1\n");
    assert_eq!(cache_mounts(&project).len(), 1);
    assert!(project.store.ok(&["builder", "prune", "-f"]).contains("Total reclaimed space: "));
    assert_eq!(cache_mounts(&project).len(), 0);
}
