//! `system df`: every byte in a row.

use serde_json::Value;

use crate::harness::{TestImage, TestStore};

#[test]
fn the_rows_are_dockers() {
    let store = TestStore::new();
    store.put(&TestImage::new(&["a:1"]).layer("shared", 1_000_000).layer("a", 500_000));
    store.put(&TestImage::new(&["b:1"]).layer("shared", 1_000_000).layer("b", 250_000));
    let table = store.ok(&["system", "df"]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("TYPE"), "{table}");
    let cells = |line: &str| {
        line.split("  ").map(str::trim).filter(|c| !c.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(cells(lines[0]), ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]);
    assert_eq!(cells(lines[1]), ["Images", "2", "0", "1.75MB", "1.75MB (100%)"]);
    assert_eq!(cells(lines[2]), ["Containers", "0", "0", "0B", "0B"]);
    assert_eq!(cells(lines[3]), ["Local Volumes", "0", "0", "0B", "0B"]);
    assert_eq!(cells(lines[4]), ["Build Cache", "0", "0", "0B", "0B"]);
}

#[test]
fn verbose_shows_what_is_shared() {
    let store = TestStore::new();
    store.put(&TestImage::new(&["a:1"]).layer("shared", 1_000_000).layer("a", 500_000));
    store.put(&TestImage::new(&["b:1"]).layer("shared", 1_000_000).layer("b", 250_000));
    let text = store.ok(&["system", "df", "-v"]);
    for title in [
        "Images space usage:\n",
        "Containers space usage:\n",
        "Local Volumes space usage:\n",
        "Build cache usage: 0B\n",
    ] {
        assert!(text.contains(title), "{title}: {text}");
    }
    assert!(text.contains("1.5MB     1MB           500kB         0\n"), "{text}");
    assert!(text.contains("1.25MB    1MB           250kB         0\n"), "{text}");
    let json: Value = serde_json::from_str(&store.ok(&["system", "df", "-v", "--format", "json"])).unwrap();
    assert_eq!(json["Images"].as_array().unwrap().len(), 2);
    assert_eq!(json["BuildCache"].as_array().unwrap().len(), 0);
}
