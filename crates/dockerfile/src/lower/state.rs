//! The state of a lowering, and that of a stage as its instructions change it.
//!
//! What each instruction does is in `config`, `copy` and `run`; here is what they share: variables,
//! history, vertices. How a stage begins is in `stage`.

use std::collections::{BTreeMap, BTreeSet};

use graph::{Graph, Location, Op, Place, Source, Vertex, VertexId};
use oci::{History, ImageConfig, Platform};

use crate::ast::{Dockerfile, Kind};
use crate::diagnostic::Diagnostic;
use crate::expand::{Expander, Variables};
use crate::lower::budget::Budget;
use crate::lower::check::Warnings;
use crate::lower::env::{Args, Env};
use crate::lower::plan::Plan;
use crate::lower::resolve::Opened;
use crate::lower::{BaseImage, ConfigResolver, LowerOptions, Lowered, StageInfo, globals, text};
use crate::span::{LineIndex, Span, Text};

/// What BuildKit puts beside each history entry, by which tools know the wording.
const COMMENT: &str = "buildkit.dockerfile.v0";
/// Bytes of a history entry besides its text.
pub(crate) const ENTRY: usize = 200;
/// The name of the main build context in the graph.
pub(crate) const MAIN_CONTEXT: &str = "context";

/// One lowering.
pub(crate) struct Lowering<'a> {
    pub(crate) dockerfile: &'a Dockerfile,
    pub(crate) options: &'a LowerOptions,
    pub(crate) resolver: &'a mut dyn ConfigResolver,
    pub(crate) expander: Expander,
    pub(crate) budget: Budget,
    pub(crate) warnings: &'a mut Warnings,
    /// Build arguments, proxies included.
    pub(crate) build_args: BTreeMap<String, String>,
    /// The variables that `FROM` sees and `ARG NAME` takes over.
    pub(crate) globals: Env,
    /// Names of the global `ARG`s.
    pub(crate) declared_globals: BTreeSet<String>,
    /// Names that any stage gives a value.
    assigned: BTreeSet<&'a str>,
    pub(crate) proxy_env: Vec<String>,
    pub(crate) plan: Plan<'a>,
    /// What the stages stand on from outside, by stage.
    pub(crate) grounds: Vec<Option<Opened>>,
    /// What COPY and mounts take from outside, and the trees of those that were taken from.
    pub(crate) outside: Vec<Option<Opened>>,
    pub(crate) outside_trees: BTreeMap<usize, Tree>,
    pub(crate) graph: Graph,
    scratch: Option<VertexId>,
    pub(crate) contexts: BTreeMap<String, VertexId>,
    /// Contexts that became layers, by their vertices.
    pub(crate) settled: BTreeMap<VertexId, VertexId>,
    /// Downloads that were asked for.
    pub(crate) remotes: Vec<(Source, VertexId)>,
    lines: LineIndex,
    /// Stages that the target does not need are gone through, too.
    pub(crate) every_stage: bool,
    epoch: Option<i64>,
    pub(crate) created: String,
}

/// A tree that files are taken from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tree {
    pub(crate) vertex: VertexId,
    /// A directory of the host: its owners mean nothing.
    pub(crate) local: bool,
}

/// A stage after some of its instructions.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) vertex: VertexId,
    pub(crate) config: ImageConfig,
    /// What RUN and expansion see: the image's environment and the arguments declared.
    pub(crate) env: Env,
    pub(crate) args: Args,
    /// Working directory, cleaned.
    pub(crate) cwd: String,
    pub(crate) platform: Platform,
    pub(crate) base: Option<BaseImage>,
    /// The config of the image it stands on is not known.
    pub(crate) guessed: bool,
    /// Whether this Dockerfile said WORKDIR.
    pub(crate) workdir_set: bool,
}

