//! Files copied into layers: what comes of each kind, how it merges with what is there, and that the DiffID told by
//! the copy is that of the directory it wrote.

mod support;

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use runtime::Mode;
use snapshot::copy::{Error, Placing, Plan, Source, Visit, Writing, Written, walk};
use snapshot::{DiffOptions, LayerStat, Mtime, Owner, View, diff};
use support::*;

const NOW: Mtime = Mtime { sec: 1_700_000_000, nsec: 500 };

/// A directory on the host, to be copied from.
struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    fn new() -> Host {
        Host { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn dir(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

#[derive(Default)]
struct How<'h> {
    owner: Option<Owner>,
    mode: Option<&'h dyn Fn(u32, bool) -> u32>,
    epoch: Option<i64>,
    previous: Option<&'h Path>,
}

/// Copies the content of `from` to the directory `to` over `layers`; the new layer, and what was told of it.
fn copy(layers: &Layers, from: &Source<'_>, to: &str, how: &How<'_>) -> Result<(PathBuf, Written), Error> {
    let view = (!layers.stack.is_empty()).then(|| View::open(&layers.stack).unwrap());
    let base = view.as_ref().map(|view| Source::image(view, "the base"));
    let mut plan = Plan::new(base, NOW, how.epoch)?;
    let source = plan.add_source(*from);
    let to = plan.resolve(to.as_bytes())?;
    let owner = how.owner.unwrap_or_default();
    plan.make_dir(&to, 0o755, owner)?;
    let found = walk(from, b"", &|_, _| Visit::Keep)?;
    let top = from.lstat(b"")?.unwrap();
    let placing = Placing { source, owner: how.owner, mode: how.mode, digest: &|_, _| None };
    plan.place_content(&found, &top, &to, &placing)?;
    write(layers, &plan, how)
}

fn write(layers: &Layers, plan: &Plan<'_>, how: &How<'_>) -> Result<(PathBuf, Written), Error> {
    let out = layers.empty();
    let stop = AtomicBool::new(false);
    let written = plan.write(&Writing {
        out: &out,
        mode: layers.ids,
        previous: how.previous,
        search: None,
        keep_digests: false,
        stop: &[&stop],
    })?;
    assert_eq!(written.stat.as_ref(), Some(&stat_of(&out)), "the copy says what the directory holds");
    Ok((out, written))
}

fn stat_of(layer: &Path) -> LayerStat {
    diff(layer, std::io::sink(), &DiffOptions::default()).unwrap()
}

fn copy_host(layers: &Layers, host: &Host, to: &str, how: &How<'_>) -> Result<(PathBuf, Written), Error> {
    let root = runtime::beneath::open_root(host.dir.path()).unwrap();
    copy(layers, &Source::host(root.as_fd(), "the build context"), to, how)
}

#[test]
fn every_kind_of_file() {
    if !is_root() {
        return;
    }
    let host = Host::new();
    host.file("plain", "hello");
    host.file("empty", "");
    let big: Vec<u8> = (0..3_000_000u32).map(|n| (n * 7) as u8).collect();
    let big = host.file("big", &big);
    std::fs::set_permissions(&big, std::fs::Permissions::from_mode(0o4751)).unwrap();
    symlink("../../etc/passwd", host.path("out")).unwrap();
    symlink("nowhere", host.path("dangling")).unwrap();
    std::fs::hard_link(&big, host.path("z/big2")).unwrap();
    host.dir("sticky", 0o1777);
    host.file("caf\u{e9}/\u{1f600}", "x");
    let sparse = std::fs::File::create(host.path("sparse")).unwrap();
    sparse.set_len(5_000_000).unwrap();
    drop(sparse);
    let mut tail = std::fs::OpenOptions::new().append(true).open(host.path("sparse")).unwrap();
    tail.write_all(b"end").unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, host.path("pipe"), rustix::fs::Mode::RUSR).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(host.path("socket")).unwrap();

    let layers = Layers::new();
    let (out, written) = copy_host(&layers, &host, "app/sub", &How::default()).unwrap();
    let meta = |p: &str| std::fs::symlink_metadata(out.join("app/sub").join(p)).unwrap();
    assert_eq!(std::fs::read(out.join("app/sub/plain")).unwrap(), b"hello");
    assert_eq!(std::fs::read(out.join("app/sub/big")).unwrap(), std::fs::read(&big).unwrap());
    assert_eq!(meta("big").mode(), 0o104751);
    assert_eq!(meta("big").ino(), meta("z/big2").ino());
    assert_eq!(meta("big").mtime_nsec(), std::fs::metadata(&big).unwrap().mtime_nsec());
    assert_eq!(std::fs::read_link(out.join("app/sub/out")).unwrap(), Path::new("../../etc/passwd"));
    assert_eq!(meta("sticky").mode(), 0o041777);
    assert_eq!(meta("pipe").mode() & 0o170000, 0o010000);
    assert!(!out.join("app/sub/socket").exists());
    assert!(meta("sparse").blocks() < 1000, "holes stay holes");
    assert_eq!(meta("sparse").len(), 5_000_003);
    // What is made has the time of the step; what is copied, its own.
    assert_eq!(std::fs::metadata(out.join("app")).unwrap().mtime(), NOW.sec);
    let digest = |path: &str| written.read.iter().find(|r| &*r.path == path.as_bytes()).unwrap().digest;
    assert_eq!(oci::Digest::from_sha256(digest("plain")), oci::Digest::sha256(b"hello"));
    assert_eq!(oci::Digest::from_sha256(digest("big")), oci::Digest::sha256(&std::fs::read(&big).unwrap()));
    assert!(written.read.iter().all(|r| &*r.path != b"z/big2"), "a file with two names is read once");
}

#[test]
fn owners_permissions_and_times_asked_for() {
    if !is_root() {
        return;
    }
    let host = Host::new();
    std::fs::set_permissions(host.file("d/f", "x"), std::fs::Permissions::from_mode(0o640)).unwrap();
    let layers = Layers::new();
    let octal = |_: u32, _: bool| 0o4711;
    let owner = Some(Owner { uid: 1000, gid: 60_000 });
    let how = How { owner, mode: Some(&octal), epoch: Some(1_000_000), ..How::default() };
    let (out, _) = copy_host(&layers, &host, "new/app", &how).unwrap();
    for (path, mode) in
        [("new", 0o40755), ("new/app", 0o40755), ("new/app/d", 0o44711), ("new/app/d/f", 0o104711)]
    {
        let meta = std::fs::metadata(out.join(path)).unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.mode()), (1000, 60_000, mode), "{path}");
        assert_eq!((meta.mtime(), meta.mtime_nsec()), (1_000_000, 0), "{path}");
    }
}

