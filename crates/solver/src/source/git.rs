//! A Git repository at a commit, as BuildKit's `source/git` takes it: the ref is looked up first (`ls-remote`), and what
//! is here of that commit already is not fetched again. How git is called is in `command`.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use graph::{GitSource, redacted};

use super::checkout;
use super::command::Git;
use super::record::Memory;
use super::{Fetch, Fetched, Listener, failed};
use crate::error::Failure;

/// Bytes of an answer that is read, such as a list of refs.
const ANSWER: usize = 16 << 20;

/// What a ref is at the remote.
#[derive(Debug, PartialEq)]
pub(super) struct Pinned {
    /// The commit.
    pub commit: String,
    /// The whole name of the ref; `None` where a commit was asked for.
    pub name: Option<String>,
    /// The annotated tag that has the checksum that was asked for, where the commit has not: that it is one of this
    /// commit is the server's word, until its object is here.
    pub tag: Option<String>,
}

pub(super) fn fetch(
    fetch: &Fetch<'_>,
    source: &GitSource,
    listener: &dyn Listener,
) -> Result<Fetched, Failure> {
    let began = Instant::now();
    let shown = source.redacted();
    let git = Git::new(fetch, source, listener)?;
    let pinned = pin(&git)?;
    // With `.git` the name of the ref is part of what is there.
    let kept = match (keeps_git_dir(source), &pinned.name) {
        (true, name) => name.as_deref().unwrap_or("yes"),
        (false, _) => "no",
    };
    let remote = redacted(&source.remote);
    let submodules = if source.submodules { "yes" } else { "no" };
    let mut memory = Memory::new("git", format!("git snapshot for {shown}"))
        .part("remote", &remote)
        .part("commit", &pinned.commit)
        .part("subdir", &source.subdir)
        .part("git-dir", kept)
        .part("submodules", submodules);
    // What was found without looking at the tag says nothing of it.
    if let Some(tag) = &pinned.tag {
        memory = memory.part("tag", tag);
    }
    if let Some((layer, _)) = memory.recall(fetch.store)? {
        return Ok(Fetched { layer, pinned: pinned.commit });
    }
    listener.started();
    let (layer, size) = checkout::check_out(&git, &pinned)?;
    memory.keep(fetch.store, &layer, &[], began, size)?;
    listener.line(&format!("commit {}", pinned.commit));
    Ok(Fetched { layer, pinned: pinned.commit })
}

/// `.git` stays only with the whole of the repository.
pub(super) fn keeps_git_dir(source: &GitSource) -> bool {
    source.keep_git_dir && source.subdir == "/"
}

/// Finds out which commit is meant.
fn pin(git: &Git<'_>) -> Result<Pinned, Failure> {
    let source = git.source;
    let shown = source.redacted();
    let wanted = source.checksum.as_deref().map(str::to_ascii_lowercase);
    let fits = |found: &str| wanted.as_ref().is_none_or(|wanted| found.starts_with(wanted.as_str()));
    let mismatch = |found: &str| {
        let wanted = wanted.as_deref().unwrap_or_default();
        Err(failed(&shown, format!("expected checksum to match {wanted}, got {found}")))
    };
    if let Some(commit) = source.reference.as_deref().filter(|reference| is_commit(reference)) {
        let commit = commit.to_ascii_lowercase();
        return if fits(&commit) { Ok(Pinned { commit, name: None, tag: None }) } else { mismatch(&commit) };
    }
    let peeled = source.reference.as_ref().map(|name| format!("{name}^{{}}"));
    let args = match (&source.reference, &peeled) {
        (Some(name), Some(peeled)) => vec!["ls-remote", "--", "origin", name, peeled],
        _ => vec!["ls-remote", "--symref", "--", "origin", "HEAD"],
    };
    let answer = ask(git, &args)?;
    let Some(found) = choose(&answer, source.reference.as_deref()) else {
        let what = match &source.reference {
            Some(name) => format!("repository does not contain ref {name}"),
            None => "could not find the default branch of the repository".to_owned(),
        };
        return Err(failed(&shown, what));
    };
    match (fits(&found.pinned.commit), fits(&found.object)) {
        (true, _) => Ok(found.pinned),
        (false, true) => Ok(Pinned { tag: Some(found.object), ..found.pinned }),
        (false, false) => mismatch(&found.pinned.commit),
    }
}

