//! Steps as people see them: numbered in the order of the plan, told as events, their output kept.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use graph::{Graph, Op, Source, VertexId};
use solver::{Failure, Observer, StepEvent, Stream};

use crate::build::log::Log;
use crate::build::mask::Masks;
use crate::build::summary::{Ending, Timed};
use crate::event::{PlannedStep, Step};
use crate::{Error, Event, Events, Result};

/// Numbers the steps of one build.
pub(crate) struct Steps<'a> {
    events: &'a dyn Events,
    pub masks: &'a Masks,
    log: Log,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Numbers given so far.
    numbers: u32,
    /// What became of steps, in the order in which they ended.
    ended: Vec<Timed>,
    names: HashMap<u32, String>,
    /// The steps that do an instruction's work.
    instructions: HashSet<u32>,
}

impl<'a> Steps<'a> {
    pub fn new(events: &'a dyn Events, masks: &'a Masks, log: Log) -> Steps<'a> {
        Steps { events, masks, log, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> u32 {
        let mut state = self.lock();
        state.numbers += 1;
        state.numbers
    }

    fn tell(&self, step: u32, what: Step) {
        {
            let mut state = self.lock();
            let ending = match &what {
                Step::Started(name) | Step::Cached(name) => {
                    state.names.insert(step, name.clone());
                    matches!(what, Step::Cached(_)).then_some(Ending::Cached)
                }
                Step::Done(after) => Some(Ending::Done(*after)),
                Step::Failed { after, .. } => Some(Ending::Failed(*after)),
                Step::Canceled(after) => Some(Ending::Canceled(*after)),
                Step::Output { .. } | Step::Layer { .. } => None,
            };
            if let Some(ending) = ending {
                let name = state.names.get(&step).cloned().unwrap_or_default();
                let is_instruction = state.instructions.contains(&step);
                state.ended.push(Timed { step, name, is_instruction, ending });
            }
        }
        if let Step::Output { bytes, .. } = &what {
            self.log.output(step, bytes);
        }
        self.events.event(Event::Step { step, what });
    }

    /// Does something on the user's terminal, which nothing is drawn on meanwhile.
    pub fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        self.events.event(Event::TerminalTaken);
        let done = work();
        self.events.event(Event::TerminalGiven);
        done
    }

    /// Gives numbers to the steps of `graph` that `targets` need, and tells of them.
    pub fn plan(&self, graph: &Graph, targets: &[VertexId]) -> Numbers {
        let mut planned = Vec::new();
        let mut numbers: Numbers = vec![None; graph.len()];
        for id in graph.needed(targets) {
            let vertex = graph.vertex(id);
            if is_shown(&vertex.op) {
                let step = self.number();
                numbers[id.index()] = Some(step);
                if !matches!(vertex.op, Op::Source(_)) {
                    self.lock().instructions.insert(step);
                }
                let inputs = vertex.inputs.iter().filter_map(|input| numbers[input.index()]).collect();
                planned.push(PlannedStep { step, name: vertex.name.clone(), inputs });
            }
        }
        self.log.plan(&planned);
        self.events.event(Event::Plan(planned));
        numbers
    }

    /// What became of the steps so far, in the order of their numbers.
    pub fn ended(&self) -> Vec<Timed> {
        let mut ended = self.lock().ended.clone();
        ended.sort_by_key(|timed| timed.step);
        ended
    }

    /// An observer of the vertices of `graph`, which have these numbers.
    pub fn observe<'s>(&'s self, graph: &'s Graph, numbers: Numbers) -> Watched<'s> {
        let watched = Watched { steps: self, graph, numbers: Mutex::new(numbers), running: Mutex::default() };
        // Images that are in the store need no work to begin with, and still are steps.
        let numbers = watched.numbers().clone();
        for (id, vertex) in graph.iter() {
            if let (Op::Source(Source::Image(_)), Some(step)) = (&vertex.op, numbers[id.index()]) {
                self.tell(step, Step::Started(vertex.name.clone()));
                self.tell(step, Step::Done(Duration::ZERO));
            }
        }
        watched
    }

    /// The build is over: what is kept of it is written.
    pub fn finish(&self, failed: Option<&Error>) {
        self.log.finish(&self.ended(), failed);
    }

