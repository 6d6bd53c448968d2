//! The tar of a layer, hashed in order while its entries are made ready out of order.
//!
//! There is no thread of its own: whoever has nothing else to do hashes what is due, and where everyone is busy, who
//! handed the piece in does. What may wait is bounded; who is too far ahead waits for the one at the head.

use std::collections::HashMap;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use oci::HashingWriter;

use crate::tar_writer::{self, TarWriter};
use crate::{Entry, LayerStat, Search, Tap};

/// Bytes that may wait for their turn.
const WINDOW: usize = 16 * 1024 * 1024;
/// What an entry without content counts as.
const HEADER: usize = 1024;
/// Buffers kept for the next file.
const SPARE: usize = 32;
/// A buffer larger than this is given back to the system.
const SPARE_LEN: usize = 1024 * 1024;

/// A part of the tar.
pub(super) enum Piece {
    /// An entry; its headers as `tar_writer::encode` makes them; its whole content.
    Whole { entry: Box<Entry>, headers: Vec<u8>, content: Vec<u8> },
    /// An entry whose content follows.
    Start(Box<Entry>),
    /// Content of the entry that was started.
    Content(Vec<u8>),
}

impl Piece {
    /// An entry that has no content.
    pub fn bare(entry: Entry) -> io::Result<Piece> {
        Piece::whole(entry, Vec::new())
    }

    /// An entry with all its content.
    pub fn whole(entry: Entry, content: Vec<u8>) -> io::Result<Piece> {
        let mut headers = Vec::with_capacity(HEADER + 512);
        tar_writer::encode(&entry, &mut headers)?;
        Ok(Piece::Whole { entry: Box::new(entry), headers, content })
    }

    fn len(&self) -> usize {
        match self {
            Piece::Whole { content, .. } => HEADER + content.capacity(),
            Piece::Start(_) => HEADER,
            Piece::Content(content) => content.capacity(),
        }
    }
}

/// Somebody else failed: there is nothing to be done any more.
#[derive(Debug)]
pub(super) struct Stopped;

pub(super) struct Ordered<'s> {
    state: Mutex<State>,
    changed: Condvar,
    tar: Mutex<TarWriter<HashingWriter<Tap<'s>>>>,
    spare: Mutex<Vec<Vec<u8>>>,
}

struct State {
    /// How many entries there will be.
    count: usize,
    /// The entry whose pieces are due.
    head: usize,
    /// How many threads wait for something to do.
    idle: usize,
    waiting: HashMap<usize, Waiting>,
    bytes: usize,
    hashing: bool,
    stopped: bool,
    error: Option<io::Error>,
}

#[derive(Default)]
struct Waiting {
    pieces: Vec<Piece>,
    ended: bool,
}

impl<'s> Ordered<'s> {
    /// A tar of `count` entries, in which `search` looks.
    pub fn new(count: usize, search: Option<&'s Search>) -> Ordered<'s> {
        Ordered {
            state: Mutex::new(State {
                count,
                head: 0,
                idle: 0,
                waiting: HashMap::new(),
                bytes: 0,
                hashing: false,
                stopped: false,
                error: None,
            }),
            changed: Condvar::new(),
            tar: Mutex::new(TarWriter::layer(Tap::new(search))),
            spare: Mutex::new(Vec::new()),
        }
    }

    /// An empty buffer, perhaps one that was used before.
    pub fn buffer(&self) -> Vec<u8> {
        lock(&self.spare).pop().unwrap_or_default()
    }

    /// Gives a buffer back.
    pub fn done_with(&self, mut buffer: Vec<u8>) {
        let mut spare = lock(&self.spare);
        if spare.len() < SPARE && buffer.capacity() <= SPARE_LEN {
            buffer.clear();
            spare.push(buffer);
        }
    }

    /// Hands in the next piece of entry number `at`; `last`: there are no more of it.
    pub fn push(&self, at: usize, piece: Piece, last: bool) -> Result<(), Stopped> {
        let len = piece.len();
        let mut state = lock(&self.state);
        loop {
            if state.stopped {
                return Err(Stopped);
            }
            // The head is what the rest wait for: it must never wait for them, only for its own pieces.
            let may_wait = at != state.head || state.is_due();
            if !(may_wait && state.bytes >= WINDOW) {
                break;
            }
            state = self.hash_or_wait(state);
        }
        state.bytes += len;
        let waiting = state.waiting.entry(at).or_default();
        waiting.pieces.push(piece);
        waiting.ended = last;
        if state.is_due() && !state.hashing {
            match state.idle {
                0 => drop(self.hash(state)),
                _ => self.changed.notify_all(),
            }
        }
        Ok(())
    }

    /// Hashes what others hand in, until all is done or somebody failed.
    pub fn help(&self) {
        let mut state = lock(&self.state);
        while state.head < state.count && !state.stopped {
            state = self.hash_or_wait(state);
        }
        drop(state);
        self.changed.notify_all();
    }

    fn hash_or_wait<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        if state.is_due() && !state.hashing {
            return self.hash(state);
        }
        state.idle += 1;
        let mut state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
        state
    }

