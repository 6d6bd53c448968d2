//! What COPY, ADD and WORKDIR do, rule by rule: contexts and images as text, the resulting layer as text.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use graph::{Copy, FileAction, FileOp, MakeDir, MakeFile, Unpack};
use runtime::Mode;
use snapshot::DiffOptions;
use snapshot::owners::Owners;
use solver::context::{Context, Everything, Filter, Visit};
use solver::file::{Done, Error, Input, Options, Prepared};

/// How ids map where the test runs.
fn mode() -> Mode {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    let counts: Vec<&str> = map.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    match counts.as_slice() {
        ["4294967295"] => Mode::Root,
        ["1"] => Mode::SingleId,
        _ => Mode::Mapped,
    }
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("not root, not even of a user namespace: skipped");
    }
    root
}

/// A place for contexts, images and layers.
struct Place {
    dir: tempfile::TempDir,
    layers: std::cell::Cell<usize>,
}

impl Place {
    fn new() -> Place {
        Place { dir: tempfile::tempdir().unwrap(), layers: 0.into() }
    }

    /// Makes files from lines: `path/`, `path = content`, `path -> target`, each with an octal mode and owner before it
    /// if wanted: `755 5:6 path/`.
    fn tree(&self, name: &str, text: &str) -> PathBuf {
        let root = self.dir.path().join(name).join("fs");
        fs::create_dir_all(&root).unwrap();
        make_tree(&root, text);
        root
    }

    fn layer(&self) -> PathBuf {
        self.layers.set(self.layers.get() + 1);
        let path = self.dir.path().join(format!("layer{}/fs", self.layers.get()));
        fs::create_dir_all(&path).unwrap();
        path
    }
}

