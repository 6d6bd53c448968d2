//! What the terminal says: yes or no, a line, a secret.

use std::io::{self, BufRead, Write};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use crate::cli::CliError;

/// The end of a line that is typed by Ctrl-C.
const INTERRUPT: u8 = 3;

/// Asks on stdout, as Docker does, and reads one line. Anything but `y` or `yes` is a no, and so is the end of the
/// input.
pub(crate) fn confirm(question: &str) -> Result<bool, CliError> {
    let mut out = io::stdout().lock();
    write!(out, "{question} [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(reading)?;
    if answer.is_empty() {
        writeln!(out)?;
    }
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Asks on stderr and reads one line, without its end.
pub(crate) fn line(question: &str) -> Result<String, CliError> {
    ask(question);
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(reading)?;
    Ok(answer.trim_end_matches(['\r', '\n']).to_owned())
}

/// As [`line()`], and what is typed is not shown. Ctrl-C ends the program with the terminal as it was.
pub(crate) fn secret(question: &str) -> Result<String, CliError> {
    let before = tcgetattr(io::stdin()).map_err(|error| reading(error.into()))?;
    ask(question);
    let hidden = Hidden::begin(before)?;
    let mut answer = Vec::new();
    let read = read_line(&mut answer);
    drop(hidden);
    ask("\n");
    read.map_err(reading)?;
    if answer.last() == Some(&INTERRUPT) {
        return Err(CliError::silent(130));
    }
    let answer = String::from_utf8(answer)
        .map_err(|_| CliError::new("reading standard input: what was typed is no UTF-8"))?;
    Ok(answer.trim_end_matches(['\r', '\n']).to_owned())
}

/// Byte by byte: what follows is not ours.
fn read_line(answer: &mut Vec<u8>) -> io::Result<()> {
    let mut byte = [0];
    loop {
        match io::Read::read(&mut io::stdin(), &mut byte) {
            Ok(0) => return Ok(()),
            Ok(_) => answer.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        if matches!(byte[0], b'\n' | INTERRUPT) {
            return Ok(());
        }
    }
}

/// A terminal that does not show what is typed, and where Ctrl-C ends the line instead of the program, which could not
/// put the terminal right any more.
struct Hidden {
    before: Termios,
}

impl Hidden {
    fn begin(before: Termios) -> Result<Hidden, CliError> {
        let mut changed = before.clone();
        changed.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        changed.local_modes.insert(LocalModes::ICANON);
        changed.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
        tcsetattr(io::stdin(), OptionalActions::Flush, &changed).map_err(|error| reading(error.into()))?;
        Ok(Hidden { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // Where the terminal is gone there is nothing to put right.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

fn ask(question: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(question.as_bytes());
    let _ = err.flush();
}

fn reading(error: io::Error) -> CliError {
    CliError::new(format!("reading standard input: {error}"))
}
