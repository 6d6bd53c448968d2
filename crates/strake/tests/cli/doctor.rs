//! `system doctor`: what this machine allows, in words and for machines.

use serde_json::Value;

use crate::harness::TestStore;

#[test]
fn every_check_has_a_line_and_no_store_is_made() {
    let store = TestStore::new();
    let ran = store.run(&["system", "doctor"]);
    let missing = ran.stdout.lines().any(|line| line.starts_with("missing "));
    assert_eq!(ran.code, i32::from(missing), "{ran:?}");
    for name in ["kernel", "user namespaces", "overlayfs", "seccomp", "cgroups"] {
        assert!(ran.stdout.contains(name), "{name}: {}", ran.stdout);
    }
    assert!(!store.root().join("version").exists());
}

#[test]
fn as_json() {
    let out = TestStore::new().run(&["system", "doctor", "--format", "json"]).stdout;
    for line in out.lines() {
        let check: Value = serde_json::from_str(line).unwrap();
        assert!(["ok", "degraded", "missing"].contains(&check["Status"].as_str().unwrap()), "{line}");
        assert!(
            check["Status"] == "ok" || check["Without"] != "",
            "what is lesser says what that means: {line}"
        );
    }
    assert!(out.lines().count() > 5);
}