/// A stage at work.
pub(crate) struct Building {
    pub(crate) state: State,
    /// Its `FROM`.
    pub(crate) from: Span,
    pub(crate) name: String,
    pub(crate) progress: Progress,
    pub(crate) no_cache: bool,
    /// The instruction at hand comes from an `ONBUILD` trigger.
    pub(crate) trigger: Option<String>,
    pub(crate) cmd: Option<Span>,
    pub(crate) entrypoint: Option<Span>,
    pub(crate) healthcheck: Option<Span>,
    pub(crate) runs: bool,
}

/// How far the naming of a stage's steps is.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    /// The stage's name; empty where it is the only one.
    pub(crate) label: String,
    /// Steps that are counted.
    pub(crate) total: usize,
    /// Steps that were named.
    pub(crate) named: usize,
}

impl<'a> Lowering<'a> {
    /// Plans the stages and resolves what they stand on.
    pub(crate) fn new(
        dockerfile: &'a Dockerfile,
        options: &'a LowerOptions,
        resolver: &'a mut dyn ConfigResolver,
        warnings: &'a mut Warnings,
    ) -> Result<Lowering<'a>, Diagnostic> {
        let Some(last) = dockerfile.stages.last() else {
            let error = Diagnostic::error("the Dockerfile has no stage to build", Span::default());
            return Err(error.with_help("begin one with FROM"));
        };
        let build_args = globals::build_args(options);
        let last_name = last.name.as_ref().map_or("", |name| name.raw.as_str());
        let target = options.target.as_deref().filter(|name| !name.is_empty()).unwrap_or(last_name);
        let mut it = Lowering {
            dockerfile,
            options,
            resolver,
            expander: Expander::new(dockerfile.directives.escape),
            budget: Budget::new(),
            warnings,
            globals: globals::predefined(options, &build_args, target),
            declared_globals: BTreeSet::new(),
            assigned: globals::assigned(dockerfile),
            proxy_env: globals::proxy_env(&build_args),
            build_args,
            plan: Plan::default(),
            grounds: Vec::new(),
            outside: Vec::new(),
            outside_trees: BTreeMap::new(),
            graph: Graph::new(),
            scratch: None,
            contexts: BTreeMap::new(),
            settled: BTreeMap::new(),
            remotes: Vec::new(),
            lines: LineIndex::new(&options.source),
            every_stage: false,
            epoch: options.source_date_epoch,
            created: options.created.clone(),
        };
        let defaults = it.declare_globals()?;
        it.find_epoch()?;
        it.plan(&dockerfile.stages, defaults.as_ref())?;
        Ok(it)
    }

    /// Reads the global `ARG`s; returns what they would be without build arguments.
    fn declare_globals(&mut self) -> Result<Option<Env>, Diagnostic> {
        let declarations = &self.dockerfile.global_args;
        for declaration in declarations {
            if let Kind::Arg(args) = &declaration.kind {
                self.declared_globals.extend(args.iter().map(|arg| arg.name.raw.clone()));
            }
        }
        let mut defaults = self.globals.clone();
        let none = BTreeMap::new();
        let sound = globals::declare(&mut defaults, declarations, &none, self.expander, &mut self.budget);
        let args = &self.build_args;
        globals::declare(&mut self.globals, declarations, args, self.expander, &mut self.budget)?;
        Ok(sound.ok().map(|()| defaults))
    }

    /// Takes `SOURCE_DATE_EPOCH` from the build arguments or the global `ARG`s, if no option gave it.
    fn find_epoch(&mut self) -> Result<(), Diagnostic> {
        const NAME: &str = "SOURCE_DATE_EPOCH";
        if self.epoch.is_none() {
            let value = self.build_args.get(NAME).map(String::as_str);
            let value = value.or_else(|| Variables::get(&self.globals, NAME)).unwrap_or_default();
            if !value.is_empty() {
                self.epoch = Some(value.parse().map_err(|_| {
                    let error = Diagnostic::error(format!("invalid {NAME}: {value}"), Span::default());
                    Diagnostic { span: None, ..error }.with_help("give the seconds since 1970")
                })?);
            }
        }
        if let Some(epoch) = self.epoch {
            self.created = text::rfc3339(epoch).ok_or_else(|| {
                let error = Diagnostic::error(format!("invalid {NAME}: {epoch}"), Span::default());
                Diagnostic { span: None, ..error }.with_help("the year must be one of 0 to 9999")
            })?;
        }
        Ok(())
    }

    /// The same as [`Lowering::finish`], through all stages.
    pub(crate) fn finish_all(mut self) -> Result<Lowered, Diagnostic> {
        self.every_stage = true;
        self.finish()
    }

    /// Goes through the stages that the target needs.
    pub(crate) fn finish(mut self) -> Result<Lowered, Diagnostic> {
        let target = self.find_target()?;
        let needed = self.resolve(target)?;
        let mut built: Vec<Option<State>> = vec![None; self.plan.stages.len()];
        let mut stages = Vec::new();
        for index in 0..built.len() {
            if needed[index] {
                let (state, runs) = self.build_stage(index, &built)?;
                let planned = &self.plan.stages[index];
                let (name, platform) = (planned.name.clone(), state.platform.clone());
                let (vertex, config) = (state.vertex, state.config.config.clone());
                stages.push(StageInfo { name, platform, runs, span: planned.stage.span, vertex, config });
                built[index] = Some(state);
            }
        }
        let mut state = built[target].take().expect("because the target is needed by itself");
        self.settle(&mut state, self.plan.stages[target].stage.span);
        let triggers = self.plan.stages.iter().flat_map(|stage| &stage.steps).map(|step| &*step.instruction);
        let unused = globals::unused(self.dockerfile, triggers, self.options, &self.globals);
        let State { vertex, config, base, .. } = state;
        Ok(Lowered {
            target: vertex,
            config: self.finish_config(config),
            base,
            stages,
            contexts: self.contexts.into_keys().collect(),
            graph: self.graph,
            source_date_epoch: self.epoch,
            unused_build_args: unused,
            warnings: self.warnings.take(),
        })
    }

    fn finish_config(&self, mut config: ImageConfig) -> ImageConfig {
        if !self.options.labels.is_empty() {
            let labels = config.config.labels.get_or_insert_default();
            labels.extend(self.options.labels.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        let wanted = &self.options.platform;
        if !self.options.implicit_platform {
            let same = wanted.os == config.os && wanted.architecture == config.architecture;
            config.os = wanted.os.clone();
            config.architecture = wanted.architecture.clone();
            if !wanted.variant.is_empty() || !same {
                config.variant = wanted.variant.clone();
            }
            if !wanted.os_version.is_empty() || !same {
                config.os_version = wanted.os_version.clone();
            }
            if !wanted.os_features.is_empty() {
                config.os_features = wanted.os_features.clone();
            }
        }
        let normal = config.platform().normalized();
        config.os = normal.os;
        config.architecture = normal.architecture;
        config.variant = normal.variant;
        config.created = Some(self.created.clone());
        config.rootfs = oci::RootFs::default();
        config
    }

    /// The value of `text` with the variables of the stage.
    pub(crate) fn expand(&mut self, it: &Building, text: &Text) -> Result<String, Diagnostic> {
        let expanded = self.expander.text(text, &it.state.env)?;
        self.report_unset(it, &expanded.unset, text.span);
        self.budget.spend(expanded.text.len(), text.span)?;
        refuse_nul(&expanded.text, text.span)?;
        Ok(expanded.text)
    }

    /// The same for an optional text; an empty value is none.
    pub(crate) fn expand_optional(
        &mut self,
        it: &Building,
        text: Option<&Text>,
    ) -> Result<Option<String>, Diagnostic> {
        let value = text.map(|text| self.expand(it, text)).transpose()?;
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// `UndefinedVar`
    pub(crate) fn report_unset(&mut self, it: &Building, unset: &BTreeSet<String>, span: Span) {
        let span = it.span(span);
        for name in unset {
            if !it.state.args.contains(name) && !globals::NOT_ENVIRONMENT.contains(&name.as_str()) {
                // A name that the Dockerfile itself gives a value is no matter of the base image.
                let guessed = it.state.guessed && !self.assigned.contains(name.as_str());
                self.warnings.undefined_variable(name, it.state.env.names(), span, guessed);
            }
        }
    }

    /// Adds a history entry. `layer` says whether a layer goes with it.
    pub(crate) fn commit(
        &mut self,
        it: &mut Building,
        created_by: String,
        layer: bool,
        span: Span,
    ) -> Result<(), Diagnostic> {
        self.budget.spend(created_by.len() + ENTRY, span)?;
        it.state.config.history.push(History {
            created: Some(self.created.clone()),
            created_by,
            author: String::new(),
            comment: COMMENT.to_owned(),
            empty_layer: !layer,
        });
        Ok(())
    }

    /// Adds a step of the stage to the graph.
    pub(crate) fn vertex(
        &mut self,
        it: &Building,
        op: Op,
        inputs: Vec<VertexId>,
        name: String,
        span: Span,
    ) -> Result<VertexId, Diagnostic> {
        self.budget.spend(name.len(), span)?;
        let location = self.location(it.span(span));
        let place = Place {
            stage: it.name.to_lowercase(),
            step: u32::try_from(it.progress.named).unwrap_or(u32::MAX),
        };
        let place = Some(place);
        Ok(self.graph.add(Vertex { op, inputs, name, location, ignore_cache: it.no_cache, place }))
    }

    /// The empty tree.
    pub(crate) fn scratch(&mut self) -> VertexId {
        let graph = &mut self.graph;
        *self.scratch.get_or_insert_with(|| graph.add(source(Source::Scratch, "scratch".to_owned(), None)))
    }

    /// The empty tree, if anything uses it yet.
    pub(crate) fn scratch_if_any(&self) -> Option<VertexId> {
        self.scratch
    }

    pub(crate) fn is_context(&self, vertex: VertexId) -> bool {
        self.contexts.values().any(|context| *context == vertex)
    }

    /// The build context `name`.
    pub(crate) fn context(&mut self, name: &str) -> Tree {
        let title = match name {
            MAIN_CONTEXT => "[internal] load build context".to_owned(),
            name => format!("[context {name}] load from client"),
        };
        let graph = &mut self.graph;
        let vertex = *self
            .contexts
            .entry(name.to_owned())
            .or_insert_with(|| graph.add(source(Source::Local(name.to_owned()), title, None)));
        Tree { vertex, local: true }
    }

    /// The lines and column of a span.
    pub(crate) fn location(&self, span: Span) -> Option<Location> {
        let source = &self.options.source;
        (!source.is_empty()).then(|| {
            let start = self.lines.position(source, span.start);
            Location { line: start.line, column: start.column, end_line: self.lines.lines(span).1 }
        })
    }
}

impl Building {
    /// Where to point for `span` of the instruction at hand: a trigger's own places are in no file.
    pub(crate) fn span(&self, span: Span) -> Span {
        if self.trigger.is_some() { self.from } else { span }
    }
}

/// A vertex of a tree from outside.
pub(crate) fn source(source: Source, name: String, location: Option<Location>) -> Vertex {
    Vertex { op: Op::Source(source), inputs: Vec::new(), name, location, ignore_cache: false, place: None }
}

/// The number of `vertex` among the inputs of a step, added where it is not there yet.
pub(crate) fn input(inputs: &mut Vec<VertexId>, vertex: VertexId) -> u32 {
    let at = inputs.iter().position(|input| *input == vertex).unwrap_or_else(|| {
        inputs.push(vertex);
        inputs.len() - 1
    });
    u32::try_from(at).expect("because a step has fewer inputs than a Dockerfile has bytes")
}

/// No argument, variable or path of Linux can hold a NUL byte.
pub(crate) fn refuse_nul(text: &str, span: Span) -> Result<(), Diagnostic> {
    match text.contains('\0') {
        true => Err(Diagnostic::error("a NUL byte can't be part of an argument, a variable or a path", span)),
        false => Ok(()),
    }
}
