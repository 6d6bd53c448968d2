//! The live view of a build on a terminal: a header, a line for each step with its time, under those that run the last
//! lines of their output or the layers that they fetch.
//!
//! It is drawn ten times a second by a thread of its own, from what the events left, so that times go on where nothing
//! happens. The size of the terminal is asked each time. What does not fit is left out: first steps that are done, then
//! output, then steps that run. In the end all steps stand there, without their output.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use engine::printable::{self, Lines};
use engine::{Event, Step};

use crate::cli::live::{self, Frame, Line, Look};
use crate::cli::units;

/// Time between two drawings.
const BETWEEN: Duration = Duration::from_millis(100);
/// Lines of output under a step that runs, unless BUILDKIT_TTY_LOG_LINES says otherwise.
const OUTPUT: usize = 6;
/// Columns that output is set in by.
const INDENT: &str = " => => # ";

/// The display.
pub(super) struct Tty {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    state: Mutex<State>,
    over: Condvar,
}

struct State {
    view: View,
    frame: Frame,
    coloured: bool,
    over: bool,
    /// A shell has the terminal.
    taken: bool,
}

/// What is to be seen.
struct View {
    began: Instant,
    jobs: BTreeMap<u32, Job>,
    /// Lines of output under a step.
    output: usize,
}

#[derive(Default)]
struct Job {
    /// `None`: it has not begun.
    name: Option<String>,
    began: Option<Instant>,
    ended: Option<(Duration, Look)>,
    lines: Option<Lines>,
    layers: Vec<Layer>,
}

struct Layer {
    id: String,
    status: &'static str,
    done: u64,
    total: Option<u64>,
    began: Instant,
    ended: Option<Instant>,
}

impl Tty {
    pub(super) fn new() -> Tty {
        let output = std::env::var("BUILDKIT_TTY_LOG_LINES").ok().and_then(|text| text.parse().ok());
        let view = View { began: Instant::now(), jobs: BTreeMap::new(), output: output.unwrap_or(OUTPUT) };
        let coloured = live::is_coloured();
        let state = State { view, frame: Frame::default(), coloured, over: false, taken: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), over: Condvar::new() });
        let drawing = Arc::clone(&shared);
        let thread = std::thread::spawn(move || drawing.draw_until_over());
        Tty { shared, thread: Mutex::new(Some(thread)) }
    }

    pub(super) fn event(&self, event: Event) {
        let mut state = self.shared.lock();
        match event {
            Event::Warning(text) => state.say(&format!("WARNING: {}", text.trim_end())),
            Event::Status(text) => state.say(&text),
            Event::TerminalTaken => {
                state.draw_now("");
                state.frame.leave();
                state.taken = true;
            }
            Event::TerminalGiven => state.taken = false,
            other => state.view.event(other, Instant::now()),
        }
    }

    pub(super) fn finish(&self, summary: &str) {
        self.stop();
        let mut state = self.shared.lock();
        let lines = state.view.all(live::size().0, Instant::now());
        state.draw("", &lines);
        state.frame.leave();
        if !summary.is_empty() {
            state.draw(&format!("\n{summary}"), &[]);
        }
    }
}

