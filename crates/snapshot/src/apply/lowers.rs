//! The layers below the one being applied: there from the start, or asked for when something depends on them. Most
//! tars depend on nothing below, so that the layers of an image can be unpacked side by side.

use std::fmt;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::error::Error;

/// Layer directories, topmost first.
#[derive(Clone)]
pub struct Lowers<'a> {
    /// Set from the start, or once they were asked for.
    here: OnceLock<Vec<PathBuf>>,
    awaited: Option<&'a Await<'a>>,
}

/// Gives the layer directories, topmost first and at least one. Blocks until they are there, or fails if they will not
/// come.
type Await<'a> = dyn Fn() -> Result<Vec<PathBuf>, Error> + Sync + 'a;

impl<'a> Lowers<'a> {
    /// No layers: this one is at the bottom.
    pub fn none() -> Lowers<'a> {
        Lowers::from(Vec::new())
    }

    /// Layers that may not be there yet. `wait` is called when something of the tar depends on them, or its root is to
    /// be as theirs because it says nothing of it: at most once in the first case, at the end in the second. It is
    /// called on the thread that applies.
    pub fn awaited(wait: &'a Await<'a>) -> Lowers<'a> {
        Lowers { here: OnceLock::new(), awaited: Some(wait) }
    }

    /// Whether there are none, and will be none.
    pub(super) fn is_none(&self) -> bool {
        self.awaited.is_none() && self.here.get().is_none_or(Vec::is_empty)
    }

    /// The directories, once they are there.
    pub(super) fn get(&self) -> Result<&[PathBuf], Error> {
        if self.here.get().is_none()
            && let Some(wait) = self.awaited
        {
            let came = wait()?;
            return Ok(self.here.get_or_init(|| came));
        }
        Ok(self.here.get().map_or(&[], Vec::as_slice))
    }
}

impl From<Vec<PathBuf>> for Lowers<'_> {
    fn from(here: Vec<PathBuf>) -> Self {
        Lowers { here: OnceLock::from(here), awaited: None }
    }
}

impl fmt::Debug for Lowers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.here.get() {
            Some(here) => here.fmt(f),
            None => f.write_str("awaited"),
        }
    }
}
