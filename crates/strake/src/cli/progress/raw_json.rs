//! BuildKit's status messages, as `docker buildx build --progress rawjson` prints them: a JSON document a line, each
//! with some of `vertexes`, `statuses`, `logs` and `warnings` (BuildKit's `client.SolveStatus`).
//!
//! A vertex's digest here is of its number, name and inputs, so that the same build has the same ones; it is no digest
//! of an operation.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use engine::{Event, PlannedStep, Step};
use jiff::Timestamp;
use oci::Digest;
use serde::Serialize;

/// The display.
#[derive(Default)]
pub(super) struct RawJson {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    vertexes: HashMap<u32, Vertex>,
    /// When each layer of a step came up, and when it was done.
    layers: HashMap<(u32, String), String>,
    /// The step that spoke last: who warns is not said.
    last: u32,
}

#[derive(Clone, Default, Serialize)]
struct Vertex {
    digest: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<String>,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cached: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
}

#[derive(Serialize)]
struct Status {
    id: String,
    vertex: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    current: u64,
    timestamp: String,
    started: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<String>,
}

#[derive(Serialize)]
struct Log {
    vertex: String,
    stream: u8,
    data: String,
    timestamp: String,
}

#[derive(Serialize)]
struct Warning {
    #[serde(skip_serializing_if = "String::is_empty")]
    vertex: String,
    level: u8,
    short: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    detail: Vec<String>,
}

/// One line.
#[derive(Default, Serialize)]
struct SolveStatus {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vertexes: Vec<Vertex>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    statuses: Vec<Status>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logs: Vec<Log>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Warning>,
}

impl RawJson {
    pub(super) fn event(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(status) = state.status(event, &Timestamp::now().to_string()) else { return };
        let Ok(mut line) = serde_json::to_vec(&status) else { return };
        line.push(b'\n');
        // Progress that nobody can read must not stop the build.
        let _ = io::stderr().lock().write_all(&line);
    }
}

impl State {
    fn status(&mut self, event: Event, now: &str) -> Option<SolveStatus> {
        let mut status = SolveStatus::default();
        match event {
            Event::Plan(steps) => {
                for planned in &steps {
                    let vertex = self.planned(planned);
                    status.vertexes.push(vertex.clone());
                    self.vertexes.insert(planned.step, vertex);
                }
            }
            Event::Step { step, what } => self.step(step, what, now, &mut status),
            Event::Check(text) | Event::Warning(text) => {
                let mut lines = text.trim_end().lines().map(|line| BASE64_STANDARD.encode(line));
                let vertex = self.vertexes.get(&self.last).map(|v| v.digest.clone()).unwrap_or_default();
                let short = lines.next().unwrap_or_default();
                status.warnings.push(Warning { vertex, level: 1, short, detail: lines.collect() });
            }
            _ => return None,
        }
        Some(status)
    }

    fn planned(&self, planned: &PlannedStep) -> Vertex {
        let inputs: Vec<String> = planned
            .inputs
            .iter()
            .filter_map(|input| self.vertexes.get(input).map(|vertex| vertex.digest.clone()))
            .collect();
        let text = format!("{}\n{}\n{}", planned.step, planned.name, inputs.join("\n"));
        let digest = Digest::sha256(text.as_bytes()).to_string();
        Vertex { digest, inputs, name: planned.name.clone(), ..Vertex::default() }
    }

    fn step(&mut self, step: u32, what: Step, now: &str, status: &mut SolveStatus) {
        self.last = step;
        if let Step::Started(name) | Step::Cached(name) = &what
            && !self.vertexes.contains_key(&step)
        {
            let planned = PlannedStep { step, name: name.clone(), inputs: Vec::new() };
            let vertex = self.planned(&planned);
            self.vertexes.insert(step, vertex);
        }
        let Some(vertex) = self.vertexes.get_mut(&step) else { return };
        match what {
            Step::Started(_) => vertex.started = Some(now.to_owned()),
            Step::Cached(_) => {
                vertex.started = Some(now.to_owned());
                vertex.completed = Some(now.to_owned());
                vertex.cached = true;
            }
            Step::Output { stderr, bytes, .. } => {
                status.logs.push(Log {
                    vertex: vertex.digest.clone(),
                    stream: if stderr { 2 } else { 1 },
                    data: BASE64_STANDARD.encode(bytes),
                    timestamp: now.to_owned(),
                });
                return;
            }
            Step::Layer { id, status: word, done, total } => {
                let started = self.layers.entry((step, id.clone())).or_insert_with(|| now.to_owned()).clone();
                let ended =
                    word.ends_with("complete") || word.ends_with("exists") || word.starts_with("Pushed");
                status.statuses.push(Status {
                    id,
                    vertex: vertex.digest.clone(),
                    name: word.to_owned(),
                    total,
                    current: done,
                    timestamp: now.to_owned(),
                    started,
                    completed: ended.then(|| now.to_owned()),
                });
                return;
            }
            Step::Done(_) => vertex.completed = Some(now.to_owned()),
            Step::Failed { reason, .. } => {
                vertex.completed = Some(now.to_owned());
                vertex.error = reason;
            }
            Step::Canceled(_) => {
                vertex.completed = Some(now.to_owned());
                "context canceled".clone_into(&mut vertex.error);
            }
        }
        status.vertexes.push(vertex.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn messages_are_buildkits() {
        let mut state = State::default();
        let mut told = |event| serde_json::to_value(state.status(event, "2026-01-01T00:00:00Z")).unwrap();
        let plan = |step, inputs| PlannedStep { step, name: format!("[{step}/2] RUN"), inputs };
        let planned = told(Event::Plan(vec![plan(1, vec![]), plan(2, vec![1])]));
        let first = planned["vertexes"][0]["digest"].clone();
        assert_eq!(planned["vertexes"][1]["inputs"][0], first);
        let step = |what| Event::Step { step: 1, what };
        let started = told(step(Step::Started("[1/2] RUN".into())));
        assert_eq!(started["vertexes"][0]["started"], "2026-01-01T00:00:00Z");
        assert_eq!(started["vertexes"][0]["digest"], first);
        let bytes = b"hello\n".to_vec();
        let log = told(step(Step::Output { stderr: true, at: Duration::ZERO, bytes }));
        assert_eq!(log["logs"][0]["data"], "aGVsbG8K");
        assert_eq!((&log["logs"][0]["stream"], &log["logs"][0]["vertex"]), (&2.into(), &first));
        let failed = told(step(Step::Failed { after: Duration::ZERO, reason: "exit code: 1".into() }));
        assert_eq!(failed["vertexes"][0]["error"], "exit code: 1");
        let warned = told(Event::Warning("one\ntwo\n".into()));
        assert_eq!(
            (&warned["warnings"][0]["short"], &warned["warnings"][0]["level"]),
            (&"b25l".into(), &1.into())
        );
    }
}