fn make_tree(root: &Path, text: &str) {
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
fn text_of(layer: &Path) -> String {
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

fn copy(sources: &[&str], dest: &str) -> Copy {
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

fn op(actions: impl IntoIterator<Item = Copy>) -> FileOp {
    FileOp { actions: actions.into_iter().map(FileAction::Copy).collect() }
}

fn everything(root: &Path) -> Context {
    Context::open(root, Box::new(Everything), None).unwrap()
}

/// Runs an operation; what it made, checked to be what it says.
fn run(op: &FileOp, base: &[PathBuf], input: Input<'_>, out: &Path) -> Result<Done, Error> {
    let stop = AtomicBool::new(false);
    let options = Options { base, out, mode: mode(), epoch: None, previous: None, stop: &stop };
    let done = solver::file::run(op, vec![Input::Unused, input], &options)?;
    let stat = snapshot::diff(out, std::io::sink(), &DiffOptions::default()).unwrap();
    assert_eq!(done.stat, stat, "what is said of the layer is what it is");
    Ok(done)
}

/// Copies from `context` over `base` and compares the layer with `expected`; an error, if it begins with `error: `.
fn check(base: &str, context: &str, actions: impl IntoIterator<Item = Copy>, expected: &str) {
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

#[test]
fn destinations() {
    let context = "a = 1\n dir/b = 2\n 700 dir/sub/\n dir/sub/c = 3";
    // A file to a name, to a directory that has to be made, to one that is there.
    check("", context, [copy(&["/a"], "/x")], "x = 1");
    check("", context, [copy(&["/a"], "/x/")], "x/\n x/a = 1");
    check("", context, [copy(&["/a"], "/x/.")], "x/\n x/a = 1");
    check("", context, [copy(&["/a"], "/x/y")], "x/\n x/y = 1");
    check("x/", context, [copy(&["/a"], "/x")], "x/\n x/a = 1");
    check("", context, [copy(&["/a"], "/")], "a = 1");
    // A directory's content, never itself.
    check("", context, [copy(&["/dir"], "/x")], "x/\n x/b = 2\n 700 x/sub/\n x/sub/c = 3");
    check("", context, [copy(&["/dir"], "/x/")], "x/\n x/b = 2\n 700 x/sub/\n x/sub/c = 3");
    check("", context, [copy(&["/dir"], "/")], "b = 2\n 700 sub/\n sub/c = 3");
    check(
        "",
        context,
        [copy(&["/"], "/x")],
        "x/\n x/a = 1\n x/dir/\n x/dir/b = 2\n 700 x/dir/sub/\n x/dir/sub/c = 3",
    );
    check("", context, [copy(&["/dir/sub"], "/x/y/z")], "x/\n x/y/\n x/y/z/\n x/y/z/c = 3");
    // Several.
    check("", context, [copy(&["/a", "/dir/b"], "/x/")], "x/\n x/a = 1\n x/b = 2");
    check(
        "",
        context,
        [copy(&["/a", "/dir/b"], "/x")],
        "error: when using COPY with more than one source file, the destination must be a directory and end with a /: \"/x\"",
    );
    // The last one wins.
    check("", context, [copy(&["/a"], "/x"), copy(&["/dir/b"], "/x")], "x = 2");
}

#[test]
fn what_is_there() {
    let context = "f = new\n dir/f = new\n dir/sub/f = new\n link -> f\n file/x = new";
    let base = "700 5:6 app/\n app/f = old\n 700 5:6 app/sub/\n app/sub/f = old\n app/sub/g = old\n app/file = old\n l -> app";
    if mode() != Mode::SingleId {
        check(
            base,
            context,
            [copy(&["/dir"], "/app")],
            "5:6 700 app/\n app/f = new\n app/sub/\n app/sub/f = new",
        );
        check(
            base,
            context,
            [copy(&["/dir"], "/l")],
            "5:6 700 app/\n app/f = new\n app/sub/\n app/sub/f = new",
        );
        check(base, context, [copy(&["/f"], "/l/")], "5:6 700 app/\n app/f = new");
        check(
            base,
            context,
            [copy(&["/f"], "/l/sub/new/x")],
            "5:6 700 app/\n 5:6 700 app/sub/\n app/sub/new/\n app/sub/new/x = new",
        );
    }
    let base =
        "app/f = old\n app/sub/f = old\n app/file = old\n to -> app/f\n gone -> not/here\n loop -> loop";
    check(base, context, [copy(&["/file"], "/app/file")], "error: cannot copy to non-directory: /app/file");
    check(base, context, [copy(&["/"], "/app")], "error: cannot copy to non-directory: /app/file");
    check(base, "sub = 1", [copy(&["/"], "/app")], "error: cannot replace to directory /app/sub with file");
    check(base, context, [copy(&["/f"], "/app/file/x")], "error: mkdir /app/file: not a directory");
    check(base, context, [copy(&["/f"], "/loop")], "error: /loop: too many levels of symbolic links");
    // A destination that is a link is written where it leads; a link in the way of a copied file is replaced.
    check(base, context, [copy(&["/f"], "/to")], "app/\n app/f = new");
    check(base, context, [copy(&["/f"], "/gone")], "not/\n not/here = new");
    check(base, "to = new", [copy(&["/"], "/")], "to = new");
}

#[test]
fn sources_that_are_links() {
    let context = "real/f = 1\n real/in -> f\n dir -> real\n file -> real/f\n abs -> /real/f\n out -> /etc/hostname\n up -> ../../../real\n loop -> loop\n deep/er -> ../dir";
    // A source is followed, as if the context were the root; what is below it is not.
    check("", context, [copy(&["/dir"], "/x")], "x/\n x/f = 1\n x/in -> f");
    check("", context, [copy(&["/file"], "/x/")], "x/\n x/file = 1");
    check("", context, [copy(&["/abs"], "/x")], "x = 1");
    check("", context, [copy(&["/up/f"], "/x")], "x = 1");
    check("", context, [copy(&["/deep/er/in"], "/x")], "x = 1");
    check("", context, [copy(&["/deep"], "/x")], "x/\n x/er -> ../dir");
    // Nothing outside is ever read: the link leads to a file that the context does not have.
    check("", context, [copy(&["/out"], "/x")], "error: \"/out\" not found in the build context");
    check(
        "",
        context,
        [copy(&["/loop"], "/x")],
        "error: \"loop\" in the build context: too many levels of symbolic links",
    );
    // `..` stops at the root.
    check("", context, [copy(&["../../real/f"], "/x")], "x = 1");
}

#[test]
fn wildcards() {
    let context =
        "a.txt = 1\n b.txt = 2\n c.md = 3\n d/a.txt = 4\n d/e/a.txt = 5\n l -> d\n txt/x = 6\n [ab].txt = 7";
    check("", context, [copy(&["/*.txt"], "/x/")], "x/\n x/[ab].txt = 7\n x/a.txt = 1\n x/b.txt = 2");
    check("", context, [copy(&["/[ab].txt"], "/x/")], "x/\n x/a.txt = 1\n x/b.txt = 2");
    check("", context, [copy(&["/[[]ab].txt"], "/x/")], "x/\n x/[ab].txt = 7");
    check("", context, [copy(&["/?.md"], "/x")], "x = 3");
    check("", context, [copy(&["/*/a.txt"], "/x/")], "x/\n x/a.txt = 4");
    check("", context, [copy(&["/d/*/a.txt"], "/x/")], "x/\n x/a.txt = 5");
    // Directories give their content, links among what fits are followed.
    check("", context, [copy(&["/[dt]*"], "/x/")], "x/\n x/a.txt = 4\n x/e/\n x/e/a.txt = 5\n x/x = 6");
    check("", context, [copy(&["/l*"], "/x/")], "x/\n x/a.txt = 4\n x/e/\n x/e/a.txt = 5");
    check("", context, [copy(&["/l/*.txt"], "/x/")], "x/\n x/a.txt = 4");
    // Nothing that fits is no error; a malformed pattern is one.
    check("", context, [copy(&["/c.md", "/no*"], "/x/")], "x/\n x/c.md = 3");
    check("", context, [copy(&["/no*"], "/x/")], "");
    check("", context, [copy(&["/[a"], "/x/")], "error: syntax error in pattern: \"[a\"");
}

#[test]
fn left_out() {
    let exclude = |sources: &[&str], exclude: &[&str]| Copy {
        exclude: exclude.iter().map(|p| (*p).to_owned()).collect(),
        ..copy(sources, "/x/")
    };
    let context = "a.txt = 1\n a.md = 2\n d/a.txt = 3\n d/a.md = 4\n d/e/a.txt = 5\n g/a.txt = 6";
    check(
        "",
        context,
        [exclude(&["/"], &["*.txt"])],
        "x/\n x/a.md = 2\n x/d/\n x/d/a.md = 4\n x/d/a.txt = 3\n x/d/e/\n x/d/e/a.txt = 5\n x/g/\n x/g/a.txt = 6",
    );
    check(
        "",
        context,
        [exclude(&["/"], &["**/*.txt"])],
        "x/\n x/a.md = 2\n x/d/\n x/d/a.md = 4\n x/d/e/\n x/g/",
    );
    check(
        "",
        context,
        [exclude(&["/"], &["d", "g", "!d/e"])],
        "x/\n x/a.md = 2\n x/a.txt = 1\n x/d/\n x/d/e/\n x/d/e/a.txt = 5",
    );
    check("", context, [exclude(&["/d"], &["e", "*.md"])], "x/\n x/a.txt = 3");
    check("", context, [exclude(&["/a.*"], &["*.md"])], "x/\n x/a.txt = 1");
    check("", context, [exclude(&["/a.md"], &["*.md"])], "");
    check("", context, [exclude(&["/"], &["["])], "error: syntax error in pattern: \"[\"");
}

#[test]
fn with_parents() {
    let parents = |sources: &[&str], dest: &str| Copy { parents: true, ..copy(sources, dest) };
    let context = "p/a/pkg = 1\n 700 p/b/\n p/b/pkg = 2\n p/b/src = 3\n q/c/pkg = 4\n top = 5";
    check(
        "",
        context,
        [parents(&["/p/*/pkg"], "/x/")],
        "x/\n x/p/\n x/p/a/\n x/p/a/pkg = 1\n 700 x/p/b/\n x/p/b/pkg = 2",
    );
    check("", context, [parents(&["/p/b"], "/x/")], "x/\n x/p/\n 700 x/p/b/\n x/p/b/pkg = 2\n x/p/b/src = 3");
    check("", context, [parents(&["/p/./a/pkg"], "/x/")], "x/\n x/a/\n x/a/pkg = 1");
    check("", context, [parents(&["/./q/c/pkg", "/top"], "/")], "q/\n q/c/\n q/c/pkg = 4\n top = 5");
    check(
        "",
        context,
        [parents(&["/**/pkg"], "/x/")],
        "x/\n x/p/\n x/p/a/\n x/p/a/pkg = 1\n 700 x/p/b/\n x/p/b/pkg = 2\n x/q/\n x/q/c/\n x/q/c/pkg = 4",
    );
    check("", context, [parents(&["/no/*/pkg"], "/x/")], "");
    check("", context, [parents(&["/p/c/pkg"], "/x/")], "error: \"/p/c/pkg\" not found in the build context");
}

#[test]
fn owners_and_permissions() {
    let context = "755 run = 1\n 600 dir/secret = 2\n 711 dir/sub/\n l -> run";
    let with = |sources: &[&str], dest: &str, owner: Option<&str>, mode: Option<&str>| Copy {
        owner: owner.map(str::to_owned),
        mode: mode.map(str::to_owned),
        ..copy(sources, dest)
    };
    let base = "etc/passwd = root:x:0:0::/root:/bin/sh\\napp:x:7:8::/:/bin/sh\n etc/group = root:x:0:\\naudio:x:29:app";
    check(base, context, [with(&["/run"], "/new/x", Some("app"), None)], "7:8 new/\n 7:8 755 new/x = 1");
    check(base, context, [with(&["/run"], "/x", Some("app:audio"), None)], "7:29 755 x = 1");
    check(base, context, [with(&["/run"], "/x", Some("5"), None)], "5:5 755 x = 1");
    check("", context, [with(&["/run"], "/x", Some("root:3"), None)], "0:3 755 x = 1");
    check(
        base,
        context,
        [with(&["/"], "/x", Some("5:6"), Some("640"))],
        "5:6 640 x/\n 5:6 640 x/dir/\n 5:6 640 x/dir/secret = 2\n 5:6 640 x/dir/sub/\n 5:6 x/l -> run\n 5:6 640 x/run = 1",
    );
    check(base, context, [with(&["/dir"], "/x", None, Some("u=rwX,go=rX"))], "x/\n x/secret = 2\n x/sub/");
    check(base, context, [with(&["/run"], "/x", None, Some("g=u,o="))], "770 x = 1");
    let unknown = "error: unable to convert uid/gid chown string to host mapping: unable to find";
    for (owner, what) in [("who", "user who"), ("app:none", "group none")] {
        let expected = format!(
            "{unknown} {what}: no matching entries in {} file of the image",
            if owner == "who" { "passwd" } else { "group" }
        );
        check(base, context, [with(&["/run"], "/x", Some(owner), None)], &expected);
    }
}

#[test]
fn from_a_stage() {
    if !is_root() || mode() == Mode::SingleId {
        return;
    }
    let place = Place::new();
    let stage = place.tree("stage", "755 5:6 bin/tool = 1\n 700 5:6 data/\n data/f = 2\n l -> bin/tool");
    let copied = |copy: Copy| {
        let out = place.layer();
        let input = Input::Image { lowers: vec![stage.clone()], label: "stage build".to_owned() };
        run(&op([copy]), &[], input, &out).map(|_| text_of(&out)).map_err(|error| error.to_string())
    };
    let keep = |copy: Copy| Copy { keep_owner: true, ..copy };
    assert_eq!(copied(keep(copy(&["/bin/tool"], "/x/"))).unwrap(), "x/\n5:6 755 x/tool = 1\n");
    assert_eq!(
        copied(keep(copy(&["/"], "/x"))).unwrap(),
        "x/\nx/bin/\n5:6 755 x/bin/tool = 1\n5:6 700 x/data/\nx/data/f = 2\nx/l -> bin/tool\n"
    );
    assert_eq!(copied(keep(copy(&["/l"], "/x"))).unwrap(), "5:6 755 x = 1\n");
    let chown = Copy { owner: Some("7:8".to_owned()), ..copy(&["/bin/tool"], "/x") };
    assert_eq!(copied(chown).unwrap(), "7:8 755 x = 1\n");
    let text = copied(copy(&["/bin/tol"], "/x")).unwrap_err();
    assert_eq!(text, "\"/bin/tol\" not found in stage build: did you mean \"bin/tool\"?");
}

#[test]
fn directories_and_files_made() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let base = place.tree("base", "etc/passwd = app:x:7:8::/:/bin/sh\n srv -> var/srv\n 700 var/\n file = 1");
    let made = |actions: Vec<FileAction>| {
        let out = place.layer();
        let context = everything(&base);
        let done = run(&FileOp { actions }, std::slice::from_ref(&base), Input::Context(&context), &out);
        done.map(|done| (text_of(&out), done.stat.inodes)).map_err(|error| error.to_string())
    };
    let dir = |path: &str, owner: Option<&str>| {
        FileAction::MakeDir(MakeDir { path: path.into(), mode: 0o755, owner: owner.map(str::to_owned) })
    };
    let file = |dest: &str, mode: Option<&str>| {
        FileAction::MakeFile(MakeFile {
            dest: dest.into(),
            name: "EOF".into(),
            data: "text".into(),
            mode: mode.map(str::to_owned),
            owner: None,
        })
    };
    assert_eq!(made(vec![dir("/a/b", Some("app"))]).unwrap().0, "7:8 a/\n7:8 a/b/\n");
    assert_eq!(made(vec![dir("/srv/x", Some("nobody-here"))]).unwrap().0, "700 var/\nvar/srv/\nvar/srv/x/\n");
    assert_eq!(made(vec![dir("/var", None)]).unwrap(), (String::new(), 0));
    assert_eq!(made(vec![dir("/file", None)]).unwrap_err(), "mkdir /file: not a directory");
    assert_eq!(made(vec![file("/x", None)]).unwrap().0, "x = text\n");
    assert_eq!(made(vec![file("/x/", Some("755"))]).unwrap().0, "x/\n755 x/EOF = text\n");
    assert_eq!(
        made(vec![file("/srv/", Some("+x"))]).unwrap().0,
        "700 var/\nvar/srv/\n755 var/srv/EOF = text\n"
    );
    assert_eq!(
        made(vec![file("/file", None), dir("/d", None), file("/d", None)]).unwrap().0,
        "d/\nd/EOF = text\nfile = text\n"
    );
    assert_eq!(made(vec![file("/var", None), file("/var", None)]).unwrap().0, "700 var/\nvar/EOF = text\n");
}

#[test]
fn archives() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let root = place.tree("context", "plain.tar.gz = no archive\n d/f = 1");
    let tar = Command::tar(&place, "x/f = from tar\n x/sub/g = 2\n l -> x");
    for (name, bytes) in &tar {
        fs::write(root.join(name), bytes).unwrap();
    }
    let context = everything(&root);
    let base = place.tree("base", "to/x/old = below\n dest -> to");
    let added = |sources: &[&str], dest: &str, owner: Option<&str>| {
        let out = place.layer();
        let copy = Copy { unpack: Unpack::IfArchive, owner: owner.map(str::to_owned), ..copy(sources, dest) };
        let done = run(&op([copy]), std::slice::from_ref(&base), Input::Context(&context), &out).unwrap();
        assert!(done.content.is_some());
        text_of(&out)
    };
    let unpacked = "new/\nnew/l -> x\nnew/x/\nnew/x/f = from tar\nnew/x/sub/\nnew/x/sub/g = 2\n";
    for (name, _) in &tar {
        assert_eq!(added(&[&format!("/{name}")], "/new", None), unpacked, "{name}");
    }
    assert_eq!(added(&["/plain.tar.gz"], "/new/", None), "new/\nnew/plain.tar.gz = no archive\n");
    assert_eq!(added(&["/a.tar"], "/dest", None), unpacked.replace("new/", "to/"));
    if mode() != Mode::SingleId {
        let owned = unpacked.lines().map(|line| format!("5:6 {line}\n")).collect::<String>();
        assert_eq!(added(&["/a.tar"], "/new", Some("5:6")), owned);
    }
    // Archives and files in one: each sees what came before.
    let both = added(&["/d/f", "/a.tar", "/plain.tar.gz"], "/new/", None);
    assert_eq!(
        both,
        format!("new/\nnew/f = 1\n{}", &unpacked["new/\n".len()..])
            .replace("new/x/\n", "new/plain.tar.gz = no archive\nnew/x/\n")
    );
}

struct Command;

impl Command {
    /// A tar of these files, compressed in every way.
    fn tar(place: &Place, text: &str) -> Vec<(&'static str, Vec<u8>)> {
        let root = place.tree("packed", text);
        let tar = std::process::Command::new("tar")
            .args(["-C", root.to_str().unwrap(), "-cf", "-", "."])
            .output()
            .unwrap();
        let mut all = vec![("a.tar", tar.stdout.clone())];
        for (name, program) in [("a.any", "gzip"), ("a.tbz", "bzip2"), ("a.xz", "xz"), ("a.zst", "zstd")] {
            let child = std::process::Command::new(program)
                .arg("-c")
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn();
            let Ok(mut child) = child else {
                eprintln!("no {program} here: skipped");
                continue;
            };
            child.stdin.take().unwrap().write_all(&tar.stdout).unwrap();
            all.push((name, child.wait_with_output().unwrap().stdout));
        }
        all
    }
}

/// Rules for a context: everything named `*.log` is out, and `secret` but for what is in `secret/public`.
struct Rules;

impl Filter for Rules {
    fn visit(&self, path: &[u8], _is_dir: bool) -> Visit {
        match path {
            b"secret" => Visit::Skip,
            path if path.ends_with(b".log") => Visit::SkipTree,
            path if path.starts_with(b"secret/public") => Visit::Keep,
            path if path.starts_with(b"secret/") => Visit::SkipTree,
            _ => Visit::Keep,
        }
    }

    fn explain(&self, path: &[u8]) -> Option<String> {
        (self.visit(path, false) != Visit::Keep).then(|| "line 2 of .dockerignore (*.log)".to_owned())
    }
}

#[test]
fn ignore_rules() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let text = "a = 1\n a.log = 2\n d.log/x = 3\n secret/key = 4\n secret/public/cert = 5\n to -> a.log\n via -> secret/key";
    let root = place.tree("context", text);
    let context = Context::open(&root, Box::new(Rules), None).unwrap();
    let copied = |source: &str| {
        let out = place.layer();
        run(&op([copy(&[source], "/x/")]), &[], Input::Context(&context), &out)
            .map(|_| text_of(&out))
            .map_err(|error| error.to_string())
    };
    let rest = "x/secret/\nx/secret/public/\nx/secret/public/cert = 5\nx/to -> a.log\nx/via -> secret/key\n";
    assert_eq!(copied("/").unwrap(), format!("x/\nx/a = 1\n{rest}"));
    assert_eq!(copied("/*").unwrap(), "x/\nx/a = 1\nx/public/\nx/public/cert = 5\n");
    assert_eq!(copied("/secret").unwrap(), "x/\nx/public/\nx/public/cert = 5\n");
    for left_out in ["/a.log", "/d.log", "/d.log/x", "/to", "/via", "/secret/key"] {
        let text = copied(left_out).unwrap_err();
        let begin = format!("{left_out:?} not found in the build context");
        assert!(text.starts_with(&begin), "{text}");
    }
    assert!(copied("/a.log").unwrap_err().ends_with("line 2 of .dockerignore (*.log) leaves it out"));
    fs::remove_dir_all(root.join("secret/public")).unwrap();
    assert!(copied("/secret").unwrap_err().contains("leaves it out"));
    assert_eq!(copied("/").unwrap(), "x/\nx/a = 1\nx/to -> a.log\nx/via -> secret/key\n");
}

#[test]
fn names_that_are_near() {
    check(
        "",
        "package.json = 1\n src/main.rs = 2",
        [copy(&["/pakage.json"], "/x")],
        "error: \"/pakage.json\" not found in the build context: did you mean \"package.json\"?",
    );
    check(
        "",
        "package.json = 1\n src/main.rs = 2",
        [copy(&["/src/Main.rs"], "/x")],
        "error: \"/src/Main.rs\" not found in the build context: did you mean \"src/main.rs\"?",
    );
    check("", "a = 1", [copy(&["/a/b"], "/x")], "error: \"/a/b\" not found in the build context");
}

#[test]
fn hostile_contexts() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let root = place.tree("context", "ok = 1");
    let pipe = root.join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let context = everything(&root);
    let copied = |source: &str| {
        let out = place.layer();
        run(&op([copy(&[source], "/x/")]), &[], Input::Context(&context), &out)
            .map(|_| text_of(&out))
            .map_err(|error| error.to_string())
    };
    // Nobody waits for the pipe's other end; a socket is no file.
    assert_eq!(copied("/").unwrap(), "x/\nx/ok = 1\n400 x/pipe fifo\n");
    fs::write(root.join(".wh.ok"), "").unwrap();
    assert!(copied("/").unwrap_err().contains("/x/.wh.ok: names that begin with .wh."));
    fs::remove_file(root.join(".wh.ok")).unwrap();
    if mode() == Mode::Root {
        let kind = rustix::fs::FileType::CharacterDevice;
        let device = |major, minor| {
            let number = rustix::fs::makedev(major, minor);
            let _ = fs::remove_file(root.join("dev"));
            rustix::fs::mknodat(rustix::fs::CWD, root.join("dev"), kind, rustix::fs::Mode::RUSR, number)
                .unwrap();
        };
        device(1, 3);
        assert_eq!(copied("/dev").unwrap(), "x/\n400 x/dev device\n");
        device(0, 0);
        assert!(copied("/dev").unwrap_err().contains("a character device 0:0"));
    }
}

