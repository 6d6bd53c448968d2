//! `diff`: what a container changed, against its image.

use std::collections::BTreeSet;
use std::path::Path;

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

/// The changes of the container that `name` names, by path (in the container, with a leading slash),
/// sorted. A directory whose content changed is itself changed, as in Docker.
pub fn diff(engine: &Engine, name: &str) -> Result<Vec<(Change, Vec<u8>)>> {
    let container = Container::find(engine, name)?;
    let upper = engine.store.container_dir(&container.record.id).join("fs");
    changes(engine, &container, &upper)
}

fn changes(engine: &Engine, container: &Container, upper: &Path) -> Result<Vec<(Change, Vec<u8>)>> {
    let layers = match &container.record.chain_id {
        Some(chain) => engine.store.layers_of(chain)?,
        None => Vec::new(),
    };
    let below = snapshot::View::open(&engine.store.lowers(&layers)?)?;
    let said = snapshot::diff::changes(upper)?;
    let held: BTreeSet<&[u8]> =
        said.iter().filter(|(_, s)| *s == Said::Holds).map(|(p, _)| p.as_slice()).collect();
    let mut found = Vec::new();
    let rooted = |path: &[u8]| [b"/", path].concat();
    for (path, said) in &said {
        let was = below.lstat(path)?.is_some();
        match (said, was) {
            (Said::Removes, true) => found.push((Change::Deleted, rooted(path))),
            (Said::Removes, false) => {}
            (Said::Holds, true) => found.push((Change::Changed, rooted(path))),
            (Said::Holds, false) => found.push((Change::Added, rooted(path))),
            (Said::Hides, _) => {
                let is_dir = below.lstat(path)?.is_some_and(|s| s.st_mode & 0o170_000 == 0o040_000);
                for entry in if is_dir { below.read_dir(path)? } else { Vec::new() } {
                    let inner = [path.as_slice(), b"/", &entry.name].concat();
                    if !held.contains(inner.as_slice()) {
                        found.push((Change::Deleted, rooted(&inner)));
                    }
                }
            }
        }
    }
    found.sort_by(|a, b| a.1.cmp(&b.1));
    Ok(found)
}
