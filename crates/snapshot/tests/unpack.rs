//! Archives added to a layer, as ADD does.

mod support;

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use snapshot::{Entry, Kind, Limits, Mtime, Owner, UnpackOptions, is_archive, unpack_into};
use support::*;

fn options(layers: &Layers) -> UnpackOptions {
    UnpackOptions {
        lowers: layers.stack.clone(),
        limits: Limits::default(),
        ids: layers.ids,
        chown: None,
        made: (Owner { uid: 3, gid: 4 }, 0o755, Mtime { sec: 9, nsec: 0 }),
    }
}

fn owner_ids(path: &Path) -> (u32, u32) {
    let meta = std::fs::symlink_metadata(path).unwrap();
    (meta.uid(), meta.gid())
}

fn archive() -> Vec<u8> {
    let mut owned = file("bin/tool", "tool");
    owned.0.owner = Owner { uid: 1000, gid: 1000 };
    owned.0.mtime = Mtime { sec: 123, nsec: 0 };
    let mut root = dir("");
    root.0.mode = 0o700;
    tar(&[
        root,
        dir("bin"),
        owned,
        hard_link("bin/alias", "bin/tool"),
        file(".wh.plain", "a name"),
        symlink("l", "/bin"),
    ])
}

#[test]
fn into_a_directory_of_the_image() {
    if !is_root() {
        return;
    }
    let mut layers = Layers::new();
    let mut opt = dir("opt");
    opt.0.owner = Owner { uid: 11, gid: 12 };
    opt.0.mtime = Mtime { sec: 77, nsec: 0 };
    layers.push(&tar(&[opt, file("opt/old", "1"), symlink("link", "opt/made")]));
    let fs = layers.empty();
    unpack_into(&archive()[..], &fs, b"/link/../made/here/", &options(&layers)).unwrap();
    // `..` is taken by text, as everywhere in a Dockerfile.
    let dest = fs.join("made/here");
    assert_eq!(owner_ids(&dest), (3, 4));
    assert_eq!(owner_ids(&fs.join("made")), (3, 4));
    assert_eq!(std::fs::metadata(&dest).unwrap().mode(), 0o040755);
    assert_eq!(owner_ids(&dest.join("bin/tool")), (1000, 1000));
    assert_eq!(std::fs::metadata(dest.join("bin/tool")).unwrap().mtime(), 123);
    assert_eq!(std::fs::metadata(dest.join("bin/alias")).unwrap().nlink(), 2);
    assert_eq!(std::fs::read(dest.join(".wh.plain")).unwrap(), b"a name");

    // Through a link of the image, into a directory that is copied up as it was.
    let fs = layers.empty();
    let chown = UnpackOptions { chown: Some(Owner { uid: 5, gid: 6 }), ..options(&layers) };
    unpack_into(&archive()[..], &fs, b"link", &chown).unwrap();
    assert_eq!(owner_ids(&fs.join("opt")), (11, 12));
    assert_eq!(std::fs::metadata(fs.join("opt")).unwrap().mtime(), 77);
    for path in ["opt/made/bin", "opt/made/bin/tool", "opt/made/l"] {
        assert_eq!(owner_ids(&fs.join(path)), (5, 6), "{path}");
    }
    assert!(!fs.join("opt/old").exists());
}

#[test]
fn beside_what_the_layer_has_already() {
    if !is_root() {
        return;
    }
    let mut layers = Layers::new();
    layers.push(&tar(&[dir("real"), symlink("linked", "real"), file("was-a-file", "1")]));
    let fs = layers.empty();
    unpack_into(&tar(&[dir("d"), file("d/first", "1"), file("same", "1")])[..], &fs, b"/", &options(&layers))
        .unwrap();
    let set = |sec| rustix::fs::Timespec { tv_sec: sec, tv_nsec: 0 };
    let times = rustix::fs::Timestamps { last_access: set(5), last_modification: set(5) };
    rustix::fs::utimensat(rustix::fs::CWD, fs.join("d"), &times, rustix::fs::AtFlags::empty()).unwrap();
    unpack_into(
        &tar(&[
            file("d/second", "2"),
            file("same", "2"),
            dir("linked"),
            file("linked/in", "3"),
            dir("was-a-file"),
            file("was-a-file/in", "4"),
        ])[..],
        &fs,
        b"",
        &options(&layers),
    )
    .unwrap();
    assert!(fs.join("d/first").exists() && fs.join("d/second").exists());
    assert_eq!(std::fs::metadata(fs.join("d")).unwrap().mtime(), 5);
    assert_eq!(std::fs::read(fs.join("same")).unwrap(), b"2");
    // An entry of a directory goes through a link to one.
    assert_eq!(std::fs::read(fs.join("real/in")).unwrap(), b"3");
    assert!(!fs.join("linked").exists());
    assert_eq!(std::fs::read(fs.join("was-a-file/in")).unwrap(), b"4");
}

#[test]
fn in_any_compression() {
    let plain = tar(&[file("a", "1")]);
    let mut bz = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
    bz.write_all(&plain).unwrap();
    let mut xz = xz2::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&plain).unwrap();
    let mut gz = snapshot::compress::GzipWriter::new(Vec::new(), 6, 1);
    gz.write_all(&plain).unwrap();
    let zst = zstd::encode_all(&plain[..], 3).unwrap();
    let all = [plain.clone(), bz.finish().unwrap(), xz.finish().unwrap(), gz.finish().unwrap(), zst];
    for bytes in all {
        let layers = Layers::new();
        let fs = layers.empty();
        assert!(is_archive(&bytes[..]));
        unpack_into(
            &bytes[..],
            &fs,
            b"x",
            &UnpackOptions { made: (own(), 0o755, Mtime::default()), ..options(&layers) },
        )
        .unwrap();
        assert_eq!(std::fs::read(fs.join("x/a")).unwrap(), b"1");
        // Cut short it is still an archive, and then an error.
        let cut = &bytes[..bytes.len().min(1100) / 2];
        let fs = layers.empty();
        if is_archive(cut) {
            unpack_into(cut, &fs, b"", &options(&layers)).unwrap_err();
        }
    }
    let mut gz = snapshot::compress::GzipWriter::new(Vec::new(), 6, 1);
    gz.write_all(b"just text").unwrap();
    for other in [b"".to_vec(), b"text".to_vec(), vec![0; 10_240], vec![b'x'; 10_240], gz.finish().unwrap()] {
        assert!(!is_archive(&other[..]));
    }
    let mut long = Entry::new(vec![b'n'; 200], Kind::File { size: 0 }, 0o644);
    long.mtime.nsec = 1;
    assert!(is_archive(&tar(&[(long, b"")])[..]));
}

/// Whoever runs the test.
fn own() -> Owner {
    Owner { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
}
