//! The output of a step: read to its end, handed on line by line, its tail kept for the error.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::Mutex;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Which of the two streams a process printed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Bytes of the tail that an error shows.
const TAIL: usize = 16 * 1024;
/// A line longer than this is handed on in pieces.
const LINE: usize = 64 * 1024;
/// How long to wait for output at most.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// The end of what a process printed, both streams in the order they were read.
#[derive(Default)]
pub struct Tail(Mutex<Vec<u8>>);

impl Tail {
    fn add(&self, bytes: &[u8]) {
        let mut tail = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tail.extend_from_slice(bytes);
        if tail.len() > 2 * TAIL {
            let cut = tail.len() - TAIL;
            let start = tail[cut..].iter().position(|&b| b == b'\n').map_or(cut, |at| cut + at + 1);
            tail.drain(..start);
        }
    }

    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        let mut tail = self.0.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        if tail.len() > TAIL {
            tail.drain(..tail.len() - TAIL);
        }
        tail
    }
}

/// One pipe, and what was read of a line that has not ended.
struct Pump {
    pipe: File,
    stream: Stream,
    buffer: Vec<u8>,
    held: usize,
}

/// Reads both pipes of a process to their ends, in this thread, and hands on whole lines as they come.
///
/// `tick` is called about ten times a second, whether or not there is something to read, for what else has to be
/// looked after as long as the process runs.
pub fn pump(
    pipes: [(OwnedFd, Stream); 2],
    tail: &Tail,
    emit: &dyn Fn(Stream, &[u8]),
    tick: &dyn Fn(),
) -> io::Result<()> {
    let mut pumps: Vec<Pump> = pipes.into_iter().map(|(pipe, stream)| Pump::new(pipe, stream)).collect();
    while !pumps.is_empty() {
        let mut polled: Vec<PollFd<'_>> =
            pumps.iter().map(|pump| PollFd::new(&pump.pipe, PollFlags::IN)).collect();
        match poll(&mut polled, Some(&TICK)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready: Vec<bool> = polled.iter().map(|fd| !fd.revents().is_empty()).collect();
        tick();
        let mut ready = ready.into_iter();
        let mut failed = None;
        pumps.retain_mut(|pump| {
            if failed.is_some() || ready.next() != Some(true) {
                return true;
            }
            pump.read(tail, emit).unwrap_or_else(|error| {
                failed = Some(error);
                false
            })
        });
        if let Some(error) = failed {
            return Err(error);
        }
    }
    Ok(())
}

impl Pump {
    fn new(pipe: OwnedFd, stream: Stream) -> Pump {
        Pump { pipe: pipe.into(), stream, buffer: Vec::new(), held: 0 }
    }

    /// Reads once, which does not wait as there is something; `false` at the end.
    fn read(&mut self, tail: &Tail, emit: &dyn Fn(Stream, &[u8])) -> io::Result<bool> {
        // Most steps print nothing: the room is made when it is needed.
        self.buffer.resize(LINE, 0);
        let read = match self.pipe.read(&mut self.buffer[self.held..]) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(error),
        };
        let filled = self.held + read;
        let whole = match self.buffer[..filled].iter().rposition(|&b| b == b'\n') {
            _ if read == 0 => filled,
            Some(at) => at + 1,
            None if filled == self.buffer.len() => filled,
            None => 0,
        };
        if whole > 0 {
            tail.add(&self.buffer[..whole]);
            emit(self.stream, &self.buffer[..whole]);
            self.buffer.copy_within(whole..filled, 0);
        }
        self.held = filled - whole;
        Ok(read != 0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn both_streams_are_read_as_they_come() {
        let ((out, mut to_out), (err, mut to_err)) = (io::pipe().unwrap(), io::pipe().unwrap());
        let writing = std::thread::spawn(move || {
            // More than a pipe holds: whoever waits for one stream to end first hangs.
            to_err.write_all(&vec![b'e'; 300_000]).unwrap();
            to_out.write_all(b"first\nsecond").unwrap();
            to_err.write_all(b"\n").unwrap();
        });
        let seen = Mutex::new((Vec::new(), 0));
        let ticks = std::cell::Cell::new(0);
        let emit = |stream, bytes: &[u8]| match stream {
            Stream::Stdout => seen.lock().unwrap().0.push(String::from_utf8_lossy(bytes).into_owned()),
            Stream::Stderr => seen.lock().unwrap().1 += bytes.len(),
        };
        let pipes = [(out.into(), Stream::Stdout), (err.into(), Stream::Stderr)];
        pump(pipes, &Tail::default(), &emit, &|| ticks.set(ticks.get() + 1)).unwrap();
        writing.join().unwrap();
        let (lines, errors) = seen.into_inner().unwrap();
        assert_eq!((lines.concat().as_str(), errors), ("first\nsecond", 300_001));
        assert!(ticks.get() > 0);
    }

    #[test]
    fn every_byte_arrives_in_order() {
        let (reader, writer) = io::pipe().unwrap();
        let mut text: Vec<u8> = (0..20_000).flat_map(|i| format!("line {i}\n").into_bytes()).collect();
        text.extend(std::iter::repeat_n(b'x', 3 * LINE));
        text.extend_from_slice(b"\nlast, without end");
        let expected = text.clone();
        let writing = std::thread::spawn(move || {
            let mut writer = writer;
            writer.write_all(&text).unwrap();
        });
        let seen = Mutex::new(Vec::new());
        let tail = Tail::default();
        let (other, closed) = io::pipe().unwrap();
        drop(closed);
        let emit = |_, bytes: &[u8]| seen.lock().unwrap().extend_from_slice(bytes);
        pump([(reader.into(), Stream::Stdout), (other.into(), Stream::Stderr)], &tail, &emit, &|| ())
            .unwrap();
        writing.join().unwrap();
        assert!(seen.into_inner().unwrap() == expected);
        let tail = tail.into_bytes();
        assert!(tail.len() <= TAIL && expected.ends_with(&tail));
    }
}
