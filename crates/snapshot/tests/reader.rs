//! Tars of other makers: every header form by hand, GNU tar's and Python's own, and the `tar` crate as a second
//! opinion on ours.

mod support;

use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use snapshot::tar_reader::{RawEntry, Segment, TarReader, Type};
use snapshot::{Entry, Error, Kind, Mtime, Owner};
use support::*;

/// All entries with their stored content.
fn read(bytes: &[u8]) -> Result<Vec<(RawEntry, Vec<u8>)>, Error> {
    let mut tar = TarReader::new(bytes, 1 << 20);
    let mut all = Vec::new();
    while let Some(entry) = tar.next()? {
        let mut content = Vec::new();
        loop {
            let piece = tar.content()?;
            // Little by little, to cross every edge.
            let n = piece.len().min(7);
            content.extend_from_slice(&piece[..n]);
            if n == 0 {
                break;
            }
            tar.consume(n);
        }
        all.push((entry, content));
    }
    Ok(all)
}

fn one(raw: Raw) -> RawEntry {
    let mut all = read(&raw.end()).unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0).0
}

#[test]
fn long_names_of_gnu_and_pax() {
    let long = "l/".repeat(200) + "name";
    let gnu = Raw::new().entry(b'L', b"././@LongLink", b"", format!("{long}\0").as_bytes()).entry(
        b'K',
        b"././@LongLink",
        b"",
        long.as_bytes(),
    );
    let entry = one(gnu.hard_link("short", "short"));
    assert_eq!((entry.path.as_slice(), entry.link.as_slice()), (long.as_bytes(), long.as_bytes()));
    let entry =
        one(Raw::new().pax(&[("path", long.as_bytes()), ("linkpath", b"caf\xe9")]).symlink("short", "short"));
    assert_eq!((entry.path.as_slice(), entry.link.as_slice()), (long.as_bytes(), &b"caf\xe9"[..]));
}

#[test]
fn records_are_of_the_next_entry_alone() {
    let bytes = Raw::new()
        .pax(&[
            ("path", b"first"),
            ("uid", b"3000000"),
            ("mtime", b"1.5"),
            ("SCHILY.xattr.user.a", b"1"),
            ("size", b"3"),
        ])
        .header(b'0', b"x", b"", 0, |_| {})
        .content(b"abc")
        .entry(b'g', b"pax_global_header", b"", b"18 path=everywhere\n")
        .file("second", "de")
        .entry(b'V', b"volume", b"", b"")
        .pax(&[("path", b""), ("comment", b"none")])
        .file("third", "")
        .end();
    let all = read(&bytes).unwrap();
    let names: Vec<_> = all.iter().map(|(e, c)| (e.path.escape_ascii().to_string(), c.len())).collect();
    assert_eq!(names, [("first".into(), 3), ("second".into(), 2), ("third".into(), 0)]);
    let first = &all[0].0;
    assert_eq!(
        (first.uid, first.mtime, first.xattrs.len()),
        (3_000_000, Mtime { sec: 1, nsec: 500_000_000 }, 1)
    );
    assert_eq!((all[1].0.uid, all[1].0.xattrs.len()), (0, 0));
}

#[test]
fn a_pax_size_is_not_that_of_extension_headers_before_the_entry() {
    // What once made readers take a file's content for headers.
    let hidden = Raw::new().file("hidden", "x").0;
    let bytes = Raw::new()
        .pax(&[("size", hidden.len().to_string().as_bytes())])
        .entry(b'L', b"././@LongLink", b"", b"visible\0")
        .header(b'0', b"x", b"", 0, |_| {})
        .content(&hidden)
        .file("after", "")
        .end();
    let names: Vec<_> = read(&bytes).unwrap().into_iter().map(|(e, _)| e.path).collect();
    assert_eq!(names, [b"visible".to_vec(), b"after".to_vec()]);
}

#[test]
fn links_and_directories_have_no_content() {
    let bytes = Raw::new()
        .header(b'1', b"l", b"t", 1000, |_| {})
        .header(b'5', b"d", b"", 1000, |_| {})
        .header(b'2', b"s", b"t", 1000, |_| {})
        .file("f", "1")
        .end();
    assert_eq!(read(&bytes).unwrap().len(), 4);
}

