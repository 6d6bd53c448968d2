//! Gzip in parallel: blocks of fixed size, each deflated by itself, joined to one member (as pigz does).
//!
//! The header holds no time and no name. Because the blocks are cut by size alone and know nothing of each other,
//! the output depends on the input and the level, not on the number of threads.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use flate2::Crc;

use super::deflate::Deflater;

/// Uncompressed bytes in a block: large enough that starting without the block before costs next to nothing (a
/// thousandth and a half of the size).
const BLOCK: usize = 512 << 10;

/// Bytes that are deflated to see whether it is of use.
const SAMPLE: usize = 16 << 10;

/// No name, no time, unknown system: what Go's compress/gzip writes by default, too.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

struct Job {
    bytes: Vec<u8>,
    last: bool,
    reply: SyncSender<io::Result<Block>>,
}

struct Block {
    deflated: Vec<u8>,
    crc: Crc,
    /// The job's buffer, to be filled again.
    bytes: Vec<u8>,
}

/// A gzip writer. Without `finish` the stream has no end.
pub struct GzipWriter<W: Write> {
    inner: W,
    block: Vec<u8>,
    spare: Vec<Vec<u8>>,
    /// Blocks being deflated, first one first.
    pending: VecDeque<Receiver<io::Result<Block>>>,
    most_pending: usize,
    jobs: Option<SyncSender<Job>>,
    workers: Vec<JoinHandle<()>>,
    crc: Crc,
    len: u64,
}

impl<W: Write> GzipWriter<W> {
    /// Compresses at `level` (0 to 9) on `threads` threads beside the caller's (at least one).
    pub fn new(inner: W, level: u32, threads: usize) -> GzipWriter<W> {
        let level = level.min(9);
        let most_pending = threads.max(1) + 2;
        let (sender, receiver) = sync_channel::<Job>(most_pending);
        let receiver = Arc::new(Mutex::new(receiver));
        let workers = (0..threads.max(1)).map(|_| {
            let receiver = Arc::clone(&receiver);
            std::thread::spawn(move || work(&receiver, level))
        });
        GzipWriter {
            inner,
            block: Vec::with_capacity(BLOCK),
            spare: Vec::new(),
            pending: VecDeque::new(),
            most_pending,
            workers: workers.collect(),
            jobs: Some(sender),
            crc: Crc::new(),
            len: 0,
        }
    }

    /// Ends the stream and gives back what it was written to.
    ///
    /// # Errors
    /// What `W` says.
    pub fn finish(mut self) -> io::Result<W> {
        self.submit(true)?;
        while !self.pending.is_empty() {
            self.write_first()?;
        }
        self.inner.write_all(&self.crc.sum().to_le_bytes())?;
        // ISIZE is the length modulo 2^32.
        self.inner.write_all(&(self.len as u32).to_le_bytes())?;
        self.inner.flush()?;
        self.jobs = None;
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
        Ok(self.inner)
    }

    fn submit(&mut self, last: bool) -> io::Result<()> {
        if self.pending.len() >= self.most_pending {
            self.write_first()?;
        }
        let next = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(BLOCK));
        let bytes = std::mem::replace(&mut self.block, next);
        let (reply, receiver) = sync_channel(1);
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(Job { bytes, last, reply }).map_err(|_| gone())?;
        self.pending.push_back(receiver);
        Ok(())
    }

    fn write_first(&mut self) -> io::Result<()> {
        let Some(receiver) = self.pending.pop_front() else { return Ok(()) };
        let mut block = receiver.recv().map_err(|_| gone())??;
        if self.len == 0 {
            self.inner.write_all(&HEADER)?;
        }
        self.len += block.bytes.len() as u64;
        self.crc.combine(&block.crc);
        self.inner.write_all(&block.deflated)?;
        block.bytes.clear();
        self.spare.push(block.bytes);
        Ok(())
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..n]);
        if self.block.len() == BLOCK {
            self.submit(false)?;
        }
        Ok(n)
    }

    /// Flushes what is compressed; blocks stay whole.
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn gone() -> io::Error {
    io::Error::other("a compressing thread is gone")
}

