//! Paths of an image as bytes: relative to its root, cleaned, with no way out of it by text.
//!
//! What links make of them is resolved where the files are, never here.

use crate::error::{Error, Name};

/// Longest name of a file, on all file systems that can hold a layer.
const MAX_NAME: usize = 255;
/// Longest path that a process can open by name (`PATH_MAX`, without its NUL).
const MAX_PATH: usize = 4095;

/// `/a//b/./c/../d/` as `a/b/d`; the root is empty. `..` is taken by text, as Docker does with paths in archives.
///
/// # Errors
/// [`Error::Archive`] for the entry `of` if the path climbs above the root, has a NUL or is too long.
pub(crate) fn clean(path: &[u8], of: &[u8]) -> Result<Vec<u8>, Error> {
    let bad = |reason: &str| Err(Error::archive(of, reason));
    let mut clean: Vec<u8> = Vec::with_capacity(path.len());
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if clean.is_empty() => {
                return bad("its path, or that of its link, leads out of the root with `..`");
            }
            b".." => clean.truncate(parent(&clean).len()),
            _ if part.len() > MAX_NAME => return bad("a name in its path is longer than 255 bytes"),
            _ if part.contains(&0) => return bad("a NUL byte in its path"),
            _ => {
                if !clean.is_empty() {
                    clean.push(b'/');
                }
                clean.extend_from_slice(part);
            }
        }
    }
    if clean.len() > MAX_PATH {
        return bad("its path is longer than 4095 bytes");
    }
    Ok(clean)
}

/// The directory of a clean path; the root's is the root.
pub(crate) fn parent(path: &[u8]) -> &[u8] {
    split(path).0
}

/// Directory and name of a clean path.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// `directory/name`.
pub(crate) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

/// Whether `path` is `directory` or below it.
pub(crate) fn is_below(path: &[u8], directory: &[u8]) -> bool {
    match path.strip_prefix(directory) {
        Some(rest) => rest.is_empty() || directory.is_empty() || rest[0] == b'/',
        None => false,
    }
}

/// How many directories are above it.
pub(crate) fn depth(path: &[u8]) -> usize {
    path.iter().filter(|b| **b == b'/').count()
}

/// For messages.
pub(crate) fn shown(path: &[u8]) -> Name {
    if path.is_empty() { Name(b"/".to_vec()) } else { Name(path.to_vec()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning() {
        let of = |path: &str| clean(path.as_bytes(), b"x").ok().map(|p| String::from_utf8(p).unwrap());
        for (path, want) in [
            ("a/b", "a/b"),
            ("/a//b/", "a/b"),
            ("./a/./b/.", "a/b"),
            ("a/../b", "b"),
            ("a/b/../../c", "c"),
            (".", ""),
            ("/", ""),
            ("", ""),
            ("a/..", ""),
            ("...", "..."),
        ] {
            assert_eq!(of(path).as_deref(), Some(want), "{path}");
        }
        let (name, path) = ("n".repeat(256), "n/".repeat(2048) + "n");
        for bad in ["..", "a/../..", "/../etc/passwd", "a/../../b", &name, &path, "a\0b"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn below() {
        assert!(is_below(b"a/b", b"a") && is_below(b"a", b"a") && is_below(b"a", b""));
        assert!(!is_below(b"ab", b"a") && !is_below(b"a", b"a/b"));
    }
}