#[test]
fn old_forms() {
    let v7 = |b: &mut [u8; 512]| b[257..].fill(0);
    let entry = one(Raw::new().header(0, b"dir/", b"", 0, v7));
    assert_eq!(entry.kind, Type::Directory);
    let entry = one(Raw::new().header(0, b"file", b"", 0, v7));
    assert_eq!(entry.kind, Type::File);
    let ustar = |b: &mut [u8; 512]| b[345..351].copy_from_slice(b"prefix");
    assert_eq!(one(Raw::new().header(b'0', b"n", b"", 0, ustar)).path, b"prefix/n");
    // GNU has times there, and Go before 1.8 a prefix under GNU's name.
    let times = |b: &mut [u8; 512]| {
        Raw::gnu(b);
        b[345..357].copy_from_slice(b"14000000000\0");
    };
    assert_eq!(one(Raw::new().header(b'0', b"n", b"", 0, times)).path, b"n");
    let stray = |b: &mut [u8; 512]| {
        Raw::gnu(b);
        b[345..351].copy_from_slice(b"prefix");
    };
    assert_eq!(one(Raw::new().header(b'0', b"n", b"", 0, stray)).path, b"prefix/n");
    let big = |b: &mut [u8; 512]| {
        b[108..116].copy_from_slice(&[0x80, 0, 0, 0, 0xb2, 0xd0, 0x5e, 0]);
        b[136..148].copy_from_slice(&[0xff; 12]);
    };
    let entry = one(Raw::new().header(b'0', b"n", b"", 0, big));
    assert_eq!((entry.uid, entry.mtime.sec), (3_000_000_000, -1));
    // One block of zeros and the end, or none at all.
    let bytes = Raw::new().file("f", "").0;
    assert_eq!(read(&bytes).unwrap().len(), 1);
    assert_eq!(read(&[bytes, vec![0; 512]].concat()).unwrap().len(), 1);
    assert!(read(b"").unwrap().is_empty());
}

#[test]
fn sparse_in_all_four_forms() {
    let want = vec![Segment { offset: 512, len: 3 }, Segment { offset: 4096, len: 2 }];
    let check = |raw: Raw| {
        let mut all = read(&raw.file("next", "").end()).unwrap();
        assert_eq!(all.len(), 2);
        let (entry, content) = all.remove(0);
        assert_eq!(
            (entry.size, entry.sparse.as_ref(), content.as_slice()),
            (9000, Some(&want), &b"abcde"[..]),
            "{entry:?}"
        );
        assert_eq!(entry.path, b"sparse");
    };
    let old = |b: &mut [u8; 512]| {
        Raw::gnu(b);
        b[386..398].copy_from_slice(b"00000001000\0");
        b[398..410].copy_from_slice(b"00000000003\0");
        b[410..422].copy_from_slice(b"00000010000\0");
        b[422..434].copy_from_slice(b"00000000002\0");
        b[483..495].copy_from_slice(b"00000021450\0");
    };
    check(Raw::new().header(b'S', b"sparse", b"", 5, old).content(b"abcde"));
    // With the second half of the map in a block of its own.
    let mut raw = Raw::new().header(b'S', b"sparse", b"", 5, |b| {
        old(b);
        b[410..434].fill(0);
        b[482] = 1;
    });
    let mut block = [0u8; 512];
    block[..12].copy_from_slice(b"00000010000\0");
    block[12..24].copy_from_slice(b"00000000002\0");
    raw = raw.content(&block).content(b"abcde");
    check(raw);
    let form_00: &[(&str, &[u8])] = &[
        ("GNU.sparse.size", b"9000"),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.offset", b"512"),
        ("GNU.sparse.numbytes", b"3"),
        ("GNU.sparse.offset", b"4096"),
        ("GNU.sparse.numbytes", b"2"),
    ];
    check(Raw::new().pax(form_00).entry(b'0', b"sparse", b"", b"abcde"));
    let form_01: &[(&str, &[u8])] = &[
        ("GNU.sparse.size", b"9000"),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.map", b"512,3,4096,2"),
        ("GNU.sparse.name", b"sparse"),
    ];
    check(Raw::new().pax(form_01).entry(b'0', b"GNUSparseFile.1/sparse", b"", b"abcde"));
    let form_10: &[(&str, &[u8])] = &[
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"sparse"),
        ("GNU.sparse.realsize", b"9000"),
    ];
    let mut content = b"2\n512\n3\n4096\n2\n".to_vec();
    content.resize(512, 0);
    content.extend_from_slice(b"abcde");
    check(Raw::new().pax(form_10).entry(b'0', b"GNUSparseFile.1/sparse", b"", &content));
}

