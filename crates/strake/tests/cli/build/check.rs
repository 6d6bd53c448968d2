//! `build --check`, `--call`, fixes, and what an ordinary build says of its checks.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::harness::{Ran, TestStore, ran};
use crate::project::Project;

/// A directory with files, and no store at all.
struct Bare {
    store: TestStore,
    dir: tempfile::TempDir,
}

impl Bare {
    fn new(files: &[(&str, &str)]) -> Bare {
        let dir = tempfile::Builder::new().prefix("strake-check-").tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        Bare { store: TestStore::new(), dir }
    }

    fn build(&self, args: &[&str]) -> Ran {
        ran(self.store.command().arg("build").args(args).arg(".").current_dir(self.dir.path()))
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }
}

const CLEAN: &str = "FROM nosuch.invalid/base:1\nRUN --mount=type=secret,id=s true\nUSER 1000\nCMD [\"x\"]\n";

#[test]
fn a_check_needs_neither_base_nor_store() {
    let bare = Bare::new(&[("Dockerfile", CLEAN)]);
    for call in ["--check", "--call=check"] {
        let ran = bare.build(&[call]);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "Check complete, no warnings found.\n"), "{ran:?}");
        assert_eq!(ran.stderr, "");
    }
    assert!(!Path::new(&bare.store.root()).exists(), "a check made a store");
}

#[test]
fn warnings_are_printed_as_buildx_does() {
    let bare = Bare::new(&[("Dockerfile", "FROM alpine:3.20 as build\nUSER 1\n")]);
    let ran = bare.build(&["--call=check"]);
    let expected = "Check complete, 1 warning has been found!

WARNING: FromAsCasing - https://docs.docker.com/go/dockerfile/rule/from-as-casing/
'as' and 'FROM' keywords' casing do not match
Dockerfile:1
--------------------
   1 | >>> FROM alpine:3.20 as build
   2 |     USER 1
   3 |     
--------------------
";
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (1, expected, ""));
    let ran = bare.build(&["--check"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("     |                      ^^\n"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("fix: write AS\n"), "{}", ran.stdout);
    let ran = bare.build(&["--call=check,ignorestatus=true"]);
    assert_eq!(ran.code, 0);
}

#[test]
fn json_is_buildkits_and_sarif_is_sarif() {
    let bare = Bare::new(&[("Dockerfile", "FROM alpine:3.20\nMAINTAINER x\nUSER 1\n")]);
    for args in [&["--call=check,format=json"][..], &["--check", "--format", "json"]] {
        let ran = bare.build(args);
        assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
        let json: Value = serde_json::from_str(&ran.stdout).unwrap();
        let warning = &json["warnings"][0];
        assert_eq!(warning["ruleName"], "MaintainerDeprecated");
        assert_eq!(warning["location"]["ranges"][0]["start"]["line"], 2);
        assert_eq!(json["sources"][0]["filename"], "Dockerfile");
        assert_eq!(json["sources"][0]["data"], "RlJPTSBhbHBpbmU6My4yMApNQUlOVEFJTkVSIHgKVVNFUiAxCg==");
    }
    let ran = bare.build(&["--check", "--format=sarif"]);
    let sarif: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(ran.code, 1);
    assert_eq!(sarif["version"], "2.1.0");
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "MaintainerDeprecated");
    assert_eq!(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "Dockerfile");
    assert_eq!(result["locations"][0]["physicalLocation"]["region"]["startLine"], 2);
}

#[test]
fn mistakes_are_errors_beside_the_warnings() {
    let bare = Bare::new(&[("Dockerfile", "FROM alpine:3.20 AS Base\nRUNN x\n")]);
    let ran = bare.build(&["--call=check"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("WARNING: StageNameCasing"), "{ran:?}");
    assert!(ran.stderr.starts_with("Error: unknown instruction: RUNN\nDockerfile:2\n-----"), "{ran:?}");
    let ran = bare.build(&["--call=check,format=json"]);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json["buildError"]["message"], "unknown instruction: RUNN");
    assert_eq!(json["buildError"]["location"]["ranges"][0]["start"]["line"], 2);
}

