//! A plan as a list, in the order of the layer's tar: by the bytes of the whole path, as `diff` has it. A directory
//! `a` comes before `a.b`, and that before `a/c`.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::OnceLock;

use super::attributes::Xattrs;
use super::path;
use super::plan::{Dir, Leaf, LeafKind, Node, Plan};

/// Index of a directory in [`Flat::dirs`].
pub(super) type DirIndex = usize;

/// A plan as a list.
pub(super) struct Flat<'p> {
    /// Directories, those above first; the first one is the layer's root and no item.
    pub dirs: Vec<FlatDir<'p>>,
    /// What the tar has an entry for.
    pub items: Vec<Item<'p>>,
    /// The items in portions, each for one worker: those of one directory belong together, for two that create files
    /// in the same one wait for each other.
    pub portions: Vec<Range<usize>>,
    /// Whether something is in the layer already whose content was not seen.
    pub written: bool,
}

pub(super) struct FlatDir<'p> {
    pub path: Vec<u8>,
    pub parent: DirIndex,
    pub dir: &'p Dir,
    /// The xattrs that it got, once it is made; `None` where making it failed.
    pub made: OnceLock<Option<Xattrs>>,
}

pub(super) struct Item<'p> {
    pub path: Vec<u8>,
    pub parent: DirIndex,
    pub what: What<'p>,
}

#[derive(Clone, Copy)]
pub(super) enum What<'p> {
    Dir(DirIndex),
    Leaf(&'p Leaf),
    /// Another name of the file that is this item.
    Link(&'p Leaf, usize),
}

/// A portion has no more items than this.
const MOST: usize = 128;
/// Nor more bytes than this, but for its last item: what is ahead of its turn in the tar is held in memory.
const BYTES: u64 = 2 << 20;
/// With fewer, it goes on into the next directory.
const FEW: usize = 16;

impl What<'_> {
    /// Bytes of content.
    fn len(&self) -> u64 {
        match self {
            What::Leaf(Leaf { kind: LeafKind::Copied(from), .. }) => from.stat.size,
            What::Leaf(Leaf { kind: LeafKind::Made(data), .. }) => data.len() as u64,
            _ => 0,
        }
    }
}

impl<'p> Flat<'p> {
    pub fn of(plan: &'p Plan<'_>) -> Flat<'p> {
        let root = FlatDir { path: Vec::new(), parent: 0, dir: &plan.root, made: OnceLock::new() };
        let mut flat = Flat { dirs: vec![root], items: Vec::new(), portions: Vec::new(), written: false };
        let mut groups = HashMap::new();
        flat.add(0, &mut groups);
        flat.portion();
        flat
    }

    fn portion(&mut self) {
        let (mut start, mut bytes) = (0, 0);
        for at in 0..self.items.len() {
            let count = at - start;
            let other = at > 0 && self.items[at].parent != self.items[at - 1].parent;
            if count >= MOST || bytes >= BYTES || (other && count >= FEW) {
                self.portions.push(start..at);
                (start, bytes) = (at, 0);
            }
            bytes += self.items[at].what.len();
        }
        self.portions.push(start..self.items.len());
    }

    fn add(&mut self, at: DirIndex, groups: &mut HashMap<u32, usize>) {
        let dir = self.dirs[at].dir;
        // Directories whose content is still to come, the first one due last: at most a name that begins with another.
        let mut due: Vec<(Vec<u8>, DirIndex)> = Vec::new();
        for (name, node) in &dir.children {
            while let Some((_, index)) = due.pop_if(|(key, _)| key.as_slice() < &**name) {
                self.add(index, groups);
            }
            let path = path::join(&self.dirs[at].path, name);
            let leaf = match node {
                Node::Dir(dir) => {
                    let index = self.dirs.len();
                    self.items.push(Item { path: path.clone(), parent: at, what: What::Dir(index) });
                    self.dirs.push(FlatDir { path, parent: at, dir, made: OnceLock::new() });
                    due.push(([name, b"/".as_slice()].concat(), index));
                    continue;
                }
                Node::Leaf(leaf) => leaf,
            };
            self.written |= matches!(leaf.kind, LeafKind::Written { .. });
            let number = self.items.len();
            let first = leaf.group.map_or(number, |group| *groups.entry(group).or_insert(number));
            let what = if first == number { What::Leaf(leaf) } else { What::Link(leaf, first) };
            self.items.push(Item { path, parent: at, what });
        }
        while let Some((_, index)) = due.pop() {
            self.add(index, groups);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mtime, Owner};

    #[test]
    fn sorted_by_the_bytes_of_whole_paths() {
        let mut plan = Plan::new(None, Mtime::default(), None).unwrap();
        let files = [
            "a/c", "a.b", "a-/x", "a/b/c", "a/b.c", "a/b-", "z/y", "a b/c/d", "a b.c", "a b-d", "ab", "a0/1",
            "a0.1",
        ];
        for file in files {
            plan.make_dir(path::split(file.as_bytes()).0, 0o755, Owner::ROOT).unwrap();
            plan.make_file(file.as_bytes(), std::sync::Arc::from(*b""), 0o644, Owner::ROOT).unwrap();
        }
        let flat = Flat::of(&plan);
        let paths: Vec<_> =
            flat.items.iter().map(|item| String::from_utf8(item.path.clone()).unwrap()).collect();
        let mut sorted = paths.clone();
        sorted.sort();
        assert_eq!(paths, sorted);
        assert_eq!(paths.len(), files.len() + 7);
        assert_eq!(
            flat.portions.iter().cloned().flatten().collect::<Vec<_>>(),
            (0..paths.len()).collect::<Vec<_>>()
        );
    }
}
