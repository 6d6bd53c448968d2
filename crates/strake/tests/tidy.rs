//! The rules of ARCHITECTURE.md that a machine can check: which crate may import which, that every
//! file says what it is, and where `unsafe` may stand.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Each crate and the crates of this workspace that it may import. A new arrow is a change of the
/// architecture: it is argued for in ARCHITECTURE.md, in the same commit.
const IMPORTS: &[(&str, &[&str])] = &[
    ("strake-oci", &[]),
    ("strake-graph", &["strake-oci"]),
    ("strake-gotemplate", &[]),
    ("strake-runtime", &[]),
    ("strake-dockerfile", &["strake-oci", "strake-graph"]),
    ("strake-store", &["strake-oci"]),
    ("strake-registry", &["strake-oci"]),
    ("strake-server", &["strake-oci", "strake-store"]),
    ("strake-snapshot", &["strake-oci", "strake-runtime"]),
    (
        "strake-solver",
        &[
            "strake-oci",
            "strake-graph",
            "strake-store",
            "strake-registry",
            "strake-runtime",
            "strake-snapshot",
        ],
    ),
    (
        "strake-engine",
        &[
            "strake-oci",
            "strake-graph",
            "strake-dockerfile",
            "strake-store",
            "strake-registry",
            "strake-server",
            "strake-runtime",
            "strake-snapshot",
            "strake-solver",
        ],
    ),
    ("strake", &["strake-engine", "strake-oci", "strake-gotemplate", "strake-runtime"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

#[test]
fn imports_point_one_way() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut seen = BTreeSet::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let Some((_, allowed)) = IMPORTS.iter().find(|(known, _)| *known == name) else {
            panic!("{name} is not in the import table: add it there and to ARCHITECTURE.md");
        };
        seen.insert(name.to_owned());
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = dependency["name"].as_str().unwrap();
            // What tests use is no part of the architecture.
            if !to.starts_with("strake-") || dependency["kind"] == "dev" {
                continue;
            }
            assert!(allowed.contains(&to), "{name} imports {to}, which the import table does not allow");
        }
    }
    assert_eq!(seen.len(), IMPORTS.len(), "the import table names a crate that is gone");
}

#[test]
fn every_file_says_what_it_is() {
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//!"), "{} does not begin with a //! paragraph", path.display());
        let lines = text.lines().count();
        assert!(lines <= 900, "{} has {lines} lines: is it still one subject?", path.display());
    }
}

#[test]
fn unsafe_stands_in_the_runtime_only() {
    for (name, _) in IMPORTS.iter().filter(|(name, _)| *name != "strake-runtime") {
        let folder = name.strip_prefix("strake-").unwrap_or("strake");
        let source = root().join("crates").join(folder).join("src");
        let file = ["lib.rs", "main.rs"].iter().map(|f| source.join(f)).find(|f| f.exists()).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains("#![forbid(unsafe_code)]"), "{} does not forbid unsafe code", file.display());
    }
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            // What a test builds is no code of ours.
            if path.is_dir() && path.file_name().is_some_and(|n| n != "target" && n != "data") {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found
}
