//! What the tests share: trees made from lines of text and told as such, operations run and checked.

use std::fs;

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use graph::{Copy, FileAction, FileOp, Unpack};
use runtime::Mode;
use snapshot::DiffOptions;
use snapshot::owners::Owners;
use solver::context::{Context, Everything};
use solver::file::{Done, Error, Input, Options};

/// How ids map where the test runs.
pub fn mode() -> Mode {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    let counts: Vec<&str> = map.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    match counts.as_slice() {
        ["4294967295"] => Mode::Root,
        ["1"] => Mode::SingleId,
        _ => Mode::Mapped,
    }
}

pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("not root, not even of a user namespace: skipped");
    }
    root
}

/// A place for contexts, images and layers.
pub struct Place {
    pub dir: tempfile::TempDir,
    layers: std::cell::Cell<usize>,
}

impl Place {
    pub fn new() -> Place {
        Place { dir: tempfile::tempdir().unwrap(), layers: 0.into() }
    }

    /// Makes files from lines: `path/`, `path = content`, `path -> target`, each with an octal mode and owner before it
    /// if wanted: `755 5:6 path/`.
    pub fn tree(&self, name: &str, text: &str) -> PathBuf {
        let root = self.dir.path().join(name).join("fs");
        fs::create_dir_all(&root).unwrap();
        make_tree(&root, text);
        root
    }

    pub fn layer(&self) -> PathBuf {
        self.layers.set(self.layers.get() + 1);
        let path = self.dir.path().join(format!("layer{}/fs", self.layers.get()));
        fs::create_dir_all(&path).unwrap();
        path
    }
}

pub fn make_tree(root: &Path, text: &str) {
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words: Vec<&str> = line.splitn(3, ' ').collect();
        let mode = match words.as_slice() {
            [first, ..] if first.bytes().all(|b| b.is_ascii_digit()) && words.len() > 1 => {
                let mode = u32::from_str_radix(first, 8).unwrap();
                words = line.split_once(' ').unwrap().1.splitn(3, ' ').collect();
                Some(mode)
            }
            _ => None,
        };
        let owner = match words.as_slice() {
            [first, ..] if first.contains(':') => {
                let (uid, gid) = first.split_once(':').unwrap();
                let owner = (uid.parse().unwrap(), gid.parse().unwrap());
                words = line.split_once(&format!("{first} ")).unwrap().1.splitn(3, ' ').collect();
                Some(owner)
            }
            _ => None,
        };
        let path = root.join(words[0]);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match words.as_slice() {
            [_] => fs::create_dir_all(&path).unwrap(),
            [_, "->", target] => symlink(target, &path).unwrap(),
            [_, "="] => fs::write(&path, "").unwrap(),
            [_, "=", content] => fs::write(&path, content.replace("\\n", "\n")).unwrap(),
            _ => panic!("cannot read {line:?}"),
        }
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::lchown(&path, Some(uid), Some(gid)).unwrap();
        }
        if let Some(mode) = mode {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
}

/// The files of a layer as lines: path, mode if it is not 644 or a directory's 755, owner if it is not root, content.
pub fn text_of(layer: &Path) -> String {
    let owners = Owners::of_layer(layer).unwrap();
    let mut lines = Vec::new();
    let mut due = vec![layer.to_owned()];
    while let Some(dir) = due.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(layer).unwrap().to_str().unwrap().to_owned();
            let mut line = match meta.file_type() {
                kind if kind.is_dir() => format!("{name}/"),
                kind if kind.is_symlink() => format!("{name} -> {}", fs::read_link(&path).unwrap().display()),
                kind if kind.is_fifo() => format!("{name} fifo"),
                kind if kind.is_file() => {
                    format!("{name} = {}", fs::read_to_string(&path).unwrap()).trim_end().to_owned()
                }
                _ => format!("{name} device"),
            };
            let usual = if meta.is_dir() { 0o755 } else { 0o644 };
            let mode = meta.mode() & 0o7777;
            if mode != usual && !meta.is_symlink() {
                line = format!("{mode:o} {line}");
            }
            let owner = match owners.0.get(name.as_bytes()) {
                Some(record) => (record.owner.uid, record.owner.gid),
                None => (meta.uid(), meta.gid()),
            };
            if owner != (0, 0) {
                line = format!("{}:{} {line}", owner.0, owner.1);
            }
            if meta.is_dir() {
                due.push(path);
            }
            lines.push((name, line));
        }
    }
    lines.sort();
    lines.into_iter().map(|(_, line)| line + "\n").collect()
}

pub fn copy(sources: &[&str], dest: &str) -> Copy {
    Copy {
        from: 1,
        sources: sources.iter().map(|s| (*s).to_owned()).collect(),
        dest: dest.to_owned(),
        owner: None,
        mode: None,
        exclude: Vec::new(),
        parents: false,
        unpack: Unpack::No,
        keep_owner: false,
    }
}

pub fn op(actions: impl IntoIterator<Item = Copy>) -> FileOp {
    FileOp { actions: actions.into_iter().map(FileAction::Copy).collect() }
}

pub fn everything(root: &Path) -> Context {
    Context::open(root, Box::new(Everything), None).unwrap()
}

/// Runs an operation; what it made, checked to be what it says.
pub fn run(op: &FileOp, base: &[PathBuf], input: Input<'_>, out: &Path) -> Result<Done, Error> {
    let stop = AtomicBool::new(false);
    let options = Options {
        base,
        out,
        mode: mode(),
        epoch: None,
        previous: None,
        search: None,
        keep_digests: false,
        stop: &[&stop],
    };
    let done = solver::file::run(op, vec![Input::Unused, input], &options)?;
    let stat = snapshot::diff(out, std::io::sink(), &DiffOptions::default()).unwrap();
    assert_eq!(done.stat, stat, "what is said of the layer is what it is");
    Ok(done)
}

/// Copies from `context` over `base` and compares the layer with `expected`; an error, if it begins with `error: `.
pub fn check(base: &str, context: &str, actions: impl IntoIterator<Item = Copy>, expected: &str) {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let context = everything(&place.tree("context", context));
    let base = match base.is_empty() {
        true => Vec::new(),
        false => vec![place.tree("base", base)],
    };
    let out = place.layer();
    let op = op(actions);
    let found = match run(&op, &base, Input::Context(&context), &out) {
        Ok(_) => text_of(&out),
        Err(error) => {
            let text = error.to_string();
            format!("error: {}", text.replace(place.dir.path().to_str().unwrap(), "PLACE"))
        }
    };
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(found.lines().collect::<Vec<_>>(), expected, "of {op:?}");
}
