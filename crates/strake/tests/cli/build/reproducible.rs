//! The same Dockerfile, context and base give the same image, whoever builds, where and how.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::harness::{TestStore, ran};
use crate::project::{Project, busybox_tar};

const DOCKERFILE: &str = "FROM busybox AS a\nWORKDIR /x\nRUN date > /dev/null; echo 1 > one; mkdir d; touch d/$(seq -s ' d/' 20)\n\
    FROM busybox AS b\nRUN echo 2 > /two && ln /two /three && chown 5:6 /two && mkfifo /p\n\
    FROM busybox\nCOPY --from=a /x /x\nCOPY --from=b /two /three /y/\nCOPY --chown=app f /f\nENV A=1\n";

/// The digest of the manifest of what is built in `context`, by a store that has busybox.
fn digest(store: &TestStore, context: &Path, args: &[&str]) -> String {
    let tar = busybox_tar(store.dir().parent().unwrap());
    let import = ["import", "-c", "ENV PATH=/bin", "-c", "CMD [\"sh\"]"];
    let imported = ran(store.command().env("SOURCE_DATE_EPOCH", "0").args(import).arg(tar).arg("busybox"));
    assert_eq!(imported.code, 0, "{imported:?}");
    let metadata = store.dir().join("meta.json");
    let mut command = store.command();
    command
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .args(["build", "-q", "-t", "t", "--metadata-file"])
        .arg(&metadata);
    command.args(["-o", "type=oci,rewrite-timestamp=true,dest=image.tar"]).args(args).arg(context);
    let built = ran(&mut command);
    assert_eq!(built.code, 0, "{built:?}");
    let metadata: serde_json::Value = serde_json::from_slice(&fs::read(metadata).unwrap()).unwrap();
    format!("{} {}", metadata["containerimage.digest"], metadata["containerimage.config.digest"])
}

/// A context in a directory of its own, its files of another age each time.
fn context(age: u64) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::Builder::new().prefix("strake-context-").tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.path().join("Dockerfile"), DOCKERFILE).unwrap();
    fs::write(dir.path().join("f"), "x").unwrap();
    let file = fs::File::options().write(true).open(dir.path().join("f")).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
    dir
}

#[test]
fn with_one_step_at_a_time_and_with_eight() {
    let (one, eight) = (context(0), context(1000));
    let first = digest(&TestStore::new(), one.path(), &["--jobs", "1"]);
    assert_eq!(first, digest(&TestStore::new(), eight.path(), &["--jobs", "8"]));
}

#[test]
fn as_root_and_as_an_ordinary_user() {
    let Some(ordinary) = TestStore::of_an_ordinary_user() else { return };
    let context = context(0);
    assert_eq!(digest(&TestStore::new(), context.path(), &[]), digest(&ordinary, context.path(), &[]));
}

#[test]
fn the_layers_of_the_base_stay_as_they_are() {
    let project = Project::new(&[("Dockerfile", "FROM busybox\nRUN touch /new\n")]);
    let base = project.store.ok(&["inspect", "-f", "{{json .RootFS.Layers}}", "busybox"]);
    // Earlier than all files of the base.
    project.built(&["--build-arg", "SOURCE_DATE_EPOCH=0", "-o", "type=image,rewrite-timestamp=true"]);
    let layers = project.inspect("{{json .RootFS.Layers}}");
    assert!(layers.starts_with(base.trim().trim_end_matches(']')), "{layers}");
    assert_eq!(project.sh("stat -c %Y /new"), "0\n");
    let said = project.built(&["-o", "type=image,rewrite-timestamp=true"]);
    assert!(said.contains("no source-date-epoch was found"), "{said}");
    project.built(&["-o", "type=image,rewrite-timestamp=true,source-date-epoch=77"]);
    assert_eq!(project.sh("stat -c %Y /new"), "77\n");
}

#[test]
fn what_differs_is_shown() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nRUN echo same > /a\nRUN echo fixed > /b; head -c 8 /dev/urandom > /etc/random\nRUN true > /c\n",
    )]);
    let epoch = ["--build-arg", "SOURCE_DATE_EPOCH=5", "--verify-reproducible"];
    let said = project.refused(&epoch);
    for part in [
        "/etc/random: content differs from byte ",
        "[3/4] RUN echo fixed",
        "Dockerfile:3",
        "not reproducible",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    project.write("Dockerfile", "FROM busybox\nRUN echo same > /a\n");
    let said = project.built(&epoch);
    assert!(said.contains("both have the same 2 layers") && !said.contains("CACHED"), "{said}");
    // Without an epoch, times alone.
    project.write("Dockerfile", "FROM busybox\nRUN sleep 0.01; echo same > /a\n");
    let said = project.refused(&["--verify-reproducible"]);
    assert!(said.contains("/a: mtime ") && said.contains("hint: SOURCE_DATE_EPOCH"), "{said}");
}
