//! A container's log: what it printed, a JSON line for each piece, in Docker's `json-file` form.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// The text, with its line end; bytes that are no UTF-8 are replaced.
    pub log: String,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// When, RFC 3339.
    pub time: String,
}

/// Appends to a log.
pub(crate) struct Log(File);

impl Log {
    /// Opens the log at `path` (on the host) for appending.
    pub fn open(path: &Path) -> io::Result<Log> {
        Ok(Log(OpenOptions::new().create(true).append(true).open(path)?))
    }

    /// Adds `bytes`, an entry for each line.
    pub fn write(&mut self, stream: &str, bytes: &[u8]) -> io::Result<()> {
        let time = jiff::Timestamp::now().to_string();
        let mut text = Vec::with_capacity(bytes.len() + 128);
        for line in bytes.split_inclusive(|&b| b == b'\n') {
            let entry = LogEntry {
                log: String::from_utf8_lossy(line).into_owned(),
                stream: stream.to_owned(),
                time: time.clone(),
            };
            serde_json::to_writer(&mut text, &entry)?;
            text.push(b'\n');
        }
        self.0.write_all(&text)
    }
}

/// The entries of the log at `path` (on the host), oldest first; none where there is no log. A line cut
/// short by a kill is left out.
pub fn read_log(path: PathBuf) -> io::Result<impl Iterator<Item = LogEntry>> {
    let reader: Box<dyn BufRead> = match File::open(path) {
        Ok(file) => Box::new(BufReader::new(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Box::new(io::empty()),
        Err(error) => return Err(error),
    };
    Ok(reader.split(b'\n').map_while(io::Result::ok).filter_map(|line| serde_json::from_slice(&line).ok()))
}
