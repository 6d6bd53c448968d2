//! `history`: Docker's columns, sizes by layer, and where an image comes from.

use serde_json::Value;

use crate::harness::{TestImage, TestStore, short};

fn image(tag: &str) -> TestImage {
    TestImage::new(&[tag]).layer("os", 5_000_000).step("CMD [\"/bin/sh\"]")
}

#[test]
fn the_table_is_dockers() {
    let store = TestStore::new();
    let id = store.put(&image("a").layer("app", 1234));
    let table =
        store.ok(&["history", "a", "--format", "table {{.ID}}\\t{{.CreatedBy}}\\t{{.Size}}\\t{{.Comment}}"]);
    let expected = format!(
        "IMAGE          CREATED BY              SIZE      COMMENT\n\
         {}   COPY app / # buildkit   1.23kB    buildkit.dockerfile.v0\n\
         <missing>      CMD [\"/bin/sh\"]         0B        buildkit.dockerfile.v0\n\
         <missing>      COPY os / # buildkit    5MB       buildkit.dockerfile.v0\n",
        short(&id)
    );
    assert_eq!(table, expected);
    let whole = store.ok(&["image", "history", "a"]);
    assert!(whole.starts_with("IMAGE          CREATED"), "{whole}");
    assert_eq!(store.ok(&["history", "-q", "a"]), format!("{}\n<missing>\n<missing>\n", short(&id)));
}

#[test]
fn what_an_image_says_of_itself_does_not_speak_to_terminals() {
    let store = TestStore::new();
    store.put(&TestImage::new(&["a"]).layer("os", 1).step("CMD \u{1b}]0;title\u{7}").step("USER \u{1b}[2J"));
    let table = store.ok(&["history", "--no-trunc", "a"]);
    assert!(table.contains("CMD ]0;title") && !table.contains(['\u{1b}', '\u{7}']), "{table:?}");
    let said = store.fails(1, &["inspect", "\u{1b}[2Jno"]);
    assert!(said.contains("[2Jno") && !said.contains('\u{1b}'), "{said:?}");
}

#[test]
fn for_machines() {
    let store = TestStore::new();
    let id = store.put(&image("a"));
    let table = store.ok(&["history", "--human=false", "--no-trunc", "a"]);
    let mut lines = table.lines();
    assert!(lines.next().unwrap().starts_with("IMAGE"));
    assert!(lines.next().unwrap().starts_with(&format!("{id}   2024-01-02T03:04:05Z   CMD")), "{table}");
    assert!(lines.next().unwrap().contains("   5000000   "), "{table}");
    let line: Value =
        serde_json::from_str(store.ok(&["history", "--format", "json", "a"]).lines().next().unwrap())
            .unwrap();
    assert_eq!(line["CreatedBy"], "CMD [\"/bin/sh\"]");
    assert_eq!(line["Size"], "0B");
}

#[test]
fn long_instructions_are_cut() {
    let store = TestStore::new();
    store.put(&TestImage::new(&["a"]).layer("a", 1).step(&format!("RUN {}", "x".repeat(100))));
    let table = store.ok(&["history", "a"]);
    assert!(table.contains(&format!("RUN {}…  ", "x".repeat(40))), "{table}");
    assert!(store.ok(&["history", "--no-trunc", "a"]).contains(&"x".repeat(100)));
}

#[test]
fn the_base_is_told() {
    let store = TestStore::new();
    store.put(&image("base:1"));
    store.put(&image("app").layer("app", 1234).base("docker.io/library/base:1"));
    let ran = store.run(&["history", "app"]);
    assert_eq!(ran.stderr, "Base image: docker.io/library/base:1 (the last 2 lines)\n");
    assert_eq!(store.ok(&["history", "--format", "{{.Base}}", "app"]), "\nbase:1\nbase:1\n");
}

#[test]
fn what_is_not_there() {
    assert_eq!(TestStore::new().fails(1, &["history", "nope"]), "Error: No such image: nope:latest\n");
}
