//! Paths in an image and in a context, as Go's `path` package and BuildKit clean them.
//!
//! All of these are text: whether anything is there, and where links lead, is asked when the step
//! is carried out.

/// The shortest equivalent of `path` (Go's `path.Clean`).
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

/// `path` below the root, cleaned: nothing leads out of it.
pub(crate) fn rooted(path: &str) -> String {
    clean(&format!("/{path}"))
}

/// `path` seen from the directory `dir`, cleaned.
pub(crate) fn resolve(dir: &str, path: &str) -> String {
    if path.starts_with('/') { clean(path) } else { rooted(&format!("{dir}/{path}")) }
}

/// The destination `path` of a copy seen from the directory `dir`, cleaned, with a slash at its end
/// where it says that it is a directory.
pub(crate) fn destination(dir: &str, path: &str) -> String {
    let mut resolved = resolve(dir, path);
    let directory = matches!(path, "" | ".") || path.ends_with('/') || path.ends_with("/.");
    if directory && !resolved.ends_with('/') {
        resolved.push('/');
    }
    resolved
}

/// The source `path` of a copy, cleaned and absolute. With `parents` the first `/./` is kept: the
/// directories after it are.
pub(crate) fn source(path: &str, parents: bool) -> String {
    match path.split_once("/./") {
        Some((parent, rest)) if parents => {
            format!("{}/.{}", rooted(parent).trim_end_matches('/'), rooted(rest))
        }
        _ => rooted(path),
    }
}

/// Whether a source of a context copy climbs above the context's root before it is cleaned.
pub(crate) fn climbs_out(path: &str) -> bool {
    let mut depth = 0usize;
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

/// The last part of `path` (Go's `path.Base`).
pub(crate) fn base(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    match trimmed.rsplit('/').next() {
        _ if path.is_empty() => ".",
        None | Some("") => "/",
        Some(name) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_as_go() {
        for (path, cleaned) in [
            ("", "."),
            ("/", "/"),
            ("//a//b/", "/a/b"),
            ("a/../..", ".."),
            ("../../a", "../../a"),
            ("/../a/./b/..", "/a"),
            ("a/b/../c", "a/c"),
        ] {
            assert_eq!(clean(path), cleaned, "{path:?}");
        }
    }

    #[test]
    fn destinations_keep_their_slash() {
        for (dir, path, result) in [
            ("/w", "", "/w/"),
            ("/w", ".", "/w/"),
            ("/", ".", "/"),
            ("/w", "./", "/w/"),
            ("/w", "a", "/w/a"),
            ("/w", "a/", "/w/a/"),
            ("/w", "a/.", "/w/a/"),
            ("/w", "..", "/"),
            ("/w", "/a/../b/", "/b/"),
            ("/w", "../../..", "/"),
        ] {
            assert_eq!(destination(dir, path), result, "{path:?} in {dir}");
        }
    }

    #[test]
    fn sources_are_rooted() {
        for (path, parents, result) in [
            ("a", false, "/a"),
            ("../a/", false, "/a"),
            (".", false, "/"),
            ("", false, "/"),
            ("./x/./y/*.txt", true, "/x/./y/*.txt"),
            ("x/./y/./z", true, "/x/./y/z"),
            ("/./y", true, "/./y"),
            ("x/y/", true, "/x/y"),
            ("a/./../../b", true, "/a/./b"),
            ("a/./b", false, "/a/b"),
        ] {
            assert_eq!(source(path, parents), result, "{path:?}");
        }
        assert!(climbs_out("../a"));
        assert!(climbs_out("/a/../../b"));
        assert!(!climbs_out("a/../b"));
    }

    #[test]
    fn bases() {
        for (path, result) in [("", "."), ("/", "/"), ("/a/b/", "b"), ("a", "a")] {
            assert_eq!(base(path), result);
        }
    }
}
