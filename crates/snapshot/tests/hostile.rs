//! Archives made to break out, to exhaust, or to be read in two ways. Whatever they say, nothing outside of the
//! destination is created, changed, read into it or deleted, and what is refused is refused by name.

mod support;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use snapshot::{ApplyOptions, Error, Limits, Mtime, Owner, UnpackOptions, apply, unpack_into};
use support::*;

/// A destination among things that must stay as they are.
struct Trap {
    dir: tempfile::TempDir,
    dest: PathBuf,
    before: String,
}

impl Trap {
    fn new() -> Trap {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("layers/new/fs");
        std::fs::create_dir_all(&dest).unwrap();
        let canary = dir.path().join("canary");
        std::fs::create_dir_all(canary.join("sub")).unwrap();
        for (name, mode) in [("secret", 0o600), ("sub/tool", 0o755), ("passwd", 0o644)] {
            std::fs::write(canary.join(name), name).unwrap();
            std::fs::set_permissions(canary.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        std::os::unix::fs::symlink("secret", canary.join("link")).unwrap();
        let before = tree_text(&canary);
        Trap { dir, dest, before }
    }

    fn canary(&self) -> PathBuf {
        self.dir.path().join("canary")
    }

    /// Where the canary is from the destination, by as many `..` as it takes and some more.
    fn climb(&self, rest: &str) -> String {
        format!("{}{}/{rest}", "../".repeat(30), self.canary().display().to_string().trim_start_matches('/'))
    }

    fn check(&self, what: &str) {
        assert_eq!(tree_text(&self.canary()), self.before, "{what} touched the canary");
        let beside: Vec<_> =
            std::fs::read_dir(self.dest.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(beside.iter().all(|name| name == "fs" || name == "owners"), "{what} left {beside:?}");
        let secret = std::fs::metadata(self.canary().join("secret")).unwrap();
        assert_eq!(secret.nlink(), 1, "{what} linked the canary");
        for (path, line) in tree(&self.dest) {
            let is_secret = line.contains(oci::Digest::sha256(b"secret").short());
            assert!(!is_secret, "{what} read the canary into {}", path.escape_ascii());
        }
    }

    fn apply(&self, tar: &[u8]) -> Result<(), Error> {
        apply(tar, &self.dest, &ApplyOptions::new(ids())).map(|_| ())
    }
}

fn unpack(layer: &Path, dest: &str, tar: &[u8]) -> Result<(), Error> {
    let options = UnpackOptions {
        lowers: vec![],
        limits: Limits::default(),
        ids: ids(),
        chown: None,
        made: (Owner::ROOT, 0o755, Mtime::default()),
    };
    unpack_into(tar, layer, dest.as_bytes(), &options).map(|_| ())
}

/// Every way out that has been found in some extractor, and some more. The name of the case, and the archive; `c` is
/// the canary's absolute path and `up` leads there by `..`.
fn corpus(c: &str, up: &dyn Fn(&str) -> String) -> Vec<(&'static str, Vec<u8>)> {
    let r = Raw::new;
    let abs = |name: &str| format!("{c}/{name}");
    let long = |name: &str| name.as_bytes().to_vec();
    vec![
        (
            "dot-dot file",
            r().entry(b'L', b"././@LongLink", b"", &long(&up("secret"))).file("x", "evil").end(),
        ),
        ("dot-dot short", r().file("../../../canary/secret", "evil").end()),
        ("dot-dot in the middle", r().dir("a").file("a/../../../../canary/secret", "evil").end()),
        ("absolute file", r().file(&abs("secret"), "evil").end()),
        ("absolute double slash", r().file(&format!("/{}", abs("secret")), "evil").end()),
        ("PAX path", r().pax(&[("path", up("secret").as_bytes())]).file("x", "evil").end()),
        ("dot-dot directory", r().dir("../../../canary/sub").end()),
        ("symlink then file", r().symlink("l", &abs("secret")).file("l", "evil").end()),
        ("symlink then file below", r().symlink("l", c).file("l/secret", "evil").end()),
        (
            "relative symlink then file below",
            r().symlink("l", "../../../canary").file("l/secret", "evil").end(),
        ),
        (
            "two symlinks",
            r().symlink("a", "..").symlink("b", "a/../..").file("b/canary/secret", "evil").end(),
        ),
        (
            "symlink chain",
            r().dir("d")
                .symlink("d/up", "..")
                .symlink("l", "d/up/../../../canary")
                .file("l/secret", "evil")
                .end(),
        ),
        ("symlink replaced", r().dir("l").file("l/x", "1").symlink("l", c).file("l/secret", "evil").end()),
        (
            "symlink replaced under an open directory",
            r().dir("a/b")
                .file("a/b/x", "1")
                .symlink("a", c)
                .file("a/b/secret", "e")
                .file("a/secret", "e")
                .end(),
        ),
        (
            "symlink over a parent",
            r().dir("sub").symlink("sub", c).dir("sub/sub").file("sub/sub/tool", "evil").end(),
        ),
        (
            "chmod through a symlink",
            r().symlink("l", &abs("secret"))
                .header(b'5', b"l", b"", 0, |b| b[100..107].copy_from_slice(b"0000777"))
                .end(),
        ),
        (
            "chmod of a directory through a symlink",
            r().symlink("l", &abs("sub"))
                .header(b'5', b"l/", b"", 0, |b| b[100..107].copy_from_slice(b"0000777"))
                .end(),
        ),
        ("hard link by dot-dot", r().hard_link("x", "../../../canary/secret").file("x", "evil").end()),
        ("hard link absolute", r().hard_link("x", &abs("secret")).file("x", "evil").end()),
        (
            "hard link through a symlink",
            r().symlink("l", c)
                .hard_link("x", "l/secret")
                .header(b'0', b"x", b"", 4, |_| {})
                .content(b"evil")
                .end(),
        ),
        (
            "hard link to a symlink",
            r().symlink("l", &abs("secret")).hard_link("x", "l").file("x", "evil").end(),
        ),
        (
            "hard link to a symlink, written below",
            r().symlink("l", c).hard_link("x", "l").file("x/secret", "evil").end(),
        ),
        ("hard link by PAX", r().pax(&[("linkpath", up("secret").as_bytes())]).hard_link("x", "y").end()),
        ("hard link of /proc/self/root", r().hard_link("x", &format!("/proc/self/root{c}/secret")).end()),
        ("magic link", r().symlink("p", &format!("/proc/self/root{c}")).file("p/secret", "evil").end()),
        ("magic fd", r().symlink("p", "/proc/self/cwd").file("p/secret", "evil").end()),
        ("whiteout by dot-dot", r().file("../../../canary/.wh.secret", "").end()),
        ("whiteout of dot-dot", r().file(".wh...", "").end()),
        ("whiteout of dot", r().file(".wh..", "").end()),
        ("whiteout of nothing", r().file(".wh.", "").end()),
        (
            "whiteout through a symlink",
            r().symlink("l", c).file("l/.wh.secret", "").file("l/.wh.sub", "").end(),
        ),
        ("opaque through a symlink", r().symlink("l", c).file("l/.wh..wh..opq", "").end()),
        ("opaque by dot-dot", r().file("../../../canary/.wh..wh..opq", "").end()),
        ("below a whiteout", r().file(".wh.a/b", "x").end()),
        (
            "symlink as a whiteout's directory",
            r().symlink(".wh..wh.x", c).file(".wh..wh.x/secret", "evil").end(),
        ),
        ("device through a symlink", r().symlink("l", c).entry(b'6', b"l/pipe", b"", b"").end()),
        ("symlink below a symlink", r().symlink("l", c).symlink("l/secret", "/etc/shadow").end()),
        (
            "directory over a symlink, then below",
            r().symlink("l", c).dir("l/sub").file("l/sub/tool", "evil").end(),
        ),
        ("root as a symlink", r().symlink(".", c).file("secret", "evil").end()),
        ("root as a symlink, empty", r().symlink("/", c).file("secret", "evil").end()),
        ("root as a file", r().file("./", "evil").end()),
        ("root as a hard link", r().hard_link("./", "x").end()),
        ("hard link to the root", r().hard_link("x", "/").file("x/secret", "evil").end()),
        ("hard link to a directory", r().dir("d").hard_link("x", "d").end()),
        ("link loop", r().symlink("a", "b").symlink("b", "a").file("a/x", "evil").end()),
        ("name with NUL in PAX", r().pax(&[("path", b"a\0/../../../canary/secret")]).file("x", "evil").end()),
        (
            "PAX size of an extension",
            r().pax(&[("size", b"1024")])
                .entry(b'L', b"././@LongLink", b"", b"a")
                .file("../../../canary/secret", "evil")
                .end(),
        ),
        (
            "sparse name",
            r().pax(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.name", up("secret").as_bytes()),
                ("GNU.sparse.realsize", b"4"),
            ])
            .entry(b'0', b"x", b"", &[b"1\n0\n4\n".as_slice(), &[0; 506], b"evil"].concat())
            .end(),
        ),
        ("backslashes", r().file("..\\..\\..\\canary\\secret", "evil").end()),
    ]
}

#[test]
fn nothing_gets_out() {
    let count = corpus("/c", &|x| x.to_owned()).len();
    for at in 0..count {
        for purpose in ["layer", "files", "files below"] {
            let trap = Trap::new();
            let c = trap.canary().display().to_string();
            let (name, bytes) = corpus(&c, &|rest| trap.climb(rest)).swap_remove(at);
            let result = match purpose {
                "layer" => trap.apply(&bytes),
                "files" => unpack(&trap.dest, "/", &bytes),
                _ => unpack(&trap.dest, "opt/../srv/x", &bytes),
            };
            if let Err(error) = result {
                let text = error.to_string();
                assert!(!text.is_empty() && !text.contains('\0'));
            }
            trap.check(&format!("{name} as {purpose}"));
        }
    }
}

#[test]
fn a_destination_that_is_a_link_stays_inside() {
    let trap = Trap::new();
    std::os::unix::fs::symlink(trap.canary(), trap.dest.join("out")).unwrap();
    unpack(&trap.dest, "/out/new", &tar(&[file("secret", "evil")])).unwrap();
    trap.check("a destination");
    // It was taken as a path of the image.
    let inside = trap.dest.join(trap.canary().strip_prefix("/").unwrap()).join("new/secret");
    assert_eq!(std::fs::read(inside).unwrap(), b"evil");
}

#[test]
fn lower_layers_stay_as_they_are() {
    if !is_root() {
        return;
    }
    let mut layers = Layers::new();
    let (below, _) = layers.push(&tar(&[
        dir("etc"),
        file("etc/passwd", "root"),
        symlink("link", "etc/passwd"),
        dir("d"),
        file("d/x", "1"),
        symlink("up", ".."),
    ]));
    let before = tree_text(&below);
    let (_, applied) = layers.try_push(&tar(&[
        file("etc/passwd", "evil"),
        file("link", "evil"),
        hard_link("alias", "etc/passwd"),
        file("alias", "evil"),
        hard_link("copied", "d/x"),
        file("d/.wh.x", ""),
        file("d/.wh..wh..opq", ""),
        file(".wh.etc", ""),
        file("up/up/etc/passwd", "evil"),
    ]));
    applied.unwrap();
    assert_eq!(tree_text(&below), before);
}

#[test]
fn refused_with_the_entrys_name() {
    let limits = |change: &dyn Fn(&mut Limits)| {
        let mut options = ApplyOptions::new(ids());
        change(&mut options.limits);
        options
    };
    let refuse = |bytes: &[u8], options: ApplyOptions, want: &[&str]| {
        let trap = Trap::new();
        let error = apply(bytes, &trap.dest, &options).expect_err("it should be refused").to_string();
        for want in want {
            assert!(error.contains(want), "{error:?} has no {want:?}");
        }
    };
    let plain = || limits(&|_| {});
    let three = Raw::new().file("a", "1").file("b", "22").file("some/c", "333").end();
    refuse(&three, limits(&|l| l.entries = 2), &["some/c", "entries"]);
    refuse(&three, limits(&|l| l.bytes = 5), &["bytes"]);
    refuse(&Raw::new().file("a/b/c/d", "").end(), limits(&|l| l.depth = 2), &["a/b/c/d", "directories"]);
    let many = Raw::new().pax(&[("SCHILY.xattr.user.a", &[b'x'; 600])]).file("x", "").end();
    refuse(&many, limits(&|l| l.xattrs = 500), &["x:", "xattrs"]);
    refuse(&many, limits(&|l| l.header = 500), &["header", "500"]);
    refuse(&three[..512 + 512 + 512 + 1], plain(), &["b:", "ends 1 bytes before"]);
    refuse(&three[..512 + 512 + 100], plain(), &["a:", "ends inside the header"]);
    let lying = Raw::new().header(b'0', b"big", b"", 0o77777777777, |_| {}).content(b"small").end();
    refuse(&lying, limits(&|l| l.bytes = u64::MAX), &["big", "before the end"]);
    refuse(&lying, limits(&|l| l.bytes = 1 << 20), &["big", "limit"]);
    refuse(&Raw::new().file("a", "1").entry(b'?', b"odd", b"", b"").end(), plain(), &["odd", "type"]);
    refuse(
        &Raw::new().file(&"n".repeat(100), "").pax(&[("path", &[b'n'; 256])]).file("x", "").end(),
        plain(),
        &["255"],
    );
    refuse(
        &Raw::new().pax(&[("path", "a/".repeat(2100).as_bytes())]).file("x", "").end(),
        plain(),
        &["4095"],
    );
    refuse(&Raw::new().pax(&[("uid", b"4294967295")]).file("x", "").end(), plain(), &["x:", "4294967295"]);
    refuse(&Raw::new().pax(&[("uid", b"99999999999")]).file("x", "").end(), plain(), &["x:", "99999999999"]);
    refuse(
        &Raw::new().pax(&[("path", b"a")]).pax(&[("path", b"b")]).file("x", "").end(),
        plain(),
        &["two PAX"],
    );
    refuse(&Raw::new().pax(&[("path", b"a")]).end(), plain(), &["between an extension header and its entry"]);
    refuse(
        &Raw::new().file("a", "").end()[..512]
            .repeat(2)
            .iter()
            .enumerate()
            .map(|(i, b)| if i == 600 { b ^ 1 } else { *b })
            .collect::<Vec<_>>(),
        plain(),
        &["a:", "checksum"],
    );
    refuse(&Raw::new().symlink("l", "").end(), plain(), &["l:", "nothing"]);
    refuse(&Raw::new().file("f", "").file("f/x", "").end(), plain(), &["f/x", "no directory"]);
    refuse(b"this is no archive at all, but it has to have more than five hundred and twelve bytes to be read as one header block. ".repeat(9).as_slice(), plain(), &["checksum"]);
    refuse(
        &Raw::new().file("\x1b[31mred\n", "").file("\x1b[31mred\n/x", "").end(),
        plain(),
        &["\\u{1b}[31mred\\n"],
    );
}

#[test]
fn blown_up_streams_are_refused() {
    let zeros = vec![0u8; 64 << 20];
    let bytes =
        tar(&[(snapshot::Entry::new("zeros", snapshot::Kind::File { size: 64 << 20 }, 0o644), &zeros)]);
    let bomb = zstd::encode_all(&bytes[..], 3).unwrap();
    let trap = Trap::new();
    let mut options = ApplyOptions::new(ids());
    options.limits.ratio_from = 16 << 20;
    let error = apply(&bomb[..], &trap.dest, &options).unwrap_err();
    assert!(matches!(error, Error::Limit { what: "ratio of compression", .. }), "{error}");
    assert!(error.to_string().contains("zeros"), "{error}");
    let written = std::fs::metadata(trap.dest.join("zeros")).map_or(0, |m| m.len());
    assert!(written < 20 << 20, "{written}");
    // The same plain is no bomb: it took as many bytes to send.
    apply(&bytes[..], &Trap::new().dest, &options).unwrap();
}

#[test]
fn deep_trees_and_many_links_are_no_trouble() {
    let trap = Trap::new();
    let deep = "d/".repeat(900) + "file";
    let mut raw = Raw::new().pax(&[("path", deep.as_bytes())]).file("x", "deep");
    for n in 0..50 {
        raw = raw.symlink(&format!("l{}", n + 1), &format!("l{n}"));
    }
    let bytes = raw.dir("l0").end();
    trap.apply(&bytes).unwrap();
    assert!(diff_bytes(&trap.dest).len() > 900 * 512);
    let too_many = Raw::new().dir("l0");
    let too_many = (0..50).fold(too_many, |raw, n| raw.symlink(&format!("l{}", n + 1), &format!("l{n}")));
    let error = Trap::new().apply(&too_many.file("l50/x", "1").end()).unwrap_err();
    assert!(error.to_string().contains("too many symbolic links"), "{error}");
}
