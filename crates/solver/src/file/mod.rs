//! What COPY, ADD and WORKDIR do: an operation's actions, carried out as one new layer.
//!
//! [`Prepared`] finds out what the sources mean, which costs `stat` calls; then its content can be asked for, to look
//! for an earlier result; then it is run, with what was found out already. The rules are BuildKit's
//! (`solver/llbsolver/file` and `fsutil/copy`), down to who owns a directory that had to be made.
//!
//! What is not here: cache records, snapshots in the store, progress. `crate::copy` has those.

mod chmod;
mod contents;
mod error;
mod glob;
mod near;
mod owner;
mod pattern;
mod run;
mod select;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use graph::{FileAction, FileOp};
use oci::{Digest, Hasher};
use snapshot::content::{Content, ContentHasher};
use snapshot::copy::FileStat;
use snapshot::{LayerStat, View};

use crate::context::Context;
use contents::Contents;
use pattern::Patterns;
use select::{Selected, Tree, Wanted, bad_pattern};

pub use error::Error;

/// A tree that an operation copies from.
pub enum Input<'a> {
    /// A build context.
    Context(&'a Context),
    /// A stage or an image.
    Image {
        /// Its layer directories, topmost first.
        lowers: Vec<PathBuf>,
        /// How messages call it: "stage build".
        label: String,
    },
    /// One that this operation does not copy from: the base, for most.
    Unused,
}

/// Looks whether the source `written` is in the context at all; with wildcards, or with `parents`, this cannot tell.
///
/// # Errors
/// What the copy would fail with.
pub fn look_for(context: &Context, written: &str, parents: bool) -> Result<(), Error> {
    if parents { Ok(()) } else { Tree::Context(context).look_for(written) }
}

/// How an operation is carried out.
pub struct Options<'a> {
    /// Layer directories of the tree that the layer goes on, topmost first.
    pub base: &'a [PathBuf],
    /// The new layer directory, empty.
    pub out: &'a std::path::Path,
    /// How ids map in this process.
    pub mode: runtime::Mode,
    /// Seconds since 1970 that no file may be younger than.
    pub epoch: Option<i64>,
    /// The layer directory that the same step made the last time.
    pub previous: Option<&'a std::path::Path>,
    /// What is looked for in what is written.
    pub search: Option<&'a snapshot::Search>,
    /// Whether digests of what was copied are left beside the layer, for the time when it is `previous`.
    pub keep_digests: bool,
    /// Any of them is set from outside to give up.
    pub stop: &'a [&'a AtomicBool],
}

/// A layer that was made.
#[derive(Debug)]
pub struct Done {
    /// What it is. Without inodes, the operation changed nothing.
    pub stat: LayerStat,
    /// What was taken; `None` where a file changed meanwhile, so that the result must not be found by it.
    pub content: Option<Content>,
    /// Whether what was looked for may be in the layer: [`snapshot::Search::locate`] is sure.
    pub found: bool,
    /// What could not be kept of an archive, for a person.
    pub notes: Vec<String>,
    /// How many files are shared with the layer of the last time.
    pub linked: usize,
}

/// An operation whose sources have been looked up.
pub struct Prepared<'a> {
    op: &'a FileOp,
    trees: Vec<Option<Tree<'a>>>,
    /// What each action takes; nothing, for those that copy nothing.
    selected: Vec<Vec<Selected>>,
    /// What is known of the trees' files.
    contents: Vec<Contents>,
    /// When it began: what changed only just before is not remembered.
    started: SystemTime,
    /// Any of them is set from outside to give up.
    stop: Vec<&'a AtomicBool>,
}

