//! A full disk: named, survived, and the same command works once there is space.

use std::path::Path;
use std::process::Command;

use crate::harness::ran;
use crate::project::Project;

/// A file system of 24 MB, unmounted with this value.
struct Small(tempfile::TempDir);

impl Small {
    fn new() -> Option<Small> {
        let dir = tempfile::Builder::new().prefix("strake-full-").tempdir().unwrap();
        let image = dir.path().join("image");
        let at = dir.path().join("at");
        std::fs::create_dir(&at).unwrap();
        let ok = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
        let made = ok(Command::new("truncate").args(["-s", "24M"]).arg(&image))
            && ok(Command::new("mkfs.ext4")
                .arg("-q")
                .arg(&image)
                .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin"))
            && ok(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at));
        made.then_some(Small(dir))
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("at")
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

#[test]
fn a_full_disk_is_named_and_survived() {
    let Some(small) = Small::new() else {
        println!("skipped: no small file system can be mounted here (it takes root and a loop device)");
        return;
    };
    let project = Project::new(&[
        ("Dockerfile", "FROM busybox\nCOPY . /files\nRUN cp -r /files /copy\n"),
        (".dockerignore", "base.tar\n"),
    ]);
    for file in 0..60 {
        project.write(&format!("f{file}"), &"0123456789".repeat(10_000));
    }
    let base = project.path("base.tar");
    project.store.ok(&["save", "-o", base.to_str().unwrap(), "busybox"]);
    let strake = |args: &[&str]| {
        ran(project
            .store
            .command()
            .env("STRAKE_ROOT", small.path().join("root"))
            .args(args)
            .current_dir(project.path("")))
    };
    assert_eq!(strake(&["load", "-i", "base.tar"]).code, 0);
    let ballast = small.path().join("ballast");
    fill(&ballast, 8);
    let refused = strake(&["build", "-t", "t", "."]);
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(refused.stderr.to_lowercase().contains("no space left"), "{}", refused.stderr);
    assert!(
        refused.stderr.contains(small.path().to_str().unwrap()) || refused.stderr.contains("cp:"),
        "{}",
        refused.stderr
    );
    let checked = strake(&["system", "check"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(!strake(&["images"]).stdout.contains("\nt "));
    // What is written to it from another store says where it cannot be written.
    let more = small.path().join("more");
    assert!(std::fs::write(&more, vec![1u8; 64 << 20]).is_err(), "the disk is larger than it should be");
    let output = small.path().join("out.tar");
    let saved = project.store.fails(1, &["save", "-o", output.to_str().unwrap(), "busybox"]);
    assert!(saved.contains(&format!("writing {}: No space left", output.display())), "{saved}");
    std::fs::remove_file(&more).unwrap();
    std::fs::remove_file(&ballast).unwrap();
    let built = strake(&["build", "-t", "t", "."]);
    assert_eq!(built.code, 0, "{built:?}");
    assert_eq!(strake(&["run", "--rm", "t", "sh", "-c", "ls /copy | wc -l"]).stdout, "61\n");
}

/// Fills the disk but for what a few small files need.
fn fill(ballast: &Path, megabytes: usize) {
    std::fs::write(ballast, vec![1u8; megabytes << 20]).unwrap();
}
