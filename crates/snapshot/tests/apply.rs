//! Layer tars applied: what each kind of entry becomes, over other layers too.

mod support;

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use snapshot::{Entry, Kind, Mtime, Owner, View};
use support::*;

#[test]
fn every_kind_of_file() {
    if !is_root() {
        return;
    }
    let mut suid = file("bin/su", "elf");
    suid.0.mode = 0o4755;
    suid.0.owner = Owner { uid: 3_000_000_000, gid: 70_000 };
    suid.0.mtime = Mtime { sec: 1_234_567_890, nsec: 123_456_789 };
    suid.0
        .xattrs
        .insert(b"security.capability".to_vec(), b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec());
    suid.0.xattrs.insert(b"user.note".to_vec(), b"a\0b".to_vec());
    let mut tmp = dir("tmp");
    tmp.0.mode = 0o1777;
    let mut old = file("old", "");
    old.0.mtime = Mtime { sec: -86_400, nsec: 5 };
    let bytes = tar(&[
        dir("bin"),
        suid,
        hard_link("bin/su2", "bin/su"),
        (Entry::new("dev/null", Kind::CharDevice { major: 1, minor: 3 }, 0o666), b""),
        (Entry::new("dev/loop", Kind::BlockDevice { major: 7, minor: 300 }, 0o660), b""),
        (Entry::new("dev/pipe", Kind::Fifo, 0o622), b""),
        symlink("lib", "usr/lib"),
        old,
        tmp,
        (Entry::new(b"caf\xe9\n".to_vec(), Kind::File { size: 0 }, 0), b""),
    ]);
    let (_layers, fs, applied) = apply_one(&bytes).unwrap();
    let meta = |p: &str| std::fs::symlink_metadata(fs.join(p)).unwrap();
    let su = meta("bin/su");
    assert_eq!((su.mode(), su.uid(), su.gid()), (0o104755, 3_000_000_000, 70_000));
    assert_eq!((su.mtime(), su.mtime_nsec(), su.nlink()), (1_234_567_890, 123_456_789, 2));
    assert_eq!(su.ino(), meta("bin/su2").ino());
    assert_eq!(xattrs(&fs.join("bin/su")).len(), 2);
    assert_eq!(meta("tmp").mode(), 0o041777);
    assert_eq!((meta("old").mtime(), meta("old").mtime_nsec()), (-86_400, 5));
    assert_eq!((meta("dev/null").mode(), meta("dev/null").rdev()), (0o020666, rustix::fs::makedev(1, 3)));
    assert_eq!(meta("dev/loop").rdev(), rustix::fs::makedev(7, 300));
    assert_eq!(meta("dev/pipe").mode(), 0o010622);
    assert_eq!(applied.stat.inodes, 9);
    assert_eq!(applied.stat.usage, 3);
    assert_eq!(applied.stat.diff_id.0, oci::Digest::sha256(&bytes));
    assert!(applied.notes.lines().is_empty());
    assert!(!fs.with_file_name("owners").exists());
}

#[test]
fn compressed_streams() {
    let bytes = tar(&[file("a", "1"), file("b", "2")]);
    let (half, rest) = bytes.split_at(700);
    let gz = |bytes: &[u8]| {
        let mut writer = snapshot::compress::GzipWriter::new(Vec::new(), 6, 1);
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    };
    let zst = |bytes: &[u8]| {
        let mut writer = snapshot::compress::zstd_writer(Vec::new(), 3).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    };
    for stream in [
        bytes.clone(),
        gz(&bytes),
        zst(&bytes),
        [gz(half), gz(rest)].concat(),
        [zst(half), zst(rest)].concat(),
    ] {
        let (_layers, fs, applied) = apply_one(&stream).unwrap();
        assert_eq!(applied.stat.diff_id.0, oci::Digest::sha256(&bytes));
        assert_eq!(std::fs::read(fs.join("b")).unwrap(), b"2");
    }
    let mut xz = xz2::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&bytes).unwrap();
    let error = apply_one(&xz.finish().unwrap()).err().unwrap().to_string();
    assert!(error.contains("xz"), "{error}");
}

#[test]
fn bytes_after_the_end_belong_to_the_diff_id() {
    let mut bytes = tar(&[file("a", "1")]);
    bytes.extend_from_slice(&[0; 10_240]);
    bytes.extend_from_slice(b"anything");
    let (_layers, fs, applied) = apply_one(&bytes).unwrap();
    assert_eq!(applied.stat.diff_id.0, oci::Digest::sha256(&bytes));
    assert_eq!(applied.stat.tar_size, bytes.len() as u64);
    assert!(fs.join("a").exists());
}