#[test]
fn lying_sparse_maps() {
    let with = |map: &str, size: &str| {
        let records: &[(&str, &[u8])] =
            &[("GNU.sparse.size", size.as_bytes()), ("GNU.sparse.map", map.as_bytes())];
        read(&Raw::new().pax(records).entry(b'0', b"s", b"", b"abcde").end()).map(|_| ())
    };
    assert!(with("0,5", "5").is_ok());
    for (map, size) in [
        ("0,4", "5"),
        ("0,6", "6"),
        ("3,5", "5"),
        ("2,3,0,2", "9"),
        ("0,3,2,2", "9"),
        ("0", "5"),
        ("18446744073709551615,5", "5"),
        ("0,18446744073709551615", "5"),
        ("0,5", "18446744073709551615"),
        ("a,b", "5"),
    ] {
        assert!(with(map, size).is_err(), "{map} {size}");
    }
}

/// GNU tar, if it is here.
fn gnu_tar(args: &[&str], dir: &Path) -> Option<Vec<u8>> {
    let out = Command::new("tar").args(args).current_dir(dir).stderr(Stdio::inherit()).output().ok()?;
    assert!(out.status.success());
    Some(out.stdout)
}

fn odd_tree(root: &Path) {
    use std::os::unix::ffi::OsStrExt as _;
    let write = |name: &[u8], content: &[u8]| {
        std::fs::write(root.join(std::ffi::OsStr::from_bytes(name)), content).unwrap()
    };
    let deep = "long-directory-name/".repeat(12);
    std::fs::create_dir_all(root.join(&deep)).unwrap();
    write(format!("{deep}file").as_bytes(), b"deep");
    write(&[b'n'; 200], b"long");
    write(b"caf\xe9", b"not UTF-8");
    write("sm\u{f6}rg\u{e5}s".as_bytes(), b"UTF-8");
    write(b"new\nline", b"");
    std::os::unix::fs::symlink("t".repeat(300), root.join("far")).unwrap();
    std::os::unix::fs::symlink("nowhere", root.join("near")).unwrap();
    std::fs::hard_link(root.join("near"), root.join("near2")).unwrap();
    std::fs::hard_link(root.join("new\nline"), root.join("zlink")).unwrap();
    let mut sparse = std::fs::File::create(root.join("sparse")).unwrap();
    sparse.write_all(b"start").unwrap();
    for at in 1..40u64 {
        rustix::fs::seek(&sparse, rustix::fs::SeekFrom::Start(at * 1_000_000)).unwrap();
        sparse.write_all(b"piece").unwrap();
    }
    sparse.set_len(50_000_000).unwrap();
    let mut times = std::fs::FileTimes::new();
    times = times.set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(1_600_000_000, 123_456_789));
    std::fs::File::open(root.join("caf")).ok();
    std::fs::File::options().write(true).open(root.join("sparse")).unwrap().set_times(times).unwrap();
}

#[test]
fn gnu_tars_own_archives() {
    if !is_root() {
        return;
    }
    let source = tempfile::tempdir().unwrap();
    odd_tree(source.path());
    let forms: &[&[&str]] = &[
        &["--format=gnu"],
        &["--format=gnu", "--sparse"],
        &["--format=pax", "--xattrs"],
        &["--format=pax", "--sparse", "--sparse-version=0.0"],
        &["--format=pax", "--sparse", "--sparse-version=0.1"],
        &["--format=pax", "--sparse", "--sparse-version=1.0"],
    ];
    for form in forms {
        let Some(bytes) = gnu_tar(&[form, &["--numeric-owner", "-cf", "-", "."][..]].concat(), source.path())
        else {
            return;
        };
        let (_layers, fs, _) = apply_one(&bytes).unwrap();
        let (mut ours, mut theirs) = (tree(&fs), tree(source.path()));
        if form[0] == "--format=gnu" {
            // It holds whole seconds only.
            for line in ours.values_mut().chain(theirs.values_mut()) {
                let dot = line.find('.').unwrap();
                line.replace_range(dot..dot + 10, "");
            }
        }
        assert_eq!(ours, theirs, "{form:?}");
        let copy = Layers::new();
        let copy = (copy.empty(), copy);
        let options = snapshot::ApplyOptions { tree_digest: true, ..snapshot::ApplyOptions::new(ids()) };
        let applied = snapshot::apply(&bytes[..], &copy.0, &options).unwrap();
        let read = snapshot::tree_digest(&fs, snapshot::Depth::Content).unwrap();
        assert_eq!(applied.tree_digest, Some(read), "{form:?}");
        let blocks = std::fs::metadata(fs.join("sparse")).unwrap().blocks();
        assert!(!form.contains(&"--sparse") || blocks < 1000, "{form:?}: {blocks} blocks");
        // And back: GNU tar reads ours as the same tree.
        let back = tempfile::tempdir().unwrap();
        let mut child = Command::new("tar")
            .args(["-xf", "-", "-C"])
            .arg(back.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&diff_bytes(&fs)).unwrap();
        assert!(child.wait().unwrap().success());
        let (mut back, mut ours) = (tree(back.path()), tree(&fs));
        back.remove(&b""[..]);
        ours.remove(&b""[..]);
        assert_eq!(back, ours, "{form:?}");
    }
}

