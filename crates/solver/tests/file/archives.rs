//! ADD of archives.

use std::fs;
use std::io::Write as _;

use graph::{Copy, Unpack};
use runtime::Mode;
use solver::file::Input;

use crate::bed::*;

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
