//! What golden tests share: the folders of cases, and files that hold what is expected.
#![allow(dead_code, reason = "each test takes of it what it needs")]

use std::fs;
use std::path::{Path, PathBuf};

/// The cases of `tests/<folder>`, of which there are at least `least`: its folders with a Dockerfile.
pub fn cases(folder: &str, least: usize) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut cases: Vec<_> = fs::read_dir(&root)
        .expect("the cases are there")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.join("Dockerfile").exists())
        .collect();
    cases.sort();
    assert!(cases.len() >= least, "the cases are there");
    cases
}

/// Judges all cases.
#[track_caller]
pub fn judged(folder: &str, least: usize, judge: impl Fn(&Path) -> Result<(), String>) {
    let failed: Vec<String> = cases(folder, least).iter().filter_map(|case| judge(case).err()).collect();
    assert!(failed.is_empty(), "{}\n\nUPDATE_EXPECT=1 takes the new ones", failed.join("\n"));
}

/// Compares what was `found` with the file at `path`; without a file, nothing is expected. `UPDATE_EXPECT=1` writes
/// the file anew.
pub fn compare(path: &Path, found: Option<String>) -> Result<(), String> {
    let expected = fs::read_to_string(path).ok();
    if expected == found {
        return Ok(());
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        match found {
            Some(text) => fs::write(path, text).expect("it can be written"),
            None => fs::remove_file(path).expect("it can be removed"),
        }
        return Ok(());
    }
    let (expected, found) = (expected.unwrap_or_default(), found.unwrap_or_default());
    let line = expected.lines().zip(found.lines()).take_while(|(a, b)| a == b).count();
    Err(format!(
        "{}:{}: expected {:?}, found {:?}",
        path.display(),
        line + 1,
        expected.lines().nth(line).unwrap_or("nothing"),
        found.lines().nth(line).unwrap_or("nothing"),
    ))
}
