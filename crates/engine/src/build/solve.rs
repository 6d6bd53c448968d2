//! The plans of a build solved: those of several platforms at once, so that what they share is done once.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use dockerfile::lower::Lowered;
use graph::{Graph, VertexId};
use oci::DiffId;
use snapshot::Search;
use solver::{Jobs, Lazy, Observer, Required, Session};

use crate::build::context::{GivenSecrets, Inputs};
use crate::build::elsewhere::Elsewhere;
use crate::build::explain::{self, Noting};
use crate::build::observe::Steps;
use crate::build::request::BuildRequest;
use crate::build::run_options::Entitlement;
use crate::build::shell::{self, Stopped};
use crate::build::{failed, leak};
use crate::{Engine, Error, Event, Events, Result, printable};

/// Solves the plans; gives the layers of each, bottom layer first.
#[allow(clippy::too_many_arguments, reason = "it is the whole build that is solved")]
pub(crate) fn solve(
    engine: &Engine,
    request: &BuildRequest,
    inputs: &Inputs,
    plans: &[Lowered],
    arguments: &BTreeSet<String>,
    steps: &Steps<'_>,
    elsewhere: &Elsewhere<'_>,
    interrupted: &AtomicBool,
    events: &dyn Events,
) -> Result<Vec<Vec<DiffId>>> {
    let required = required(request, plans)?;
    let (search, short) = match request.run.allows(Entitlement::SecretInLayer) {
        true => (None, Vec::new()),
        false => leak::search(&request.secrets),
    };
    for id in short {
        events.event(Event::Warning(format!(
            "secret {id:?} is shorter than {} bytes: layers are not searched for it",
            leak::SHORTEST
        )));
    }
    let mut solved = Vec::with_capacity(plans.len());
    let mut told = Vec::new();
    let mut failure = None;
    // The time of everything made is part of a session. An ARG may make it another for each platform.
    for same_time in plans.chunk_by(|a, b| a.source_date_epoch == b.source_date_epoch) {
        let together;
        let (plan, targets) = match same_time {
            [one] => (one, vec![one.target]),
            several => {
                together = join(several);
                (&together.0, together.1.clone())
            }
        };
        let numbers = steps.plan(&plan.graph, &targets);
        let observer = steps.observe(&plan.graph, numbers);
        let noting = Noting::new(&observer, &plan.graph, arguments);
        let required = required.clone();
        let job = Job { plan, targets: &targets, required, search: search.as_ref(), elsewhere };
        let result = job.solve(engine, request, inputs, steps, &noting, interrupted);
        told.extend(noting.steps());
        match result {
            Ok(layers) => solved.extend(layers),
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    let report = explain::report(&inputs.name, told);
    explain::keep(engine, &report);
    events.event(Event::Explained(report));
    match failure {
        Some(error) => Err(error),
        None => Ok(solved),
    }
}

/// Several plans as one, whose graph is that of all and whose other parts are the first's; and the targets of all.
fn join(plans: &[Lowered]) -> (Lowered, Vec<VertexId>) {
    let mut graph = Graph::new();
    let mut targets = Vec::with_capacity(plans.len());
    for plan in plans {
        let moved = graph.append(plan.graph.clone());
        targets.push(moved(plan.target));
    }
    (Lowered { graph, ..plans[0].clone() }, targets)
}

/// Which steps must be found.
fn required(request: &BuildRequest, plans: &[Lowered]) -> Result<Required> {
    let Some(stages) = &request.require_cached else { return Ok(Required::Nothing) };
    if stages.is_empty() {
        return Ok(Required::Everything);
    }
    let known: BTreeSet<String> =
        plans.iter().flat_map(|plan| &plan.stages).map(|stage| stage.name.to_lowercase()).collect();
    let wanted: BTreeSet<String> = stages.iter().map(|stage| stage.to_lowercase()).collect();
    if let Some(missing) = wanted.iter().find(|stage| !known.contains(*stage)) {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        return Err(Error::invalid(format!("--require-cached: this build has no stage {missing:?}"))
            .hint(format!("its stages are {}", known.join(", "))));
    }
    Ok(Required::Stages(wanted))
}

/// What one session solves.
struct Job<'a> {
    plan: &'a Lowered,
    targets: &'a [VertexId],
    required: Required,
    search: Option<&'a Search>,
    elsewhere: &'a Elsewhere<'a>,
}

impl Job<'_> {
    fn solve(
        self,
        engine: &Engine,
        request: &BuildRequest,
        inputs: &Inputs,
        steps: &Steps<'_>,
        observer: &dyn Observer,
        interrupted: &AtomicBool,
    ) -> Result<Vec<Vec<DiffId>>> {
        let Job { plan, targets, required, search, elsewhere } = self;
        let secrets = GivenSecrets { given: &request.secrets, masks: steps.masks };
        let session = Session {
            store: &engine.store,
            mode: runtime::mode().unwrap_or(runtime::Mode::Root),
            runtime: request.runtime.clone(),
            contexts: inputs.contexts(&engine.store)?,
            jobs: request.jobs.map_or(Jobs::Adaptive, Jobs::Fixed),
            required,
            origin: inputs.origin(),
            epoch: plan.source_date_epoch,
            network: request.network,
            secrets: &secrets,
            search,
            limits: request.run.limits.clone(),
            downloads: &inputs.downloads,
            resolv_conf: engine.resolv_conf(),
            elsewhere,
            observer,
            interrupted,
            lazy: Lazy::default(),
        };
        let solved = shell::after_step(request, inputs, plan, &session, steps)
            .and_then(|()| solver::solve(&plan.graph, targets, &session).map_err(Stopped::Failed));
        for context in session.contexts.values() {
            context.save();
        }
        match solved {
            Ok(solved) => Ok(solved.into_iter().map(|solved| solved.layers).collect()),
            Err(Stopped::Failed(error)) => {
                let told = tell(inputs, &plan.graph, steps, error);
                Err(match session.take_failed() {
                    Some(kept) => failed::after(engine, request, plan, kept, told, steps, search),
                    None => told,
                })
            }
            Err(Stopped::Refused(error)) => Err(error),
        }
    }
}

