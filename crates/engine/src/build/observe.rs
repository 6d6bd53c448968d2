//! Steps as people see them: numbered in the order they show, told as events.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use graph::{Graph, VertexId};
use solver::{Observer, StepEvent, Stream};

use crate::event::Step;
use crate::{Event, Events, Result};

/// Numbers the steps of one build.
pub(crate) struct Steps<'a> {
    events: &'a dyn Events,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    shown: u32,
    cached: usize,
    ran: usize,
}

impl<'a> Steps<'a> {
    pub fn new(events: &'a dyn Events) -> Steps<'a> {
        Steps { events, counts: Mutex::new(Counts::default()) }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> u32 {
        let mut counts = self.lock();
        counts.shown += 1;
        counts.shown
    }

    fn tell(&self, step: u32, what: Step) {
        self.events.event(Event::Step { step, what });
    }

    /// Does something on the user's terminal, which nothing is drawn on meanwhile.
    pub fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        self.events.event(Event::TerminalTaken);
        let done = work();
        self.events.event(Event::TerminalGiven);
        done
    }

    /// How many steps were cached and how many ran.
    pub fn counts(&self) -> (usize, usize) {
        let counts = self.lock();
        (counts.cached, counts.ran)
    }

    /// An observer of the vertices of `graph`.
    pub fn observe<'s>(&'s self, graph: &'s Graph) -> Watched<'s> {
        Watched { steps: self, graph, running: Mutex::new(HashMap::new()) }
    }
}

/// Does something that is no step of the Dockerfile, shown as a step all the same. `work` is given
/// what it can say lines with.
pub(crate) fn internal<T>(
    steps: &Steps<'_>,
    name: &str,
    work: impl FnOnce(&dyn Fn(&str)) -> Result<T>,
) -> Result<T> {
    let began = Instant::now();
    let step = steps.number();
    steps.tell(step, Step::Started(name.to_owned()));
    let say = |line: &str| {
        let bytes = format!("{line}\n").into_bytes();
        steps.tell(step, Step::Output { stderr: false, at: began.elapsed(), bytes });
    };
    let result = work(&say);
    steps.tell(
        step,
        match result {
            Ok(_) => Step::Done(began.elapsed()),
            Err(_) => Step::Failed(began.elapsed()),
        },
    );
    result
}

/// Maps a graph's vertices to numbered steps.
pub(crate) struct Watched<'a> {
    steps: &'a Steps<'a>,
    graph: &'a Graph,
    running: Mutex<HashMap<VertexId, (u32, Instant)>>,
}

impl Watched<'_> {
    fn begin(&self, vertex: VertexId) -> u32 {
        let step = self.steps.number();
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(vertex, (step, Instant::now()));
        step
    }

    fn running(&self, vertex: VertexId) -> Option<(u32, Instant)> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).get(&vertex).copied()
    }
}

impl Observer for Watched<'_> {
    fn step(&self, vertex: VertexId, event: StepEvent<'_>) {
        let name = || self.graph.vertex(vertex).name.clone();
        let (step, what) = match event {
            StepEvent::Cached => {
                self.steps.lock().cached += 1;
                (self.steps.number(), Step::Cached(name()))
            }
            StepEvent::Missed(_) => return,
            StepEvent::Started => (self.begin(vertex), Step::Started(name())),
            StepEvent::Output(stream, bytes) => {
                let Some((step, began)) = self.running(vertex) else { return };
                let stderr = stream == Stream::Stderr;
                (step, Step::Output { stderr, at: began.elapsed(), bytes: bytes.to_vec() })
            }
            StepEvent::Done(elapsed) => {
                self.steps.lock().ran += 1;
                let Some((step, _)) = self.running(vertex) else { return };
                (step, Step::Done(elapsed))
            }
            StepEvent::Failed(elapsed) => {
                let step = self.running(vertex).map_or_else(
                    || {
                        let step = self.begin(vertex);
                        self.steps.tell(step, Step::Started(name()));
                        step
                    },
                    |(step, _)| step,
                );
                (step, Step::Failed(elapsed))
            }
        };
        self.steps.tell(step, what);
    }
}