#[test]
fn content_is_what_is_taken() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let root = place.tree("context", "a = 1\n 755 d/b = 2\n d/c -> b\n other = 3");
    let cache = place.dir.path().join("cache");
    let content = |op: &FileOp| {
        let context = Context::open(&root, Box::new(Everything), Some(cache.clone())).unwrap();
        let mut prepared = Prepared::new(op, vec![Input::Unused, Input::Context(&context)]).unwrap();
        prepared.content().unwrap().unwrap()
    };
    let all = op([copy(&["/a", "/d"], "/x/")]);
    let first = content(&all);
    let told = first.parts();
    let parts: Vec<&str> = told.0.keys().map(String::as_str).collect();
    assert_eq!(parts, ["a", "d/b", "d/c"]);
    assert_eq!(content(&all), first);
    // By copying it is the same.
    let context = everything(&root);
    assert_eq!(
        run(&all, &[], Input::Context(&context), &place.layer()).unwrap().content,
        Some(first.clone())
    );
    // What is not taken, and times, are of no consequence.
    fs::write(root.join("other"), "4").unwrap();
    fs::write(root.join("a"), "1").unwrap();
    assert_eq!(content(&all), first);
    let mut seen = vec![first.digest];
    let mut differs = |what: &str| {
        let digest = content(&all).digest;
        assert!(!seen.contains(&digest), "{what}");
        seen.push(digest);
    };
    fs::write(root.join("a"), "x").unwrap();
    differs("content");
    fs::set_permissions(root.join("a"), fs::Permissions::from_mode(0o600)).unwrap();
    differs("permissions");
    fs::rename(root.join("d/b"), root.join("d/bb")).unwrap();
    differs("a name");
    fs::remove_file(root.join("d/c")).unwrap();
    symlink("bb", root.join("d/c")).unwrap();
    differs("a link");
    fs::hard_link(root.join("d/bb"), root.join("d/z")).unwrap();
    differs("one more name");
    fs::remove_file(root.join("d/z")).unwrap();
    fs::copy(root.join("d/bb"), root.join("d/z")).unwrap();
    differs("a file of its own");
}

