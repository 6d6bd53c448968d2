//! From a commit to a layer: fetched as little as the server allows, looked at before it is written, checked out, and
//! made the same everywhere: root's files, modes by the executable bit alone, as old as the commit.

use std::cell::{Cell, RefCell};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use oci::DiffId;

use super::command::{FILES, Git, Places};
use super::failed;
use super::git::{Pinned, ask, keeps_git_dir};
use super::git_dir;
use super::record::commit;
use crate::error::Failure;

/// Directories within directories.
const DEPTH: usize = 1000;

/// Fetches and checks out the commit; the layer, and its size in bytes.
pub(super) fn check_out(git: &Git<'_>, pinned: &Pinned) -> Result<(DiffId, u64), Failure> {
    let store = git.fetch.store;
    let (pending, work) = (store.begin_snapshot()?, store.begin_snapshot()?);
    let keep = keeps_git_dir(git.source);
    let tree = match git.source.subdir.as_str() {
        "/" => pending.fs().to_owned(),
        _ => work.dir().join("tree"),
    };
    let git_dir = if keep { tree.join(".git") } else { work.dir().join("git") };
    fs::create_dir_all(&tree).map_err(Failure::io("create", &tree))?;
    let places = Places { git_dir, tree };
    let git = &git.at(places.clone());
    let format = if pinned.commit.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
    run(git, &["init", "--quiet", "--template=", format])?;
    fetch(git, pinned)?;
    // A commit is meant, even where a tag was named by its own digits.
    let named = format!("{}^{{commit}}", pinned.commit);
    let answer = ask(git, &["rev-parse", "--verify", &named])?;
    let id = answer.trim();
    if let Some(tag) = &pinned.tag {
        verify_tag(git, tag, id)?;
    }
    weigh(git, id)?;
    run(git, &["read-tree", id])?;
    run(git, &["checkout-index", "--all", "--force", "--quiet"])?;
    if keep {
        match pinned.name.as_deref().filter(|name| name.starts_with("refs/heads/")) {
            Some(branch) => run(git, &["symbolic-ref", "HEAD", branch])?,
            None => run(git, &["update-ref", "--no-deref", "HEAD", id])?,
        }
    }
    if git.source.submodules && places.tree.join(".gitmodules").is_file() {
        run(git, &["submodule", "--quiet", "update", "--init", "--recursive", "--depth=1", "--force"])?;
    }
    let age = age(git, id)?;
    if keep {
        git_dir::tidy(git, &places)?;
    }
    if git.source.subdir != "/" {
        let from = subdir(git, &places.tree)?;
        for entry in entries(&from)? {
            let to = pending.fs().join(entry.file_name().unwrap_or_default());
            fs::rename(&entry, &to).map_err(Failure::io("move", &entry))?;
        }
    }
    level(git, pending.fs(), keep)?;
    commit(store, pending, age)
}

pub(super) fn run(git: &Git<'_>, args: &[&str]) -> Result<(), Failure> {
    git.run(args, &|_| true)
}