fn work(jobs: &Mutex<Receiver<Job>>, level: u32) {
    let mut deflater = Deflater::new(level);
    loop {
        // The guard must not outlive the receive, or the workers would take turns.
        let job = match jobs.lock() {
            Ok(jobs) => jobs.recv(),
            Err(_) => return,
        };
        let Ok(Job { bytes, last, reply }) = job else { return };
        let deflated = match &mut deflater {
            Ok(deflater) => deflate(deflater, &bytes, last),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        let block = deflated.map(|deflated| {
            let mut crc = Crc::new();
            crc.update(&bytes);
            Block { deflated, crc, bytes }
        });
        // Nobody waits for it if the writer was dropped.
        let _ = reply.send(block);
    }
}

/// A block as deflate has it. What would not become smaller is stored: compressing noise takes longer than hashing and
/// sending it.
fn deflate(deflater: &mut Deflater, bytes: &[u8], last: bool) -> io::Result<Vec<u8>> {
    if is_even(bytes) {
        let mut gains = false;
        for at in [0, bytes.len() / 2] {
            let sample = &bytes[at..at + SAMPLE];
            gains |= deflater.deflate(sample, false)?.len() < SAMPLE - SAMPLE / 32;
        }
        if !gains {
            return Ok(stored(bytes, last));
        }
    }
    deflater.deflate(bytes, last)
}

/// Whether all bytes are about as frequent as each other, as in what is compressed or encrypted already: in an eighth
/// of them, and in integers, so that every machine decides alike.
fn is_even(bytes: &[u8]) -> bool {
    if bytes.len() < 4 * SAMPLE {
        return false;
    }
    let mut counts = [0u64; 256];
    for byte in bytes.chunks(SAMPLE).step_by(8).flatten() {
        counts[usize::from(*byte)] += 1;
    }
    let squares: u64 = counts.iter().map(|count| count * count).sum();
    let len: u64 = counts.iter().sum();
    squares * 256 < len * len / 50 * 51
}

/// Deflate's stored blocks, RFC 1951, 3.2.4.
fn stored(bytes: &[u8], last: bool) -> Vec<u8> {
    const MOST: usize = 0xffff;
    let mut out = Vec::with_capacity(bytes.len() + 5 * bytes.len().div_ceil(MOST));
    let mut pieces = bytes.chunks(MOST).peekable();
    while let Some(piece) = pieces.next() {
        let len = piece.len() as u16;
        out.push(u8::from(last && pieces.peek().is_none()));
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(piece);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn what_gains_nothing_is_stored() {
        let mut state = 1u64;
        let mut noise = |len: usize| -> Vec<u8> {
            (0..len)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    (state >> 32) as u8
                })
                .collect()
        };
        // Noise as it is, a piece of noise over and over, and text between.
        let whole = noise(2 * BLOCK + 1000);
        let again = noise(64).repeat(2 * BLOCK / 64);
        for (bytes, most) in [(whole.clone(), whole.len() + 200), (again.clone(), again.len() / 20)] {
            let out = compress(&bytes, 2, 1 << 16);
            assert!(out.len() < most, "{} of {}", out.len(), bytes.len());
            let mut back = Vec::new();
            flate2::read::GzDecoder::new(&out[..]).read_to_end(&mut back).unwrap();
            assert!(back == bytes);
        }
        let mixed = [whole, b"text ".repeat(BLOCK / 4), again].concat();
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(&compress(&mixed, 3, 999)[..]).read_to_end(&mut back).unwrap();
        assert!(back == mixed);
    }

    fn compress(bytes: &[u8], threads: usize, piece: usize) -> Vec<u8> {
        let mut writer = GzipWriter::new(Vec::new(), 6, threads);
        for piece in bytes.chunks(piece) {
            writer.write_all(piece).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn the_same_for_any_number_of_threads() {
        let mut state = 1u32;
        let bytes: Vec<u8> = (0..(3 * BLOCK + 77))
            .map(|i| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if i % 3 == 0 { (state >> 24) as u8 } else { b'x' }
            })
            .collect();
        for len in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, bytes.len()] {
            let one = compress(&bytes[..len], 1, 1 << 16);
            assert!(one == compress(&bytes[..len], 3, 1000));
            let mut back = Vec::new();
            flate2::read::GzDecoder::new(&one[..]).read_to_end(&mut back).unwrap();
            assert!(back == bytes[..len], "{len} bytes");
        }
    }
}
