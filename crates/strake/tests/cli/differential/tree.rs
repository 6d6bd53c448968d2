//! A tar of a whole file tree as lines that can be compared: one an entry, without times.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use crate::harness::ran;

/// What an engine puts into each container, or takes for its mounts.
const NOT_OF_THE_IMAGE: [&str; 7] =
    ["dev", "proc", "sys", "run", "etc/hosts", "etc/hostname", "etc/resolv.conf"];

/// The entries of the archive, sorted. Unpacked by GNU tar beside it, as root.
pub fn lines(archive: &Path) -> Vec<String> {
    let root = archive.with_extension("tree");
    let _ = fs::remove_dir_all(&root);
    fs::create_dir(&root).unwrap();
    let unpacked = ran(Command::new("tar")
        .args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf"])
        .arg(archive)
        .arg("-C")
        .arg(&root));
    assert_eq!(unpacked.code, 0, "{unpacked:?}");
    let mut lines = Vec::new();
    walk(&root, &root, &mut lines);
    let attributes = ran(Command::new("getfattr")
        .args(["-R", "-P", "-d", "-m", "-", "-e", "hex", "."])
        .current_dir(&root));
    let mut file = "";
    for line in attributes.stdout.lines() {
        match line.strip_prefix("# file: ") {
            Some(name) => file = name,
            None if line.is_empty() => {}
            None => lines.push(format!("{file} {line}")),
        }
    }
    lines.sort();
    lines
}

fn walk(root: &Path, dir: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap();
        if NOT_OF_THE_IMAGE.iter().any(|other| Path::new(other) == name) {
            continue;
        }
        let meta = fs::symlink_metadata(&path).unwrap();
        let (kind, what) = match meta.file_type() {
            t if t.is_dir() => ("directory", String::new()),
            t if t.is_symlink() => ("link", format!("{:?}", fs::read_link(&path).unwrap())),
            t if t.is_file() => ("file", oci::Digest::sha256(&fs::read(&path).unwrap()).to_string()),
            t if t.is_fifo() => ("fifo", String::new()),
            _ => ("device", meta.rdev().to_string()),
        };
        let mode = meta.permissions().mode() & 0o7777;
        // A link's mode is the kernel's.
        let mode = if kind == "link" { 0 } else { mode };
        let links = if kind == "file" { meta.nlink() } else { 1 };
        lines.push(format!(
            "{} {kind} {mode:04o} {}:{} x{links} {what}",
            String::from_utf8_lossy(name.as_os_str().as_bytes()),
            meta.uid(),
            meta.gid()
        ));
        if meta.is_dir() {
            walk(root, &path, lines);
        }
    }
}
