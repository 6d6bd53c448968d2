//! A blob that is read while it comes: its file, how much of it is there, and whether it was verified.
//!
//! Who fetches never waits for who unpacks: what has come is in the file, and whoever reads is somewhere in it. So a
//! layer that waits for another holds up no download, and nothing of a blob is in memory but a buffer.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// One blob on its way.
#[derive(Default)]
pub(super) struct Feed {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// `None` until the first bytes are near.
    file: Option<Arc<File>>,
    /// Bytes of it that are there.
    here: u64,
    end: End,
    /// How often it began again with other bytes.
    round: u32,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    /// All is there, and is the blob.
    Whole,
    /// No more will come.
    Failed,
}

/// What became of a blob that somebody waited for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It is in the store.
    Whole,
    /// What was read was not the blob; it came again.
    Again,
    /// It did not come.
    Failed,
}

impl Feed {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// `file` is where the bytes come to; those that were read of another are void.
    pub fn begin(&self, file: File) {
        self.change(|state| {
            if state.file.is_some() {
                state.round += 1;
            }
            state.file = Some(Arc::new(file));
            state.here = 0;
        });
    }

    /// The file has `here` bytes now.
    pub fn advance(&self, here: u64) {
        self.change(|state| state.here = here);
    }

    /// All is there and verified.
    pub fn whole(&self) {
        self.change(|state| state.end = End::Whole);
    }

    /// No more will come.
    pub fn fail(&self) {
        self.change(|state| {
            if state.end == End::Open {
                state.end = End::Failed;
            }
        });
    }

    /// A reader from the start. `progress` is told how many bytes it has read.
    pub fn reader<'a>(&'a self, progress: impl FnMut(u64) + Send + 'a) -> FeedReader<'a> {
        let round = self.lock().round;
        FeedReader { feed: self, round, at: 0, progress: Box::new(progress) }
    }

    /// Waits for the end of what the reader that began in `round` read.
    pub fn wait(&self, round: u32) -> Ended {
        let mut state = self.lock();
        loop {
            match state.end {
                _ if state.round != round => return Ended::Again,
                End::Whole => return Ended::Whole,
                End::Failed => return Ended::Failed,
                End::Open => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Whether all is there and verified.
    pub fn is_whole(&self) -> bool {
        self.lock().end == End::Whole
    }

    /// The round that a reader made now is of.
    pub fn round(&self) -> u32 {
        self.lock().round
    }
}

/// Reads a blob from its start to its end, waiting where it has not come.
pub(super) struct FeedReader<'a> {
    feed: &'a Feed,
    round: u32,
    at: u64,
    progress: Box<dyn FnMut(u64) + Send + 'a>,
}

impl Read for FeedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.feed.lock();
        let (file, most) = loop {
            if state.round != self.round {
                return Err(io::Error::other("it was not what it should be, and is fetched again"));
            }
            match &state.file {
                Some(file) if state.here > self.at => {
                    let left = usize::try_from(state.here - self.at).unwrap_or(usize::MAX);
                    break (Arc::clone(file), left.min(buffer.len()));
                }
                _ => {}
            }
            match state.end {
                End::Whole => return Ok(0),
                End::Failed => return Err(io::Error::other("no more of it came")),
                End::Open => {
                    state = self.feed.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        drop(state);
        let read = file.read_at(&mut buffer[..most], self.at)?;
        if read == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        (self.progress)(self.at);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    fn file(text: &str) -> File {
        let path = std::env::temp_dir().join(format!("strake-feed-{}-{text}", std::process::id()));
        let mut file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        file
    }

    fn read(feed: &Feed) -> io::Result<String> {
        let mut text = String::new();
        feed.reader(|_| {}).read_to_string(&mut text).map(|_| text)
    }

    #[test]
    fn readers_wait_for_what_comes() {
        let feed = Feed::default();
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| read(&feed));
            feed.begin(file("abcdef"));
            feed.advance(2);
            std::thread::yield_now();
            feed.advance(6);
            feed.whole();
            assert_eq!(reading.join().unwrap().unwrap(), "abcdef");
            assert_eq!((read(&feed).unwrap().as_str(), feed.wait(0)), ("abcdef", Ended::Whole));
        });
    }

    #[test]
    fn what_was_wrong_is_read_again() {
        let feed = Feed::default();
        feed.begin(file("wrong"));
        feed.advance(5);
        let mut reader = feed.reader(|_| {});
        let mut two = [0; 2];
        reader.read_exact(&mut two).unwrap();
        feed.begin(file("right"));
        feed.advance(5);
        feed.whole();
        assert!(reader.read(&mut two).is_err());
        assert_eq!((feed.wait(0), feed.wait(1)), (Ended::Again, Ended::Whole));
        assert_eq!(read(&feed).unwrap(), "right");
    }

    #[test]
    fn failure_wakes_everybody() {
        let feed = Feed::default();
        std::thread::scope(|scope| {
            let (reading, waiting) = (scope.spawn(|| read(&feed)), scope.spawn(|| feed.wait(0)));
            feed.fail();
            assert!(reading.join().unwrap().is_err());
            assert_eq!(waiting.join().unwrap(), Ended::Failed);
        });
    }
}
