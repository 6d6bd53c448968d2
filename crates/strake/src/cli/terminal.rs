//! What the terminal says: yes or no.

use std::io::{self, BufRead, Write};

use crate::cli::CliError;

/// Asks on stdout, as Docker does, and reads one line. Anything but `y` or `yes` is a no, and so is the end of the
/// input.
pub(crate) fn confirm(question: &str) -> Result<bool, CliError> {
    let mut out = io::stdout().lock();
    write!(out, "{question} [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| CliError::new(format!("reading standard input: {error}")))?;
    if answer.is_empty() {
        writeln!(out)?;
    }
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
