//! A container's log: what it printed, a JSON line for each of its lines, in Docker's `json-file` form.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::attach::Output;

/// Longer lines are split, as in Docker: each piece is an entry, and the last one ends with the line.
const PIECE: usize = 16 << 10;

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// The text, with its line end, if it had one; bytes that are no UTF-8 are replaced.
    pub log: String,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// When, RFC 3339.
    pub time: String,
}

/// Appends to a log.
pub(crate) struct Log {
    file: File,
    /// Beginnings of lines that have not ended yet: of stdout and of stderr.
    partial: [Vec<u8>; 2],
    /// Set when writing failed: the disk is full, say. What the container prints goes on to whoever reads it.
    broken: bool,
}

impl Log {
    /// Opens the log at `path` (on the host) for appending.
    pub fn open(path: &Path) -> io::Result<Log> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Log { file, partial: [Vec::new(), Vec::new()], broken: false })
    }

    /// Adds `bytes`: an entry for each line that is whole.
    pub fn write(&mut self, stream: Output, bytes: &[u8]) {
        let time = jiff::Timestamp::now().to_string();
        let mut text = Vec::with_capacity(bytes.len() + 128);
        let partial = &mut self.partial[stream as usize];
        for line in bytes.split_inclusive(|&b| b == b'\n') {
            for piece in line.chunks(PIECE) {
                if partial.len() + piece.len() > PIECE {
                    entry(&mut text, stream, &time, partial);
                    partial.clear();
                }
                partial.extend_from_slice(piece);
                if piece.ends_with(b"\n") {
                    entry(&mut text, stream, &time, partial);
                    partial.clear();
                }
            }
        }
        self.append(&text);
    }

    /// Adds what is left of a stream that ended without a line end.
    pub fn end(&mut self, stream: Output) {
        let partial = std::mem::take(&mut self.partial[stream as usize]);
        if !partial.is_empty() {
            let mut text = Vec::new();
            entry(&mut text, stream, &jiff::Timestamp::now().to_string(), &partial);
            self.append(&text);
        }
    }

    fn append(&mut self, text: &[u8]) {
        self.broken = self.broken || self.file.write_all(text).is_err();
    }
}

fn entry(text: &mut Vec<u8>, stream: Output, time: &str, line: &[u8]) {
    let entry = LogEntry {
        log: String::from_utf8_lossy(line).into_owned(),
        stream: stream.name().to_owned(),
        time: time.to_owned(),
    };
    serde_json::to_writer(&mut *text, &entry).expect("because its fields are text, and memory takes all");
    text.push(b'\n');
}

/// Reads a log as it grows.
pub struct LogReader {
    file: Option<File>,
    /// Bytes read that are no whole line yet.
    rest: Vec<u8>,
}

impl LogReader {
    /// Opens the log at `path` (on the host); one that is not there is empty.
    pub(crate) fn open(path: &Path) -> io::Result<LogReader> {
        let file = match File::open(path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(LogReader { file, rest: Vec::new() })
    }

    /// Skips to the last `lines` lines.
    pub fn tail(&mut self, lines: u64) -> io::Result<()> {
        const BLOCK: u64 = 64 << 10;
        let Some(file) = &mut self.file else { return Ok(()) };
        let end = file.seek(SeekFrom::End(0))?;
        // The last byte ends a line: the line before it begins behind the line end sought.
        let (mut at, mut found) = (end, 0u64);
        let mut block = Vec::new();
        while at > 0 {
            let from = at.saturating_sub(BLOCK);
            file.seek(SeekFrom::Start(from))?;
            block.clear();
            Read::by_ref(file).take(at - from).read_to_end(&mut block)?;
            for (place, _) in block.iter().enumerate().rev().filter(|(_, b)| **b == b'\n') {
                found += 1;
                if found > lines {
                    file.seek(SeekFrom::Start(from + place as u64 + 1))?;
                    return Ok(());
                }
            }
            at = from;
        }
        file.seek(SeekFrom::Start(0))?;
        Ok(())
    }

    /// The entries that have come since the last call, oldest first; not all at once where they are many. Empty at the
    /// end of what there is. A line cut short by a kill is left out.
    pub fn read(&mut self) -> io::Result<Vec<LogEntry>> {
        let Some(file) = &mut self.file else { return Ok(Vec::new()) };
        let mut entries = Vec::new();
        let mut block = vec![0u8; 256 << 10];
        while entries.is_empty() {
            let read = file.read(&mut block)?;
            if read == 0 {
                break;
            }
            self.rest.extend_from_slice(&block[..read]);
            let whole = self.rest.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
            let lines = self.rest[..whole].split(|&b| b == b'\n');
            entries.extend(lines.filter_map(|line| serde_json::from_slice::<LogEntry>(line).ok()));
            self.rest.drain(..whole);
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pieces: &[(Output, &[u8])]) -> (std::path::PathBuf, Vec<LogEntry>) {
        let path = std::env::temp_dir().join(format!("strake-log-{}-{}", std::process::id(), pieces.len()));
        let _ = std::fs::remove_file(&path);
        let mut log = Log::open(&path).unwrap();
        for (stream, bytes) in pieces {
            log.write(*stream, bytes);
        }
        log.end(Output::Stdout);
        log.end(Output::Stderr);
        let mut reader = LogReader::open(&path).unwrap();
        let mut all = Vec::new();
        loop {
            let some = reader.read().unwrap();
            if some.is_empty() {
                break;
            }
            all.extend(some);
        }
        (path, all)
    }

    #[test]
    fn a_line_is_an_entry_however_it_came() {
        let long = vec![b'x'; PIECE + 5];
        let (path, all) = written(&[
            (Output::Stdout, b"one\ntw"),
            (Output::Stderr, b"err"),
            (Output::Stdout, b"o\n\xff"),
            (Output::Stdout, &long),
            (Output::Stdout, b"\nend"),
        ]);
        let texts: Vec<(&str, usize)> = all.iter().map(|e| (e.stream.as_str(), e.log.len())).collect();
        assert_eq!(all[0].log, "one\n");
        assert_eq!(all[1].log, "two\n");
        // The byte that is no UTF-8 is three of them in the log.
        assert_eq!(
            texts[2..],
            [("stdout", 3), ("stdout", PIECE), ("stdout", 6), ("stdout", 3), ("stderr", 3)]
        );
        let mut reader = LogReader::open(&path).unwrap();
        reader.tail(2).unwrap();
        let last: Vec<String> = reader.read().unwrap().into_iter().map(|e| e.log).collect();
        assert_eq!(last, ["end", "err"]);
        let _ = std::fs::remove_file(path);
    }
}
