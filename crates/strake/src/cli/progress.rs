//! What a build tells as it goes, on standard error: plain lines in BuildKit's form, or nothing.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use engine::{Event, Events, Step};

/// Prints events as plain lines: `#5 [2/3] RUN make`, `#5 0.123 output`, `#5 DONE 0.2s`.
#[derive(Default)]
pub(crate) struct Plain {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The step that printed last: a blank line stands between the lines of two.
    last: u32,
    /// Ends of output lines that have not come yet.
    partial: HashMap<(u32, bool), Vec<u8>>,
}

impl Events for Plain {
    fn event(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text: Vec<u8> = Vec::new();
        match event {
            Event::Step { step, what } => state.step(step, what, &mut text),
            Event::Warning(message) => {
                text.extend_from_slice(b"\nWARNING: ");
                text.extend_from_slice(message.trim_end().as_bytes());
                text.push(b'\n');
            }
            // Of the step that read the Dockerfile, as BuildKit has it.
            Event::Check(short) => text.extend_from_slice(format!("#1 WARN: {short}\n").as_bytes()),
            Event::Status(message) => {
                text.extend_from_slice(message.as_bytes());
                text.push(b'\n');
            }
            _ => {}
        }
        // Progress that nobody can read must not stop the build.
        let _ = io::stderr().lock().write_all(&text);
    }
}

impl State {
    fn step(&mut self, step: u32, what: Step, text: &mut Vec<u8>) {
        if self.last != step && self.last != 0 && !matches!(what, Step::Started(_) | Step::Cached(_)) {
            text.extend_from_slice(format!("\n#{step} ...\n").as_bytes());
        } else if self.last != step && self.last != 0 {
            text.push(b'\n');
        }
        self.last = step;
        match what {
            Step::Started(name) => text.extend_from_slice(format!("#{step} {name}\n").as_bytes()),
            Step::Cached(name) => {
                text.extend_from_slice(format!("#{step} {name}\n#{step} CACHED\n").as_bytes());
            }
            Step::Output { stderr, at, bytes } => self.output(step, stderr, at, &bytes, text),
            Step::Done(elapsed) => {
                self.flush(step, elapsed, text);
                text.extend_from_slice(format!("#{step} DONE {:.1}s\n", elapsed.as_secs_f64()).as_bytes());
            }
            Step::Failed(elapsed) => {
                self.flush(step, elapsed, text);
                text.extend_from_slice(
                    format!("#{step} ERROR after {:.1}s\n", elapsed.as_secs_f64()).as_bytes(),
                );
            }
        }
    }

    fn output(&mut self, step: u32, stderr: bool, at: Duration, bytes: &[u8], text: &mut Vec<u8>) {
        let held = self.partial.entry((step, stderr)).or_default();
        held.extend_from_slice(bytes);
        let whole = held.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
        for line in held[..whole].split_inclusive(|&b| b == b'\n') {
            prefix(step, at, text);
            text.extend_from_slice(line);
        }
        held.drain(..whole);
    }

    fn flush(&mut self, step: u32, at: Duration, text: &mut Vec<u8>) {
        for stderr in [false, true] {
            if let Some(rest) = self.partial.remove(&(step, stderr)).filter(|rest| !rest.is_empty()) {
                prefix(step, at, text);
                text.extend_from_slice(&rest);
                text.push(b'\n');
            }
        }
    }
}

fn prefix(step: u32, at: Duration, text: &mut Vec<u8>) {
    text.extend_from_slice(format!("#{step} {:.3} ", at.as_secs_f64()).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_two_steps_are_told_apart() {
        let mut state = State::default();
        let mut text = Vec::new();
        let at = Duration::from_millis(1500);
        let output = |bytes: &[u8]| Step::Output { stderr: false, at, bytes: bytes.to_vec() };
        state.step(1, Step::Started("[1/2] RUN a".into()), &mut text);
        state.step(1, output(b"one\ntw"), &mut text);
        state.step(2, Step::Cached("[2/2] RUN b".into()), &mut text);
        state.step(1, output(b"o\n"), &mut text);
        state.step(1, Step::Done(at), &mut text);
        let expected = "#1 [1/2] RUN a\n#1 1.500 one\n\n#2 [2/2] RUN b\n#2 CACHED\n\n#1 ...\n#1 1.500 two\n#1 DONE 1.5s\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
