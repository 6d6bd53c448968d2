//! Plain lines in BuildKit's form: `#5 [2/3] RUN make`, `#5 0.123 output`, `#5 DONE 0.2s`.
//!
//! Unlike BuildKit's they come in the order of the steps' numbers, whatever runs at once: the step with the lowest
//! number that is not done is shown as it goes, the others are held until their turn. So two logs of one build differ in
//! times only.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use engine::{Event, Step, printable};

use super::stamp;
use crate::cli::units;

/// Bytes that are held back of all steps together; beyond, they are shown out of turn.
const HELD: usize = 16 << 20;

/// The display.
#[derive(Default)]
pub(super) struct Plain {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Steps that are not yet shown to their ends.
    blocks: BTreeMap<u32, Block>,
    held: usize,
    /// The step whose lines were shown last, unless it was to its end.
    open: Option<u32>,
    /// Whether anything was shown.
    begun: bool,
}

#[derive(Default)]
struct Block {
    /// `None`: it has not begun.
    name: Option<String>,
    text: Vec<u8>,
    ended: bool,
    /// The ends of its two streams that are no whole lines yet.
    partial: [Vec<u8>; 2],
    /// The layers of an image that it fetches or sends, in the order they came up: which, what was said, what is true.
    layers: Vec<(String, &'static str, &'static str)>,
}

impl Plain {
    pub(super) fn event(&self, event: Event) {
        let mut text = Vec::new();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.event(event, &mut text);
        write(&text);
    }

    pub(super) fn finish(&self, summary: &str) {
        let mut text = Vec::new();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.rest(&mut text);
        if !summary.is_empty() {
            text.push(b'\n');
            text.extend_from_slice(summary.as_bytes());
        }
        write(&text);
    }
}

fn write(text: &[u8]) {
    // Progress that nobody can read must not stop the build.
    let _ = io::stderr().lock().write_all(text);
}

impl State {
    fn event(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Plan(steps) => {
                for planned in steps {
                    self.blocks.entry(planned.step).or_default();
                }
            }
            Event::Step { step, what } => {
                let block = self.blocks.entry(step).or_default();
                let before = block.text.len();
                block.take(step, what);
                self.held += block.text.len() - before;
                self.advance(out);
                if self.held > HELD {
                    self.show(step, out);
                }
            }
            Event::Warning(message) => {
                out.extend_from_slice(format!("\nWARNING: {}\n", message.trim_end()).as_bytes());
            }
            // Of the step that read the Dockerfile, as BuildKit has it.
            Event::Check(short) => out.extend_from_slice(format!("#1 WARN: {short}\n").as_bytes()),
            Event::Status(message) => out.extend_from_slice(format!("{message}\n").as_bytes()),
            _ => {}
        }
    }

    /// Shows what is next in turn, as far as it has come.
    fn advance(&mut self, out: &mut Vec<u8>) {
        while let Some((&step, block)) = self.blocks.first_key_value() {
            let (begun, ended) = (block.name.is_some(), block.ended);
            if begun {
                self.show(step, out);
            }
            if !ended {
                return;
            }
        }
    }

    /// Shows what is held of a step.
    fn show(&mut self, step: u32, out: &mut Vec<u8>) {
        let Some(block) = self.blocks.get_mut(&step) else { return };
        if self.open != Some(step) {
            if let Some(open) = self.open {
                out.extend_from_slice(format!("#{open} ...\n").as_bytes());
            }
            if self.begun {
                out.push(b'\n');
            }
            // Of a Dockerfile that a stranger may have written; what steps print is left as it is.
            let name = printable::one_line(block.name.as_deref().unwrap_or_default());
            out.extend_from_slice(format!("#{step} {name}\n").as_bytes());
            self.begun = true;
        }
        self.held -= block.text.len();
        out.append(&mut block.text);
        self.open = Some(step);
        if block.ended {
            self.blocks.remove(&step);
            self.open = None;
        }
    }

    /// Shows all that is held, in order: nothing more comes.
    fn rest(&mut self, out: &mut Vec<u8>) {
        let begun: Vec<u32> =
            self.blocks.iter().filter(|(_, block)| block.name.is_some()).map(|(step, _)| *step).collect();
        for step in begun {
            self.show(step, out);
        }
    }
}

impl Block {
    fn take(&mut self, step: u32, what: Step) {
        match what {
            Step::Started(name) => self.name = Some(name),
            Step::Cached(name) => {
                self.name = Some(name);
                self.line(step, "CACHED");
                self.ended = true;
            }
            Step::Output { stderr, at, bytes } => self.output(step, stderr, at, &bytes),
            Step::Layer { id, status, total, .. } => self.layer(step, id, status, total),
            Step::Done(after) => self.end(step, after, &format!("DONE {:.1}s", after.as_secs_f64())),
            Step::Failed { after, reason } => self.end(step, after, &format!("ERROR: {reason}")),
            Step::Canceled(after) => self.end(step, after, "CANCELED"),
        }
    }

