//! Command lines that were written for `docker build`, and wrong ones.

use crate::harness::{Ran, ran};
use crate::project::Project;

fn project() -> Project {
    Project::new(&[("Dockerfile", "FROM busybox\nRUN true\n")])
}

/// Any command line, in the context.
fn strake(project: &Project, args: &[&str]) -> Ran {
    ran(project.store.command().args(args).current_dir(project.path("")))
}

#[test]
fn flags_that_say_nothing_here_are_taken() {
    let project = project();
    for args in [
        vec!["build", "--rm", "."],
        vec!["build", "--rm=false", "--force-rm", "--compress", "-D", "."],
        vec!["build", "--disable-content-trust", "--isolation", "default", "."],
        vec!["build", "--builder", "default", "--provenance=false", "--sbom", "false", "."],
        vec!["build", "--attest", "type=provenance,disabled=true", "."],
        vec!["buildx", "build", "--load", "--pull=false", "--no-cache=false", "."],
        vec!["image", "build", "."],
        vec!["-D", "build", "."],
        vec!["-l", "error", "--context", "default", "build", "."],
    ] {
        let ran = strake(&project, &args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
        assert!(!ran.stderr.contains("WARNING"), "{args:?}: {ran:?}");
    }
    for (args, why) in [
        (vec!["build", "--squash", "."], "squash"),
        (
            vec!["build", "--security-opt", "seccomp=unconfined", "."],
            "--security-opt seccomp=unconfined has no effect",
        ),
        (vec!["-H", "tcp://127.0.0.1:1", "build", "."], "--host tcp://127.0.0.1:1 is not used"),
    ] {
        let ran = strake(&project, &args);
        assert!(ran.code == 0 && ran.stderr.contains(why), "{args:?}: {ran:?}");
    }
}

#[test]
fn what_would_be_missing_is_refused() {
    let project = project();
    for args in [["--provenance", "mode=max"], ["--sbom", "true"], ["--attest", "type=sbom"]] {
        let ran = strake(&project, &["build", args[0], args[1], "."]);
        assert!(ran.code == 1 && ran.stderr.contains("attestations are not made here"), "{args:?}: {ran:?}");
    }
}

#[test]
fn wrong_command_lines_are_told_in_dockers_words() {
    let project = project();
    for (args, code, said) in [
        (
            vec!["build", "--no-cahce", "."],
            125,
            "strake: unknown flag: --no-cahce\n\nDid you mean: --no-cache?\n\nRun 'strake build --help' for more information\n",
        ),
        (
            vec!["build", "-Z", "."],
            125,
            "strake: unknown shorthand flag: -Z\n\nRun 'strake build --help' for more information\n",
        ),
        (
            vec!["build", "--zzzzz=1", "."],
            125,
            "strake: unknown flag: --zzzzz\n\nRun 'strake build --help' for more information\n",
        ),
        (
            vec!["build", ".", "b"],
            1,
            "strake: 'strake build' takes no argument 'b'\n\nRun 'strake build --help' for more information\n",
        ),
        (
            vec!["build"],
            1,
            "strake: 'strake build' requires <PATH|URL|->\n\nRun 'strake build --help' for more information\n",
        ),
        (
            vec!["tag", "a"],
            1,
            "strake: 'strake tag' requires <TARGET_IMAGE[:TAG]>\n\nRun 'strake tag --help' for more information\n",
        ),
        (
            vec!["image", "ls", "--zzzzz"],
            125,
            "strake: unknown flag: --zzzzz\n\nRun 'strake image ls --help' for more information\n",
        ),
        (vec!["build", "--jobs", "0", "."], 125, "0 is not in 1..=65535"),
    ] {
        let ran = strake(&project, &args);
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{args:?}: {ran:?}");
        assert!(ran.stderr.contains(said), "{args:?}: {}", ran.stderr);
    }
}
