//! The verbs of images as an ordinary user: the same answers as root's, and nothing left behind.

use std::path::Path;

use crate::harness::{TestImage, TestStore};

#[test]
fn the_same_answers_as_roots() {
    let Some(user) = TestStore::of_an_ordinary_user() else { return };
    let root = TestStore::new();
    root.put(&TestImage::new(&["a:1", "b"]).layer("a", 1_000_000).layer("b", 6).step("CMD [\"x\"]"));
    root.put(&TestImage::new(&["c"]).layer("a", 1_000_000).layer("c", 7));
    let archive = user.dir().join("archive.tar");
    let archive = archive.to_str().unwrap();
    root.ok(&["save", "-o", archive, "a:1", "b", "c"]);
    std::fs::set_permissions(archive, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    user.ok(&["load", "-i", archive]);
    for args in [
        vec!["images", "--no-trunc"],
        vec!["history", "--no-trunc", "a:1"],
        vec!["inspect", "-f", "{{.Id}} {{json .Config}} {{json .RootFS}} {{.Size}}", "a:1", "c"],
    ] {
        assert_eq!(user.ok(&args), root.ok(&args), "{args:?}");
    }
    assert!(user.ok(&["system", "df", "--format", "{{.Type}} {{.Size}}"]).starts_with("Images 1MB\n"));
    assert!(user.ok(&["system", "check"]).contains("3 snapshots (3 by content)"));
    assert!(user.ok(&["rmi", "c"]).contains("Deleted: "));
    assert!(user.ok(&["info", "-f", "{{.Images}} {{.SecurityOptions}}"]).contains("name=rootless"));
}

#[test]
fn prune_leaves_nothing_behind() {
    let Some(user) = TestStore::of_an_ordinary_user() else { return };
    user.ok(&["images"]);
    user.ok(&["system", "prune", "-af"]);
    let baseline = files(&user.root());
    let root = TestStore::new();
    root.put(&TestImage::new(&["a:1"]).layer("a", 1000).layer("b", 6));
    let saved = root.run(&["save", "a:1", "-o", user.dir().join("archive.tar").to_str().unwrap()]);
    assert_eq!(saved.code, 0, "{saved:?}");
    let archive = std::fs::read(user.dir().join("archive.tar")).unwrap();
    assert_eq!(user.run_with(&["load"], &archive).code, 0);
    assert!(files(&user.root()) > baseline);
    user.ok(&["system", "prune", "-af"]);
    assert_eq!(files(&user.root()), baseline);
}

/// How many files and directories there are below.
fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            1 + if entry.file_type().unwrap().is_dir() { files(&entry.path()) } else { 0 }
        })
        .sum()
}