#[test]
fn directories_get_their_metadata_last() {
    let mut closed = dir("closed");
    closed.0.mode = 0o500;
    closed.0.mtime = Mtime { sec: 1000, nsec: 1 };
    let bytes = tar(&[closed, dir("closed/deep"), file("closed/deep/file", "x"), file("closed/file", "y")]);
    let (_layers, fs, _) = apply_one(&bytes).unwrap();
    let meta = std::fs::metadata(fs.join("closed")).unwrap();
    assert_eq!((meta.mode(), meta.mtime(), meta.mtime_nsec()), (0o040500, 1000, 1));
}

#[test]
fn the_root_entry_is_the_layers_root() {
    let bytes = Raw::new()
        .header(b'5', b"./", b"", 0, |b| b[100..107].copy_from_slice(b"0000711"))
        .file("./a", "1")
        .end();
    let mut layers = Layers::new();
    let (fs, _) = layers.push(&bytes);
    assert_eq!(std::fs::metadata(&fs).unwrap().mode(), 0o040711);
    // A layer that says nothing has the root of the one below.
    let (fs, _) = layers.push(&tar(&[file("b", "2")]));
    assert_eq!(std::fs::metadata(&fs).unwrap().mode(), 0o040711);
}

#[test]
fn whiteouts() {
    if !is_root() {
        return;
    }
    let mut layers = Layers::new();
    layers.push(&tar(&[
        dir("d"),
        file("d/gone", "1"),
        file("d/kept", "1"),
        dir("o"),
        file("o/old", "1"),
        file("f", "1"),
    ]));
    let (fs, applied) = layers.push(&tar(&[
        dir("d"),
        file("d/.wh.gone", ""),
        dir("o"),
        file("o/.wh..wh..opq", ""),
        file("o/new", "2"),
        file(".wh.f", ""),
        file(".wh..wh.plnk", ""),
        dir(".wh..wh.aufs"),
        file(".wh..wh.aufs/x", ""),
    ]));
    assert!(is_whiteout(&fs.join("d/gone")) && is_whiteout(&fs.join("f")) && is_opaque(&fs.join("o")));
    assert_eq!(tree(&fs).len(), 1 + 5, "{}", tree_text(&fs));
    assert_eq!(applied.stat.inodes, 3);
    let view = View::open(&layers.stack).unwrap();
    let names = |dir: &str| -> Vec<String> {
        view.read_dir(dir.as_bytes())
            .unwrap()
            .into_iter()
            .map(|e| String::from_utf8(e.name).unwrap())
            .collect()
    };
    assert_eq!(names(""), ["d", "o"]);
    assert_eq!((names("d"), names("/o")), (vec!["kept".into()], vec!["new".into()]));
    assert!(view.stat(b"d/gone").unwrap().is_none());
    assert_eq!(view.resolve(b"o/../d/./kept").unwrap().unwrap(), b"d/kept");
}

#[test]
fn whiteouts_are_of_lower_layers_alone_in_any_order() {
    if !is_root() {
        return;
    }
    let lower = tar(&[dir("d"), file("d/old", "1"), dir("e"), file("e/old", "1")]);
    let marked = [
        file("d/.wh..wh..opq", ""),
        dir("d"),
        file("d/new", "2"),
        file(".wh.e", ""),
        dir("e"),
        file("e/new", "2"),
    ];
    let mut reversed = marked.to_vec();
    reversed.reverse();
    for entries in [marked.to_vec(), reversed] {
        let mut layers = Layers::new();
        layers.push(&lower);
        let (fs, _) = layers.push(&tar(&entries));
        assert!(is_opaque(&fs.join("d")) && is_opaque(&fs.join("e")), "{}", tree_text(&fs));
        assert!(fs.join("d/new").exists() && fs.join("e/new").exists());
        let view = View::open(&layers.stack).unwrap();
        assert!(view.stat(b"d/old").unwrap().is_none() && view.stat(b"e/old").unwrap().is_none());
    }
}

#[test]
fn whiteouts_of_nothing() {
    let (_layers, fs, _) = apply_one(&tar(&[
        file("a", "a file"),
        file("a/.wh.b", ""),
        file("a/.wh..wh..opq", ""),
        file("no/such/.wh.b", ""),
        file("no/such/.wh..wh..opq", ""),
    ]))
    .unwrap();
    assert_eq!(tree(&fs).len(), 2, "{}", tree_text(&fs));
}

