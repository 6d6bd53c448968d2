//! What a build tells as it goes, on standard error, in one of several displays: a file each.

mod plain;
mod raw_json;
mod summary;
mod tty;

use engine::build::Summary;
use engine::{Event, Events};

use crate::cli::{CliError, live};
use plain::Plain;
use raw_json::RawJson;
use tty::Tty;

/// Which display is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A terminal's on a terminal, else plain lines.
    Auto,
    /// A live view; a terminal is needed.
    Tty,
    /// Lines, as a log has them.
    Plain,
    /// Nothing; the command prints the image's ID.
    Quiet,
    /// Nothing at all.
    None,
    /// BuildKit's status messages, a JSON document a line.
    RawJson,
}

impl Mode {
    /// By buildx's name.
    pub(crate) fn parse(name: &str) -> Result<Mode, CliError> {
        match name {
            "" | "auto" => Ok(Mode::Auto),
            "tty" => Ok(Mode::Tty),
            "plain" => Ok(Mode::Plain),
            "quiet" => Ok(Mode::Quiet),
            "none" => Ok(Mode::None),
            "rawjson" => Ok(Mode::RawJson),
            other => Err(CliError::new(format!(
                "invalid progress mode {other:?}: auto, none, plain, quiet, rawjson or tty"
            ))),
        }
    }
}

/// The display of one build.
pub(crate) struct Progress(Display);

enum Display {
    Silent,
    Plain(Plain),
    Tty(Tty),
    RawJson(RawJson),
}

impl Progress {
    /// Begins the display.
    ///
    /// # Errors
    /// For a live view without a terminal.
    pub(crate) fn new(mode: Mode) -> Result<Progress, CliError> {
        Ok(Progress(match mode {
            Mode::Quiet | Mode::None => Display::Silent,
            Mode::Plain => Display::Plain(Plain::default()),
            Mode::RawJson => Display::RawJson(RawJson::default()),
            Mode::Auto if !live::is_possible() => Display::Plain(Plain::default()),
            Mode::Tty if !live::is_possible() => {
                return Err(CliError::new("--progress tty needs a terminal on standard error")
                    .hint("--progress plain shows the same as lines"));
            }
            Mode::Auto | Mode::Tty => Display::Tty(Tty::new()),
        }))
    }

    /// Ends the display: all is shown that was held back, and what the build came to if it came to something.
    pub(crate) fn finish(&self, built: Option<(&Summary, &str)>) {
        let text = built.map(|(summary, image)| summary::text(summary, image)).unwrap_or_default();
        match &self.0 {
            Display::Silent | Display::RawJson(_) => {}
            Display::Plain(plain) => plain.finish(&text),
            Display::Tty(tty) => tty.finish(&text),
        }
    }
}

impl Events for Progress {
    fn event(&self, event: Event) {
        match &self.0 {
            Display::Silent => {}
            Display::Plain(plain) => plain.event(event),
            Display::Tty(tty) => tty.event(event),
            Display::RawJson(raw) => raw.event(event),
        }
    }
}

/// A number of seconds as BuildKit shows it before a line of output.
fn stamp(at: std::time::Duration) -> String {
    let seconds = at.as_secs_f64();
    let digits = match seconds {
        s if s < 10.0 => 3,
        s if s < 100.0 => 2,
        _ => 1,
    };
    format!("{seconds:.digits$}")
}