    /// The build's ID.
    pub fn id(&self) -> String {
        self.log.id()
    }

    /// The number of the step that failed, as `strake build logs` takes it; and how many lines it printed in all.
    pub fn failed(&self) -> Option<(u32, u64)> {
        let state = self.lock();
        let step = state.ended.iter().rev().find(|timed| matches!(timed.ending, Ending::Failed(_)))?.step;
        Some((step, self.log.lines(step)))
    }
}

/// The numbers of a graph's vertices, by their places in it.
pub(crate) type Numbers = Vec<Option<u32>>;

/// Whether people are told of such an operation.
fn is_shown(op: &Op) -> bool {
    !matches!(op, Op::Source(Source::Scratch | Source::Local(_)) | Op::Merge)
}

/// Does something that is no step of the Dockerfile, shown as a step all the same. `work` is given
/// what it can say lines with.
pub(crate) fn internal<T>(
    steps: &Steps<'_>,
    name: &str,
    work: impl FnOnce(&dyn Fn(&str)) -> Result<T>,
) -> Result<T> {
    internal_with(steps, name, |within| work(&|line| within.say(line)))
}

/// As [`internal`], for work that tells events of its own: they become the step's.
pub(crate) fn internal_with<T>(
    steps: &Steps<'_>,
    name: &str,
    work: impl FnOnce(&Within<'_>) -> Result<T>,
) -> Result<T> {
    let within = Within { steps, step: steps.number(), began: Instant::now() };
    within.tell(Step::Started(name.to_owned()));
    let result = work(&within);
    let after = within.began.elapsed();
    within.tell(match &result {
        Ok(_) => Step::Done(after),
        Err(error) => Step::Failed { after, reason: one_line(&error.message) },
    });
    result
}

/// A step that is no vertex, from within.
pub(crate) struct Within<'a> {
    steps: &'a Steps<'a>,
    step: u32,
    began: Instant,
}

impl Within<'_> {
    fn tell(&self, what: Step) {
        self.steps.tell(self.step, what);
    }

    /// Says a line.
    pub fn say(&self, line: &str) {
        let bytes = format!("{line}\n").into_bytes();
        self.tell(Step::Output { stderr: false, at: self.began.elapsed(), bytes });
    }
}

impl Events for Within<'_> {
    fn event(&self, event: Event) {
        match event {
            Event::Status(line) => self.say(&line),
            Event::Progress { id, status, done, total } => self.tell(Step::Layer { id, status, done, total }),
            other => self.steps.events.event(other),
        }
    }
}

/// Maps a graph's vertices to numbered steps.
pub(crate) struct Watched<'a> {
    steps: &'a Steps<'a>,
    graph: &'a Graph,
    numbers: Mutex<Numbers>,
    running: Mutex<HashMap<VertexId, Instant>>,
}

impl Watched<'_> {
    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, HashMap<VertexId, Instant>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self, vertex: VertexId) -> u32 {
        *self.numbers()[vertex.index()].get_or_insert_with(|| self.steps.number())
    }
}

impl Observer for Watched<'_> {
    fn step(&self, vertex: VertexId, event: StepEvent<'_>) {
        let name = || self.graph.vertex(vertex).name.clone();
        let step = self.number(vertex);
        let what = match event {
            StepEvent::Cached => Step::Cached(name()),
            StepEvent::Started => {
                self.running().insert(vertex, Instant::now());
                Step::Started(name())
            }
            StepEvent::Missed(_) => return,
            StepEvent::Output(stream, bytes) => {
                let Some(began) = self.running().get(&vertex).copied() else { return };
                let stderr = stream == Stream::Stderr;
                Step::Output { stderr, at: began.elapsed(), bytes: self.steps.masks.apply(bytes) }
            }
            StepEvent::Done(after) => Step::Done(after),
            StepEvent::Failed(after, failure) => {
                let known = self.running().contains_key(&vertex);
                if matches!(failure, Failure::Interrupted) {
                    if !known {
                        return;
                    }
                    Step::Canceled(after)
                } else {
                    if !known {
                        self.steps.tell(step, Step::Started(name()));
                    }
                    Step::Failed { after, reason: one_line(&failure.to_string()) }
                }
            }
        };
        self.steps.tell(step, what);
    }
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
