//! What a Dockerfile may only where it was allowed, and what confines its steps.

use crate::project::Project;

#[test]
fn what_is_not_allowed_is_refused_at_its_line() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nRUN echo before > /before\nRUN --security=insecure grep CapEff /proc/self/status > /caps\n",
    )]);
    let said = project.refused(&[]);
    assert!(said.contains("Dockerfile:3") && said.contains(">>> RUN --security=insecure"), "{said}");
    assert!(said.contains("--allow security.insecure"), "{said}");
    assert!(!said.contains("RUN echo before > /before\n#"), "a step ran: {said}");
    project.built(&["--allow", "security.insecure"]);
    let caps = project.sh("cat /caps");
    let caps = u64::from_str_radix(caps.trim().rsplit('\t').next().unwrap(), 16).unwrap();
    assert!(caps & (1 << 21) != 0, "no CAP_SYS_ADMIN in {caps:x}");
    assert!(project.refused(&["--allow", "everything"]).contains("unknown entitlement everything"));
}

#[test]
fn networks_of_steps() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nRUN --network=none ip -o link | wc -l > /none\nRUN --network=host ip -o link | wc -l > /host\n\
         RUN --network=default ip -o link | wc -l > /default\n",
    )]);
    // The host's is what steps have anyhow.
    project.built(&[]);
    let numbers = project.sh("cat /none /host /default");
    let numbers: Vec<&str> = numbers.lines().collect();
    assert_eq!((numbers[0], numbers[1]), ("1", numbers[2]));
    let said = project.refused(&["--network", "none"]);
    assert!(said.contains("Dockerfile:3") && said.contains("--allow network.host"), "{said}");
    project.built(&["--network", "none", "--allow", "network.host"]);
    let mixed = project.sh("cat /none /host /default");
    assert_eq!(mixed.lines().collect::<Vec<_>>(), ["1", numbers[1], "1"]);
}

#[test]
fn devices_are_refused_in_clear_words() {
    let project = Project::new(&[("Dockerfile", "FROM busybox\nRUN --device=vendor.com/class=all true\n")]);
    let said = project.refused(&["--allow", "device"]);
    assert!(
        said.contains("Dockerfile:2") && said.contains("strake gives steps no devices, by CDI"),
        "{said}"
    );
}

#[test]
fn sizes_and_limits_of_processes() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nRUN df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2 > /shm; ulimit -n > /files; ulimit -Hn >> /files; \
         cat /etc/hosts > /hosts.txt\n",
    )]);
    project.built(&[
        "--shm-size",
        "8m",
        "--ulimit",
        "nofile=100:200",
        "--add-host",
        "there:10.1.2.3",
        "--add-host",
        "me=host-gateway",
    ]);
    assert_eq!(project.sh("cat /shm /files"), "8192\n100\n200\n");
    let hosts = project.sh("cat /hosts.txt");
    assert!(hosts.contains("10.1.2.3\tthere\n") && hosts.contains("127.0.0.1\tme\n"), "{hosts}");
    // None of it is part of what a step is.
    let said =
        project.built(&["--shm-size", "9m", "--add-host", "there:10.1.2.3", "--add-host", "me=host-gateway"]);
    assert!(said.contains("CACHED"), "{said}");
}

#[test]
fn a_step_that_runs_out_of_memory_is_told_of() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nRUN echo fine\nRUN tail -c 200m /dev/zero > /dev/null\n",
    )]);
    if !limits_work(&project) {
        return;
    }
    let said = project.refused(&["--resource", "memory=32m,memory-swap=32m"]);
    assert!(said.contains("exit code: 137: out of memory: the step reached its memory limit"), "{said}");
    assert!(said.contains(">>> RUN tail -c"), "{said}");
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nRUN nproc > /n; for i in 1 2 3 4 5 6 7 8; do sleep 0.1 & done; wait\n",
    )]);
    project.built(&["--resource", "cpuset-cpus=0", "--cpu-quota", "50000", "--cpu-shares", "512"]);
    assert_eq!(project.sh("cat /n"), "1\n");
    let said = project.refused(&["--no-cache", "--resource", "pids=4"]);
    assert!(said.contains("can't fork") || said.contains("Resource temporarily unavailable"), "{said}");
    let ran = project.store.run(&[
        "run",
        "--rm",
        "-m",
        "32m",
        "--memory-swap",
        "32m",
        "t",
        "tail",
        "-c",
        "200m",
        "/dev/zero",
    ]);
    assert_eq!(ran.code, 137, "{}", ran.stderr);
}

/// Whether this machine lets us make control groups; said where it does not.
fn limits_work(project: &Project) -> bool {
    let said = project.store.run(&["run", "--rm", "-m", "64m", "busybox", "true"]).stderr;
    if said.contains("are discarded") {
        eprintln!("left out: {said}");
    }
    !said.contains("are discarded")
}

#[test]
fn where_limits_cannot_be_kept_it_is_said() {
    let Some(project) = Project::of_an_ordinary_user(&[("Dockerfile", "FROM busybox\nRUN true\n")]) else {
        return;
    };
    let said = project.built(&["--progress", "plain", "--resource", "memory=64m"]);
    let (kept, told) = (limits_work(&project), said.contains("the limits of the container are discarded"));
    assert!(kept != told, "{said}");
}

#[test]
fn wrong_limits_are_refused_before_anything_is_done() {
    let project = Project::new(&[("Dockerfile", "FROM busybox\nRUN true\n")]);
    for (args, part) in [
        (["--resource", "memory=x"], "invalid resource \"memory=x\""),
        (["--resource", "color=red"], "unknown key"),
        (["--memory", "1m"], "Minimum memory limit allowed is 6MB"),
        (["--ulimit", "x=1"], "invalid ulimit"),
        (["--shm-size", "x"], "invalid size"),
    ] {
        let said = project.refused(&args);
        assert!(said.contains(part) && !said.contains("#1"), "{args:?}: {said}");
    }
}
