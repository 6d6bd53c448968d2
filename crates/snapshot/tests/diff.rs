//! Layer directories read: what is left out, what is kept, and what goes wrong.

mod support;

use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;

use snapshot::tar_reader::Type;
use snapshot::{ApplyOptions, DiffOptions, Entry, Error, Kind, View, apply, diff};
use support::*;

#[test]
fn in_the_order_of_whole_paths() {
    if !is_root() {
        return;
    }
    let bytes = tar(&[
        dir("a"),
        file("a-b", "1"),
        file("a.b", "1"),
        file("a/.z", "1"),
        dir("a/b"),
        file("a/b c", "1"),
        file("a/b/c", "1"),
        file("a/b0", "1"),
        file("a0", "1"),
    ]);
    let (_layers, fs, _) = apply_one(&bytes).unwrap();
    assert!(diff_bytes(&fs) == bytes);
}

#[test]
fn sockets_and_foreign_xattrs_are_left_out() {
    let layers = Layers::new();
    let fs = layers.empty();
    let _socket = std::os::unix::net::UnixListener::bind(fs.join("socket")).unwrap();
    std::fs::write(fs.join("file"), "1").unwrap();
    let set = |name: &str| rustix::fs::setxattr(fs.join("file"), name, b"x", rustix::fs::XattrFlags::empty());
    set("user.kept").unwrap();
    set("user.overlay.origin").unwrap();
    if is_root() {
        set("trusted.left").unwrap();
        set("security.left").unwrap();
    }
    let bytes = diff_bytes(&fs);
    let mut tar = snapshot::tar_reader::TarReader::new(&bytes[..], 1 << 20);
    let entry = tar.next().unwrap().unwrap();
    assert_eq!(entry.path, b"file");
    assert_eq!(entry.xattrs.keys().collect::<Vec<_>>(), [b"user.kept"]);
    assert!(tar.next().unwrap().is_none());
    set("user.a=b").unwrap();
    let error = diff(&fs, std::io::sink(), &DiffOptions::default()).unwrap_err().to_string();
    assert!(error.contains("file") && error.contains("user.a=b"), "{error}");
}

#[test]
fn whiteouts_are_never_linked() {
    if !is_root() {
        return;
    }
    let layers = Layers::new();
    let fs = layers.empty();
    let none = rustix::fs::Mode::empty();
    rustix::fs::mknodat(rustix::fs::CWD, fs.join("x"), rustix::fs::FileType::CharacterDevice, none, 0)
        .unwrap();
    std::fs::hard_link(fs.join("x"), fs.join("y")).unwrap();
    let white = |name: &str| (Entry::new(name, Kind::File { size: 0 }, 0), &b""[..]);
    assert!(diff_bytes(&fs) == tar(&[white(".wh.x"), white(".wh.y")]));
}

