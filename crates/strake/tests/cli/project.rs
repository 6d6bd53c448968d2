//! A build context in a directory, and a store with a base image `busybox` to build it on.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Ran, TestStore, ran};

/// A build context with a store of its own.
pub struct Project {
    pub store: TestStore,
    dir: tempfile::TempDir,
}

impl Project {
    /// A context that holds `files`, by path, and a store that has `busybox:latest`.
    pub fn new(files: &[(&str, &str)]) -> Project {
        Project::in_store(TestStore::new(), files)
    }

    /// The same with a store of an ordinary user, where tests can have one: as root only.
    pub fn of_an_ordinary_user(files: &[(&str, &str)]) -> Option<Project> {
        let project = Project::in_store(TestStore::of_an_ordinary_user()?, files);
        Some(project)
    }

    fn in_store(store: TestStore, files: &[(&str, &str)]) -> Project {
        let dir = tempfile::Builder::new().prefix("strake-context-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let project = Project { store, dir };
        for (path, text) in files {
            project.write(path, text);
        }
        let tar = busybox_tar(project.dir.path().parent().unwrap());
        // Dated, so that the base is the same image in every store.
        let imported = ran(project
            .store
            .command()
            .env("SOURCE_DATE_EPOCH", "0")
            .args(["import", "-c", "ENV PATH=/bin", "-c", "CMD [\"sh\"]"])
            .arg(tar)
            .arg("busybox"));
        assert_eq!(imported.code, 0, "{imported:?}");
        project
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Writes a file of the context.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Runs `build -t t ARGS .` in the context.
    pub fn build(&self, args: &[&str]) -> Ran {
        let mut all = vec!["build", "-t", "t"];
        all.extend_from_slice(args);
        all.push(".");
        ran(self.store.command().args(&all).current_dir(self.dir.path()))
    }

    /// A build that has to succeed; gives what it said.
    #[track_caller]
    pub fn built(&self, args: &[&str]) -> String {
        let ran = self.build(args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        ran.stderr
    }

    /// A build that has to fail; gives what it said.
    #[track_caller]
    pub fn refused(&self, args: &[&str]) -> String {
        let ran = self.build(args);
        assert_ne!(ran.code, 0, "{args:?} was built: {}", ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        ran.stderr
    }

    /// What a shell script prints in a container of the image that was built last.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        self.store.ok(&["run", "--rm", "--entrypoint", "", "t", "/bin/busybox", "sh", "-c", script])
    }

    /// A field of the built image, by a template.
    #[track_caller]
    pub fn inspect(&self, template: &str) -> String {
        self.store.ok(&["inspect", "-f", template, "t"]).trim_end().to_owned()
    }

    #[track_caller]
    pub fn id(&self) -> String {
        self.inspect("{{.Id}}")
    }
}

/// A tar of a root file system with busybox, made once for all tests of a machine.
pub fn busybox_tar(temp: &Path) -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    let tar = temp.join(format!("strake-test-busybox-{user}.tar"));
    if tar.exists() {
        return tar;
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let busybox = busybox.expect("busybox-static is installed: see scripts/install-test-needs");
    let root = tempfile::Builder::new().prefix("strake-rootfs-").tempdir_in(temp).unwrap();
    for dir in ["bin", "etc", "tmp", "root", "usr/lib"] {
        fs::create_dir_all(root.path().join(dir)).unwrap();
    }
    // A link to a directory, as Debian has them: copies to /lib land in /usr/lib.
    symlink("usr/lib", root.path().join("lib")).unwrap();
    fs::copy(busybox, root.path().join("bin/busybox")).unwrap();
    let applets = Command::new(busybox).arg("--list").output().unwrap().stdout;
    for applet in String::from_utf8(applets).unwrap().lines().filter(|name| *name != "busybox") {
        symlink("busybox", root.path().join("bin").join(applet)).unwrap();
    }
    fs::write(
        root.path().join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\n",
    )
    .unwrap();
    fs::write(root.path().join("etc/group"), "root:x:0:\napp:x:1001:\nextra:x:2000:app\n").unwrap();
    let part = root.path().with_extension("tar");
    let made = Command::new("tar")
        .args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "-cf"])
        .arg(&part)
        .arg("-C")
        .arg(root.path())
        .arg(".")
        .status()
        .unwrap();
    assert!(made.success());
    fs::rename(part, &tar).unwrap();
    tar
}