/// What git prints on its standard output.
pub(super) fn ask(git: &Git<'_>, args: &[&str]) -> Result<String, Failure> {
    let answer = RefCell::new(Vec::new());
    let large = Cell::new(false);
    git.run(args, &|bytes| {
        let mut answer = answer.borrow_mut();
        large.set(large.get() || answer.len() + bytes.len() > ANSWER);
        if !large.get() {
            answer.extend_from_slice(bytes);
        }
        !large.get()
    })?;
    if large.get() {
        let what = format!("git {} answers more than {ANSWER} bytes", args[0]);
        return Err(failed(&git.source.redacted(), what));
    }
    Ok(String::from_utf8_lossy(&answer.into_inner()).into_owned())
}

/// A ref that was found.
#[derive(Debug, PartialEq)]
struct Found {
    /// What it names: a commit, or an annotated tag.
    object: String,
    pinned: Pinned,
}

/// The ref that `name` means among those that `ls-remote` lists, as git-checkout chooses: whole names, then branches,
/// then tags.
fn choose(listed: &str, name: Option<&str>) -> Option<Found> {
    let mut refs = Vec::new();
    let mut default = None;
    for line in listed.lines() {
        let Some((object, name)) = line.split_once('\t') else { continue };
        match object.strip_prefix("ref: ") {
            Some(target) => default = Some(target.to_owned()),
            None if is_commit(object) => refs.push((object, name)),
            None => {}
        }
    }
    let find =
        |wanted: &str| refs.iter().find(|(_, name)| *name == wanted).map(|(object, _)| (*object).to_owned());
    let Some(name) = name else {
        let object = find("HEAD")?;
        // Servers that do not say which branch it is have one all the same.
        let name = default.filter(|name| name.starts_with("refs/heads/")).or_else(|| Some("HEAD".to_owned()));
        return Some(Found { object: object.clone(), pinned: Pinned { commit: object, name, tag: None } });
    };
    let bare = |prefix: &str| name.strip_prefix(prefix).unwrap_or(name);
    let names = [
        format!("refs/{}", bare("refs/")),
        format!("refs/heads/{}", bare("refs/heads/")),
        format!("refs/tags/{}", bare("refs/tags/")),
    ];
    let (object, name) = names.into_iter().find_map(|name| Some((find(&name)?, name)))?;
    // An annotated tag is an object of its own; `^{}` is the commit that it is of.
    let commit = find(&format!("{name}^{{}}")).unwrap_or_else(|| object.clone());
    Some(Found { object, pinned: Pinned { commit, name: Some(name), tag: None } })
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    const C: &str = "cccccccccccccccccccccccccccccccccccccccc";

    #[test]
    fn refs_are_chosen_as_git_does() {
        let listed = format!(
            "{A}\trefs/heads/x\n{B}\trefs/tags/x\n{C}\trefs/tags/x^{{}}\n{B}\trefs/tags/v1\n{C}\trefs/tags/v1^{{}}\n\
             {A}\trefs/heads/team/x\n"
        );
        let commit = |name: &str| choose(&listed, Some(name)).map(|found| found.pinned.commit);
        assert_eq!(commit("x").as_deref(), Some(A));
        assert_eq!(commit("refs/tags/x").as_deref(), Some(C));
        assert_eq!(commit("v1").as_deref(), Some(C));
        assert_eq!(choose(&listed, Some("v1")).unwrap().object, B);
        assert_eq!(commit("heads/team/x").as_deref(), Some(A));
        assert_eq!(commit("y"), None);
        let listed = format!("ref: refs/heads/main\tHEAD\n{A}\tHEAD\n");
        let pinned = Pinned { commit: A.to_owned(), name: Some("refs/heads/main".to_owned()), tag: None };
        assert_eq!(choose(&listed, None).unwrap().pinned, pinned);
        assert_eq!(choose("", None), None);
    }
}
