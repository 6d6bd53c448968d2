//! Progress on a terminal: a line for each layer with what is being done to it, how far that is and how fast, and one
//! for all of them.
//!
//! The lines are drawn over the last ones from where events come in, a few times a second; no thread is behind it, and
//! the terminal is left as any other program finds it, whenever the command ends.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine::Event;

use crate::cli::live::{self, Frame, Line};
use crate::cli::units;

/// Time between two drawings.
const BETWEEN: Duration = Duration::from_millis(80);
/// Over how long the speed is taken.
const RECENT: Duration = Duration::from_secs(3);

/// The lines of one transfer.
pub(crate) struct Bars(Mutex<State>);

#[derive(Default)]
struct State {
    layers: Vec<Layer>,
    /// Bytes that had come in all, at times of the last seconds.
    recent: Vec<(Instant, u64)>,
    frame: Frame,
    last: Option<Instant>,
}

struct Layer {
    id: String,
    status: &'static str,
    done: u64,
    total: Option<u64>,
    /// Bytes that came or went over the network: what is done in other states is not of it.
    moved: u64,
    /// When this state began, and how far it was then.
    since: (Instant, u64),
}

impl Layer {
    /// Whether there is something to draw a bar of.
    fn is_moving(&self) -> bool {
        matches!(self.status, "Downloading" | "Extracting" | "Pushing" | "Loading layer" | "Copying")
    }

    fn is_over_network(&self) -> bool {
        matches!(self.status, "Downloading" | "Pushing" | "Copying")
    }

    fn is_done(&self) -> bool {
        matches!(
            self.status,
            "Pull complete" | "Already exists" | "Pushed" | "Layer already exists" | "Mounted" | "Copied"
        )
    }

    fn was_there(&self) -> bool {
        matches!(self.status, "Already exists" | "Layer already exists" | "Mounted")
    }
}

impl Bars {
    pub(crate) fn new() -> Bars {
        Bars(Mutex::default())
    }

    /// Takes an event, and draws if the last time was long enough ago.
    pub(crate) fn event(&self, event: Event) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match event {
            Event::Warning(text) => state.print(&format!("WARNING: {text}")),
            Event::Status(text) => state.print(&text),
            Event::Progress { id, status, done, total } => {
                state.change(id, status, done, total, now);
                if state.last.is_none_or(|last| now.duration_since(last) >= BETWEEN) {
                    state.draw(now);
                }
            }
            _ => {}
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        let state = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.draw(Instant::now());
    }
}

impl State {
    fn change(&mut self, id: String, status: &'static str, done: u64, total: Option<u64>, now: Instant) {
        let at = self.layers.iter().position(|layer| layer.id == id).unwrap_or_else(|| {
            let since = (now, done);
            self.layers.push(Layer { id, status, done, total, moved: 0, since });
            self.layers.len() - 1
        });
        let layer = &mut self.layers[at];
        if layer.status != status {
            layer.since = (now, done);
        }
        (layer.status, layer.done, layer.total) = (status, done, total);
        if layer.is_over_network() {
            layer.moved = done;
        } else if !layer.was_there() && matches!(status, "Download complete" | "Pushed" | "Copied") {
            layer.moved = total.unwrap_or(done);
        }
        let all = self.layers.iter().map(|layer| layer.moved).sum();
        if self.recent.last().is_none_or(|(at, _)| now.duration_since(*at) >= BETWEEN) {
            self.recent.retain(|(at, _)| now.duration_since(*at) <= RECENT);
            self.recent.push((now, all));
        }
    }

    /// A line that stays: above the others, or below them, where those have said all.
    fn print(&mut self, text: &str) {
        if self.layers.iter().all(Layer::is_done) {
            self.draw(Instant::now());
            *self = State::default();
        }
        self.draw_below(text, Instant::now());
    }

    fn draw(&mut self, now: Instant) {
        self.draw_below("", now);
    }

    fn draw_below(&mut self, above: &str, now: Instant) {
        if self.layers.is_empty() && above.is_empty() {
            return;
        }
        let (columns, rows) = live::size();
        let lines: Vec<Line> = match self.layers.is_empty() {
            true => Vec::new(),
            false => self.lines(columns, rows, now).into_iter().map(Line::plain).collect(),
        };
        self.frame.draw(above, &lines, false);
        self.last = Some(now);
    }

    /// What is to be seen, each line narrower than the terminal, and fewer than it has rows.
    fn lines(&self, columns: usize, rows: usize, now: Instant) -> Vec<String> {
        let room = rows.saturating_sub(3).max(1);
        let fits = self.layers.len() <= room;
        // Where there are more than can be shown, those that are done are the least news.
        let shown = self.layers.iter().filter(|layer| fits || !layer.is_done()).take(room);
        let mut lines: Vec<String> = shown.map(|layer| line(layer, columns, now)).collect();
        if !fits {
            let done = self.layers.iter().filter(|layer| layer.is_done()).count();
            let hidden = self.layers.len() - lines.len();
            lines.push(format!("… {hidden} more layers, {done} of {} done", self.layers.len()));
        }
        lines.extend(self.total());
        for line in &mut lines {
            if let Some((end, _)) = line.char_indices().nth(columns.saturating_sub(1)) {
                line.truncate(end);
            }
        }
        lines
    }

