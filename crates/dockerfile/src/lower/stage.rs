//! One stage: what it begins with, and its instructions one after the other.

use graph::VertexId;
use oci::ImageConfig;

use crate::ast::Kind;
use crate::diagnostic::Diagnostic;
use crate::expand::Variables;
use crate::lower::env::{Args, Env, pair};
use crate::lower::path;
use crate::lower::plan::{Ground, Origin, Step};
use crate::lower::remote::described;
use crate::lower::resolve::{Found, in_trigger};
use crate::lower::state::{Building, ENTRY, Lowering, Progress, State, Tree};

/// Where programs are looked for in an image that does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Lowering<'_> {
    /// Builds a stage on those before it; says whether it runs anything.
    pub(crate) fn build_stage(
        &mut self,
        index: usize,
        built: &[Option<State>],
    ) -> Result<(State, bool), Diagnostic> {
        let label = match self.plan.is_single() {
            true => String::new(),
            false => self.plan.stages[index].name.clone(),
        };
        let planned = &mut self.plan.stages[index];
        let steps = std::mem::take(&mut planned.steps);
        // BuildKit counts all triggers, whatever they do.
        let counted = |step: &&Step<'_>| {
            let kind = &step.instruction.kind;
            step.trigger.is_some()
                || matches!(kind, Kind::Add(_) | Kind::Copy(_) | Kind::Run(_) | Kind::Workdir(_))
        };
        let ground = usize::from(matches!(planned.ground, Ground::Named(_)));
        let mut progress = Progress { label, total: ground + steps.iter().filter(counted).count(), named: 0 };
        let replaced = matches!(planned.ground, Ground::Replaced(_) | Ground::Instead(_));
        let (from, name, no_cache) = (planned.stage.span, planned.name.clone(), planned.no_cache);
        let state = self.stand_on(index, built, &mut progress)?;
        let mut it = Building {
            state,
            from,
            name,
            progress,
            no_cache,
            trigger: None,
            cmd: None,
            entrypoint: None,
            healthcheck: None,
            runs: false,
        };
        if !replaced {
            begin(&mut it.state);
            for step in &steps {
                self.step(&mut it, step, built)?;
            }
        }
        self.plan.stages[index].steps = steps;
        Ok((it.state, it.runs))
    }

    /// The state that a stage inherits.
    fn stand_on(
        &mut self,
        index: usize,
        built: &[Option<State>],
        progress: &mut Progress,
    ) -> Result<State, Diagnostic> {
        let planned = &self.plan.stages[index];
        let from = planned.stage.span;
        if let Ground::Instead(other) = planned.ground {
            let other = built[other].as_ref().expect("because the stage comes before this one and is needed");
            return Ok(other.clone());
        }
        if let Ground::Stage(base) = planned.ground {
            let base = built[base].as_ref().expect("because a stage's base comes before it and is needed");
            let history: usize = base.config.history.iter().map(|entry| entry.created_by.len() + ENTRY).sum();
            self.budget.spend(base.env.size() + history, from)?;
            let mut state = base.clone();
            state.config.config.onbuild.clear();
            self.settle(&mut state, from);
            return Ok(state);
        }
        let wanted = planned.platform.as_ref().unwrap_or(&self.options.platform).clone();
        let replaced = matches!(planned.ground, Ground::Replaced(_));
        let Some(opened) = self.grounds[index].take() else {
            // `scratch` is for the target, whatever `--platform` says.
            let platform = self.options.platform.clone();
            let mut config = ImageConfig::scratch(&platform);
            config.config.working_dir = "/".to_owned();
            return Ok(State::new(self.scratch(), platform, config));
        };
        let shown = match &opened.found {
            Found::Remote(_) => opened.title.clone(),
            _ => format!("FROM {}", opened.title),
        };
        let title = match &opened.found {
            Found::Image(_) if !replaced => {
                progress.named += 1;
                self.prefixed(progress, false, &wanted, &Env::default(), &shown)
            }
            _ => shown,
        };
        let tree = self.open_tree(&opened, title, from);
        let mut state = State::new(tree.vertex, wanted, opened.config);
        state.guessed = opened.guessed;
        state.base = opened.base;
        if let Found::Remote(remote) = &opened.found {
            state.config.history.push(self.told(described(remote)));
        }
        if !replaced {
            self.settle(&mut state, from);
        }
        Ok(state)
    }

    fn step(
        &mut self,
        it: &mut Building,
        step: &Step<'_>,
        built: &[Option<State>],
    ) -> Result<(), Diagnostic> {
        it.trigger = step.trigger.clone();
        self.warnings.begin(it.span(step.instruction.span));
        let trees = self.trees(it, step, built);
        let done = trees.and_then(|trees| self.instruction(it, &step.instruction, &trees));
        it.trigger = None;
        done.map_err(|error| match &step.trigger {
            Some(trigger) => in_trigger(trigger, it.from, error),
            None => error,
        })
    }

    /// What a step takes files from, one for each of its sources.
    fn trees(
        &mut self,
        it: &Building,
        step: &Step<'_>,
        built: &[Option<State>],
    ) -> Result<Vec<Option<Tree>>, Diagnostic> {
        let mut trees = Vec::with_capacity(step.sources.len());
        for source in &step.sources {
            trees.push(match source {
                None => None,
                Some(Origin::Outside(index)) => Some(self.outside_tree(*index)),
                Some(Origin::Stage(index)) => match &built[*index] {
                    Some(state) => Some(Tree { vertex: state.vertex, local: self.is_context(state.vertex) }),
                    None => {
                        let verb =
                            if matches!(step.instruction.kind, Kind::Run(_)) { "mount" } else { "copy" };
                        let message = format!(
                            "cannot {verb} from stage {:?}, it needs to be defined before current stage {:?}",
                            self.plan.stages[*index].name, it.name
                        );
                        return Err(Diagnostic::error(message, step.instruction.span));
                    }
                },
            });
        }
        Ok(trees)
    }
}

impl State {
    fn new(vertex: VertexId, platform: oci::Platform, config: ImageConfig) -> State {
        State {
            vertex,
            platform,
            config,
            env: Env::default(),
            args: Args::default(),
            cwd: "/".to_owned(),
            base: None,
            guessed: false,
            workdir_set: false,
        }
    }
}

/// Takes the environment and working directory over from the image config.
fn begin(state: &mut State) {
    let config = &mut state.config.config;
    if config.env.get("PATH").is_none() && state.config.os != "windows" {
        config.env.push(format!("PATH={DEFAULT_PATH}"));
    }
    for variable in &config.env {
        let (name, value) = pair(variable);
        state.env.set(name, value);
    }
    if !config.working_dir.is_empty() {
        state.cwd = path::rooted(&config.working_dir);
        if !config.working_dir.starts_with('/') {
            config.working_dir.clone_from(&state.cwd);
        }
    }
}
