//! The output of a step: read to its end, handed on line by line, its tail kept for the error.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::Mutex;

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

/// Reads `pipe` to its end and hands on whole lines as they come.
pub fn pump(
    pipe: OwnedFd,
    stream: Stream,
    tail: &Tail,
    emit: &(dyn Fn(Stream, &[u8]) + Sync),
) -> io::Result<()> {
    let mut pipe = File::from(pipe);
    let mut buffer = vec![0u8; LINE];
    let mut held = 0;
    loop {
        let read = match pipe.read(&mut buffer[held..]) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let filled = held + read;
        let whole = match buffer[..filled].iter().rposition(|&b| b == b'\n') {
            Some(at) => at + 1,
            None if filled == buffer.len() => filled,
            None => 0,
        };
        if whole > 0 {
            tail.add(&buffer[..whole]);
            emit(stream, &buffer[..whole]);
            buffer.copy_within(whole..filled, 0);
        }
        held = filled - whole;
    }
    if held > 0 {
        tail.add(&buffer[..held]);
        emit(stream, &buffer[..held]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

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
        pump(reader.into(), Stream::Stdout, &tail, &|_, bytes| seen.lock().unwrap().extend_from_slice(bytes))
            .unwrap();
        writing.join().unwrap();
        assert!(seen.into_inner().unwrap() == expected);
        let tail = tail.into_bytes();
        assert!(tail.len() <= TAIL && expected.ends_with(&tail));
    }
}