#[test]
fn pythons_tarfile_reads_the_same() {
    let bytes = tar(&[
        (Entry::new("d".repeat(90) + "/" + &"e".repeat(90), Kind::Directory, 0o755), b""),
        (Entry::new("u".repeat(120), Kind::File { size: 1 }, 0o4755), b"1"),
        (Entry::new("sm\u{f6}r", Kind::Symlink("\u{e5}".into()), 0o777), b""),
        (
            {
                let mut e = file("owned", "22");
                e.0.owner = Owner { uid: 3_000_000, gid: 4_000_000_000 };
                e.0.mtime = Mtime { sec: -2, nsec: 750_000_000 };
                e.0
            },
            b"22",
        ),
    ]);
    let script = "import sys,tarfile,io\nfor m in tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read())):\n print(m.name,oct(m.mode),m.uid,m.gid,m.mtime,m.size,m.type,m.linkname)";
    let Ok(mut child) = Command::new("python3")
        .args(["-X", "utf8", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
    else {
        return;
    };
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    let text = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let want = format!(
        "{}/{} 0o755 0 0 0 0 b'5' \n{} 0o4755 0 0 0 1 b'0' \nsm\u{f6}r 0o777 0 0 0 0 b'2' \u{e5}\nowned 0o644 3000000 4000000000 -1.25 2 b'0' \n",
        "d".repeat(90),
        "e".repeat(90),
        "u".repeat(120)
    );
    assert_eq!(text, want);
}

#[test]
fn the_tar_crate_reads_the_same() {
    let mut entries = vec![dir("a"), file("a/b", "content"), symlink("c", "x"), hard_link("d", "a/b")];
    entries.push((Entry::new(b"caf\xe9/".repeat(80), Kind::Fifo, 0o600), b""));
    entries[1].0.xattrs.insert(b"user.x".to_vec(), b"1\n=2".to_vec());
    let bytes = tar(&entries);
    let mut archive = tar::Archive::new(&bytes[..]);
    let mut count = 0;
    for (theirs, (ours, content)) in archive.entries().unwrap().zip(&entries) {
        let mut theirs = theirs.unwrap();
        let path = theirs.path_bytes().into_owned();
        assert_eq!(
            path.strip_suffix(b"/").unwrap_or(&path),
            ours.path.strip_suffix(b"/").unwrap_or(&ours.path)
        );
        assert_eq!(theirs.header().mode().unwrap(), ours.mode);
        let mut read = Vec::new();
        theirs.read_to_end(&mut read).unwrap();
        assert_eq!(read, *content);
        count += 1;
    }
    assert_eq!(count, entries.len());
}

#[test]
fn a_file_of_more_than_8_gib() {
    // Its content is a hole, so that it costs nothing but zeros to hash.
    let size: u64 = (8 << 30) + 5;
    let layers = Layers::new();
    let fs = layers.empty();
    std::fs::File::create(fs.join("big")).unwrap().set_len(size).unwrap();
    struct Start(Vec<u8>);
    impl std::io::Write for Start {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.0.len() >= 2048 {
                return Err(std::io::ErrorKind::Other.into());
            }
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut start = Start(Vec::new());
    let error = snapshot::diff(&fs, &mut start, &snapshot::DiffOptions::default()).unwrap_err();
    assert!(error.to_string().starts_with("writing a layer"), "{error}");
    let mut tar = TarReader::new(start.0.as_slice(), 1 << 20);
    assert_eq!(tar.next().unwrap().unwrap().size, size);
}