impl Tty {
    /// Ends the thread that draws.
    fn stop(&self) {
        self.shared.lock().over = true;
        self.shared.over.notify_all();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw_until_over(&self) {
        let mut state = self.lock();
        while !state.over {
            state.draw_now("");
            let waited = self.over.wait_timeout(state, BETWEEN);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    fn draw(&mut self, above: &str, lines: &[Line]) {
        self.frame.draw(above, lines, self.coloured);
    }

    fn draw_now(&mut self, above: &str) {
        if self.taken || (self.view.jobs.values().all(|job| job.name.is_none()) && above.is_empty()) {
            return;
        }
        let (columns, rows) = live::size();
        let lines = self.view.lines(columns, rows, Instant::now());
        self.draw(above, &lines);
    }

    /// Says what stays, above the view.
    fn say(&mut self, text: &str) {
        let text: Vec<String> = text.lines().map(printable::one_line).collect();
        self.draw_now(&text.join("\n"));
    }
}

impl View {
    fn event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Plan(steps) => {
                for planned in steps {
                    self.jobs.entry(planned.step).or_default();
                }
            }
            Event::Step { step, what } => self.jobs.entry(step).or_default().event(what, now),
            _ => {}
        }
    }

    fn header(&self, now: Instant, over: bool) -> Line {
        let done = self.jobs.values().filter(|job| job.ended.is_some()).count();
        let all = self.jobs.len();
        let seconds = now.duration_since(self.began).as_secs_f64();
        let word = if over && done == all { " FINISHED" } else { "" };
        Line::plain(format!("[+] Building {seconds:.1}s ({done}/{all}){word}"))
    }

    /// Every step, for the end.
    fn all(&self, columns: usize, now: Instant) -> Vec<Line> {
        let mut lines = vec![self.header(now, true)];
        for job in self.jobs.values().filter(|job| job.name.is_some()) {
            lines.push(job.line(columns, now));
            lines.extend(job.layers.iter().map(|layer| layer.line(columns, now)));
        }
        lines
    }

    /// What fits.
    fn lines(&self, columns: usize, rows: usize, now: Instant) -> Vec<Line> {
        let room = rows.saturating_sub(2).max(1);
        let jobs: Vec<&Job> = self.jobs.values().filter(|job| job.name.is_some()).collect();
        let running = jobs.iter().filter(|job| job.ended.is_none()).count();
        let mut lines = vec![self.header(now, false)];
        if running > room {
            // Those that began first have run the longest.
            let shown = room.saturating_sub(1);
            lines.extend(
                jobs.iter().filter(|job| job.ended.is_none()).take(shown).map(|j| j.line(columns, now)),
            );
            lines.push(Line::plain(format!(" => … {} more steps run", running - shown)));
            return lines;
        }
        // Each step that runs gets its share of what is left, those that say most first.
        let mut left = room - running;
        let mut under: Vec<(usize, usize)> = jobs
            .iter()
            .enumerate()
            .map(|(at, job)| (at, job.wants(self.output)))
            .filter(|(_, n)| *n > 0)
            .collect();
        under.sort_by_key(|(at, _)| {
            std::cmp::Reverse(jobs[*at].lines.as_ref().map_or(u64::MAX, Lines::total))
        });
        let mut given = vec![0; jobs.len()];
        for (at, wants) in under {
            // Fewer lines than all are better than none, but not one alone of many.
            let share = wants.min(left);
            if share == wants || share >= 2 {
                given[at] = share;
                left -= share;
            }
        }
        // Of those that are done the last ones are the news.
        let done = jobs.len() - running;
        let mut hidden = done.saturating_sub(left);
        for (job, given) in jobs.iter().zip(given) {
            if job.ended.is_some() && hidden > 0 {
                hidden -= 1;
                continue;
            }
            lines.push(job.line(columns, now));
            lines.extend(job.under(given, columns, now));
        }
        lines
    }
}

impl Job {
    fn event(&mut self, what: Step, now: Instant) {
        match what {
            Step::Started(name) => {
                self.name = Some(printable::one_line(&name));
                self.began = Some(now);
                self.ended = None;
            }
            Step::Cached(name) => {
                self.name = Some(format!("CACHED {}", printable::one_line(&name)));
                self.ended = Some((Duration::ZERO, Look::Blue));
            }
            Step::Output { bytes, .. } => {
                self.lines.get_or_insert_with(|| Lines::new(64)).write(&bytes);
            }
            Step::Layer { id, status, done, total } => self.layer(id, status, done, total, now),
            Step::Done(after) => self.end("", after, Look::Blue),
            Step::Failed { after, .. } => self.end("ERROR ", after, Look::Red),
            Step::Canceled(after) => self.end("CANCELED ", after, Look::Yellow),
        }
    }

