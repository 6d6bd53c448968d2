//! How a build went, step by step: what was found, what ran and why. Kept of the last build, for asking later.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dockerfile::ast::{Dockerfile, Kind as Instruction};
use graph::{Graph, Op, VertexId};
use serde::{Deserialize, Serialize};
use solver::{Observer, StepEvent};

pub use solver::{Explanation, Reason};

use crate::build::export::timestamp;
use crate::{Engine, Error, Result};

/// The largest report that is read.
const LIMIT: u64 = 64 << 20;

/// How a build went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildReport {
    /// When it ended, RFC 3339.
    pub ended: String,
    /// The Dockerfile's name.
    pub dockerfile: String,
    /// The steps in the order of the Dockerfile, those of several platforms one after the other. `FROM` is none.
    pub steps: Vec<StepReport>,
}

/// How a step went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// The step, such as `[build 2/5] RUN make`.
    pub name: String,
    /// Its stage, in lower case; `stage-N` where it has no name.
    pub stage: String,
    /// The first line of its instruction in the Dockerfile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// What became of it.
    pub outcome: Outcome,
    /// How long it ran, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Why it was not found; of a step that was looked up and was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Explanation>,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// An earlier result stands for it.
    Hit,
    /// It was run.
    Ran,
    /// It failed, or was ended when another did.
    Failed,
    /// It was not reached.
    NotReached,
}

/// The report of the build that ended last.
///
/// # Errors
/// If no build is known.
pub fn last_build(engine: &Engine) -> Result<BuildReport> {
    let path = engine.store.last_build_file();
    let none = || Error::not_found("no build is known here").hint("build something first");
    let text = match fs::metadata(&path) {
        Ok(meta) if meta.len() <= LIMIT => fs::read(&path),
        Ok(_) => return Err(none()),
        Err(error) => Err(error),
    };
    match text {
        Ok(text) => serde_json::from_slice(&text).map_err(|_| none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(none()),
        Err(error) => Err(Error::io(format!("read {}", path.display()), &error)),
    }
}

/// Keeps the report of a build for [`last_build`]. Failing to loses nothing else.
pub(crate) fn keep(engine: &Engine, report: &BuildReport) {
    if report.steps.iter().any(|step| step.outcome == Outcome::Ran) {
        let _ = engine.store.steps_trim();
    }
    let path = engine.store.last_build_file();
    let part = path.with_extension(std::process::id().to_string());
    let text = serde_json::to_vec(report).unwrap_or_default();
    if fs::write(&part, text).and_then(|()| fs::rename(&part, &path)).is_err() {
        let _ = fs::remove_file(&part);
    }
}

pub(crate) fn report(dockerfile: &str, steps: Vec<StepReport>) -> BuildReport {
    BuildReport { ended: timestamp(None), dockerfile: dockerfile.to_owned(), steps }
}

/// The variables that a Dockerfile declares by `ARG` and never sets by `ENV`.
pub(crate) fn arguments(dockerfile: &Dockerfile) -> BTreeSet<String> {
    let stages = dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
    let (mut arguments, mut variables) = (BTreeSet::new(), BTreeSet::new());
    for instruction in dockerfile.global_args.iter().chain(stages) {
        match &instruction.kind {
            Instruction::Arg(args) => arguments.extend(args.iter().map(|arg| arg.name.raw.clone())),
            Instruction::Env(pairs) => variables.extend(pairs.iter().map(|pair| pair.key.raw.clone())),
            _ => {}
        }
    }
    arguments.retain(|name| !variables.contains(name));
    arguments
}

/// Passes on what happens, and remembers how each step went.
pub(crate) struct Noting<'a> {
    to: &'a dyn Observer,
    graph: &'a Graph,
    arguments: &'a BTreeSet<String>,
    notes: Mutex<Vec<Note>>,
}

#[derive(Default, Clone)]
struct Note {
    outcome: Option<Outcome>,
    took: Option<Duration>,
    why: Option<Explanation>,
}

impl<'a> Noting<'a> {
    pub fn new(to: &'a dyn Observer, graph: &'a Graph, arguments: &'a BTreeSet<String>) -> Noting<'a> {
        Noting { to, graph, arguments, notes: Mutex::new(vec![Note::default(); graph.len()]) }
    }

    /// What was noted.
    pub fn steps(self) -> Vec<StepReport> {
        let notes = self.notes.into_inner().unwrap_or_else(PoisonError::into_inner);
        let steps = self.graph.iter().zip(notes);
        let is_step = |op: &Op| matches!(op, Op::Exec(_) | Op::File(_));
        steps
            .filter(|((_, vertex), _)| is_step(&vertex.op))
            .map(|((_, vertex), note)| StepReport {
                name: vertex.name.clone(),
                stage: vertex.place.as_ref().map_or_else(String::new, |place| place.stage.clone()),
                line: vertex.location.map(|location| location.line),
                outcome: note.outcome.unwrap_or(Outcome::NotReached),
                seconds: note.took.map(|took| took.as_secs_f64()),
                why: note.why,
            })
            .collect()
    }

    /// What the solver cannot know: which variables are build arguments.
    fn named(&self, why: &Explanation) -> Explanation {
        let mut why = why.clone();
        for reason in &mut why.reasons {
            if let Reason::Variable { name, argument, .. } = reason {
                *argument = self.arguments.contains(name);
            }
        }
        why
    }
}

impl Observer for Noting<'_> {
    fn step(&self, vertex: VertexId, event: StepEvent<'_>) {
        {
            let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
            let note = &mut notes[vertex.index()];
            match &event {
                StepEvent::Cached => {
                    note.outcome = Some(Outcome::Hit);
                    note.why = None;
                }
                StepEvent::Missed(why) => note.why = Some(self.named(why)),
                StepEvent::Done(took) => (note.outcome, note.took) = (Some(Outcome::Ran), Some(*took)),
                StepEvent::Failed(took, _) => {
                    (note.outcome, note.took) = (Some(Outcome::Failed), Some(*took))
                }
                StepEvent::Started | StepEvent::Output(..) => {}
            }
        }
        self.to.step(vertex, event);
    }
}
