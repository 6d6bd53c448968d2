//! Inputs that are made to do harm: what is no regular file where one should be, links in the way of what is written.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::harness::ran;
use crate::project::Project;

/// An OCI layout of one image, of which the file of its manifest is left to the test.
fn layout(dir: &Path) -> std::path::PathBuf {
    let digest = "1".repeat(64);
    std::fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
    std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{digest}","size":300}}]}}"#
    );
    std::fs::write(dir.join("index.json"), index).unwrap();
    dir.join("blobs/sha256").join(digest)
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
}

/// What the command says until it ends, which it has to do soon.
#[track_caller]
fn soon(command: &mut Command) -> String {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            panic!("{command:?} waits for ever");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn pipes_in_layouts_are_not_waited_for() {
    let project = Project::new(&[("Dockerfile", "FROM base\n")]);
    let dir = project.path("layout");
    fifo(&layout(&dir));
    let base = format!("base=oci-layout://{}", dir.display());
    let mut build = project.store.command();
    let said = soon(build.args(["build", "--build-context", &base, "."]).current_dir(project.path("")));
    assert!(said.contains("Invalid argument"), "{said}");
    let mut copy = project.store.command();
    let said = soon(copy.arg("copy").arg(format!("oci:{}", dir.display())).arg("oci:elsewhere"));
    assert!(said.contains("Invalid argument"), "{said}");
}

#[test]
fn devices_and_pipes_in_archives_are_no_dockerfiles() {
    let project = Project::new(&[]);
    let mut cases = vec![(tar::EntryType::Fifo, "Dockerfile"), (tar::EntryType::Fifo, ".dockerignore")];
    // Others cannot make any.
    if rustix::process::geteuid().is_root() {
        cases.extend([(tar::EntryType::Char, "Dockerfile"), (tar::EntryType::Char, ".dockerignore")]);
    }
    for (kind, name) in cases {
        let mut archive = tar::Builder::new(Vec::new());
        let mut entry = |path: &str, kind: tar::EntryType, text: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(kind);
            header.set_mode(0o644);
            header.set_size(text.len() as u64);
            // /dev/zero
            header.set_device_major(1).unwrap();
            header.set_device_minor(5).unwrap();
            archive.append_data(&mut header, path, text).unwrap();
        };
        if name != "Dockerfile" {
            entry("Dockerfile", tar::EntryType::Regular, b"FROM scratch\nCOPY . /\n");
        }
        entry(name, kind, b"");
        let ran = project.store.run_with(&["build", "-"], &archive.into_inner().unwrap());
        assert_ne!(ran.code, 0, "{name}");
        assert!(ran.stderr.contains("it is no regular file"), "{name}: {}", ran.stderr);
    }
}

/// The name of an unfinished file can be guessed by whoever makes the directory that is written to.
#[test]
fn layouts_are_not_written_through_links() {
    let project = Project::new(&[("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n"), ("mine", "mine")]);
    std::fs::create_dir_all(project.path("out/blobs/sha256")).unwrap();
    std::fs::write(project.path("out/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    std::fs::write(project.path("out/index.json"), r#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
    symlink(project.path("mine"), project.path("link")).unwrap();
    let program = project.store.command();
    let script = "for n in 0 1 2 3 4; do cp -P link out/blobs/.part$$.$n; done; exec \"$0\" build --cache-to type=local,dest=out,ignore-error=false .";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(program.get_program()).env("STRAKE_ROOT", project.store.root());
    let done = ran(shell.current_dir(project.path("")));
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(std::fs::read_to_string(project.path("mine")).unwrap(), "mine");
    let cached = project.built(&["--cache-from", "type=local,src=out"]);
    assert!(cached.contains("importing cache manifest"), "{cached}");
}

#[test]
fn dockerfiles_do_not_speak_to_terminals() {
    let project =
        Project::new(&[("Dockerfile", "FROM busybox\nRUN echo '\u{1b}]0;title\u{7}' > /f; exit 3\n")]);
    for progress in ["plain", "quiet"] {
        let said = project.refused(&["--progress", progress]);
        assert!(said.contains("]0;title"), "{said}");
        assert!(!said.contains(['\u{1b}', '\u{7}']), "{said:?}");
    }
}