#[test]
fn whiteouts_in_the_form_of_xattrs() {
    let layers = Layers::new();
    let fs = layers.empty();
    std::fs::create_dir(fs.join("d")).unwrap();
    std::fs::write(fs.join("d/gone"), "").unwrap();
    let set = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::setxattr(fs.join(path), name, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    set("d", "user.overlay.opaque", b"x");
    set("d/gone", "user.overlay.whiteout", b"y");
    let names: Vec<_> = snapshot::diff::changes(&fs)
        .unwrap()
        .into_iter()
        .map(|(path, said)| (path, format!("{said:?}")))
        .collect();
    assert_eq!(names, [(b"d".to_vec(), "Holds".into()), (b"d/gone".to_vec(), "Removes".into())]);
}

#[test]
fn names_outside_of_the_layer_are_no_hard_links() {
    let layers = Layers::new();
    let fs = layers.empty();
    std::fs::write(layers.dir.path().join("elsewhere"), "1").unwrap();
    std::fs::hard_link(layers.dir.path().join("elsewhere"), fs.join("a")).unwrap();
    let kinds = || {
        let bytes = diff_bytes(&fs);
        let mut tar = snapshot::tar_reader::TarReader::new(&bytes[..], 1 << 20);
        std::iter::from_fn(|| tar.next().unwrap()).map(|entry| entry.kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds(), [Type::File]);
    std::fs::hard_link(fs.join("a"), fs.join("b")).unwrap();
    assert_eq!(kinds(), [Type::File, Type::HardLink]);
}

#[test]
fn a_large_tree_is_the_same_through_two_threads() {
    let layers = Layers::new();
    let fs = layers.empty();
    let content: Vec<u8> = (0..3_000_000u32).map(|n| (n >> 3) as u8).collect();
    for n in 0..40 {
        std::fs::write(fs.join(format!("f{n}")), &content[..n * 75_000]).unwrap();
    }
    let bytes = diff_bytes(&fs);
    assert!(bytes.len() > 50_000_000);
    let (_layers, again, _) = apply_one(&bytes).unwrap();
    assert_eq!(without_times(&again), without_times(&fs));
}

fn without_times(fs: &std::path::Path) -> Vec<(Vec<u8>, u64)> {
    tree(fs)
        .into_keys()
        .map(|path| (path.clone(), hash(&fs.join(String::from_utf8(path).unwrap()))))
        .collect()
}

fn hash(path: &std::path::Path) -> u64 {
    std::fs::read(path)
        .map_or(0, |bytes| bytes.iter().fold(7, |h: u64, b| h.wrapping_mul(31) ^ u64::from(*b)))
}

/// A file system of two MiB, mounted nowhere.
fn small_file_system() -> std::os::fd::OwnedFd {
    use rustix::mount::*;
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    fsconfig_set_string(&context, "size", "2m").unwrap();
    fsconfig_create(&context).unwrap();
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).unwrap()
}

#[test]
fn a_full_disk_is_told_as_such() {
    if !is_root() {
        return;
    }
    let big = vec![7u8; 4 << 20];
    let bytes =
        tar(&[file("small", "1"), (Entry::new("big/file", Kind::File { size: 4 << 20 }, 0o644), &big)]);
    let small = small_file_system();
    let dest = std::path::PathBuf::from(format!("/proc/self/fd/{}/fs", small.as_raw_fd()));
    std::fs::create_dir(&dest).unwrap();
    let error = apply(&bytes[..], &dest, &ApplyOptions::new(ids())).unwrap_err();
    assert!(error.is_no_space() && error.to_string().contains("big/file"), "{error}");
    // And when the tar of a layer has no room.
    let (_layers, fs, _) = apply_one(&bytes).unwrap();
    let out = std::fs::File::create(dest.join("out")).unwrap();
    let error = diff(&fs, out, &DiffOptions::default()).unwrap_err();
    assert!(error.is_no_space(), "{error}");
}

#[test]
fn a_writer_that_fails_is_heard() {
    struct Fails(usize);
    impl std::io::Write for Fails {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or(std::io::ErrorKind::ConnectionReset)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let layers = Layers::new();
    let fs = layers.empty();
    std::fs::File::create(fs.join("f")).unwrap().write_all(&vec![1; 8 << 20]).unwrap();
    for after in [0, 1, 5] {
        let error = diff(&fs, Fails(after), &DiffOptions::default()).unwrap_err();
        assert!(
            matches!(&error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::ConnectionReset),
            "{error}"
        );
    }
    std::fs::write(fs.join("f"), "small").unwrap();
    diff(&fs, Fails(0), &DiffOptions::default()).unwrap_err();
}

#[test]
fn a_reader_that_fails_is_heard() {
    struct Fails<'a>(&'a [u8]);
    impl std::io::Read for Fails<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.0.is_empty() {
                return Err(std::io::ErrorKind::ConnectionReset.into());
            }
            std::io::Read::read(&mut self.0, buffer)
        }
    }
    let bytes = tar(&[file("a", "1"), file("b", "2")]);
    let layers = Layers::new();
    let error = apply(Fails(&bytes[..1030]), &layers.empty(), &ApplyOptions::new(ids())).unwrap_err();
    assert!(
        matches!(&error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::ConnectionReset),
        "{error}"
    );
    assert!(error.to_string().contains("at a"), "{error}");
}

#[test]
fn a_hundred_and_thirty_layers_are_one_tree() {
    if !is_root() {
        return;
    }
    let mut layers = Layers::new();
    for n in 0..130 {
        layers.push(&tar(&[file(&format!("d/f{n:03}"), "1"), file("last", &n.to_string())]));
    }
    let view = View::open(&layers.stack).unwrap();
    assert_eq!(view.read_dir(b"d").unwrap().len(), 130);
    let mut last = String::new();
    std::io::Read::read_to_string(&mut view.open_file(b"/last").unwrap(), &mut last).unwrap();
    assert_eq!(last, "129");
}

#[test]
fn wide_and_deep_trees_need_few_descriptors() {
    let layers = Layers::new();
    let fs = layers.empty();
    for n in 0..1500 {
        std::fs::create_dir(fs.join(format!("d{n}"))).unwrap();
    }
    let deep = fs.join("d/".repeat(1000));
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("f"), "1").unwrap();
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let few = rustix::process::Rlimit { current: Some(300), ..limits };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
    snapshot::normalize(&fs, Some(5)).unwrap();
    assert_eq!(std::fs::metadata(&deep).unwrap().mtime(), 5);
    let bytes = diff_bytes(&fs);
    let (copies, again, _) = apply_one(&bytes).unwrap();
    snapshot::tree_digest(&again, snapshot::Depth::Content).unwrap();
    if is_root() {
        assert!(diff_bytes(&again) == bytes);
        snapshot::owners::settle(&fs, &copies.stack, &[], snapshot::Owner::ROOT).unwrap();
    }
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limits).unwrap();
}
