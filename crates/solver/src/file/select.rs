//! What the sources of a copy mean: wildcards, links, patterns; or why they mean nothing.
//!
//! A source is looked up with the tree's root as `/`: `..` stops there, and links lead inside. The source itself is
//! followed if it is a link, what is below it is not.

use snapshot::View;
use snapshot::copy::path::{self, Lost, Step};
use snapshot::copy::{FileStat, Listings, Source, Visit, list, walk};

use super::glob::{Glob, has_wildcards};
use super::pattern::{Above, Patterns};
use super::{Error, near};
use crate::context::Context;

/// A tree that is copied from.
pub(super) enum Tree<'a> {
    Context(&'a Context),
    Image { view: View, label: String },
}

/// One thing that is copied.
pub(super) struct Selected {
    /// What a file is called in a directory that it is copied to.
    pub name: Vec<u8>,
    /// Where it is in its tree; no links lead there.
    pub path: Vec<u8>,
    pub stat: FileStat,
    /// For a directory, what of it is copied.
    pub listings: Option<Listings>,
}

/// What a path turned out to be.
enum One {
    Missing,
    /// It is there, and the patterns leave it out.
    LeftOut,
    Found(Selected),
}

/// What of it is wanted.
pub(super) struct Wanted<'w> {
    pub exclude: &'w Patterns,
    pub parents: bool,
}

