//! What a verb prints on stdout.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::cli::{CliError, Outcome};

/// Says a line on stderr. Where stderr is gone, nobody is left to be told.
pub(crate) fn say(line: &str) {
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// Prints `text` as it stands.
pub(crate) fn text(text: &str) -> Result<(), CliError> {
    bytes(text.as_bytes())
}

/// Prints `bytes` as they stand: paths need not be UTF-8.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Does something to each of `names` and prints what it gives; goes on where one fails, and fails then at
/// the end, as Docker does.
pub(crate) fn each(names: &[String], mut work: impl FnMut(&str) -> Result<String, CliError>) -> Outcome {
    let mut errors = Vec::new();
    for name in names {
        match work(name) {
            Ok(said) => text(&said)?,
            Err(error) => errors.push(error),
        }
    }
    match CliError::all(errors) {
        None => Ok(ExitCode::SUCCESS),
        Some(error) => Err(error),
    }
}

/// Standard output for verbs whose engine writes it: what is said of a failure to write it is said here, and not as
/// the engine's error.
pub(crate) struct Stream<W> {
    inner: W,
    failed: Option<io::Error>,
}

impl<W: Write> Stream<W> {
    pub(crate) fn new(inner: W) -> Stream<W> {
        Stream { inner, failed: None }
    }

    /// Ends what `written` began.
    pub(crate) fn finish<E: Into<CliError>>(mut self, written: Result<(), E>) -> Result<(), CliError> {
        let flushed = match &written {
            Ok(()) => self.flush(),
            Err(_) => Ok(()),
        };
        match (self.failed, written, flushed) {
            (Some(error), _, _) | (None, Ok(()), Err(error)) => Err(error.into()),
            (None, written, Ok(())) => written.map_err(E::into),
            (None, Err(error), Err(_)) => Err(error.into()),
        }
    }

    fn note<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        done.map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.failed.get_or_insert(error);
            }
            kind.into()
        })
    }
}

impl<W: Write> Write for Stream<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let done = self.inner.write(bytes);
        self.note(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        let done = self.inner.flush();
        self.note(done)
    }
}
