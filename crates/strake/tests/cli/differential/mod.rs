//! The same Dockerfiles built by strake and by its peers: Docker with BuildKit, Docker's classic builder, buildah.
//! The trees must be alike (types, modes, owners, content, links, extended attributes), and so must what the
//! configs say of how to run the image; of BuildKit's, the history too.
//!
//! A case is a folder of `cases/` with a Dockerfile; its context is made by `context` below, for git keeps no
//! modes, links to nowhere or attributes. Times are not compared: the peers keep none of their own.

mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::containers::{is_root, with_busybox};
use crate::dockerd::Dockerd;
use crate::harness::{TestStore, ran};

/// What there is of the config's fields, whatever the peer writes for nothing.
const FIELDS: [&str; 12] = [
    "Env",
    "Cmd",
    "Entrypoint",
    "WorkingDir",
    "User",
    "ExposedPorts",
    "Volumes",
    "Labels",
    "StopSignal",
    "Healthcheck",
    "Shell",
    "OnBuild",
];

/// Cases that a peer does not do, or not as BuildKit does; the reason beside each.
fn left_out(peer: &str, case: &str) -> bool {
    match (peer, case) {
        // No mounts and no --chmod; what was mounted on is gone.
        ("classic" | "buildah", "buildkit") => true,
        // Stages that are not needed are built; arguments are not inherited; setuid is lost.
        ("classic" | "buildah", "planned") => true,
        // A backslash escapes, whatever was chosen; CMD does not heed SHELL; ports stay ranges.
        ("buildah", "onbuild" | "config") => true,
        _ => false,
    }
}

fn cases() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/differential/cases");
    let mut found: Vec<_> = fs::read_dir(root)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), path)
        })
        .collect();
    found.sort();
    found
}

/// The build context of all cases, beside the store.
fn context(dir: &Path) {
    let script = r#"
        set -eu
        mkdir -p dir/sub/deep dir/empty other 'a b'
        echo one > one.txt; echo two > two.txt; echo three > dir/three.txt; echo four > dir/sub/four.txt
        echo five > dir/sub/deep/five.md; echo skip > dir/skip.log; echo blank > 'a b/c d'
        printf '#!/bin/sh\necho run\n' > tool.sh; chmod 755 tool.sh; chmod 600 two.txt; chmod 1777 other
        ln -s three.txt dir/link; ln -s /nowhere/at/all dir/broken; ln -s dir dirlink; ln dir/three.txt dir/hard
        chown 1234:4321 one.txt
        mkdir caps; echo ping > caps/ping; setcap cap_net_raw+ep caps/ping
        tar --xattrs --xattrs-include='*' -cf caps.tar caps; rm -r caps; cp tool.sh setuid.sh; chmod 4755 setuid.sh
        tar -cf files.tar dir other; tar -czf files.tgz -C dir three.txt sub; tar -cJf files.txz one.txt
        printf '*.log\nexcluded\n!excluded/but\n' > .dockerignore
        mkdir excluded; echo no > excluded/no; echo but > excluded/but
    "#;
    let made = ran(Command::new("bash").args(["-c", script]).current_dir(dir));
    assert_eq!(made.code, 0, "{made:?}");
}

/// What an image is: its files, its config's fields, its history.
#[derive(Debug)]
struct Image {
    files: Vec<String>,
    config: Value,
    history: Vec<(String, bool)>,
}

impl Image {
    /// Of the image `name` in `store`.
    fn of(store: &TestStore, name: &str) -> Image {
        let shown: Value = serde_json::from_str(&store.ok(&["image", "inspect", name])).unwrap();
        let mut config = json!({});
        for field in FIELDS {
            let value = &shown[0]["Config"][field];
            let nothing = value.is_null() || value == "" || value == &json!([]) || value == &json!({});
            if !nothing {
                config[field] = value.clone();
            }
        }
        // buildah says by a label that it was there.
        if let Some(labels) = config["Labels"].as_object_mut() {
            labels.retain(|name, _| !name.starts_with("io.buildah."));
        }
        if config["Labels"].as_object().is_some_and(|labels| labels.is_empty()) || config["Labels"].is_null()
        {
            config.as_object_mut().unwrap().remove("Labels");
        }
        let id = store.ok(&["create", name, "sh"]);
        let tar = store.dir().join("exported.tar");
        store.ok(&["export", "-o", tar.to_str().unwrap(), id.trim()]);
        store.ok(&["rm", id.trim()]);
        let lines = store.ok(&["history", "--no-trunc", "--format", "{{json .CreatedBy}} {{.Size}}", name]);
        let history = lines
            .lines()
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(text, size)| (serde_json::from_str(text).unwrap_or_default(), size == "0B"))
            .collect();
        Image { files: tree::lines(&tar), config, history }
    }
}

#[track_caller]
fn same_lines(what: &str, ours: &[String], theirs: &[String]) {
    let lacks = |a: &[String], b: &[String]| -> Vec<String> {
        a.iter().filter(|line| !b.contains(line)).cloned().collect()
    };
    let (more, less) = (lacks(ours, theirs), lacks(theirs, ours));
    assert!(
        more.is_empty() && less.is_empty(),
        "{what}: only in strake's:\n{}\nonly in the peer's:\n{}",
        more.join("\n"),
        less.join("\n")
    );
}