#[test]
fn an_opaque_root_deletes_by_name() {
    if !is_root() {
        return;
    }
    let mut layers = Layers::new();
    layers.push(&tar(&[file("a", "1"), dir("b"), file("b/c", "1"), file("kept", "1")]));
    let (fs, _) = layers.push(&tar(&[file(".wh..wh..opq", ""), file("kept", "2")]));
    assert!(is_whiteout(&fs.join("a")) && is_whiteout(&fs.join("b")));
    assert_eq!(View::open(&layers.stack).unwrap().read_dir(b"/").unwrap().len(), 1);
}

#[test]
fn later_entries_replace_earlier_ones() {
    if !is_root() {
        return;
    }
    let (_layers, fs, applied) = apply_one(&tar(&[
        file("a", "first"),
        hard_link("a2", "a"),
        file("a", "second"),
        dir("d"),
        file("d/x", "1"),
        file("d", "now a file"),
        file("e", "1"),
        dir("e"),
        symlink("l", "e"),
        dir("l"),
        file("l/in", "1"),
        file("m", "1"),
        symlink("m", "a"),
    ]))
    .unwrap();
    assert_eq!(std::fs::read(fs.join("a")).unwrap(), b"second");
    assert_eq!(std::fs::read(fs.join("a2")).unwrap(), b"first");
    assert_eq!(std::fs::read(fs.join("d")).unwrap(), b"now a file");
    // What replaced a file of its own layer shows nothing of the lowers any more.
    assert!(is_opaque(&fs.join("e")) && is_opaque(&fs.join("l")));
    assert!(fs.join("l/in").exists() && !fs.join("e/in").exists());
    assert_eq!(std::fs::read_link(fs.join("m")).unwrap().to_str(), Some("a"));
    assert!(applied.stat.inodes >= 7);
    let (_layers, _, applied) =
        apply_one(&tar(&[file("a", "12345"), file("a", "1"), file(".wh.b", ""), file("b", "22")])).unwrap();
    assert_eq!((applied.stat.inodes, applied.stat.usage), (2, 3));
}

#[test]
fn missing_parents_are_those_of_the_lowers() {
    if !is_root() {
        return;
    }
    let mut etc = dir("etc");
    etc.0.mode = 0o2750;
    etc.0.owner = Owner { uid: 7, gid: 8 };
    etc.0.mtime = Mtime { sec: 77, nsec: 7 };
    etc.0.xattrs.insert(b"user.overlay.x".to_vec(), b"1".to_vec());
    for base in [vec![], vec![tar(&[file("z", "1")])]] {
        let mut layers = Layers::new();
        layers.push(&tar(&[etc.clone(), file("etc/old", "1")]));
        for more in base {
            layers.push(&more);
        }
        let (fs, _) = layers.push(&tar(&[file("etc/new", "2"), file("var/log/x", "3")]));
        let meta = std::fs::metadata(fs.join("etc")).unwrap();
        assert_eq!((meta.mode(), meta.uid(), meta.gid(), meta.mtime()), (0o042750, 7, 8, 77));
        // One lower is read as it is; several are seen through an overlay.
        if layers.stack.len() == 2 || overlays_unescape() {
            assert_eq!(xattrs(&fs.join("etc"))[&b"user.overlay.overlay.x"[..]], b"1");
        }
        assert_eq!(std::fs::metadata(fs.join("var/log")).unwrap().mode(), 0o040755);
        assert!(!fs.join("etc/old").exists());
    }
}

#[test]
fn parents_that_are_links_lead_where_the_image_says() {
    if !is_root() {
        return;
    }
    let mut layers = Layers::new();
    layers.push(&tar(&[
        symlink("bin", "usr/bin"),
        symlink("sbin", "/usr/sbin"),
        symlink("up", "../../usr/./bin/../lib"),
        dir("usr"),
        dir("usr/bin"),
        file("usr/bin/old", "1"),
    ]));
    let (fs, _) = layers.push(&tar(&[
        file("bin/new", "2"),
        file("sbin/new", "3"),
        file("up/new", "4"),
        file("bin/.wh.old", ""),
        symlink("here", "usr/share"),
        file("here/new", "5"),
    ]));
    for path in ["usr/bin/new", "usr/sbin/new", "usr/lib/new", "usr/share/new"] {
        assert!(fs.join(path).is_file(), "{path}\n{}", tree_text(&fs));
    }
    assert!(is_whiteout(&fs.join("usr/bin/old")));
    assert!(!fs.join("bin").exists());
    // A directory of this layer in the place of a link of the lowers is a directory, and hides nothing else.
    let (fs, _) = layers.push(&tar(&[dir("bin"), file("bin/x", "1")]));
    assert!(fs.join("bin/x").is_file() && !fs.join("usr").exists());
}

