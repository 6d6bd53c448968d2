//! `logs`: what a container printed.

use std::time::Duration;

use crate::container::{Container, LogEntry, LogReader};
use crate::{Engine, Error, Result};

/// What of a log is asked for.
#[derive(Debug, Clone, Default)]
pub struct LogsRequest {
    /// Only the last lines.
    pub tail: Option<u64>,
    /// Go on until the container ends.
    pub follow: bool,
    /// Only entries from this time on, in nanoseconds since 1970.
    pub since: Option<i128>,
    /// Only entries up to this time, in nanoseconds since 1970.
    pub until: Option<i128>,
}

/// Gives the log of the container that `name` names to `each`, oldest entry first, until `each` fails.
pub fn logs<E: From<Error>>(
    engine: &Engine,
    name: &str,
    request: &LogsRequest,
    each: &mut dyn FnMut(&[LogEntry]) -> Result<(), E>,
) -> Result<(), E> {
    let container = Container::find(engine, name).map_err(E::from)?;
    let id = &container.record.id;
    let path = engine.store.container_dir(id).join("log");
    let failed = |e: std::io::Error| E::from(Error::io(format!("read {}", path.display()), &e));
    let mut reader = LogReader::open(&path).map_err(failed)?;
    if let Some(lines) = request.tail {
        reader.tail(lines).map_err(failed)?;
    }
    loop {
        // Asked before reading: what comes between is read, and the end is an end.
        let over = !request.follow || !engine.store.container_locked(id).map_err(|e| E::from(e.into()))?;
        loop {
            let mut entries = reader.read().map_err(failed)?;
            if entries.is_empty() {
                break;
            }
            entries.retain(|entry| within(entry, request));
            each(&entries)?;
        }
        if over {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn within(entry: &LogEntry, request: &LogsRequest) -> bool {
    if request.since.is_none() && request.until.is_none() {
        return true;
    }
    let Ok(time) = entry.time.parse::<jiff::Timestamp>() else { return true };
    let time = time.as_nanosecond();
    request.since.is_none_or(|since| time >= since) && request.until.is_none_or(|until| time <= until)
}