impl<'a> Prepared<'a> {
    /// Looks up what the actions take of `inputs`, which are the vertex's.
    ///
    /// # Errors
    /// A source that is not there, or cannot be read; a pattern that is malformed.
    pub fn new(op: &'a FileOp, inputs: Vec<Input<'a>>) -> Result<Prepared<'a>, Error> {
        let started = SystemTime::now();
        let mut trees = Vec::with_capacity(inputs.len());
        for input in inputs {
            trees.push(match input {
                Input::Unused => None,
                Input::Context(context) => Some(Tree::Context(context)),
                Input::Image { lowers, label } => Some(Tree::Image { view: View::open(&lowers)?, label }),
            });
        }
        let contents = trees.iter().map(|_| Contents::default()).collect();
        let mut prepared = Prepared { op, trees, selected: Vec::new(), contents, started, stop: Vec::new() };
        for action in &op.actions {
            let mut selected = Vec::new();
            if let FileAction::Copy(copy) = action {
                if copy.sources.len() > 1 && !is_directory(&copy.dest) {
                    return Err(Error::SeveralSources(copy.dest.clone()));
                }
                let exclude =
                    Patterns::parse(copy.exclude.iter().map(String::as_str)).map_err(bad_pattern)?;
                let wanted = Wanted { exclude: &exclude, parents: copy.parents };
                for source in &copy.sources {
                    selected.extend(prepared.tree(copy.from).select(source, &wanted)?);
                }
            }
            prepared.selected.push(selected);
        }
        Ok(prepared)
    }

    /// Lets any of these, set from outside, end the reading of files for [`Prepared::content`].
    pub fn stopped_by(mut self, stop: &[&'a AtomicBool]) -> Prepared<'a> {
        self.stop = stop.to_vec();
        self
    }

    /// What the actions take. Files whose digest is not known are read for it; the copy then does not hash them again.
    /// `None` where one changed while it was read.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn content(&mut self) -> Result<Option<Content>, Error> {
        for (number, tree) in self.trees.iter().enumerate() {
            let Some(tree) = tree else { continue };
            let of_tree = |action: &FileAction| action.input().is_some_and(|from| from as usize == number);
            let selected: Vec<&Selected> = (self.op.actions.iter().zip(&self.selected))
                .filter(|(action, _)| of_tree(action))
                .flat_map(|(_, selected)| selected)
                .collect();
            if !self.contents[number].complete(tree, &selected, self.started, &self.stop)? {
                return Ok(None);
            }
        }
        let mut hasher = ContentHasher::new();
        for (action, selected) in self.op.actions.iter().zip(&self.selected) {
            let FileAction::Copy(copy) = action else { continue };
            for one in selected {
                let contents = &self.contents[copy.from as usize];
                contents.add_to(&mut hasher, self.tree(copy.from), one, copy.keep_owner)?;
            }
        }
        Ok(Some(hasher.finish()))
    }

    /// What can be told of what the actions take without reading a file: names, kinds, permissions, owners, sizes. Where
    /// it differs, so does the content.
    pub fn outline(&self) -> Digest {
        let mut hasher = Hasher::new();
        let mut add = |path: &[u8], stat: &FileStat| {
            // A directory's own size is no part of its content.
            let size = if stat.is_dir() { 0 } else { stat.size };
            hasher.update(&(path.len() as u64).to_le_bytes());
            hasher.update(path);
            for number in [u64::from(stat.mode), u64::from(stat.uid), u64::from(stat.gid), size] {
                hasher.update(&number.to_le_bytes());
            }
        };
        for one in self.selected.iter().flatten() {
            match &one.listings {
                None => add(&one.path, &one.stat),
                Some(listings) => listings.0.iter().for_each(|listing| {
                    listing.entries.iter().for_each(|found| add(&listing.path_of(&found.name), &found.stat));
                }),
            }
        }
        hasher.finish()
    }

    /// How many files are taken, directories and links included.
    pub fn len(&self) -> usize {
        let count = |one: &Selected| one.listings.as_ref().map_or(1, |listings| 1 + listings.len());
        self.selected.iter().flatten().map(count).sum()
    }

    /// Whether nothing is taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn tree(&self, number: u32) -> &Tree<'a> {
        self.trees[number as usize].as_ref().expect("because the caller gives the trees that are copied from")
    }
}

/// Carries an operation out on trees that were not looked at before. See [`Prepared`].
///
/// # Errors
/// Those of [`Prepared::new`] and [`Prepared::run`].
pub fn run(op: &FileOp, inputs: Vec<Input<'_>>, options: &Options<'_>) -> Result<Done, Error> {
    Prepared::new(op, inputs)?.run(options)
}

/// Whether a destination says that it is a directory.
fn is_directory(dest: &str) -> bool {
    dest.ends_with('/') || dest.ends_with("/.") || dest == "."
}