#[test]
fn what_is_there_is_merged_with() {
    if !is_root() {
        return;
    }
    let mut layers = Layers::new();
    let mut app = dir("app");
    app.0.mode = 0o700;
    app.0.owner = Owner { uid: 5, gid: 6 };
    let mut sub = dir("app/sub");
    sub.0.mode = 0o700;
    sub.0.owner = Owner { uid: 7, gid: 8 };
    sub.0.xattrs.insert(b"user.old".to_vec(), b"1".to_vec());
    let link = symlink_entry("app/link", "sub");
    layers.push(&tar(&[app, sub, file("app/sub/f", "old"), link, file("app/keep", "old")]));

    let host = Host::new();
    host.dir("sub", 0o2750);
    host.file("sub/f", "new");
    host.file("link", "a file now");
    let (out, _) = copy_host(&layers, &host, "app", &How::default()).unwrap();
    let meta = |p: &str| std::fs::symlink_metadata(out.join(p)).unwrap();
    // The directory that is copied to keeps what it has, those in it do not.
    assert_eq!((meta("app").mode(), meta("app").uid()), (0o40700, 5));
    assert_eq!(meta("app").mtime(), std::fs::metadata(host.dir.path()).unwrap().mtime());
    assert_eq!((meta("app/sub").mode(), meta("app/sub").uid()), (0o42750, 0));
    assert_eq!(xattrs(&out.join("app/sub")), [(b"user.old".to_vec(), b"1".to_vec())].into());
    assert!(meta("app/link").is_file());
    assert!(!out.join("app/keep").exists());
    layers.stack.insert(0, out);
    let view = View::open(&layers.stack).unwrap();
    assert!(view.stat(b"app/keep").unwrap().is_some());
}

