//! What runs side by side, what runs once, and how a failure ends the rest.

use std::fs;
use std::time::{Duration, Instant};

use crate::harness::ran;
use crate::project::Project;

/// A stage for each of `count`, and a last one that needs them all.
fn fan(count: usize, run: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for n in 0..count {
        text.push_str(&format!("FROM busybox AS s{n}\nRUN {}\n", run(n)));
    }
    text.push_str("FROM scratch\n");
    (0..count).for_each(|n| text.push_str(&format!("COPY --from=s{n} /f /f{n}\n")));
    text
}

#[test]
fn steps_that_wait_hold_nobody_up() {
    // Each waits until all others are there: they end only if all eight are at work at once.
    let all = fan(8, |n| {
        format!(
            "--mount=type=cache,target=/c touch /c/{n}; for i in $(seq 60); do [ $(ls /c | wc -l) = 8 ] && touch /f && exit 0; sleep 0.5; done; exit 1"
        )
    });
    let project = Project::new(&[("Dockerfile", &all)]);
    project.built(&[]);
}

#[test]
fn jobs_are_a_limit() {
    // Each fails if another is at work.
    let all = fan(3, |n| {
        format!(
            "--mount=type=cache,target=/c [ -z \"$(ls /c)\" ] && touch /c/{n} && sleep 0.2 && rm /c/{n} && touch /f"
        )
    });
    let project = Project::new(&[("Dockerfile", &all)]);
    project.built(&["--jobs", "1"]);
}

#[test]
fn equal_steps_run_once() {
    let project = Project::new(&[("Dockerfile", &fan(3, |_| "head -c 20 /dev/urandom > /f".to_owned()))]);
    let said = project.built(&[]);
    assert_eq!(said.matches("RUN head -c").count(), 3, "{said}");
    assert_eq!(said.matches("2/2] RUN head -c 20 /dev/urandom > /f\n").count(), 3, "{said}");
    assert_eq!(said.matches(" CACHED").count(), 2, "{said}");
    assert_eq!(project.store.ok(&["inspect", "-f", "{{len .RootFS.Layers}}", "t"]), "3\n");
    // The same on two platforms, where it is the same.
    project.write("Dockerfile", "FROM scratch\nCOPY a /a\n");
    project.write("a", "1");
    let said = project.built(&["--platform", "linux/amd64,linux/arm64"]);
    assert_eq!((said.matches("COPY a /a\n").count(), said.matches(" CACHED").count()), (2, 1), "{said}");
}

#[test]
fn equal_steps_of_two_builds_run_once() {
    let project =
        Project::new(&[("Dockerfile", "FROM busybox\nRUN sleep 1; head -c 20 /dev/urandom > /f\n")]);
    let builds: Vec<_> = ["one", "two"]
        .map(|tag| {
            let mut command = project.store.command();
            command.args(["build", "-t", tag, "."]).current_dir(project.path("."));
            std::thread::spawn(move || ran(&mut command))
        })
        .into_iter()
        .collect();
    for build in builds {
        let build = build.join().unwrap();
        assert_eq!(build.code, 0, "{build:?}");
    }
    let id = |name: &str| project.store.ok(&["inspect", "-f", "{{.RootFS.Layers}}", name]);
    assert_eq!(id("one"), id("two"));
}

#[test]
fn a_failed_step_ends_the_others() {
    // A number that nothing else on this machine sleeps for.
    let seconds = format!("{}", 100_000 + std::process::id());
    let text = format!(
        "FROM busybox AS long\nRUN sleep {seconds}; touch /f\nFROM busybox AS bad\nRUN sleep 0.5; echo last words; exit 3\nFROM scratch\nCOPY --from=long /f /f\nCOPY --from=bad /f /g\n"
    );
    let project = Project::new(&[("Dockerfile", &text)]);
    let began = Instant::now();
    let said = project.refused(&[]);
    assert!(began.elapsed() < Duration::from_secs(60), "it waited for the other step");
    assert!(said.contains("exit code: 3") && said.contains("last words"), "{said}");
    assert!(said.contains(">>> RUN sleep 0.5"), "{said}");
    let left: Vec<String> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok())
        .filter(|line| line.contains(&seconds) && line.starts_with("sleep"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    let work = project.store.root().join("work");
    assert_eq!(fs::read_dir(work).unwrap().count(), 0, "something half made was left");
}
