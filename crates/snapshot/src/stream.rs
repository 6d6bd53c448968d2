//! A plain stream out of a compressed one, made by a thread of its own: it inflates and hashes while its reader works.
//!
//! Also the place of the limits that can be seen from the stream alone: its length, and how far it was blown up.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use oci::{Digest, Hasher};

use crate::compress::{self, Compression};

/// Bytes in a chunk, and chunks on the way: 2 MiB a stream.
const CHUNK: usize = 256 << 10;
const AHEAD: usize = 6;

/// Why a stream broke off.
#[derive(Debug)]
pub enum StreamError {
    /// Reading or inflating failed.
    Io(io::Error),
    /// It is longer than it may be.
    Limit {
        /// What is counted.
        what: &'static str,
        /// How many there may be.
        limit: u64,
    },
}

impl From<io::Error> for StreamError {
    fn from(error: io::Error) -> StreamError {
        StreamError::Io(error)
    }
}

/// Where a tar is read from: chunks that the caller looks at and takes from.
pub trait Source {
    /// The bytes at hand; empty only at the end.
    ///
    /// # Errors
    /// Why the stream broke off.
    fn fill(&mut self) -> Result<&[u8], StreamError>;

    /// Takes `n` of the bytes that `fill` showed.
    fn consume(&mut self, n: usize);
}

impl Source for &[u8] {
    fn fill(&mut self) -> Result<&[u8], StreamError> {
        Ok(self)
    }

    fn consume(&mut self, n: usize) {
        *self = &self[n..];
    }
}

/// What a stream may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Uncompressed bytes.
    pub bytes: u64,
    /// Uncompressed for each compressed byte, once it is over `ratio_from` bytes.
    pub ratio: u64,
    pub ratio_from: u64,
}

/// A compressed stream, all read.
#[derive(Debug)]
pub(crate) struct Inflated {
    /// Digest of the uncompressed bytes.
    pub digest: Digest,
    /// Number of them.
    pub len: u64,
}

/// The reader's end.
pub(crate) struct Chunks {
    chunks: Receiver<Result<Vec<u8>, StreamError>>,
    used: Sender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Source for Chunks {
    fn fill(&mut self) -> Result<&[u8], StreamError> {
        while self.at == self.current.len() && !self.ended {
            match self.chunks.recv() {
                Ok(Ok(chunk)) => {
                    let used = std::mem::replace(&mut self.current, chunk);
                    self.at = 0;
                    // Once the writer is done it wants no buffers back.
                    let _ = self.used.send(used);
                }
                Ok(Err(error)) => {
                    self.ended = true;
                    return Err(error);
                }
                Err(_) => self.ended = true,
            }
        }
        Ok(&self.current[self.at..])
    }

    fn consume(&mut self, n: usize) {
        self.at += n;
    }
}

/// The writer's end; `run` is to be called on another thread than the reader's.
pub(crate) struct Inflater {
    chunks: SyncSender<Result<Vec<u8>, StreamError>>,
    used: Receiver<Vec<u8>>,
}

/// A pair of ends.
pub(crate) fn pipe() -> (Inflater, Chunks) {
    let (chunks_in, chunks) = sync_channel(AHEAD);
    let (used, used_out) = channel();
    let reader = Chunks { chunks, used, current: Vec::new(), at: 0, ended: false };
    (Inflater { chunks: chunks_in, used: used_out }, reader)
}

impl Inflater {
    /// Reads `source` to its end, hands what it inflates to, and hashes it. `None`: it failed, and the reader was
    /// told why, or the reader is gone.
    pub fn run(self, source: impl Read + Send, allowed: &[Compression], bounds: Bounds) -> Option<Inflated> {
        match self.pump(source, allowed, bounds) {
            Ok(inflated) => inflated,
            Err(error) => {
                let _ = self.chunks.send(Err(error));
                None
            }
        }
    }

    fn pump(
        &self,
        source: impl Read + Send,
        allowed: &[Compression],
        bounds: Bounds,
    ) -> Result<Option<Inflated>, StreamError> {
        let taken = std::sync::atomic::AtomicU64::new(0);
        let (compression, mut plain) = compress::reader(Counting { inner: source, taken: &taken })?;
        if !allowed.contains(&compression) {
            let message = format!("compressed with {}, which is not for layers", compression.name());
            return Err(io::Error::new(io::ErrorKind::InvalidData, message).into());
        }
        let mut hasher = Hasher::new();
        loop {
            let mut chunk = self.used.try_recv().unwrap_or_default();
            // Grows once; afterwards the buffers go round.
            chunk.resize(CHUNK, 0);
            let mut len = 0;
            while len < CHUNK {
                match plain.read(&mut chunk[len..]) {
                    Ok(0) => break,
                    Ok(n) => len += n,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => {
                        // What was read in good order may hold the entry whose name the message needs.
                        chunk.truncate(len);
                        let _ = self.chunks.send(Ok(chunk));
                        return Err(e.into());
                    }
                }
            }
            let ended = len < CHUNK;
            chunk.truncate(len);
            hasher.update(&chunk);
            if hasher.len() > bounds.bytes {
                return Err(StreamError::Limit { what: "bytes when uncompressed", limit: bounds.bytes });
            }
            let compressed = taken.load(std::sync::atomic::Ordering::Relaxed);
            if compression != Compression::None
                && hasher.len() > bounds.ratio_from
                && hasher.len() / compressed.max(1) > bounds.ratio
            {
                return Err(StreamError::Limit { what: "ratio of compression", limit: bounds.ratio });
            }
            if self.chunks.send(Ok(chunk)).is_err() {
                return Ok(None);
            }
            if ended {
                let len = hasher.len();
                return Ok(Some(Inflated { digest: hasher.finish(), len }));
            }
        }
    }
}

/// Counts the compressed bytes as they are taken.
struct Counting<'a, R> {
    inner: R,
    taken: &'a std::sync::atomic::AtomicU64,
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.taken.fetch_add(n as u64, std::sync::atomic::Ordering::Relaxed);
        Ok(n)
    }
}