/// Lines of a failed step's output that its error repeats.
const TAIL: usize = 20;

/// A failed step in BuildKit's layout: the end of its output, its Dockerfile lines, the reason last.
fn tell(inputs: &Inputs, graph: &Graph, steps: &Steps<'_>, error: solver::Error) -> Error {
    let Some(vertex) = error.vertex.map(|id| graph.vertex(id)) else {
        let cause = Error::from(error.failure);
        return cause.context("failed to solve");
    };
    let mut detail = String::new();
    let mut hint = None;
    if let solver::Failure::Exit { tail, .. } = &error.failure {
        let tail = printable::last_lines(&steps.masks.apply(tail), TAIL);
        let (step, lines) = steps.failed().unwrap_or_default();
        let left_out = lines.saturating_sub(tail.len() as u64);
        detail.push_str(&format!("------\n > {}:\n", printable::one_line(&vertex.name)));
        if left_out > 0 {
            detail.push_str(&format!("[{left_out} lines before]\n"));
            hint = Some(format!("strake build logs {step} prints all {lines} lines of the step"));
        }
        tail.iter().for_each(|line| detail.push_str(&format!("{line}\n")));
        detail.push_str("------\n");
    }
    if let Some(location) = vertex.location {
        detail.push_str(&excerpt(inputs, location));
        detail.push('\n');
    }
    let mut cause = Error::from(error.failure);
    cause.hints.extend(hint);
    Error { message: format!("failed to solve: {}", cause.message), detail, ..cause }
}

/// The lines of the Dockerfile around `location`, in BuildKit's layout: `>>>` marks the step.
pub(super) fn excerpt(inputs: &Inputs, location: graph::Location) -> String {
    const AROUND: u32 = 2;
    const MOST: u32 = 12;
    let text = String::from_utf8_lossy(&inputs.dockerfile);
    let end = location.end_line.min(location.line + MOST);
    let first = location.line.saturating_sub(AROUND).max(1);
    let mut out = format!("{}:{}\n--------------------\n", inputs.name, location.line);
    for (number, line) in (1u32..).zip(text.lines()) {
        if number >= first && number <= end + AROUND {
            let mark = if number >= location.line && number <= end { ">>>" } else { "   " };
            // Whoever wrote it need not be trusted with the terminal.
            let shown: String = line
                .chars()
                .map(|c| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c })
                .collect();
            out.push_str(&format!("{number:4} | {mark} {shown}\n"));
        }
    }
    out.push_str("--------------------");
    out
}