#[test]
fn hard_links_to_files_of_lower_layers() {
    if !is_root() {
        return;
    }
    let mut tool = file("usr/tool", "tool");
    tool.0.mode = 0o4711;
    tool.0.owner = Owner { uid: 5, gid: 6 };
    tool.0.mtime = Mtime { sec: 55, nsec: 5 };
    tool.0.xattrs.insert(b"user.k".to_vec(), b"v".to_vec());
    let mut layers = Layers::new();
    layers.push(&tar(&[tool, symlink("usr/link", "tool"), symlink("u", "usr")]));
    let (fs, _) = layers.push(&tar(&[hard_link("alias", "u/tool"), hard_link("link2", "usr/link")]));
    let (a, t) =
        (std::fs::metadata(fs.join("alias")).unwrap(), std::fs::metadata(fs.join("usr/tool")).unwrap());
    assert_eq!(a.ino(), t.ino());
    assert_eq!((t.mode(), t.uid(), t.gid(), t.mtime()), (0o104711, 5, 6, 55));
    assert_eq!(xattrs(&fs.join("alias"))[&b"user.k"[..]], b"v");
    assert_eq!(std::fs::read(fs.join("alias")).unwrap(), b"tool");
    assert!(std::fs::symlink_metadata(fs.join("link2")).unwrap().is_symlink());
    let (_, error) = layers.try_push(&tar(&[hard_link("x", "no/such")]));
    let error = error.err().unwrap().to_string();
    assert!(error.contains("no/such does not exist"), "{error}");
    let (_, error) = layers.try_push(&tar(&[file("usr/.wh.tool", ""), hard_link("x", "usr/tool")]));
    assert!(error.err().unwrap().to_string().contains("deleted"));
    // Linked to itself: nothing to do.
    let (fs, _) = layers.push(&tar(&[file("s", "1"), hard_link("s", "s")]));
    assert_eq!(std::fs::read(fs.join("s")).unwrap(), b"1");
}

#[test]
fn overlay_xattrs_of_a_tar_are_its_own() {
    let mut entry = dir("d");
    entry.0.xattrs.insert(b"user.overlay.opaque".to_vec(), b"y".to_vec());
    entry.0.xattrs.insert(b"trusted.overlay.opaque".to_vec(), b"y".to_vec());
    let (_layers, fs, _) = apply_one(&tar(&[entry])).unwrap();
    let found = xattrs(&fs.join("d"));
    assert_eq!(found.keys().collect::<Vec<_>>(), [b"user.overlay.overlay.opaque"]);
}

#[test]
fn one_id_keeps_the_owners_beside() {
    if !is_root() {
        return;
    }
    let mut layers = Layers::new();
    layers.ids = runtime::Mode::SingleId;
    let owned = |mut entry: (Entry, &'static [u8]), id: u32, mode: u32| {
        (entry.0.owner, entry.0.mode) = (Owner { uid: id, gid: id + 1 }, mode);
        entry
    };
    let bytes = tar(&[
        owned(file("a", "1"), 5, 0o640),
        owned(hard_link("b", "a"), 5, 0o640),
        dir("dev"),
        (Entry::new("dev/null", Kind::CharDevice { major: 1, minor: 3 }, 0o666), b""),
        owned(symlink("l", "a"), 9, 0o777),
        file("mine", "2"),
    ]);
    let (fs, applied) = layers.push(&bytes);
    assert_eq!(applied.notes.devices, 1);
    let owners = snapshot::owners::Owners::of_layer(&fs).unwrap();
    assert_eq!(owners.0.len(), 4);
    assert_eq!(owners.0[&b"b"[..]].owner, Owner { uid: 5, gid: 6 });
    assert!(std::fs::metadata(fs.join("dev/null")).unwrap().is_file());
    assert_eq!(std::fs::metadata(fs.join("a")).unwrap().permissions().mode() & 0o7777, 0o640);
    // And the tar can be made from both.
    assert!(diff_bytes(&fs) == bytes);
    // The view of the layer says what the sidecar does.
    let view = View::open(&layers.stack).unwrap();
    let stat = view.stat(b"dev/null").unwrap().unwrap();
    assert_eq!((stat.st_mode, stat.st_rdev), (0o020666, rustix::fs::makedev(1, 3)));
    assert_eq!(view.entry(b"a").unwrap().unwrap().owner, Owner { uid: 5, gid: 6 });
}