    fn end(&mut self, word: &str, after: Duration, look: Look) {
        self.name = self.name.take().map(|name| format!("{word}{name}"));
        self.ended = Some((after, look));
        self.lines = None;
    }

    fn layer(&mut self, id: String, status: &'static str, done: u64, total: Option<u64>, now: Instant) {
        let at = self.layers.iter().position(|layer| layer.id == id).unwrap_or_else(|| {
            self.layers.push(Layer { id, status, done, total, began: now, ended: None });
            self.layers.len() - 1
        });
        let layer = &mut self.layers[at];
        (layer.status, layer.done, layer.total) = (status, done, total);
        layer.ended = (!layer.is_moving()).then_some(now);
    }

    /// How many lines it has to show below its own.
    fn wants(&self, output: usize) -> usize {
        if self.ended.is_some() {
            return 0;
        }
        let lines = self.lines.as_ref().map_or(0, |lines| lines.last(output).len());
        lines + self.layers.len()
    }

    fn under(&self, given: usize, columns: usize, now: Instant) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        if self.ended.is_some() || given == 0 {
            return lines;
        }
        // Layers that move are more of a news than those that are done.
        let fits = self.layers.len() <= given;
        let shown = self.layers.iter().filter(|layer| fits || layer.ended.is_none()).take(given);
        lines.extend(shown.map(|layer| layer.line(columns, now)));
        if let Some(output) = &self.lines {
            let last = output.last(given - lines.len());
            lines.extend(
                last.into_iter().map(|text| Line { text: format!("{INDENT}{text}"), look: Look::Faint }),
            );
        }
        lines
    }

    fn line(&self, columns: usize, now: Instant) -> Line {
        let (took, look) = match (self.ended, self.began) {
            (Some(ended), _) => ended,
            (None, Some(began)) => (now.duration_since(began), Look::Plain),
            (None, None) => (Duration::ZERO, Look::Plain),
        };
        let text = format!(" => {}", self.name.as_deref().unwrap_or_default());
        Line { text: aligned(&text, &seconds(took), columns), look }
    }
}

impl Layer {
    fn is_moving(&self) -> bool {
        let is_done = match self.status {
            "Pushed" | "Mounted" | "Copied" => true,
            "Download complete" => false,
            other => other.ends_with("complete") || other.ends_with("exists"),
        };
        !is_done
    }

    fn line(&self, columns: usize, now: Instant) -> Line {
        let mut text = format!(" => => {} {}", self.id, self.status);
        match self.total.filter(|total| *total > 0) {
            Some(total) if self.ended.is_none() && self.done > 0 => {
                text.push_str(&format!(" {} / {}", units::size3(self.done), units::size3(total)));
            }
            Some(total) => text.push_str(&format!(" {}", units::size3(total))),
            None => {}
        }
        let took = self.ended.unwrap_or(now).duration_since(self.began);
        let look = if self.ended.is_some() { Look::Blue } else { Look::Plain };
        Line { text: aligned(&text, &seconds(took), columns), look }
    }
}

fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    format!("{:.1}s", if seconds < 0.05 { 0.0 } else { seconds })
}

/// `left` and, at the right edge, `right`; cut where it is too long. In a very narrow terminal the name alone.
fn aligned(left: &str, right: &str, columns: usize) -> String {
    let width = columns.saturating_sub(1);
    let room = width.saturating_sub(right.len() + 1);
    if room < 12 {
        return printable::cut(left, width).to_owned();
    }
    let left = printable::cut(left, room);
    format!("{left}{}{right}", " ".repeat(width - printable::width(left) - right.len()))
}

#[cfg(test)]
mod tests {
    use engine::PlannedStep;

    use super::*;