/// Has the commit come, with as little else as the server can be brought to.
fn fetch(git: &Git<'_>, pinned: &Pinned) -> Result<(), Failure> {
    let commit = pinned.commit.as_str();
    let named = pinned.name.as_deref().map(|name| match name {
        "HEAD" => name.to_owned(),
        name => format!("+{name}:{name}"),
    });
    let all = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
    let mut ways: Vec<(&[&str], Vec<&str>)> = Vec::new();
    // With `.git` the ref is to be there by its name, too; and where the tag is what was asked for, that has to come.
    if (!keeps_git_dir(git.source) && pinned.tag.is_none()) || named.is_none() {
        ways.push((&["--depth=1"], vec![commit]));
    }
    // Not every server gives what is named by its digits, or less than all.
    if let Some(named) = &named {
        ways.push((&["--depth=1"], vec![named.as_str()]));
        ways.push((&[], vec![named.as_str()]));
    } else {
        ways.push((&[], all.to_vec()));
    }
    let mut first = None;
    for (depth, refs) in ways {
        let base = ["fetch", "--quiet", "--no-tags", "--update-head-ok", "--no-recurse-submodules"];
        let args: Vec<&str> =
            base.iter().chain(depth).chain(&["--", "origin"]).copied().chain(refs).collect();
        match run(git, &args) {
            Ok(()) if run(git, &["cat-file", "-e", commit]).is_ok() => return Ok(()),
            Ok(()) => {}
            Err(Failure::Interrupted) => return Err(Failure::Interrupted),
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    Err(first.unwrap_or_else(|| {
        failed(&git.source.redacted(), format!("the repository does not contain commit {commit}"))
    }))
}

/// Makes sure that the annotated tag is one of the commit: the checksum is the tag's, and what it is of is a part of it.
fn verify_tag(git: &Git<'_>, tag: &str, commit: &str) -> Result<(), Failure> {
    let named = format!("{tag}^{{commit}}");
    match ask(git, &["rev-parse", "--verify", "--quiet", &named]) {
        Ok(found) if found.trim() == commit => Ok(()),
        Err(Failure::Interrupted) => Err(Failure::Interrupted),
        _ => Err(failed(
            &git.source.redacted(),
            format!("expected checksum to match, and the tag {tag} that does is not one of commit {commit}"),
        )),
    }
}

/// Counts what the commit would become, before it does: a few objects can name each other a million times.
fn weigh(git: &Git<'_>, commit: &str) -> Result<(), Failure> {
    let (files, bytes) = (Cell::new(0u64), Cell::new(0u64));
    let rest = RefCell::new(Vec::new());
    let limit = git.fetch.downloads.limit;
    git.run(&["ls-tree", "-r", "-t", "-l", "--full-tree", commit], &|chunk| {
        let mut rest = rest.borrow_mut();
        rest.extend_from_slice(chunk);
        let Some(end) = rest.iter().rposition(|&b| b == b'\n') else { return rest.len() < 1 << 20 };
        let lines: Vec<u8> = rest.drain(..=end).collect();
        for line in lines.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
            // Mode, type, object, size, a tab, the path.
            let head = line.split(|&b| b == b'\t').next().unwrap_or_default();
            let head = String::from_utf8_lossy(head);
            let size = head.split_whitespace().nth(3).and_then(|size| size.parse().ok());
            files.set(files.get() + 1);
            bytes.set(bytes.get().saturating_add(size.unwrap_or(0)));
        }
        files.get() <= FILES && bytes.get() <= limit
    })?;
    let what = match (files.get() > FILES, bytes.get() > limit) {
        (true, _) => format!("{FILES} files"),
        (_, true) => format!("{limit} bytes; --max-download allows more"),
        _ => return Ok(()),
    };
    Err(failed(&git.source.redacted(), format!("its files are more than {what}")))
}

/// When the commit was made, in seconds since 1970.
fn age(git: &Git<'_>, commit: &str) -> Result<i64, Failure> {
    let text = ask(git, &["cat-file", "commit", commit])?;
    let line = text.lines().take_while(|line| !line.is_empty()).find(|line| line.starts_with("committer "));
    let seconds = line.and_then(|line| line.rsplit(' ').nth(1)?.parse::<i64>().ok());
    // A year of four digits, or none.
    Ok(seconds.unwrap_or(0).clamp(0, 253_402_300_799))
}

/// The directory that was asked for; no link leads out of the checkout.
fn subdir(git: &Git<'_>, tree: &Path) -> Result<PathBuf, Failure> {
    let asked = git.source.subdir.trim_start_matches('/');
    let no = |why: &str| failed(&git.source.redacted(), format!("subdir {asked:?} {why}"));
    let root = fs::canonicalize(tree).map_err(Failure::io("open", tree))?;
    let found = fs::canonicalize(root.join(asked)).map_err(|_| no("is not in the repository"))?;
    match found.starts_with(&root) {
        true if found.is_dir() => Ok(found),
        true => Err(no("is not a directory")),
        false => Err(no("leads out of the repository")),
    }
}

/// Gives files the modes that git knows, and takes away the files that lead from a submodule to its `.git` where that
/// does not stay.
fn level(git: &Git<'_>, root: &Path, keep_git: bool) -> Result<(), Failure> {
    let mut todo = vec![(root.to_owned(), 0)];
    while let Some((dir, depth)) = todo.pop() {
        if depth > DEPTH {
            let what = format!("more than {DEPTH} directories within directories");
            return Err(failed(&git.source.redacted(), what));
        }
        if git.fetch.is_interrupted() {
            return Err(Failure::Interrupted);
        }
        let set = |path: &Path, mode: u32| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(Failure::io("chmod", path))
        };
        set(&dir, 0o755)?;
        for path in entries(&dir)? {
            let meta = fs::symlink_metadata(&path).map_err(Failure::io("look at", &path))?;
            let is_git = path.file_name().is_some_and(|name| name == ".git");
            if meta.is_dir() {
                todo.push((path, depth + 1));
            } else if meta.is_file() && is_git && !keep_git {
                fs::remove_file(&path).map_err(Failure::io("remove", &path))?;
            } else if meta.is_file() {
                set(&path, if meta.permissions().mode() & 0o100 != 0 { 0o755 } else { 0o644 })?;
            }
        }
    }
    Ok(())
}

pub(super) fn entries(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let listed = fs::read_dir(dir).map_err(Failure::io("list", dir))?;
    let paths = listed.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
    paths.map_err(Failure::io("list", dir))
}