impl<'a> Tree<'a> {
    pub fn source(&self) -> Source<'_> {
        match self {
            Tree::Context(context) => context.source(),
            Tree::Image { view, label } => Source::image(view, label),
        }
    }

    /// How messages call it.
    pub fn label(&self) -> &str {
        match self {
            Tree::Context(_) => "the build context",
            Tree::Image { label, .. } => label,
        }
    }

    fn lstat(&self, path: &[u8]) -> Result<Option<FileStat>, snapshot::Error> {
        match self {
            Tree::Context(context) => context.lstat(path),
            Tree::Image { .. } => self.source().lstat(path),
        }
    }

    /// The files below the directory `path`; of those, only what may lead to `only`, a path below it.
    fn list(&self, path: &[u8], only: &[u8]) -> Result<Listings, snapshot::Error> {
        let only = if only.is_empty() { path.to_vec() } else { path::join(path, only) };
        let leads = |at: &[u8]| is_at_or_above(at, &only) || is_at_or_above(&only, at);
        match self {
            Tree::Context(context) => context.list(path, &leads),
            Tree::Image { .. } => walk(&self.source(), path, &|at, _| match leads(at) {
                true => Visit::Keep,
                false => Visit::SkipTree,
            }),
        }
    }

    fn resolve(&self, at: &[u8]) -> Result<Vec<u8>, Error> {
        let found = path::resolve(at, true, |step| {
            Ok(match self.lstat(step)? {
                None => Step::Missing,
                Some(stat) if stat.is_dir() => Step::Directory,
                Some(stat) if stat.kind() == rustix::fs::FileType::Symlink => {
                    Step::Link(self.source().read_link(step)?)
                }
                Some(_) => Step::File,
            })
        });
        let bad = |path: &[u8], reason| Error::Path {
            path: String::from_utf8_lossy(path).into_owned(),
            place: self.label().to_owned(),
            reason,
        };
        found.map_err(|lost| match lost {
            Lost::Links => bad(at, "too many levels of symbolic links"),
            Lost::NotADirectory(path) => bad(&path, NOT_A_DIRECTORY),
            Lost::Tree(error) => error.into(),
        })
    }

    /// The things that the source `written` means.
    pub fn select(&self, written: &str, wanted: &Wanted<'_>) -> Result<Vec<Selected>, Error> {
        if wanted.parents {
            return self.select_with_parents(written, wanted);
        }
        let cleaned = path::clean(written.as_bytes());
        if !has_wildcards(&cleaned) {
            return match self.one(&cleaned, b"", wanted)? {
                One::Found(selected) => Ok(vec![selected]),
                One::LeftOut => Ok(Vec::new()),
                One::Missing => Err(self.not_found(written, &cleaned)),
            };
        }
        let mut selected = Vec::new();
        for found in self.expand(&cleaned)? {
            if let One::Found(one) = self.one(&found, b"", wanted)? {
                selected.push(one);
            }
        }
        Ok(selected)
    }

    /// Whether the source `written` is there, without reading any directory; one with wildcards is not looked for.
    pub fn look_for(&self, written: &str) -> Result<(), Error> {
        let cleaned = path::clean(written.as_bytes());
        if has_wildcards(&cleaned) {
            return Ok(());
        }
        let found = match self.resolve(&cleaned) {
            Err(Error::Path { reason: NOT_A_DIRECTORY, .. }) => None,
            path => self.lstat(&path?)?,
        };
        found.map(drop).ok_or_else(|| self.not_found(written, &cleaned))
    }

    /// The file or directory that `at` leads to. Of a directory, nothing need be listed but what may lead to `only`.
    fn one(&self, at: &[u8], only: &[u8], wanted: &Wanted<'_>) -> Result<One, Error> {
        let path = match self.resolve(at) {
            Err(Error::Path { reason: NOT_A_DIRECTORY, .. }) => return Ok(One::Missing),
            path => path?,
        };
        let Some(stat) = self.lstat(&path)? else { return Ok(One::Missing) };
        let name = path::base(at).to_vec();
        if !stat.is_dir() {
            // The reference has patterns for files that are sources themselves, too, by their names.
            let excluded = wanted.exclude.fits(&name, &Above::default()).0;
            return Ok(match excluded {
                true => One::LeftOut,
                false => One::Found(Selected { name, path, stat, listings: None }),
            });
        }
        let mut listings = self.list(&path, only)?;
        if let Tree::Context(context) = self
            && listings.is_empty()
            && context.is_skipped(&path)
        {
            return Ok(One::Missing);
        }
        exclude(&mut listings, wanted.exclude);
        Ok(One::Found(Selected { name, path, stat, listings: Some(listings) }))
    }

    /// `--parents`: what is before the pivot `/./` is where it is copied from, what is after it is a pattern whose
    /// directories are kept.
    fn select_with_parents(&self, written: &str, wanted: &Wanted<'_>) -> Result<Vec<Selected>, Error> {
        let (root, pattern) = written.split_once("/./").unwrap_or(("/", written));
        let pattern = path::clean(pattern.as_bytes());
        let cleaned = path::clean(root.as_bytes());
        let literal = !has_wildcards(&cleaned) && !has_wildcards(&pattern);
        let whole = path::join(&cleaned, &pattern);
        let text = String::from_utf8_lossy(&pattern).into_owned();
        // The root itself, all of it.
        let include = match pattern.is_empty() {
            true => None,
            false => Some(Patterns::parse([text.as_str()]).map_err(bad_pattern)?),
        };
        // What the pattern begins with before its first wildcard: nothing else needs to be looked at.
        let plain = path::names(&pattern).take_while(|name| !has_wildcards(name) && !name.contains(&b'\\'));
        let beginning = plain.collect::<Vec<_>>().join(&b'/');
        let roots = match has_wildcards(&cleaned) {
            true => self.expand(&cleaned)?,
            false => vec![cleaned],
        };
        let mut selected = Vec::new();
        for root in roots {
            let One::Found(mut one) = self.one(&root, &beginning, wanted)? else { continue };
            if let (Some(listings), Some(include)) = (&mut one.listings, &include) {
                listings.narrow(&Above::default(), |path, _, above| include.fits(path, above));
                if listings.is_empty() {
                    continue;
                }
            }
            selected.push(one);
        }
        if selected.is_empty() && literal {
            return Err(self.not_found(written, &whole));
        }
        Ok(selected)
    }

    /// The paths that a source with wildcards fits. Directories on the way are no links.
    fn expand(&self, pattern: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let names: Vec<&[u8]> = path::names(pattern).collect();
        let first = names.iter().position(|name| has_wildcards(name)).unwrap_or(names.len());
        let literal = names[..first].join(&b'/');
        let mut found = match self.resolve(&literal) {
            Err(Error::Path { reason: NOT_A_DIRECTORY, .. }) => return Ok(Vec::new()),
            path => vec![path?],
        };
        for name in &names[first..] {
            let glob = Glob::parse(name).ok_or_else(|| {
                bad_pattern((String::from_utf8_lossy(pattern).into_owned(), "syntax error in pattern"))
            })?;
            let mut next = Vec::new();
            for dir in &found {
                for entry in self.names_in(dir)?.into_iter().filter(|entry| glob.matches(entry)) {
                    next.push(path::join(dir, &entry));
                }
            }
            found = next;
        }
        Ok(found)
    }

    /// The names in the directory `dir`, sorted; none if it is no directory.
    fn names_in(&self, dir: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        if !self.lstat(dir)?.is_some_and(|stat| stat.is_dir()) {
            return Ok(Vec::new());
        }
        let listing = list(&self.source(), dir, &|path, is_dir| match self {
            Tree::Image { .. } => Visit::Keep,
            Tree::Context(context) => context.visit(path, is_dir),
        })?;
        Ok(listing.entries.into_iter().map(|found| found.name.into_vec()).collect())
    }

    fn not_found(&self, written: &str, cleaned: &[u8]) -> Error {
        let rule = match self {
            Tree::Context(context) => context.explain(cleaned).map(|rule| format!("{rule} leaves it out")),
            Tree::Image { .. } => None,
        };
        let hint = rule.or_else(|| {
            let near = near::names(cleaned, |dir| self.names_in(dir).unwrap_or_default());
            (!near.is_empty()).then(|| format!("did you mean {}?", near.join(" or ")))
        });
        Error::NotFound { source_path: written.to_owned(), place: self.label().to_owned(), hint }
    }
}

const NOT_A_DIRECTORY: &str = "not a directory";

/// Whether `path` is `other` or below it.
fn is_at_or_above(other: &[u8], path: &[u8]) -> bool {
    path.strip_prefix(other).is_some_and(|rest| other.is_empty() || rest.is_empty() || rest[0] == b'/')
}

/// Leaves out what the patterns say.
fn exclude(listings: &mut Listings, patterns: &Patterns) {
    listings.narrow(&Above::default(), |path, _, above| {
        let (excluded, here) = patterns.fits(path, above);
        (!excluded, here)
    });
}

pub(super) fn bad_pattern((pattern, message): (String, &'static str)) -> Error {
    Error::Pattern { pattern, message }
}
