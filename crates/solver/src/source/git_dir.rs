//! What stays of `.git` where that stays: what a clone would have, with no password in it, and nothing that is another
//! one tomorrow.
//!
//! What is in a repository's history is not looked at: that is whoever wrote it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::checkout::{entries, run};
use super::command::{Git, Places};
use crate::error::Failure;

/// Directories within directories in which submodules' are looked for: their names are paths.
const DEPTH: usize = 64;

/// Tidies the git directory in `places`, and those of the submodules in it.
pub(super) fn tidy(git: &Git<'_>, places: &Places) -> Result<(), Failure> {
    let url = graph::redacted(&git.source.remote);
    let fetch = "+refs/heads/*:refs/remotes/origin/*";
    for (name, value) in [("remote.origin.url", url.as_str()), ("remote.origin.fetch", fetch)] {
        run(git, &["config", "--local", "--replace-all", name, value])?;
    }
    // Where it was made means nothing where it will be.
    let _ = run(git, &["config", "--local", "--unset-all", "core.worktree"]);
    forget(&places.git_dir)?;
    let modules = places.git_dir.join("modules");
    if is_dir(&modules) { within(&modules, 0) } else { Ok(()) }
}

/// Tidies the git directories in `dir`, however deep they lie.
fn within(dir: &Path, depth: usize) -> Result<(), Failure> {
    if depth > DEPTH {
        return Ok(());
    }
    if is_file(&dir.join("HEAD")) && is_dir(&dir.join("objects")) {
        forget(dir)?;
        let modules = dir.join("modules");
        return if is_dir(&modules) { within(&modules, depth + 1) } else { Ok(()) };
    }
    for path in entries(dir)? {
        if is_dir(&path) {
            within(&path, depth + 1)?;
        }
    }
    Ok(())
}

/// Takes away what says where and when the git directory was made, and the passwords of its remotes: git writes those
/// of submodules that it finds beside their repository with its password.
fn forget(git_dir: &Path) -> Result<(), Failure> {
    for name in ["FETCH_HEAD", "ORIG_HEAD", "logs"] {
        let path = git_dir.join(name);
        let gone = if is_dir(&path) { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match gone {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Failure::io("remove", path)(error));
            }
            _ => {}
        }
    }
    let path = git_dir.join("config");
    if is_file(&path) {
        let config = fs::read_to_string(&path).map_err(Failure::io("read", &path))?;
        fs::write(&path, without_passwords(&config)).map_err(Failure::io("write", &path))?;
    }
    Ok(())
}

/// The text of a git configuration with its URLs redacted.
fn without_passwords(config: &str) -> String {
    let mut text = String::with_capacity(config.len());
    for line in config.split_inclusive('\n') {
        match line.split_once("url = ").filter(|(before, _)| before.trim().is_empty()) {
            Some((before, value)) => {
                // In quotes where there is something in it that a configuration means otherwise.
                let (quote, url) = value.strip_prefix('"').map_or(("", value), |url| ("\"", url));
                text.push_str(&format!("{before}url = {quote}{}", graph::redacted(url)));
            }
            None => text.push_str(line),
        }
    }
    text
}

fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_lose_their_passwords() {
        let config = "[submodule \"a\"]\n\tactive = true\n\turl = https://me:pw@a.example/b.git\n\
            \turl = \"https://token@a.example/b;c.git\"\n\turl = git@a:b\n[x]\n\tnourl = https://me:pw@a/\n";
        let tidied = "[submodule \"a\"]\n\tactive = true\n\turl = https://me:xxxxx@a.example/b.git\n\
            \turl = \"https://xxxxx@a.example/b;c.git\"\n\turl = git@a:b\n[x]\n\tnourl = https://me:pw@a/\n";
        assert_eq!(without_passwords(config), tidied);
    }
}
