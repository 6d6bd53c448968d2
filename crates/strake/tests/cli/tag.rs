//! `tag`: names given, moved and refused.

use crate::harness::{TestImage, TestStore, short};

#[test]
fn names_are_given_by_name_and_by_id() {
    let store = TestStore::new();
    let id = store.put(&TestImage::new(&["a:1"]).layer("a", 5));
    store.ok(&["tag", "a:1", "b"]);
    store.ok(&["image", "tag", &short(&id)[..6], "example.com/c:2"]);
    store.ok(&["tag", &id.to_string(), "d:3"]);
    assert_eq!(
        store.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"]),
        "a:1\nb:latest\nd:3\nexample.com/c:2\n"
    );
}

#[test]
fn a_name_moves() {
    let store = TestStore::new();
    store.put(&TestImage::new(&["a:1"]).layer("a", 5));
    let other = store.put(&TestImage::new(&["b:1"]).layer("b", 5));
    store.ok(&["tag", "b:1", "a:1"]);
    assert_eq!(store.ok(&["images", "-q", "a:1"]), format!("{}\n", short(&other)));
    assert_eq!(store.ok(&["images", "-f", "dangling=true", "-q"]).lines().count(), 1);
}

#[test]
fn bad_names_are_refused_in_dockers_words() {
    let store = TestStore::new();
    let id = store.put(&TestImage::new(&["a:1"]).layer("a", 5));
    for (source, target, message) in [
        ("a:1", "BAD", "\"BAD\" is not a valid repository/tag: invalid reference format"),
        ("a:1", "x:", "is not a valid repository/tag"),
        ("a:1", id.hex(), "cannot specify 64-byte hexadecimal strings"),
        ("a:1", &format!("x@{id}"), "refusing to create a tag with a digest reference"),
        ("nope", "x", "No such image: nope:latest"),
    ] {
        let stderr = store.fails(1, &["tag", source, target]);
        assert!(stderr.contains(message), "{target}: {stderr}");
    }
}