#[test]
fn fixes_change_the_file_once() {
    let before = "FROM alpine:3.20 as Base\nENV a b\nCOPY <<EOF /x\nENV a b\nEOF\nUSER 1\nCMD run\n";
    let after = "FROM alpine:3.20 AS base\nENV a=b\nCOPY <<EOF /x\nENV a b\nEOF\nUSER 1\nCMD [\"run\"]\n";
    let bare = Bare::new(&[("real", before)]);
    fs::set_permissions(bare.path("real"), fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("real", bare.path("Dockerfile")).unwrap();
    let ran = bare.build(&["--check", "--fix"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "Check complete, no warnings found.\n"), "{ran:?}");
    assert_eq!(ran.stderr.lines().filter(|line| line.starts_with("fixed: ")).count(), 4, "{ran:?}");
    assert_eq!(fs::read_to_string(bare.path("real")).unwrap(), after);
    assert!(fs::symlink_metadata(bare.path("Dockerfile")).unwrap().is_symlink());
    assert_eq!(fs::metadata(bare.path("real")).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(bare.dir.path()).unwrap().count(), 2, "a file was left beside");
    let ran = bare.build(&["--check", "--fix"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let ran = bare.build(&["--fix"]);
    assert_ne!(ran.code, 0, "--fix goes with --check");
}

#[test]
fn targets_and_outline() {
    let dockerfile = "# VERSION is what is built\nARG VERSION=1.2\nARG UNUSED=x\n\n# build makes it\nFROM alpine:3.20 AS build\nARG VERSION\nARG DEBUG\nRUN --mount=type=secret,id=key,required=true --mount=type=ssh true\n\nFROM build AS test\n\nFROM scratch\nCOPY --from=build /x /x\n";
    let bare = Bare::new(&[("Dockerfile", dockerfile)]);
    let ran = bare.build(&["--call=targets"]);
    let expected = "TARGET    DESCRIPTION\nbuild     makes it\ntest      \n(default) \n";
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, expected, ""));
    let ran = bare.build(&["--call=targets,format=json"]);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json["targets"][0]["name"], "build");
    assert_eq!(json["targets"][2]["default"], true);
    assert_eq!(json["targets"][0]["location"]["ranges"][0]["start"]["line"], 6);

    let ran = bare.build(&["--call=outline", "--target=build", "--build-arg=DEBUG=1"]);
    let expected = "TARGET:      build\nDESCRIPTION: makes it\n\nBUILD ARG   VALUE   DESCRIPTION\nVERSION     1.2     is what is built\nDEBUG       1       \n\nSECRET   REQUIRED\nkey      true\n\nSSH       REQUIRED\ndefault   \n\n";
    assert_eq!((ran.code, ran.stdout.as_str()), (0, expected), "{ran:?}");
    let ran = bare.build(&["--call=outline,format=json"]);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json["args"][0]["name"], "VERSION");
    assert_eq!(json["secrets"][0]["required"], true);
    assert!(json.get("name").is_none());
    let ran = bare.build(&["--call=outline", "--target=biuld"]);
    assert!(ran.code == 1 && ran.stderr.contains("did you mean build?"), "{ran:?}");
}

#[test]
fn rules_are_explained() {
    let store = TestStore::new();
    let ran = store.run(&["build", "--explain-rule", "jsonargsrecommended"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.starts_with("# JSONArgsRecommended\n"), "{ran:?}");
    let ran = store.run(&["build", "--check", "--explain-rule", "all"]);
    assert!(ran.stdout.lines().count() > 30 && ran.stdout.contains("RootUser "), "{ran:?}");
    assert_ne!(store.run(&["build", "--explain-rule", "NoSuchRule"]).code, 0);
    assert_ne!(store.run(&["build"]).code, 0, "a build needs a context");
    assert_ne!(store.run(&["build", "--call=nonsense", "."]).code, 0);
}

#[test]
fn the_stores_images_are_known() {
    let project = Project::new(&[("Dockerfile", "FROM busybox\nENV P=$PATH:$NOWHERE\nUSER 1\n")]);
    let ran = ran(project.store.command().args(["build", "--call=check", "."]).current_dir(project.path("")));
    assert!(ran.stdout.contains("Usage of undefined variable '$NOWHERE'"), "{ran:?}");
    assert!(!ran.stdout.contains("'$PATH'"), "{ran:?}");
}

#[test]
fn a_build_shows_what_buildkit_shows() {
    let project = Project::new(&[("Dockerfile", "FROM busybox as base\nFROM base\nENV A b\nCMD x\n")]);
    let said = project.built(&[]);
    let expected = "\n 3 warnings found (use --check to expand):\n - FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)\n - LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" format (line 3)\n - JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals (line 4)\n";
    assert!(said.ends_with(expected), "{said}");
    assert!(said.contains("#1 WARN: FromAsCasing: "), "{said}");
    // A reviewer's rules are not for every build.
    assert!(!said.contains("UnpinnedBaseImage"), "{said}");
    let quiet = project.build(&["-q"]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""), "{quiet:?}");
}

#[test]
fn warnings_can_be_errors_or_left_out() {
    let project = Project::new(&[("Dockerfile", "# check=error=true\nFROM busybox as base\nCMD x\n")]);
    let said = project.refused(&[]);
    assert!(
        said.contains("failed to solve: lint violation found for rules: FromAsCasing, JSONArgsRecommended"),
        "{said}"
    );
    assert!(said.contains(" 2 warnings found"), "{said}");
    let said = project.built(&["--build-arg=BUILDKIT_DOCKERFILE_CHECK=skip=all;error=true"]);
    assert!(!said.contains("warning"), "{said}");
    let said = project.refused(&["--build-arg=BUILDKIT_DOCKERFILE_CHECK=nonsense"]);
    assert!(said.contains("BUILDKIT_DOCKERFILE_CHECK"), "{said}");
}

#[test]
fn a_dockerfile_on_standard_input() {
    let store = TestStore::new();
    let ran = store.run_with(&["build", "--call=check", "-"], b"FROM alpine:3.20 AS X\nUSER 1\n");
    assert!(ran.code == 1 && ran.stdout.contains("StageNameCasing"), "{ran:?}");
    let bare = Bare::new(&[("other", "FROM scratch AS X\n")]);
    let ran = bare.build(&["--call=check", "-f", "other"]);
    assert!(ran.stdout.contains("other:1\n"), "{ran:?}");
}