    fn view(count: u32, events: Vec<(u32, Step)>) -> (View, Instant) {
        let began = Instant::now();
        let mut view = View { began, jobs: BTreeMap::new(), output: OUTPUT };
        let planned = |step| PlannedStep { step, name: format!("RUN {step}"), inputs: Vec::new() };
        view.event(Event::Plan((1..=count).map(planned).collect()), began);
        for (step, what) in events {
            view.event(Event::Step { step, what }, began);
        }
        (view, began + Duration::from_millis(1500))
    }

    fn started(step: u32) -> (u32, Step) {
        (step, Step::Started(format!("RUN {step}")))
    }

    fn output(step: u32, text: &str) -> (u32, Step) {
        (step, Step::Output { stderr: false, at: Duration::ZERO, bytes: text.as_bytes().to_vec() })
    }

    #[track_caller]
    fn check(lines: &[Line], columns: usize, wanted: &[&str]) {
        let shown: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(shown, wanted);
        assert!(lines.iter().all(|line| printable::width(&line.text) < columns));
    }

    #[test]
    fn steps_with_times_and_output() {
        let (view, now) = view(
            4,
            vec![
                (1, Step::Cached("RUN 1".into())),
                started(2),
                (2, Step::Done(Duration::from_millis(260))),
                started(3),
                output(3, "one\n\x1b[31mtwo\x1b[0m\n10%\r20%"),
            ],
        );
        check(
            &view.lines(40, 24, now),
            40,
            &[
                "[+] Building 1.5s (2/4)",
                " => CACHED RUN 1                   0.0s",
                " => RUN 2                          0.3s",
                " => RUN 3                          1.5s",
                " => => # one",
                " => => # two",
                " => => # 20%",
            ],
        );
        // What is done goes first, then output; what runs stays.
        check(
            &view.lines(40, 5, now),
            40,
            &[
                "[+] Building 1.5s (2/4)",
                " => RUN 3                          1.5s",
                " => => # two",
                " => => # 20%",
            ],
        );
        check(
            &view.lines(40, 3, now),
            40,
            &["[+] Building 1.5s (2/4)", " => RUN 3                          1.5s"],
        );
        assert_eq!(view.lines(10, 4, now)[1].text, " => RUN 2");
    }

    #[test]
    fn more_steps_than_rows() {
        let (view, now) = view(20, (1..=20).map(started).collect());
        let lines = view.lines(80, 10, now);
        assert_eq!(lines.len(), 9);
        assert_eq!(lines[8].text, " => … 13 more steps run");
        assert_eq!(view.lines(80, 24, now).len(), 21);
        assert_eq!(view.all(80, now).len(), 21);
    }

    #[test]
    fn the_end_says_how_each_step_ended() {
        let (view, now) = view(
            3,
            vec![
                started(1),
                output(1, "noise\n"),
                (1, Step::Failed { after: Duration::from_secs(1), reason: "exit code: 1".into() }),
                started(2),
                (2, Step::Canceled(Duration::from_secs(1))),
            ],
        );
        let lines = view.all(40, now);
        check(
            &lines,
            40,
            &[
                "[+] Building 1.5s (2/3)",
                " => ERROR RUN 1                    1.0s",
                " => CANCELED RUN 2                 1.0s",
            ],
        );
        assert_eq!(lines[1].look, Look::Red);
    }

    #[test]
    fn layers_that_are_fetched() {
        let layer = |id: &str, status, done| {
            (1, Step::Layer { id: id.into(), status, done, total: Some(10_000_000) })
        };
        let (view, now) = view(
            1,
            vec![
                started(1),
                layer("aaaa", "Downloading", 5_000_000),
                layer("bbbb", "Pull complete", 10_000_000),
            ],
        );
        check(
            &view.lines(60, 24, now)[2..],
            60,
            &[
                " => => aaaa Downloading 5MB / 10MB                     1.5s",
                " => => bbbb Pull complete 10MB                         0.0s",
            ],
        );
    }
}