#[test]
fn kinds_that_do_not_go_together() {
    if !is_root() {
        return;
    }
    let mut layers = Layers::new();
    layers.push(&tar(&[dir("app"), dir("app/dir"), file("app/file", ""), symlink_entry("app/link", "dir")]));
    for (make, name, text) in [
        (true, "file", "cannot copy to non-directory: /app/file"),
        (true, "link", "cannot copy to non-directory: /app/link"),
        (false, "dir", "cannot replace to directory /app/dir with file"),
    ] {
        let host = Host::new();
        if make {
            host.dir(name, 0o755)
        } else {
            host.file(name, "")
        };
        let error = copy_host(&layers, &host, "app", &How::default()).unwrap_err();
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn destinations_follow_links_in_the_image() {
    if !is_root() {
        return;
    }
    let mut layers = Layers::new();
    let absolute = symlink_entry("abs", "/data/real");
    let up = symlink_entry("data/up", "../../../../data/real");
    layers.push(&tar(&[dir("data"), dir("data/real"), absolute, up, symlink_entry("loop", "loop")]));
    for to in ["abs/x", "data/up/x", "/abs/./x"] {
        let host = Host::new();
        host.file("f", "1");
        let (out, _) = copy_host(&layers, &host, to, &How::default()).unwrap();
        assert!(out.join("data/real/x/f").is_file(), "{to}");
    }
    let host = Host::new();
    host.file("f", "1");
    let error = copy_host(&layers, &host, "loop", &How::default()).unwrap_err();
    assert_eq!(error.to_string(), "/loop: too many levels of symbolic links");
}

#[test]
fn later_actions_see_earlier_ones() {
    if !is_root() {
        return;
    }
    let layers = Layers::new();
    let mut plan = Plan::new(None, NOW, None).unwrap();
    plan.make_dir(b"a/b", 0o711, Owner::ROOT).unwrap();
    plan.make_file(b"a/b/f", Arc::from(*b"one"), 0o644, Owner::ROOT).unwrap();
    plan.make_file(b"a/b/f", Arc::from(*b"two"), 0o600, Owner::ROOT).unwrap();
    assert!(plan.make_dir(b"a/b/f/c", 0o755, Owner::ROOT).is_err());
    assert!(plan.make_file(b"a/b", Arc::from(*b""), 0o644, Owner::ROOT).is_err());
    let (out, written) = write(&layers, &plan, &How::default()).unwrap();
    assert_eq!(std::fs::read(out.join("a/b/f")).unwrap(), b"two");
    assert_eq!(std::fs::metadata(out.join("a")).unwrap().mode(), 0o40711);
    assert_eq!(written.stat.unwrap().inodes, 3);
}

#[test]
fn the_same_files_are_linked_from_the_layer_before() {
    if !is_root() {
        return;
    }
    let host = Host::new();
    let big: Vec<u8> = (0..2_500_000u32).map(|n| (n * 11) as u8).collect();
    for (name, content) in
        [("a", b"same".as_slice()), ("b", b"same"), ("c", b"old!"), ("big", &big), ("big2", &big)]
    {
        let path = host.file(name, content);
        set_mtime(&path, 1_600_000_000);
    }
    let layers = Layers::new();
    let (first, _) = copy_host(&layers, &host, "app", &How::default()).unwrap();
    // One of another length, one that differs at its end, both as old as before.
    for (name, content) in [("c", b"new".to_vec()), ("big2", [&big[..big.len() - 1], b"!"].concat())] {
        set_mtime(&host.file(name, content), 1_600_000_000);
    }
    let how = How { previous: Some(&first), ..How::default() };
    let (second, written) = copy_host(&layers, &host, "app", &how).unwrap();
    assert_eq!(written.linked, 3);
    let ino = |layer: &Path, name: &str| std::fs::metadata(layer.join("app").join(name)).unwrap().ino();
    for (name, same) in [("a", true), ("b", true), ("c", false), ("big", true), ("big2", false)] {
        assert_eq!(ino(&first, name) == ino(&second, name), same, "{name}");
        assert_eq!(
            std::fs::read(second.join("app").join(name)).unwrap(),
            std::fs::read(host.path(name)).unwrap()
        );
    }
    // Without the layer before, it is the same layer.
    let (_, alone) = copy_host(&layers, &host, "app", &How::default()).unwrap();
    assert_eq!(alone.stat, written.stat);
}

#[test]
fn links_of_the_layer_before_are_no_links_of_this_one() {
    if !is_root() {
        return;
    }
    let host = Host::new();
    set_mtime(&host.file("a", "same"), 1_600_000_000);
    std::fs::hard_link(host.path("a"), host.path("b")).unwrap();
    let layers = Layers::new();
    let (first, _) = copy_host(&layers, &host, "app", &How::default()).unwrap();
    std::fs::remove_file(host.path("b")).unwrap();
    set_mtime(&host.file("b", "same"), 1_600_000_000);
    let how = How { previous: Some(&first), ..How::default() };
    let (second, written) = copy_host(&layers, &host, "app", &how).unwrap();
    let ino = |name: &str| std::fs::metadata(second.join("app").join(name)).unwrap().ino();
    assert_ne!(ino("a"), ino("b"));
    assert_eq!((written.linked, written.stat.unwrap().inodes), (1, 3));
}

#[test]
fn from_another_stage_owners_and_xattrs_stay() {
    if !is_root() {
        return;
    }
    let mut stage = Layers::new();
    let mut tool = file("bin/tool", "elf");
    tool.0.owner = Owner { uid: 11, gid: 12 };
    tool.0.mode = 0o2755;
    tool.0.xattrs.insert(b"user.overlay.opaque".to_vec(), b"y".to_vec());
    let mut bin = dir("bin");
    bin.0.xattrs.insert(b"user.overlay.opaque".to_vec(), b"y".to_vec());
    stage.push(&tar(&[bin, tool, file("bin/gone", ""), file("bin/old", "")]));
    for several in [false, true] {
        if several {
            stage.push(&tar(&[dir("bin"), file("bin/.wh.gone", ""), file("bin/more", "")]));
        }
        let view = View::open(&stage.stack).unwrap();
        let layers = Layers::new();
        let source = Source::image(&view, "stage build");
        let (out, _) = copy(&layers, &source, "opt", &How::default()).unwrap();
        let tool = std::fs::metadata(out.join("opt/bin/tool")).unwrap();
        assert_eq!((tool.mode(), tool.uid(), tool.gid()), (0o102755, 11, 12));
        let escaped = (b"user.overlay.overlay.opaque".to_vec(), b"y".to_vec());
        // One layer is read as it is; several are seen through an overlay.
        let shown = !several || overlays_unescape();
        assert_eq!(xattrs(&out.join("opt/bin/tool")), shown.then_some(escaped).into_iter().collect());
        assert_eq!(out.join("opt/bin/gone").exists(), !several);
        assert!(out.join("opt/bin/old").exists());
    }
}

#[test]
fn what_would_mean_something_else_in_a_layer_is_refused() {
    if !is_root() {
        return;
    }
    let host = Host::new();
    host.file("d/.wh.f", "");
    let error = copy_host(&Layers::new(), &host, "app", &How::default()).unwrap_err();
    assert!(error.to_string().contains("names that begin with .wh."), "{error}");
    let host = Host::new();
    let none = rustix::fs::makedev(0, 0);
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(rustix::fs::CWD, host.path("d"), kind, rustix::fs::Mode::RUSR, none).unwrap();
    let error = copy_host(&Layers::new(), &host, "app", &How::default()).unwrap_err();
    assert!(error.to_string().contains("a character device 0:0"), "{error}");
}

#[test]
fn a_file_that_is_written_to_meanwhile() {
    if !is_root() {
        return;
    }
    let host = Host::new();
    let path = host.file("log", vec![b'x'; 3_000_000]);
    for n in 0..20 {
        host.file(&format!("many/{n}"), vec![n; 100_000]);
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                n += 1;
                std::fs::write(&path, vec![b'y'; 100_000 * (n % 31)]).unwrap();
                std::fs::write(host.path(&format!("many/{}", n % 20)), vec![b'z'; 1000 * n % 5000]).unwrap();
            }
        });
        // Whatever is read, the layer is what it is said to be (see `write`); or it is said why not.
        let copied: Vec<_> =
            (0..30).map(|_| copy_host(&Layers::new(), &host, "app", &How::default())).collect();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        for error in copied.into_iter().filter_map(Result::err) {
            assert!(error.to_string().contains("changed while it was being copied"), "{error}");
        }
    });
}

