//! Build contexts: ignore rules, what is not there, hostile trees, digests of content and their cache.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use graph::FileOp;
use runtime::Mode;
use snapshot::content::{Files, changes};
use solver::context::{Context, Everything, Filter, Visit};
use solver::file::{Input, Prepared};

use crate::bed::*;

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
    let (told, _) = changes(&Files::default(), &first.files, 10);
    let told: Vec<&str> = told.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(told, ["a", "d/b", "d/c"]);
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
fn as_deep_as_paths_can_be() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let root = place.tree("context", "top = 1");
    let mut dir = runtime::beneath::open_root(&root).unwrap();
    for _ in 0..1900 {
        rustix::fs::mkdirat(&dir, "d", rustix::fs::Mode::RWXU).unwrap();
        dir = runtime::beneath::open_in_root(
            std::os::fd::AsFd::as_fd(&dir),
            "d",
            rustix::fs::OFlags::PATH,
            rustix::fs::Mode::empty(),
        )
        .unwrap();
    }
    let context = everything(&root);
    let operation = op([graph::Copy { exclude: vec!["none".into()], ..copy(&["/"], "/x/") }]);
    // With the stack that threads of a solve have.
    let out = place.layer();
    std::thread::scope(|scope| {
        let done = scope.spawn(|| run(&operation, &[], Input::Context(&context), &out));
        assert_eq!(done.join().unwrap().unwrap().stat.inodes, 1902);
    });
}