    /// Makes everyone stop.
    pub fn stop(&self) {
        lock(&self.state).stopped = true;
        self.changed.notify_all();
    }

    /// The layer, when all entries have been handed in, and whether what was looked for is in it.
    pub fn finish(self) -> io::Result<(LayerStat, bool)> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = state.error {
            return Err(error);
        }
        let tar = self.tar.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (tap, stat) = tar.finish_layer()?;
        Ok((stat, tap.found()))
    }

    /// Hashes what is due until nothing is.
    fn hash<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.hashing = true;
        while let Some(waiting) = state.take_due() {
            drop(state);
            let mut len = 0;
            let mut error = None;
            let mut tar = lock(&self.tar);
            for piece in waiting {
                len += piece.len();
                if error.is_none() {
                    error = self.write(&mut tar, piece).err();
                }
            }
            drop(tar);
            state = lock(&self.state);
            state.bytes -= len;
            if error.is_some() {
                state.error = error;
                state.stopped = true;
            }
            self.changed.notify_all();
        }
        state.hashing = false;
        state
    }

    fn write(&self, tar: &mut TarWriter<HashingWriter<Tap<'s>>>, piece: Piece) -> io::Result<()> {
        match piece {
            Piece::Whole { entry, headers, content } => {
                let padding = &[0; 512][..tar_writer::padding(content.len() as u64)];
                tar.encoded(&entry, [headers.as_slice(), &content, padding])?;
                self.done_with(content);
            }
            Piece::Start(entry) => tar.entry(&entry)?,
            Piece::Content(content) => {
                io::Write::write_all(tar, &content)?;
                self.done_with(content);
            }
        }
        Ok(())
    }
}

impl State {
    fn is_due(&self) -> bool {
        self.waiting.get(&self.head).is_some_and(|w| !w.pieces.is_empty())
    }

    fn take_due(&mut self) -> Option<Vec<Piece>> {
        let mut due = Vec::new();
        while let Some(waiting) = self.waiting.get_mut(&self.head) {
            due.append(&mut waiting.pieces);
            if !waiting.ended {
                break;
            }
            self.waiting.remove(&self.head);
            self.head += 1;
        }
        Some(due).filter(|due| !due.is_empty())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::Kind;

    fn entry(n: usize, size: usize) -> Entry {
        Entry::new(format!("f{n:05}"), Kind::File { size: size as u64 }, 0o644)
    }

    fn content(n: usize) -> Vec<u8> {
        // Every tenth is large enough to fill the window with a few others.
        let len = if n.is_multiple_of(10) { 3 * 1024 * 1024 } else { n * 37 % 9000 };
        vec![n as u8; len]
    }

    #[test]
    fn any_order_gives_the_tar_of_the_right_order() {
        const COUNT: usize = 120;
        let mut expected = TarWriter::layer(Tap::new(None));
        for n in 0..COUNT {
            let content = content(n);
            expected.entry(&entry(n, content.len())).unwrap();
            io::Write::write_all(&mut expected, &content).unwrap();
        }
        let (_, expected) = expected.finish_layer().unwrap();

        let ordered = Ordered::new(COUNT, None);
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= COUNT {
                            return ordered.help();
                        }
                        let content = content(n);
                        if content.len() < 100_000 {
                            let piece = Piece::whole(entry(n, content.len()), content).unwrap();
                            ordered.push(n, piece, true).unwrap();
                            continue;
                        }
                        ordered.push(n, Piece::Start(Box::new(entry(n, content.len()))), false).unwrap();
                        let (most, rest) = content.split_at(content.len() - 7);
                        for part in most.chunks(1_000_000) {
                            ordered.push(n, Piece::Content(part.to_vec()), false).unwrap();
                        }
                        ordered.push(n, Piece::Content(rest.to_vec()), true).unwrap();
                    }
                });
            }
        });
        assert_eq!(ordered.finish().unwrap(), (expected, false));
    }

    #[test]
    fn a_stop_wakes_who_waits() {
        let ordered = Ordered::new(100, None);
        std::thread::scope(|scope| {
            let far_ahead = scope.spawn(|| {
                for n in 1..100 {
                    let piece = Piece::whole(entry(n, 1 << 20), vec![0; 1 << 20]).unwrap();
                    if ordered.push(n, piece, true).is_err() {
                        return n;
                    }
                }
                100
            });
            std::thread::sleep(std::time::Duration::from_millis(50));
            ordered.stop();
            assert!((16..100).contains(&far_ahead.join().unwrap()));
        });
    }
}
