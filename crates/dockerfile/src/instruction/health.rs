//! `HEALTHCHECK`.

use std::time::Duration;

use super::Reader;
use crate::ast::{Command, HealthTiming, Healthcheck, Kind};
use crate::diagnostic::Diagnostic;
use crate::directive::shorten;
use crate::duration;
use crate::flags::{Flags, Takes};
use crate::span::Text;
use crate::words;

/// Docker's shortest interval.
const SHORTEST: Duration = Duration::from_millis(1);

impl Reader<'_> {
    pub(super) fn healthcheck(&mut self) -> Result<Kind, Diagnostic> {
        let arguments = &self.split.arguments;
        if arguments.raw.is_empty() {
            return self.error("HEALTHCHECK requires at least one argument");
        }
        let (kind, rest) = words::at_blank(arguments).unwrap_or_else(|| {
            let end = arguments.raw.len();
            (arguments.clone(), arguments.slice(end..end))
        });
        let flags = self.flags(&[
            ("interval", Takes::Value),
            ("timeout", Takes::Value),
            ("start-period", Takes::Value),
            ("start-interval", Takes::Value),
            ("retries", Takes::Value),
        ])?;
        match kind.raw.to_ascii_uppercase().as_str() {
            "NONE" if rest.raw.is_empty() => Ok(Kind::Healthcheck(Healthcheck::None)),
            "NONE" => Err(Diagnostic::error("HEALTHCHECK NONE takes no arguments", rest.span)),
            "CMD" => {
                let command = self.command(&rest)?;
                let empty = match &command {
                    Command::Exec(arguments) => arguments.is_empty(),
                    Command::Shell(line) => line.raw.is_empty(),
                };
                if empty {
                    return Err(Diagnostic::error("Missing command after HEALTHCHECK CMD", arguments.span));
                }
                Ok(Kind::Healthcheck(Healthcheck::Cmd { command, timing: timing(flags)? }))
            }
            other => {
                let message = format!("Unknown type {:?} in HEALTHCHECK (try CMD)", shorten(other));
                Err(Diagnostic::error(message, kind.span))
            }
        }
    }
}

fn timing(mut flags: Flags) -> Result<HealthTiming, Diagnostic> {
    let mut interval = |name: &str| match flags.value(name) {
        Some(value) => duration(name, &value),
        None => Ok(Duration::ZERO),
    };
    Ok(HealthTiming {
        interval: interval("interval")?,
        timeout: interval("timeout")?,
        start_period: interval("start-period")?,
        start_interval: interval("start-interval")?,
        retries: match flags.value("retries") {
            Some(value) => retries(&value)?,
            None => 0,
        },
    })
}

fn duration(name: &str, value: &Text) -> Result<Duration, Diagnostic> {
    let duration = duration::parse(&value.raw).map_err(|message| {
        Diagnostic::error(message, value.span).with_help("write it as 30s, 1m30s or 500ms")
    })?;
    if !duration.is_zero() && duration < SHORTEST {
        return Err(Diagnostic::error(format!("Interval {name:?} cannot be less than 1ms"), value.span));
    }
    Ok(duration)
}

fn retries(value: &Text) -> Result<u32, Diagnostic> {
    match value.raw.parse::<i32>() {
        Ok(retries) => u32::try_from(retries)
            .map_err(|_| Diagnostic::error(format!("--retries cannot be negative ({retries})"), value.span)),
        Err(_) => {
            let message = format!("--retries must be a number, not {:?}", shorten(&value.raw));
            Err(Diagnostic::error(message, value.span))
        }
    }
}
