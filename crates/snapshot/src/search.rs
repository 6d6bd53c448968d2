//! Looking for byte strings in layers while they are hashed: in contents, names, link targets and xattrs.
//!
//! The pass that hashes a layer sees its tar, and so everything of it, once and in order; a [`Tap`] in it only says
//! whether there was something. Where in the layer is then looked up by [`Search::locate`], file by file: that is for
//! messages, and costs nothing where nothing is found. What the strings are and why they must not be there is not
//! known here.

use std::io::{self, Write};
use std::path::Path;

use memchr::memmem::Finder;

use crate::Kind;
use crate::diff::read_content;
use crate::diff::walk::{Found, Walk};
use crate::error::{Error, Name};
use crate::owners::Owners;

/// Byte strings to be looked for, each with a name for messages.
#[derive(Debug)]
pub struct Search {
    strings: Vec<(String, Finder<'static>)>,
    longest: usize,
}

/// Where a string was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The name of the string.
    pub name: String,
    /// Path in the layer; a string that is looked for and stands in it is replaced by stars.
    pub path: String,
    /// In what of the file.
    pub part: Part,
}

/// What of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Its content.
    Content,
    /// Its name, or that of a directory above it.
    Name,
    /// Where a link leads.
    Target,
    /// This xattr.
    Xattr(String),
}

impl Search {
    /// A search for `strings`, by name; `None` where there are none. Empty ones are left out.
    pub fn new(strings: impl IntoIterator<Item = (String, Vec<u8>)>) -> Option<Search> {
        let strings: Vec<(String, Finder<'static>)> = strings
            .into_iter()
            .filter(|(_, bytes)| !bytes.is_empty())
            .map(|(name, bytes)| (name, Finder::new(&bytes).into_owned()))
            .collect();
        let longest = strings.iter().map(|(_, finder)| finder.needle().len()).max()?;
        Some(Search { strings, longest })
    }

    /// The name of the first string that is in `bytes`.
    fn find(&self, bytes: &[u8]) -> Option<&str> {
        self.strings.iter().find(|(_, finder)| finder.find(bytes).is_some()).map(|(name, _)| name.as_str())
    }

    /// Where in the layer directory `layer` (on the host) one of the strings is, first in the order of the tar.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn locate(&self, layer: &Path) -> Result<Option<Hit>, Error> {
        let owners = Owners::of_layer(layer)?;
        let mut walk = Walk::new(layer, &owners)?;
        let mut buffer = vec![0; 128 << 10];
        while let Some(Found { entry, content }) = walk.next()? {
            let hit = |name: &str, part: Part| {
                let hit = Hit { name: name.to_owned(), path: self.shown(&entry.path), part };
                Ok(Some(hit))
            };
            if let Some(name) = self.find(&entry.path) {
                return hit(name, Part::Name);
            }
            if let Kind::Symlink(target) = &entry.kind
                && let Some(name) = self.find(target)
            {
                return hit(name, Part::Target);
            }
            for (key, value) in &entry.xattrs {
                if let Some(name) = self.find(value).or_else(|| self.find(key)) {
                    return hit(name, Part::Xattr(self.shown(key)));
                }
            }
            if let Some(fd) = &content {
                let mut scanner = Scanner::new(self);
                read_content(&mut scanner, fd, entry.size(), &mut buffer)
                    .map_err(|e| Error::io(format!("reading {} again", Name::from(&entry.path)), e))?;
                if let Some(name) = scanner.found {
                    return hit(name, Part::Content);
                }
            }
        }
        Ok(None)
    }

