//! Paths under a hostile root: nothing outside is reached, whatever links it holds. Needs no privilege.

use std::fs;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use runtime::beneath::{self, Mode, OFlags};
use rustix::fs::{CWD, FileType};

/// A directory with a `root` in it, and a `secret` beside that.
struct Ground {
    dir: PathBuf,
}

impl Ground {
    fn new(name: &str) -> Ground {
        let dir = std::env::temp_dir().join(format!("strake-beneath-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("root/etc")).unwrap();
        fs::write(dir.join("secret"), "outside").unwrap();
        fs::write(dir.join("root/etc/passwd"), "inside").unwrap();
        Ground { dir }
    }

    fn root(&self) -> std::os::fd::OwnedFd {
        beneath::open_root(&self.dir.join("root")).unwrap()
    }

    fn link(&self, target: &str, name: &str) {
        symlink(target, self.dir.join("root").join(name)).unwrap();
    }

    fn read(&self, path: &str) -> io::Result<String> {
        let mut text = String::new();
        fs::File::from(beneath::open_file(self.root().as_fd(), path)?).read_to_string(&mut text)?;
        Ok(text)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn links_and_dots_stay_inside() {
    let ground = Ground::new("links");
    ground.link("../secret", "up");
    ground.link("../../../../../../secret", "far-up");
    ground.link("/etc/passwd", "absolute");
    ground.link("/", "slash");
    ground.link("absolute", "chain");
    ground.link("loop", "loop");
    ground.link("/proc/self/root/etc/hostname", "magic");

    for missing in ["up", "far-up", "../secret", "/../secret", "slash/../secret", "magic"] {
        let error = ground.read(missing).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{missing}: {error}");
    }
    for there in ["absolute", "/etc/passwd", "etc/../../etc/passwd", "chain", "slash/etc/passwd"] {
        assert_eq!(ground.read(there).unwrap(), "inside", "{there}");
    }
    let error = ground.read("loop").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
}

#[test]
fn magic_links_are_refused_when_the_root_is_everything() {
    let root = beneath::open_root(Path::new("/")).unwrap();
    let error = beneath::open_file(root.as_fd(), "/proc/self/exe").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
}

#[test]
fn only_regular_files_are_opened_for_reading() {
    let ground = Ground::new("kinds");
    rustix::fs::mknodat(CWD, ground.dir.join("root/fifo"), FileType::Fifo, Mode::from_raw_mode(0o644), 0)
        .unwrap();
    // A plain open would wait here for a writer.
    assert_eq!(ground.read("fifo").unwrap_err().raw_os_error(), Some(libc::EINVAL));
    assert_eq!(ground.read("etc").unwrap_err().raw_os_error(), Some(libc::EISDIR));
}

#[test]
fn stat_and_readlink_tell_a_link_from_its_target() {
    let ground = Ground::new("stat");
    ground.link("/etc/passwd", "link");
    let root = ground.root();
    let followed = beneath::stat(root.as_fd(), "link").unwrap();
    assert_eq!(FileType::from_raw_mode(followed.st_mode), FileType::RegularFile);
    let itself = beneath::lstat(root.as_fd(), "link").unwrap();
    assert_eq!(FileType::from_raw_mode(itself.st_mode), FileType::Symlink);
    assert_eq!(beneath::readlink(root.as_fd(), "link").unwrap(), Path::new("/etc/passwd"));
    let error = beneath::readlink(root.as_fd(), "etc/passwd").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
}

#[test]
fn mkdir_all_follows_links_inside_and_says_what_it_made() {
    let ground = Ground::new("mkdir");
    ground.link("/var/real", "link");
    ground.link("../../outside", "dangling");
    fs::create_dir_all(ground.dir.join("root/var/real")).unwrap();
    let root = ground.root();
    let make = |path: &str| {
        let mut made = Vec::new();
        let done =
            beneath::mkdir_all(root.as_fd(), Path::new(path), Mode::from_raw_mode(0o750), |_, path| {
                made.push(path.to_str().unwrap().to_owned());
                Ok(())
            });
        done.map(|_| made)
    };
    assert_eq!(make("/link/a/b").unwrap(), ["/link/a", "/link/a/b"]);
    assert!(ground.dir.join("root/var/real/a/b").is_dir());
    assert_eq!(make("link/a/b").unwrap(), [""; 0]);
    assert_eq!(make("x/../y").unwrap(), ["/x", "/x/../y"]);
    assert_eq!(make("/").unwrap(), [""; 0]);
    assert_eq!(make("../../z").unwrap(), ["/../../z"]);
    assert!(ground.dir.join("root/z").is_dir());
    assert_eq!(make("dangling/a").unwrap_err().raw_os_error(), Some(libc::EEXIST));
    assert_eq!(make("etc/passwd/a").unwrap_err().raw_os_error(), Some(libc::ENOTDIR));
    assert!(!ground.dir.join("outside").exists());
}

#[test]
fn parent_keeps_the_last_name() {
    let ground = Ground::new("parent");
    ground.link("/etc", "link");
    let root = ground.root();
    let (directory, name) = beneath::parent(root.as_fd(), Path::new("link/new")).unwrap();
    assert_eq!(name, "new");
    rustix::fs::mkdirat(&directory, name.as_os_str(), Mode::from_raw_mode(0o755)).unwrap();
    assert!(ground.dir.join("root/etc/new").is_dir());
    assert!(beneath::parent(root.as_fd(), Path::new("/")).is_err());
    assert!(beneath::parent(root.as_fd(), Path::new("a/..")).is_err());
}

#[test]
fn removal_does_not_follow_links() {
    let ground = Ground::new("remove");
    let keep = ground.dir.join("keep");
    fs::create_dir(&keep).unwrap();
    fs::write(keep.join("file"), "").unwrap();
    fs::create_dir_all(ground.dir.join("root/t/sub/sub")).unwrap();
    fs::write(ground.dir.join("root/t/sub/file"), "").unwrap();
    symlink(&keep, ground.dir.join("root/t/sub/link")).unwrap();
    let root = ground.root();
    beneath::remove_all(root.as_fd(), Path::new("t")).unwrap();
    assert!(!ground.dir.join("root/t").exists());
    assert!(keep.join("file").exists());

    symlink(&keep, ground.dir.join("root/link")).unwrap();
    beneath::remove_all(root.as_fd(), Path::new("link")).unwrap();
    assert!(keep.join("file").exists());
    let error = beneath::remove_all(root.as_fd(), Path::new("link")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn removal_goes_deeper_than_there_are_descriptors() {
    let ground = Ground::new("deep");
    let root = ground.root();
    let mut directory = root.try_clone().unwrap();
    for _ in 0..3000 {
        rustix::fs::mkdirat(&directory, "d", Mode::from_raw_mode(0o755)).unwrap();
        for file in ["a", "z"] {
            let flags = OFlags::CREATE | OFlags::WRONLY;
            beneath::open_in_root(directory.as_fd(), file, flags, Mode::from_raw_mode(0o644)).unwrap();
        }
        directory = beneath::open_in_root(directory.as_fd(), "d", OFlags::PATH, Mode::empty()).unwrap();
    }
    beneath::remove_children(root.as_fd()).unwrap();
    assert_eq!(fs::read_dir(ground.dir.join("root")).unwrap().count(), 0);
}

#[test]
fn a_new_file_has_the_mode_asked_for() {
    let ground = Ground::new("mode");
    let root = ground.root();
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
    beneath::open_in_root(root.as_fd(), "/etc/new", flags, Mode::from_raw_mode(0o600)).unwrap();
    let mode = fs::metadata(ground.dir.join("root/etc/new")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let error = beneath::open_without_links(root.as_fd(), "etc/../etc", OFlags::PATH, Mode::empty());
    assert!(error.is_ok());
    ground.link("etc", "link");
    let error = beneath::open_without_links(root.as_fd(), "link/new", OFlags::PATH, Mode::empty());
    assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::ELOOP));
}
