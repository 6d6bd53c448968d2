//! `diff`: what a container changed, against its image.
//!
//! As Docker tells it where it compares trees: a file that was only opened for writing, or was put back as it was, is
//! not changed; a directory is, where its owner or mode is another or something in it changed.

use std::collections::BTreeMap;

use oci::ChainId;
use rustix::fs::Stat;
use snapshot::View;
use snapshot::diff::Said;

use crate::container::Container;
use crate::{Engine, Result};

/// How a path changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It is new.
    Added,
    /// It was there and is another.
    Changed,
    /// It is gone.
    Deleted,
}

/// The changes of the container that `name` names, by path (in the container, with a leading slash), sorted.
pub fn diff(engine: &Engine, name: &str) -> Result<Vec<(Change, Vec<u8>)>> {
    let container = Container::find(engine, name)?;
    let layers = match &container.record.chain_id {
        Some(chain) => stack(engine, chain)?,
        None => Vec::new(),
    };
    let before = View::open(&layers)?;
    let after = View::open(&container.layers(engine)?)?;
    let said = snapshot::diff::changes(&container.upper(engine))?;
    let found = changes(&before, &after, &said)?;
    Ok(found.into_iter().map(|(path, change)| (change, [b"/", path.as_slice()].concat())).collect())
}

fn stack(engine: &Engine, chain: &ChainId) -> Result<Vec<std::path::PathBuf>> {
    Ok(engine.store.lowers(&engine.store.layers_of(chain)?)?)
}

fn changes(before: &View, after: &View, said: &[(Vec<u8>, Said)]) -> Result<BTreeMap<Vec<u8>, Change>> {
    let mut found = BTreeMap::new();
    // Directories that hide what was in them, and what is held in those.
    let hiding: Vec<&[u8]> =
        said.iter().filter(|(_, s)| *s == Said::Hides).map(|(path, _)| path.as_slice()).collect();
    for (path, said) in said {
        let was = before.lstat(path)?;
        match (said, was) {
            (Said::Removes, Some(_)) => drop(found.insert(path.clone(), Change::Deleted)),
            (Said::Removes, None) | (Said::Hides, _) => {}
            (Said::Holds, None) => drop(found.insert(path.clone(), Change::Added)),
            (Said::Holds, Some(was)) => {
                // Gone again since the layer was read, in a container that runs.
                let Some(is) = after.lstat(path)? else { continue };
                if differs(before, after, path, &was, &is)? {
                    found.insert(path.clone(), Change::Changed);
                }
                let hidden = || hiding.iter().any(|top| is_at_or_below(path, top));
                if is_directory(&was) && is_directory(&is) && hidden() {
                    for entry in before.read_dir(path)? {
                        let inner = [path.as_slice(), b"/", &entry.name].concat();
                        if after.lstat(&inner)?.is_none() {
                            found.insert(inner, Change::Deleted);
                        }
                    }
                }
            }
        }
    }
    // Every directory on the way to a change is changed, if it was there.
    let paths: Vec<Vec<u8>> = found.keys().cloned().collect();
    for mut path in paths.iter().map(Vec::as_slice) {
        while let Some(slash) = path.iter().rposition(|&b| b == b'/') {
            path = &path[..slash];
            found.entry(path.to_vec()).or_insert(Change::Changed);
        }
    }
    Ok(found)
}

fn is_at_or_below(path: &[u8], top: &[u8]) -> bool {
    match path.strip_prefix(top) {
        Some(rest) => rest.is_empty() || rest.starts_with(b"/") || top.is_empty(),
        None => false,
    }
}

fn is_directory(stat: &Stat) -> bool {
    stat.st_mode & 0o170_000 == 0o040_000
}

fn differs(before: &View, after: &View, path: &[u8], was: &Stat, is: &Stat) -> Result<bool> {
    let same = was.st_mode == is.st_mode && was.st_uid == is.st_uid && was.st_gid == is.st_gid;
    if !same || is_directory(was) {
        return Ok(!same);
    }
    if was.st_rdev != is.st_rdev
        || was.st_size != is.st_size
        || (was.st_mtime, was.st_mtime_nsec) != (is.st_mtime, is.st_mtime_nsec)
    {
        return Ok(true);
    }
    let capability = |view: &View| -> Result<Option<Vec<u8>>> {
        let entry = view.entry(path)?;
        Ok(entry.and_then(|entry| entry.xattrs.get(b"security.capability".as_slice()).cloned()))
    };
    Ok(capability(before)? != capability(after)?)
}

#[cfg(test)]
mod tests {
    use super::is_at_or_below;

    #[test]
    fn below() {
        assert!(is_at_or_below(b"a/b", b"a") && is_at_or_below(b"a", b"a") && is_at_or_below(b"a", b""));
        assert!(!is_at_or_below(b"ab", b"a") && !is_at_or_below(b"a", b"a/b"));
    }
}
