//! The cases, by subject, and what they share.

use std::path::{Path, PathBuf};

use crate::Case;

pub mod doctor;
mod namespace;
mod overlay;
mod owners;

pub const CASES: &[&[Case]] = &[doctor::CASES, namespace::CASES, overlay::CASES, owners::CASES];

/// A directory of this process's own, removed with all in it.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        let path = std::env::temp_dir().join(format!("strake-real-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    /// A new directory in it.
    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let parent = runtime::beneath::open_root(self.0.parent().unwrap()).unwrap();
        let name = Path::new(self.0.file_name().unwrap());
        let removed = runtime::beneath::remove_all(std::os::fd::AsFd::as_fd(&parent), name);
        if !std::thread::panicking() {
            removed.unwrap();
        }
    }
}

/// Lines of mountinfo that are ours.
pub fn own_mounts() -> Vec<String> {
    let all = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    all.lines().filter(|line| line.contains(" strake ")).map(str::to_owned).collect()
}