    /// A path or name without what must not be shown.
    fn shown(&self, bytes: &[u8]) -> String {
        let mut bytes = bytes.to_vec();
        for (_, finder) in &self.strings {
            while let Some(at) = finder.find(&bytes) {
                bytes.splice(at..at + finder.needle().len(), *b"****");
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Looks at bytes as they come, over the ends of what is written at once.
#[derive(Debug)]
struct Scanner<'a> {
    search: &'a Search,
    /// The end of what came, one byte less than the longest string.
    carry: Vec<u8>,
    found: Option<&'a str>,
}

impl<'a> Scanner<'a> {
    fn new(search: &'a Search) -> Scanner<'a> {
        Scanner { search, carry: Vec::new(), found: None }
    }

    fn look(&mut self, bytes: &[u8]) {
        if self.found.is_some() || bytes.is_empty() {
            return;
        }
        let overlap = self.search.longest - 1;
        if !self.carry.is_empty() {
            self.carry.extend_from_slice(&bytes[..bytes.len().min(overlap)]);
            self.found = self.search.find(&self.carry);
        }
        // What is short is in the carry as a whole.
        if self.found.is_none() && (bytes.len() > overlap || self.carry.is_empty()) {
            self.found = self.search.find(bytes);
        }
        if bytes.len() >= overlap {
            self.carry.clear();
            self.carry.extend_from_slice(&bytes[bytes.len() - overlap..]);
        } else if self.carry.is_empty() {
            self.carry.extend_from_slice(bytes);
        } else {
            // All of `bytes` is at its end already.
            let from = self.carry.len().saturating_sub(overlap);
            self.carry.drain(..from);
        }
    }
}

impl Write for Scanner<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.look(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A writer that keeps nothing, and looks at what goes by where there is something to look for.
#[derive(Debug)]
pub struct Tap<'a>(Option<Scanner<'a>>);

impl<'a> Tap<'a> {
    /// For a search, or for none.
    pub fn new(search: Option<&'a Search>) -> Tap<'a> {
        Tap(search.map(Scanner::new))
    }

    /// Whether one of the strings went by. Where files meet, chance may have put one together: [`Search::locate`] is
    /// sure.
    pub fn found(&self) -> bool {
        self.0.as_ref().is_some_and(|scanner| scanner.found.is_some())
    }
}

impl Write for Tap<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(scanner) = &mut self.0 {
            scanner.look(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(strings: &[&str]) -> Search {
        Search::new(strings.iter().map(|s| ((*s).to_owned(), s.as_bytes().to_vec()))).unwrap()
    }

    #[test]
    fn strings_are_found_over_the_ends_of_writes() {
        let search = search(&["hunter2!", "abc"]);
        let text = b"xxxxhunter2!yyyyyyyy";
        for size in 1..=text.len() {
            let mut tap = Tap::new(Some(&search));
            for piece in text.chunks(size) {
                tap.write_all(piece).unwrap();
            }
            assert!(tap.found(), "in pieces of {size}");
            let mut tap = Tap::new(Some(&search));
            for piece in b"xxxxhunter2yyyyyyab".chunks(size) {
                tap.write_all(piece).unwrap();
            }
            assert!(!tap.found(), "in pieces of {size}");
        }
    }

    #[test]
    fn mixed_sizes() {
        let search = search(&["0123456789"]);
        let mut tap = Tap::new(Some(&search));
        for piece in ["ab0", "1", "", "23456", "78", "9zz"] {
            tap.write_all(piece.as_bytes()).unwrap();
        }
        assert!(tap.found());
        assert!(Search::new([("empty".to_owned(), Vec::new())]).is_none());
    }

    #[test]
    fn places_are_told_and_strings_are_not() {
        let search = search(&["hunter2!"]);
        let located = |make: &dyn Fn(&Path)| {
            let dir = tempfile::tempdir().unwrap();
            let layer = dir.path().join("fs");
            std::fs::create_dir(&layer).unwrap();
            make(&layer);
            search.locate(&layer).unwrap().map(|hit| (hit.path, hit.part))
        };
        let found = located(&|layer| {
            std::fs::create_dir(layer.join("d")).unwrap();
            std::fs::write(layer.join("d/f"), "password = hunter2!\n").unwrap();
        });
        assert_eq!(found, Some(("d/f".to_owned(), Part::Content)));
        let found = located(&|layer| std::fs::write(layer.join("x-hunter2!-y"), "").unwrap());
        assert_eq!(found, Some(("x-****-y".to_owned(), Part::Name)));
        let found = located(&|layer| std::os::unix::fs::symlink("hunter2!", layer.join("l")).unwrap());
        assert_eq!(found, Some(("l".to_owned(), Part::Target)));
        assert_eq!(located(&|layer| std::fs::write(layer.join("f"), "hunter2").unwrap()), None);
    }
}
