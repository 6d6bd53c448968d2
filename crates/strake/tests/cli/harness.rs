//! A store that goes with its test, the binary run on it, and images put in by hand.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use oci::{ChainId, DiffId, ImageId, Reference};
use serde_json::{Value, json};
use store::{Base, ImageMeta, SnapshotStat, Store};

/// A store in a directory that is removed with this value.
pub struct TestStore {
    dir: tempfile::TempDir,
    /// Whom the command runs as, where that is not us.
    user: Option<u32>,
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

impl TestStore {
    pub fn new() -> TestStore {
        TestStore { dir: tempfile::Builder::new().prefix("strake-test-").tempdir().unwrap(), user: None }
    }

    /// A store of the ordinary user `strake-test`, who has a range of subordinate ids; `None`, said on stdout, where we
    /// are root and there is no such user. An ordinary user ourselves, it is ours.
    pub fn of_an_ordinary_user() -> Option<TestStore> {
        let mut store = TestStore::new();
        if !rustix::process::geteuid().is_root() {
            return Some(store);
        }
        let Some(id) = ordinary_user() else {
            println!("skipped: there is no user strake-test (scripts/install-test-needs makes one)");
            return None;
        };
        // The build directory may be closed to others.
        std::fs::copy(env!("CARGO_BIN_EXE_strake"), store.dir.path().join("strake")).unwrap();
        std::os::unix::fs::chown(store.dir.path(), Some(id), Some(id)).unwrap();
        store.user = Some(id);
        Some(store)
    }

    /// A directory beside the store, for the test's own files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// The store itself, for what the command line cannot do.
    pub fn store(&self) -> Store {
        Store::open(&self.root()).unwrap()
    }

    /// The command on this store, in an environment that is the same everywhere.
    pub fn command(&self) -> Command {
        let mut command = match self.user {
            None => Command::new(env!("CARGO_BIN_EXE_strake")),
            Some(id) => {
                let mut command = Command::new(self.dir.path().join("strake"));
                command.uid(id).gid(id);
                command
            }
        };
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .env("TZ", "UTC")
            .env("STRAKE_ROOT", self.root())
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    pub fn run<A: AsRef<OsStr>>(&self, args: &[A]) -> Ran {
        ran(self.command().args(args))
    }

    /// Runs with that on standard input.
    pub fn run_with<A: AsRef<OsStr>>(&self, args: &[A], stdin: &[u8]) -> Ran {
        let mut child = self
            .command()
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Whoever has seen enough need not read all.
        if let Err(error) = child.stdin.take().unwrap().write_all(stdin) {
            assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
        }
        let output = child.wait_with_output().unwrap();
        Ran {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code().unwrap_or(-1),
        }
    }

    /// The stdout of a command that has to succeed.
    #[track_caller]
    pub fn ok<A: AsRef<OsStr> + std::fmt::Debug>(&self, args: &[A]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
        ran.stdout
    }

    /// The stderr of a command that has to fail with that code.
    #[track_caller]
    pub fn fails<A: AsRef<OsStr> + std::fmt::Debug>(&self, code: i32, args: &[A]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, code, "{args:?}: {ran:?}");
        ran.stderr
    }

    /// Puts an image in.
    pub fn put(&self, image: &TestImage) -> ImageId {
        let store = self.store();
        let _lease = store.lease().unwrap();
        let mut diff_ids: Vec<DiffId> = Vec::new();
        for layer in &image.layers {
            diff_ids.push(put_layer(&store, &diff_ids, layer));
        }
        let config = json!({
            "created": image.created,
            "architecture": oci::Platform::host().architecture,
            "os": "linux",
            "config": image.config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": image.history,
        });
        let base = image.base.as_ref().map(|name| Base { name: name.clone(), digest: None });
        let meta = ImageMeta { base, ..ImageMeta::default() };
        let id = store.put_image(config.to_string().as_bytes(), &meta).unwrap();
        for tag in &image.tags {
            store.set_reference(&Reference::parse(tag).unwrap().with_default_tag(), &id).unwrap();
        }
        id
    }
}

impl Drop for TestStore {
    /// What runs in the background would outlive the store, above all where a test failed; and what belongs to a
    /// subordinate id can only be removed from within the namespace where that is mapped.
    fn drop(&mut self) {
        let any = |dir: &str| {
            std::fs::read_dir(self.root().join(dir)).is_ok_and(|mut entries| entries.next().is_some())
        };
        if any("containers") {
            let running = self.run(&["ps", "-q"]).stdout;
            let args: Vec<&str> = ["rm", "-f"].into_iter().chain(running.lines()).collect();
            if args.len() > 2 {
                self.run(&args);
            }
        }
        if !rustix::process::geteuid().is_root() && any("snapshots") {
            self.run(&["system", "prune", "-af"]);
        }
    }
}

/// The user ID of `strake-test`, whose group has the same one.
fn ordinary_user() -> Option<u32> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = passwd.lines().find(|line| line.starts_with("strake-test:"))?;
    line.split(':').nth(2)?.parse().ok()
}

/// Puts a layer of one file on a stack: `name` with that many bytes.
fn put_layer(store: &Store, below: &[DiffId], (name, size): &(String, usize)) -> DiffId {
    let pending = store.begin_snapshot().unwrap();
    let path = pending.fs().join(name);
    std::fs::write(&path, vec![b'x'; *size]).unwrap();
    // The same layer again has to be the same layer.
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let stat = snapshot::diff(pending.fs(), std::io::sink(), &snapshot::DiffOptions::default()).unwrap();
    let row = SnapshotStat {
        diff_id: stat.diff_id.clone(),
        tar_size: stat.tar_size,
        usage: stat.usage,
        inodes: stat.inodes,
        tree_digest: None,
    };
    store.commit_snapshot(pending, ChainId::of(below).as_ref(), &row).unwrap();
    stat.diff_id
}

/// An image to put in.
pub struct TestImage {
    tags: Vec<String>,
    layers: Vec<(String, usize)>,
    created: String,
    config: Value,
    history: Vec<Value>,
    base: Option<String>,
}

impl TestImage {
    pub fn new(tags: &[&str]) -> TestImage {
        TestImage {
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            layers: Vec::new(),
            created: "2024-01-02T03:04:05.678Z".to_owned(),
            config: json!({}),
            history: Vec::new(),
            base: None,
        }
    }

    /// One more layer, of one file, and its line of history.
    pub fn layer(mut self, name: &str, size: usize) -> TestImage {
        self.layers.push((name.to_owned(), size));
        self.history.push(json!({
            "created": self.created,
            "created_by": format!("COPY {name} / # buildkit"),
            "comment": "buildkit.dockerfile.v0",
        }));
        self
    }

    /// A line of history without a layer.
    pub fn step(mut self, created_by: &str) -> TestImage {
        self.history.push(json!({
            "created": self.created,
            "created_by": created_by,
            "comment": "buildkit.dockerfile.v0",
            "empty_layer": true,
        }));
        self
    }

    pub fn created(mut self, created: &str) -> TestImage {
        self.created = created.to_owned();
        self
    }

    pub fn config(mut self, config: Value) -> TestImage {
        self.config = config;
        self
    }

    pub fn base(mut self, name: &str) -> TestImage {
        self.base = Some(name.to_owned());
        self
    }
}

pub fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code().unwrap_or(-1),
    }
}

/// The first 12 digits of an ID.
pub fn short(id: &ImageId) -> String {
    id.short().to_owned()
}
