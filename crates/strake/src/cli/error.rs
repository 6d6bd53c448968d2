//! A verb's failure on its way to the terminal: what is said on stderr, and the exit code.

use std::io::{self, Write};
use std::process::ExitCode;

/// Why a command ends without success.
#[derive(Debug)]
pub(crate) struct CliError {
    code: u8,
    /// Whole lines that stand before the messages.
    detail: String,
    messages: Vec<String>,
    hints: Vec<String>,
    /// Messages are printed as they are, not behind `Error:`.
    plain: bool,
}

/// Docker's exit code for a command that was not understood, and of `run` for a container that did not start.
pub(crate) const NOT_STARTED: u8 = 125;

/// The exit code of a program that SIGPIPE ends: whoever read our output has seen enough.
const PIPE_CLOSED: u8 = 128 + 13;

impl CliError {
    /// A message behind `Error:`; exit code 1.
    pub(crate) fn new(message: impl Into<String>) -> CliError {
        CliError {
            code: 1,
            detail: String::new(),
            messages: vec![message.into()],
            hints: Vec::new(),
            plain: false,
        }
    }

    /// No message: all has been said.
    pub(crate) fn silent(code: u8) -> CliError {
        CliError { code, detail: String::new(), messages: Vec::new(), hints: Vec::new(), plain: true }
    }

    /// Text that is printed as it stands.
    pub(crate) fn plain(text: impl Into<String>, code: u8) -> CliError {
        CliError { code, detail: String::new(), messages: vec![text.into()], hints: Vec::new(), plain: true }
    }

    /// Several failures of one command as one, with the first one's exit code. `None` where there are none.
    pub(crate) fn all(errors: Vec<CliError>) -> Option<CliError> {
        errors.into_iter().reduce(|mut first, next| {
            first.messages.extend(next.messages);
            first.hints.extend(next.hints);
            first
        })
    }

    /// The same with another exit code, as `run`'s 125.
    pub(crate) fn with_code(mut self, code: u8) -> CliError {
        if self.code != PIPE_CLOSED {
            self.code = code;
        }
        self
    }

    /// The same as Docker's `run` says it: behind the program's name, with the exit code of a container that did not
    /// start.
    pub(crate) fn not_started(mut self) -> CliError {
        if !self.plain {
            self.plain = true;
            for message in &mut self.messages {
                message.insert_str(0, "strake: ");
            }
            return self.with_code(NOT_STARTED);
        }
        self
    }

    /// What it says, without hints.
    pub(crate) fn text(&self) -> String {
        self.messages.join("; ")
    }

    /// The same with a hint on what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> CliError {
        self.hints.push(hint.into());
        self
    }

    /// Says it, and gives the exit code.
    pub(crate) fn tell(&self) -> ExitCode {
        let mut text = self.detail.clone();
        for message in &self.messages {
            if !self.plain {
                text.push_str("Error: ");
            }
            text.push_str(&shown(message.trim_end()));
            text.push('\n');
        }
        for hint in &self.hints {
            text.push_str(&format!("hint: {}\n", shown(hint)));
        }
        // Where stderr is gone, nobody is left to be told.
        let _ = io::stderr().lock().write_all(text.as_bytes());
        ExitCode::from(self.code)
    }
}

/// `text` without what could lead a terminal astray: messages name what strangers have named.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

impl From<engine::Error> for CliError {
    fn from(error: engine::Error) -> CliError {
        CliError {
            code: 1,
            detail: error.detail,
            messages: vec![error.message],
            hints: error.hints,
            plain: false,
        }
    }
}

/// A failure to write what a verb has to say. For other files, give a message with the path.
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> CliError {
        match error.kind() {
            io::ErrorKind::BrokenPipe => CliError::silent(PIPE_CLOSED),
            _ => CliError::new(format!("writing standard output: {error}")),
        }
    }
}

impl From<runtime::Error> for CliError {
    fn from(error: runtime::Error) -> CliError {
        CliError::from(engine::Error::from(error))
    }
}