    /// The line for all layers, as long as something comes or goes.
    fn total(&self) -> Option<String> {
        let moving = self.layers.iter().filter(|layer| !layer.was_there());
        let (mut total, mut moved) = (0u64, 0u64);
        for layer in moving {
            total = total.saturating_add(layer.total.unwrap_or(layer.moved));
            moved = moved.saturating_add(layer.moved);
        }
        if total == 0 || self.layers.iter().all(Layer::is_done) {
            return None;
        }
        let mut text = format!("Total: {}/{}", units::size(moved), units::size(total));
        if moved < total
            && let (Some((began, before)), Some((last, after))) = (self.recent.first(), self.recent.last())
            && let Some(speed) = speed(after.saturating_sub(*before), last.duration_since(*began))
        {
            let left = Duration::from_secs_f64(((total - moved) as f64 / speed).min(1e6));
            text.push_str(&format!("  {}/s  {} left", units::size(speed as u64), short(left)));
        } else if moved >= total && self.layers.iter().any(|layer| layer.status == "Extracting") {
            text.push_str("  unpacking");
        }
        Some(text)
    }
}

/// One layer's line.
fn line(layer: &Layer, columns: usize, now: Instant) -> String {
    let mut text = format!("{}: {}", layer.id, layer.status);
    let Some(total) = layer.total.filter(|total| layer.is_moving() && *total > 0) else { return text };
    let numbers = format!("{:>8}/{}", units::size(layer.done), units::size(total));
    let width = columns.saturating_sub(58).min(40);
    if width >= 8 {
        let full = ((layer.done.min(total) as f64 / total as f64) * width as f64) as usize;
        let head = if full < width { ">" } else { "" };
        let rest = " ".repeat(width - full - head.len());
        text = format!("{text:<26} [{}{head}{rest}]", "=".repeat(full));
    }
    text.push_str(&format!(" {numbers}"));
    let (since, from) = layer.since;
    if layer.is_over_network()
        && let Some(speed) = speed(layer.done.saturating_sub(from), now.duration_since(since))
    {
        text.push_str(&format!("  {}/s", units::size(speed as u64)));
    }
    text
}

/// Bytes a second; `None` where it is too early to tell.
fn speed(bytes: u64, time: Duration) -> Option<f64> {
    (bytes > 0 && time >= Duration::from_millis(100)).then(|| bytes as f64 / time.as_secs_f64())
}

fn short(time: Duration) -> String {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(events: &[(&str, &'static str, u64, u64)]) -> (State, Instant) {
        let mut state = State::default();
        let began = Instant::now();
        for (n, (id, status, done, total)) in events.iter().enumerate() {
            let at = began + Duration::from_millis(500) * u32::try_from(n).unwrap();
            state.change((*id).to_owned(), status, *done, Some(*total), at);
        }
        (state, began + Duration::from_secs(2))
    }

    #[test]
    fn what_is_seen() {
        let (state, now) = state(&[
            ("aaaa", "Already exists", 5_000_000, 5_000_000),
            ("bbbb", "Downloading", 0, 10_000_000),
            ("cccc", "Pulling fs layer", 0, 10_000_000),
            ("bbbb", "Downloading", 5_000_000, 10_000_000),
        ]);
        let expected = [
            "aaaa: Already exists",
            "bbbb: Downloading          [===========>          ]      5MB/10MB  3.333MB/s",
            "cccc: Pulling fs layer",
            "Total: 5MB/20MB  3.333MB/s  5s left",
        ];
        assert_eq!(state.lines(80, 24, now), expected);
        // What does not fit is counted.
        let few = state.lines(40, 5, now);
        assert_eq!(few[2], "… 1 more layers, 1 of 3 done");
        assert!(few.iter().all(|line| line.chars().count() < 40), "{few:?}");
    }

    #[test]
    fn when_all_is_there_nothing_is_left_to_say() {
        let (state, now) = state(&[("aaaa", "Downloading", 1, 2), ("aaaa", "Pull complete", 2, 2)]);
        assert_eq!(state.lines(80, 24, now), ["aaaa: Pull complete"]);
    }

    #[test]
    fn times() {
        assert_eq!(short(Duration::from_millis(4200)), "5s");
        assert_eq!(short(Duration::from_secs(125)), "2m05s");
        assert_eq!(short(Duration::from_secs(7260)), "2h01m");
    }
}