#[test]
fn an_archive_in_between() {
    if !is_root() {
        return;
    }
    let mut layers = Layers::new();
    let below = tar(&[dir("app"), dir("app/old"), file("app/old/f", "below")]);
    layers.push(&below);
    let view = (!layers.stack.is_empty()).then(|| View::open(&layers.stack).unwrap());
    let base = view.as_ref().map(|view| Source::image(view, "the base"));
    let mut plan = Plan::new(base, NOW, Some(NOW.sec)).unwrap();
    plan.make_dir(b"app", 0o755, Owner::ROOT).unwrap();
    plan.make_file(b"app/first", Arc::from(*b"1"), 0o644, Owner::ROOT).unwrap();
    let out = layers.empty();
    let stop = AtomicBool::new(false);
    let how = Writing {
        out: &out,
        mode: layers.ids,
        previous: None,
        search: None,
        keep_digests: false,
        stop: &[&stop],
    };
    assert!(plan.write(&how).unwrap().stat.is_some());

    let archive = tar(&[dir("x"), file("x/f", "from the archive"), symlink_entry("l", "x")]);
    let options = snapshot::UnpackOptions {
        lowers: layers.stack.clone(),
        limits: snapshot::Limits::default(),
        ids: layers.ids,
        chown: None,
        made: (Owner::ROOT, 0o755, NOW),
    };
    snapshot::unpack_into(archive.as_slice(), &out, b"app", &options).unwrap();
    plan.load(&out).unwrap();
    assert_eq!(plan.resolve(b"app/l/f").unwrap(), b"app/x/f");
    plan.make_file(b"app/x/f", Arc::from(*b"after"), 0o600, Owner::ROOT).unwrap();
    plan.make_file(b"app/x/new", Arc::from(*b"new"), 0o600, Owner::ROOT).unwrap();
    assert_eq!(plan.write(&how).unwrap().stat, None);
    let text = |path: &str| String::from_utf8(std::fs::read(out.join(path)).unwrap()).unwrap();
    assert_eq!(
        (text("app/first"), text("app/x/f"), text("app/x/new")),
        ("1".into(), "after".into(), "new".into())
    );
    assert_eq!(std::fs::metadata(out.join("app/x")).unwrap().mode(), 0o40755);
    assert_eq!(std::fs::metadata(out.join("app/x/new")).unwrap().mode(), 0o100600);
}