    fn line(&mut self, step: u32, text: &str) {
        self.text.extend_from_slice(format!("#{step} {text}\n").as_bytes());
    }

    fn output(&mut self, step: u32, stderr: bool, at: Duration, bytes: &[u8]) {
        let mut held = std::mem::take(&mut self.partial[usize::from(stderr)]);
        held.extend_from_slice(bytes);
        let whole = held.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
        let prefix = format!("#{step} {} ", stamp(at));
        for line in held[..whole].split_inclusive(|&b| b == b'\n') {
            self.text.extend_from_slice(prefix.as_bytes());
            self.text.extend_from_slice(line);
        }
        held.drain(..whole);
        self.partial[usize::from(stderr)] = held;
    }

    /// Layers come and go side by side: what stands in a log is that they are needed, and at the end what became of them.
    fn layer(&mut self, step: u32, id: String, status: &'static str, total: Option<u64>) {
        if let Some((_, _, now)) = self.layers.iter_mut().find(|(known, ..)| *known == id) {
            *now = status;
            return;
        }
        let size = total.map(|total| format!(" {}", units::size3(total))).unwrap_or_default();
        self.line(step, &format!("{id} {status}{size}"));
        self.layers.push((id, status, status));
    }

    fn end(&mut self, step: u32, at: Duration, text: &str) {
        for stderr in [false, true] {
            if !self.partial[usize::from(stderr)].is_empty() {
                self.output(step, stderr, at, b"\n");
            }
        }
        for (id, said, now) in std::mem::take(&mut self.layers) {
            if said != now {
                self.line(step, &format!("{id} {now}"));
            }
        }
        self.line(step, text);
        self.ended = true;
    }
}

#[cfg(test)]
mod tests {
    use engine::PlannedStep;

    use super::*;

    fn planned(step: u32) -> PlannedStep {
        PlannedStep { step, name: format!("[{step}/3] RUN {step}"), inputs: Vec::new() }
    }

    fn output(text: &str) -> Step {
        let bytes = text.as_bytes().to_vec();
        Step::Output { stderr: false, at: Duration::from_millis(1500), bytes }
    }

    /// What is shown after each event, and at the end.
    fn shown(events: Vec<(u32, Step)>) -> Vec<String> {
        let mut state = State::default();
        state.event(Event::Plan((1..=3).map(planned).collect()), &mut Vec::new());
        let mut all = Vec::new();
        for (step, what) in events {
            let mut out = Vec::new();
            state.event(Event::Step { step, what }, &mut out);
            all.push(String::from_utf8(out).unwrap());
        }
        let mut out = Vec::new();
        state.rest(&mut out);
        all.push(String::from_utf8(out).unwrap());
        all
    }

    #[test]
    fn steps_are_shown_in_their_order() {
        let started = |step: u32| Step::Started(planned(step).name);
        let shown = shown(vec![
            (2, started(2)),
            (2, output("of 2\n")),
            (1, started(1)),
            (1, output("one\ntw")),
            (2, Step::Done(Duration::from_millis(260))),
            (1, output("o\n")),
            (1, output("end")),
            (1, Step::Done(Duration::from_secs(2))),
            (3, started(3)),
            (3, Step::Failed { after: Duration::from_secs(1), reason: "exit code: 1".into() }),
        ]);
        assert_eq!(
            shown,
            [
                "",
                "",
                "#1 [1/3] RUN 1\n",
                "#1 1.500 one\n",
                "",
                "#1 1.500 two\n",
                "",
                "#1 2.000 end\n#1 DONE 2.0s\n\n#2 [2/3] RUN 2\n#2 1.500 of 2\n#2 DONE 0.3s\n",
                "\n#3 [3/3] RUN 3\n",
                "#3 ERROR: exit code: 1\n",
                "",
            ]
        );
    }

    #[test]
    fn nothing_is_lost_where_a_step_never_comes_or_says_too_much() {
        let started = |step: u32| Step::Started(planned(step).name);
        let shown = shown(vec![
            (2, started(2)),
            (2, output(&"x\n".repeat(HELD))),
            (3, Step::Cached(planned(3).name)),
            (2, Step::Canceled(Duration::from_secs(1))),
        ]);
        assert!(shown[1].starts_with("#2 [2/3] RUN 2\n#2 1.500 x\n"));
        assert_eq!(shown[4], "#2 CANCELED\n\n#3 [3/3] RUN 3\n#3 CACHED\n");
    }

    #[test]
    fn layers_have_two_lines() {
        let layer = |status, done| Step::Layer { id: "abc".into(), status, done, total: Some(2_000_000) };
        let shown = shown(vec![
            (1, Step::Started("load".into())),
            (1, layer("Pulling fs layer", 0)),
            (1, layer("Downloading", 7)),
            (1, layer("Pull complete", 9)),
            (1, Step::Done(Duration::from_secs(1))),
        ]);
        assert_eq!(shown[1..5].concat(), "#1 abc Pulling fs layer 2MB\n#1 abc Pull complete\n#1 DONE 1.0s\n");
    }
}
