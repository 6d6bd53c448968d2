//! `.dockerignore` patterns as the filter of a build context.

use std::cell::RefCell;

use dockerfile::ignore::{Directory, Patterns};
use solver::context::{Filter, Visit};

/// Leaves out what patterns say.
pub(crate) struct Ignore {
    pub patterns: Patterns,
    /// The file that holds them, for people.
    pub name: String,
}

thread_local! {
    /// What is known of the directory whose entries were asked for last, by its path: a walk asks for
    /// the entries of one directory in a row.
    static LAST: RefCell<Option<(usize, Vec<u8>, Directory)>> = const { RefCell::new(None) };
}

impl Ignore {
    /// What the patterns say of the directory that holds `path`.
    fn parent(&self, path: &[u8]) -> Directory {
        let Some(end) = path.iter().rposition(|&byte| byte == b'/') else { return self.patterns.root() };
        let parent = &path[..end];
        let whose = std::ptr::from_ref(self) as usize;
        let held = LAST.with_borrow(|last| match last {
            Some((filter, at, known)) if *filter == whose && at == parent => Some(known.clone()),
            _ => None,
        });
        held.unwrap_or_else(|| {
            let (_, known) = self.patterns.directory(&self.parent(parent), parent);
            LAST.set(Some((whose, parent.to_vec(), known.clone())));
            known
        })
    }
}

impl Filter for Ignore {
    fn visit(&self, path: &[u8], is_dir: bool) -> Visit {
        if self.patterns.is_empty() {
            return Visit::Keep;
        }
        let parent = self.parent(path);
        if !is_dir {
            return if self.patterns.file(&parent, path).excluded { Visit::Skip } else { Visit::Keep };
        }
        let (verdict, _) = self.patterns.directory(&parent, path);
        match verdict.excluded {
            true if self.patterns.may_skip(path) => Visit::SkipTree,
            true => Visit::Skip,
            false => Visit::Keep,
        }
    }

    fn explain(&self, path: &[u8]) -> Option<String> {
        let verdict = self.patterns.decide(path);
        let pattern = verdict.by.filter(|_| verdict.excluded)?;
        Some(format!("{}:{} ({})", self.name, pattern.line, pattern.raw))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Ignore {
        Ignore { patterns: Patterns::parse(text.as_bytes()).unwrap(), name: ".dockerignore".into() }
    }

    #[test]
    fn directories_are_skipped_unless_something_in_them_is_not() {
        let ignore = filter("out\nlogs\n!logs/kept\n");
        assert_eq!(ignore.visit(b"out", true), Visit::SkipTree);
        assert_eq!(ignore.visit(b"logs", true), Visit::Skip);
        assert_eq!(ignore.visit(b"logs/a", false), Visit::Skip);
        assert_eq!(ignore.visit(b"logs/kept", false), Visit::Keep);
        assert_eq!(ignore.visit(b"src/out", true), Visit::Keep);
        assert_eq!(ignore.visit(b"src/out/x", false), Visit::Keep);
    }

    #[test]
    fn the_line_is_named() {
        let ignore = filter("# remark\n\n*.txt\n");
        assert_eq!(ignore.explain(b"a.txt").as_deref(), Some(".dockerignore:3 (*.txt)"));
        assert_eq!(ignore.explain(b"a.rs"), None);
    }
}