#[test]
fn as_deep_as_paths_can_be() {
    if !is_root() {
        return;
    }
    let host = Host::new();
    // The layer's own path counts, too.
    let deep = "d/".repeat(1900);
    let mut dir = runtime::beneath::open_root(host.dir.path()).unwrap();
    for name in deep.split('/').filter(|name| !name.is_empty()) {
        rustix::fs::mkdirat(&dir, name, rustix::fs::Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
        dir = rustix::fs::openat(&dir, name, flags, rustix::fs::Mode::empty()).unwrap();
    }
    // As much stack as any thread has.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (out, written) = copy_host(&Layers::new(), &host, "app", &How::default()).unwrap();
            assert_eq!(written.stat.unwrap().inodes, 1901);
            drop(out);
        });
    });
}

#[test]
fn a_stop_is_obeyed() {
    if !is_root() {
        return;
    }
    let host = Host::new();
    host.file("f", "x");
    let root = runtime::beneath::open_root(host.dir.path()).unwrap();
    let source = Source::host(root.as_fd(), "the build context");
    let mut plan = Plan::new(None, NOW, None).unwrap();
    let number = plan.add_source(source);
    let stat = source.lstat(b"f").unwrap().unwrap();
    let how = Placing { source: number, owner: None, mode: None, digest: &|_, _| None };
    plan.place_file(b"f", &stat, b"f", &how).unwrap();
    let layers = Layers::new();
    let stop = AtomicBool::new(true);
    let how = Writing {
        out: &layers.empty(),
        mode: Mode::Root,
        previous: None,
        search: None,
        keep_digests: false,
        stop: &[&stop],
    };
    assert!(matches!(plan.write(&how), Err(Error::Interrupted)));
}

fn set_mtime(path: &Path, sec: i64) {
    let time = rustix::fs::Timespec { tv_sec: sec, tv_nsec: 0 };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::empty()).unwrap();
}

fn symlink_entry(path: &str, target: &str) -> (snapshot::Entry, &'static [u8]) {
    (snapshot::Entry::new(path, snapshot::Kind::Symlink(target.into()), 0o777), b"")
}