/// The text of a history line without what newer versions of BuildKit write in another way: values of build
/// arguments and those that are inherited, ports and checks, owners and modes of copies.
fn comparable(text: &str) -> String {
    match text.split_once(' ') {
        Some((keyword @ ("EXPOSE" | "HEALTHCHECK"), _)) => keyword.to_owned(),
        Some(("RUN", rest)) => rest.find("/bin/sh").map_or(rest, |at| &rest[at..]).to_owned(),
        Some(("ARG", name)) => format!("ARG {}", name.split('=').next().unwrap_or_default()),
        Some((keyword @ ("COPY" | "ADD"), rest)) => {
            let words: Vec<&str> = rest.split(' ').filter(|word| !word.starts_with("--")).collect();
            format!("{keyword} {}", words.join(" "))
        }
        _ => text.to_owned(),
    }
}

/// Builds all cases with `build` (a case's Dockerfile, the context, the archive to write) and compares.
fn compare(peer: &str, store: &TestStore, build: &dyn Fn(&Path, &Path, &Path)) {
    let files = store.dir().join("context");
    fs::create_dir(&files).unwrap();
    context(&files);
    let failures: Vec<String> = cases()
        .into_iter()
        .filter(|(name, _)| !left_out(peer, name))
        .filter_map(|(name, path)| {
            let one = || {
                let dockerfile = path.join("Dockerfile");
                let archive = store.dir().join("theirs.tar");
                let _ = fs::remove_file(&archive);
                build(&dockerfile, &files, &archive);
                store.ok(&["load", "-q", "-i", archive.to_str().unwrap()]);
                let theirs = Image::of(store, "theirs:1");
                let dockerfile = dockerfile.to_str().unwrap();
                let args = ["build", "-q", "--build-arg", "GIVEN=given", "-t", "ours:1", "-f", dockerfile];
                store.ok(&[&args[..], &[files.to_str().unwrap()]].concat());
                let ours = Image::of(store, "ours:1");
                same_lines(&name, &ours.files, &theirs.files);
                assert_eq!(ours.config, theirs.config, "{name}");
                if peer == "buildkit" {
                    let of = |image: &Image| {
                        image.history.iter().map(|(text, _)| comparable(text)).collect::<Vec<_>>()
                    };
                    assert_eq!(of(&ours), of(&theirs), "{name}");
                    let empty =
                        |image: &Image| image.history.iter().map(|(_, empty)| *empty).collect::<Vec<_>>();
                    assert_eq!(empty(&ours), empty(&theirs), "{name}");
                }
            };
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(one)).err().map(|_| name)
        })
        .collect();
    assert!(failures.is_empty(), "unlike {peer}: {failures:?}");
}

fn docker(peer: &str, buildkit: &str) {
    let store = with_busybox(TestStore::new());
    let Some(dockerd) = Dockerd::start(store.dir()) else { return };
    let base = store.dir().join("base.tar");
    store.ok(&["save", "-o", base.to_str().unwrap(), "bb"]);
    dockerd.ok(&["load", "-i", base.to_str().unwrap()]);
    compare(peer, &store, &|dockerfile, context, archive| {
        let (dockerfile, context) = (dockerfile.to_str().unwrap(), context.to_str().unwrap());
        let network = ["build", "--network", "host", "--build-arg", "GIVEN=given"];
        dockerd.ok_with(
            &[("DOCKER_BUILDKIT", buildkit)],
            &[&network[..], &["-t", "theirs:1", "-f", dockerfile, context]].concat(),
        );
        dockerd.ok_with(
            &[("DOCKER_BUILDKIT", buildkit)],
            &["save", "-o", archive.to_str().unwrap(), "theirs:1"],
        );
    });
}

#[test]
fn like_buildkit() {
    docker("buildkit", "1");
}

#[test]
fn like_dockers_classic_builder() {
    docker("classic", "0");
}

#[test]
fn like_buildah() {
    if !is_root() || ran(Command::new("sh").args(["-c", "command -v buildah"])).code != 0 {
        return println!("skipped: no buildah, or not root");
    }
    let store = with_busybox(TestStore::new());
    let base = store.dir().join("base.tar");
    store.ok(&["save", "-o", base.to_str().unwrap(), "bb"]);
    let (root, run) = (store.dir().join("b"), store.dir().join("r"));
    let buildah = |args: &[&str]| {
        let places = ["--root", root.to_str().unwrap(), "--runroot", run.to_str().unwrap()];
        let ran = ran(Command::new("buildah").args(places).args(args));
        assert_eq!(ran.code, 0, "buildah {args:?}: {ran:?}");
    };
    buildah(&["pull", "-q", &format!("docker-archive:{}", base.display())]);
    compare("buildah", &store, &|dockerfile, context, archive| {
        let (dockerfile, context) = (dockerfile.to_str().unwrap(), context.to_str().unwrap());
        let options = ["bud", "-q", "--runtime", "runc", "--network", "host", "--pull-never", "--layers"];
        let given = ["--format", "docker", "--build-arg", "GIVEN=given", "-t", "theirs:1", "-f", dockerfile];
        buildah(&[&options[..], &given[..], &[context]].concat());
        buildah(&["push", "-q", "theirs:1", &format!("docker-archive:{}:theirs:1", archive.display())]);
    });
}
