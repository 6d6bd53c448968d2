//! Bytes from the thread that makes them to one that hashes and writes them, in chunks.
//!
//! The second thread starts with the first full chunk: what is smaller is not worth one.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use oci::{Digest, Hasher};

use crate::error::Error;

const CHUNK: usize = 256 << 10;
const AHEAD: usize = 6;

/// What went through.
pub(crate) struct Hashed {
    /// Its digest.
    pub digest: Digest,
    /// Its length.
    pub len: u64,
}

/// Runs `make` on a writer, and writes all that it wrote to `out`.
pub(crate) fn hash_and_write<T>(
    out: impl Write + Send,
    make: impl FnOnce(&mut dyn Write) -> Result<T, Error>,
) -> Result<(T, Hashed), Error> {
    let writing = |e| Error::io("writing a layer", e);
    std::thread::scope(|scope| {
        let (failed, failure) = channel();
        let state = State::Alone { scope, out: Some(out) };
        let mut chunks = Chunked { chunk: Vec::with_capacity(CHUNK), state, failed };
        let made = make(&mut chunks);
        // Whoever writes knows better why it broke off than the maker, who sees a closed channel.
        if let Ok(error) = failure.try_recv() {
            return Err(writing(error));
        }
        let made = made?;
        let finished = chunks.finish();
        match failure.try_recv() {
            Ok(error) => Err(writing(error)),
            Err(_) => Ok((made, finished.map_err(writing)?)),
        }
    })
}

/// The maker's end.
struct Chunked<'s, 'e, W> {
    chunk: Vec<u8>,
    state: State<'s, 'e, W>,
    failed: Sender<io::Error>,
}

enum State<'s, 'e, W> {
    Alone { scope: &'s Scope<'s, 'e>, out: Option<W> },
    Two { chunks: SyncSender<Vec<u8>>, used: Receiver<Vec<u8>>, writer: ScopedJoinHandle<'s, Hasher> },
}

impl<'s, W: Write + Send + 's> Chunked<'s, '_, W> {
    fn send(&mut self) -> io::Result<()> {
        if let State::Alone { scope, out } = &mut self.state {
            let out = out.take().ok_or_else(closed)?;
            self.state = start(scope, out, self.failed.clone());
        }
        let State::Two { chunks, used, .. } = &self.state else { return Err(closed()) };
        let mut next = used.try_recv().unwrap_or_else(|_| Vec::with_capacity(CHUNK));
        next.clear();
        chunks.send(std::mem::replace(&mut self.chunk, next)).map_err(|_| closed())
    }

    fn finish(self) -> io::Result<Hashed> {
        let hasher = match self.state {
            State::Alone { out, .. } => {
                let mut out = out.ok_or_else(closed)?;
                let mut hasher = Hasher::new();
                hasher.update(&self.chunk);
                out.write_all(&self.chunk)?;
                out.flush()?;
                hasher
            }
            State::Two { chunks, writer, .. } => {
                let sent = chunks.send(self.chunk);
                drop(chunks);
                let hasher = writer.join().map_err(|_| closed())?;
                sent.map_err(|_| closed())?;
                hasher
            }
        };
        let len = hasher.len();
        Ok(Hashed { digest: hasher.finish(), len })
    }
}

fn start<'s, 'e, W: Write + Send + 's>(
    scope: &'s Scope<'s, 'e>,
    mut out: W,
    failed: Sender<io::Error>,
) -> State<'s, 'e, W> {
    let (chunks, received) = sync_channel::<Vec<u8>>(AHEAD);
    let (give_back, used) = channel();
    let writer = scope.spawn(move || {
        let mut hasher = Hasher::new();
        let mut write = || {
            for chunk in &received {
                hasher.update(&chunk);
                out.write_all(&chunk)?;
                // The maker may be done and want no buffers.
                let _ = give_back.send(chunk);
            }
            out.flush()
        };
        if let Err(error) = write() {
            let _ = failed.send(error);
        }
        // Only now may the maker see that it is over: it then looks for the reason.
        drop(received);
        hasher
    });
    State::Two { chunks, used, writer }
}

fn closed() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

impl<'s, W: Write + Send + 's> Write for Chunked<'s, '_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..n]);
        if self.chunk.len() == CHUNK {
            self.send()?;
        }
        Ok(n)
    }

    /// What is under way is flushed at the end, by who writes it.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
