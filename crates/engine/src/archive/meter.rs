//! How much of an archive is read at once for the headers of an entry. What is in them is the tar library's to know.

use std::cell::Cell;
use std::io::{self, Read, Seek};
use std::rc::Rc;

/// Bytes of the headers of an entry, with what extends them.
pub(super) const HEADER_LIMIT: u64 = 1 << 20;

/// Watches how much is read for a header. The library that reads the archive keeps the extension headers of an entry in
/// memory, however long they say they are.
#[derive(Default)]
pub(super) struct Meter(Rc<Cell<Option<u64>>>);

/// A source of which so much is read as its meter allows; anything where that says nothing.
pub(super) struct Metered<R> {
    source: R,
    left: Rc<Cell<Option<u64>>>,
}

impl Meter {
    pub fn of<R>(&self, source: R) -> Metered<R> {
        Metered { source, left: Rc::clone(&self.0) }
    }

    /// Has the next header read, before which `passed_over` bytes of content may have to be.
    pub fn header<T>(&self, passed_over: u64, next: impl FnOnce() -> T) -> T {
        self.0.set(Some(passed_over.saturating_add(HEADER_LIMIT)));
        let found = next();
        self.0.set(None);
        found
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        if let Some(left) = self.left.get() {
            let left = left.checked_sub(read as u64).ok_or_else(|| {
                io::Error::other(format!("it has an extension header of more than {HEADER_LIMIT} bytes"))
            })?;
            self.left.set(Some(left));
        }
        Ok(read)
    }
}

impl<R: Seek> Seek for Metered<R> {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.source.seek(to)
    }
}
