//! Where a path leads in a tree that may have links, and the pieces of paths: bytes, relative to the root of a tree,
//! without slashes at the ends, the root itself being empty.

use crate::Error;

/// How many links may be followed for one path, as Docker has it.
const LINKS: usize = 255;

/// `dir/name`.
pub fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    crate::path::join(dir, name)
}

/// The directory of `path` and its last name; both empty for the root.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    crate::path::split(path)
}

/// The last name of `path`; empty for the root.
pub fn base(path: &[u8]) -> &[u8] {
    split(path).1
}

/// The names of `path`.
pub fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|b| *b == b'/').filter(|name| !name.is_empty())
}

/// `path` without `.`, with `..` taken literally and stopping at the root.
pub fn clean(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    for name in names(path) {
        match name {
            b"." => {}
            b".." => drop(kept.pop()),
            name => kept.push(name),
        }
    }
    kept.join(&b'/')
}

/// What resolving a path has to know of each step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A directory.
    Directory,
    /// A link and what it holds.
    Link(Vec<u8>),
    /// Anything else.
    File,
    /// Nothing is there.
    Missing,
}

/// Why a path leads nowhere.
#[derive(Debug)]
pub enum Lost {
    /// Too many links.
    Links,
    /// What it goes through at this path is no directory.
    NotADirectory(Vec<u8>),
    /// The tree could not be looked at.
    Tree(Error),
}

/// Where `path` leads in a tree, with the tree's root as `/`: links are followed, the last one too if `follow`; names
/// that are not there are kept as they are, so that something may be made there.
///
/// `look` is given paths that lead through no links.
pub fn resolve(
    path: &[u8],
    follow: bool,
    mut look: impl FnMut(&[u8]) -> Result<Step, Error>,
) -> Result<Vec<u8>, Lost> {
    let mut reached: Vec<u8> = Vec::new();
    // Names still to go, the next one last.
    let mut due: Vec<Vec<u8>> = names(path).rev().map(<[u8]>::to_vec).collect();
    let mut links = 0;
    let mut missing = 0usize;
    while let Some(name) = due.pop() {
        match name.as_slice() {
            b"." => continue,
            b".." => {
                reached.truncate(split(&reached).0.len());
                missing = missing.saturating_sub(1);
                continue;
            }
            _ => {}
        }
        let next = join(&reached, &name);
        if missing > 0 {
            missing += 1;
            reached = next;
            continue;
        }
        match look(&next).map_err(Lost::Tree)? {
            Step::Link(target) if follow || !due.is_empty() => {
                links += 1;
                if links > LINKS {
                    return Err(Lost::Links);
                }
                if target.first() == Some(&b'/') {
                    reached.clear();
                }
                due.extend(names(&target).rev().map(<[u8]>::to_vec));
            }
            Step::File if !due.is_empty() => return Err(Lost::NotADirectory(next)),
            Step::Missing => {
                missing = 1;
                reached = next;
            }
            Step::Directory | Step::Link(_) | Step::File => reached = next,
        }
    }
    Ok(reached)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(path: &[u8]) -> Result<Step, Error> {
        Ok(match path {
            b"a" | b"a/b" | b"usr" | b"usr/bin" => Step::Directory,
            b"bin" => Step::Link(b"usr/bin".into()),
            b"abs" => Step::Link(b"/a/b".into()),
            b"up" => Step::Link(b"../../../a".into()),
            b"a/gone" => Step::Link(b"../x/y".into()),
            b"loop" => Step::Link(b"loop".into()),
            b"a/f" | b"usr/bin/sh" => Step::File,
            _ => Step::Missing,
        })
    }

    #[test]
    fn links_lead_inside_the_root() {
        for (path, expected) in [
            ("/bin/sh", "usr/bin/sh"),
            ("abs/../f", "a/f"),
            ("up/b", "a/b"),
            ("../../bin", "usr/bin"),
            ("a/gone", "x/y"),
            ("a/gone/z", "x/y/z"),
            ("new/../a", "a"),
            ("new/sub/../../bin/sh", "usr/bin/sh"),
            ("a/./b/", "a/b"),
            ("/", ""),
        ] {
            let found = resolve(path.as_bytes(), true, look).unwrap();
            assert_eq!(String::from_utf8(found).unwrap(), expected, "{path}");
        }
        assert_eq!(resolve(b"abs", false, look).unwrap(), b"abs");
        assert_eq!(resolve(b"abs/x", false, look).unwrap(), b"a/b/x");
        assert!(matches!(resolve(b"loop", true, look), Err(Lost::Links)));
        assert!(matches!(resolve(b"a/f/x", true, look), Err(Lost::NotADirectory(p)) if p == b"a/f"));
    }

    #[test]
    fn cleaned_as_text() {
        for (path, expected) in
            [("/a//b/./c", "a/b/c"), ("../../x", "x"), ("a/../..", ""), (".", ""), ("a/b/../c/", "a/c")]
        {
            assert_eq!(clean(path.as_bytes()), expected.as_bytes(), "{path}");
        }
    }
}