#[test]
fn the_cache_spares_reading() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let root = place.tree("context", "a = 1\n d/b = 2");
    let cache = place.dir.path().join("cache");
    let all = op([copy(&["/"], "/x/")]);
    let content = || {
        let context = Context::open(&root, Box::new(Everything), Some(cache.clone())).unwrap();
        let mut prepared = Prepared::new(&all, vec![Input::Unused, Input::Context(&context)]).unwrap();
        prepared.content().unwrap().unwrap()
    };
    // Long enough ago that nothing could change unseen.
    std::thread::sleep(std::time::Duration::from_millis(80));
    let first = content();
    assert!(cache.is_file());
    // Content exchanged behind the status: only who does not read again does not see it.
    let flip = |path: &Path| {
        let meta = fs::metadata(path).unwrap();
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"9", 0).unwrap();
        let time = |sec, nsec: i64| rustix::fs::Timespec { tv_sec: sec, tv_nsec: nsec as _ };
        let times = rustix::fs::Timestamps {
            last_access: time(meta.atime(), meta.atime_nsec()),
            last_modification: time(meta.mtime(), meta.mtime_nsec()),
        };
        rustix::fs::futimens(&file, &times).unwrap();
    };
    // The time of change tells all the same.
    flip(&root.join("a"));
    assert_ne!(content().digest, first.digest);
}

#[test]
fn in_a_user_namespace_with_one_id() {
    if mode() == Mode::SingleId {
        return;
    }
    let exe = std::env::current_exe().unwrap();
    let mut unshare = std::process::Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount"]).arg(exe).args(["--test-threads=1", "--quiet"]);
    match unshare.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let all = String::from_utf8_lossy(&output.stdout);
            assert!(text.contains("unshare"), "{all}{text}");
            eprintln!("no user namespaces here: skipped");
        }
        Err(_) => eprintln!("no unshare here: skipped"),
    }
}
