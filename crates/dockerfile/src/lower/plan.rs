//! The table of stages: what each stands on, what each takes from the others, which are needed.
//!
//! Made before anything is asked about images, so that a mistake in the structure is found without
//! a connection.

use std::borrow::Cow;
use std::collections::BTreeMap;

use oci::{Platform, Reference};

use crate::ast::{Instruction, Kind, Stage};
use crate::check::Rule;
use crate::diagnostic::Diagnostic;
use crate::expand::{Expanded, Expander, NoVariables, Variables};
use crate::lower::NamedContext;
use crate::lower::env::Env;
use crate::lower::state::Lowering;
use crate::mount::Mount;
use crate::span::{Span, Text};
use crate::suggest;

/// The image without layers.
pub(crate) const SCRATCH: &str = "scratch";

/// Images whose names people mistype.
const COMMON_IMAGES: [&str; 7] = ["alpine", "busybox", "centos", "debian", "golang", "ubuntu", "fedora"];

/// What a stage stands on.
#[derive(Debug)]
pub(crate) enum Ground {
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image or named context, by its name.
    Named(String),
    /// A named context that was given under the stage's own name and stands for the whole stage.
    Replaced(NamedContext),
    /// An earlier stage that stands for the whole of this one.
    Instead(usize),
}

/// One stage.
#[derive(Debug)]
pub(crate) struct Planned<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) ground: Ground,
    /// `--platform`, where it was given.
    pub(crate) platform: Option<Platform>,
    /// Its instructions, those that `ONBUILD` triggers add first.
    pub(crate) steps: Vec<Step<'a>>,
    /// Its name in messages: `stage-N` where it has none.
    pub(crate) name: String,
    /// Whether its steps are run whatever is cached.
    pub(crate) no_cache: bool,
}

/// One instruction of a stage.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    pub(crate) instruction: Cow<'a, Instruction>,
    /// What it takes files from: one of a COPY, one a mount of a RUN; none is the main context or
    /// nothing.
    pub(crate) sources: Vec<Option<Origin>>,
    /// The text of the `ONBUILD` trigger that it comes from.
    pub(crate) trigger: Option<String>,
}

/// Where a step takes files from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A stage, by its index.
    Stage(usize),
    /// An image or named context, by its index among those.
    Outside(usize),
}

/// An image or named context that files are taken from.
#[derive(Debug, Clone)]
pub(crate) struct Outside {
    pub(crate) name: String,
    /// Where it first stands; of a trigger, the `FROM` that brought it.
    pub(crate) span: Span,
    pub(crate) trigger: Option<String>,
}

/// The stages, and what they take from outside.
#[derive(Debug, Default)]
pub(crate) struct Plan<'a> {
    pub(crate) stages: Vec<Planned<'a>>,
    /// Stages by name in lower case; of equal names the last.
    names: BTreeMap<String, usize>,
    /// Names that stand for those of stages, in lower case.
    pub(crate) aliases: BTreeMap<String, String>,
    /// What COPY and mounts take from images or named contexts.
    pub(crate) outside: Vec<Outside>,
    outside_by_name: BTreeMap<String, usize>,
}

impl<'a> Plan<'a> {
    /// The stage called `name`, in any case.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        let name = name.to_lowercase();
        match self.aliases.get(&name) {
            Some(stage) => self.names.get(stage).copied(),
            None => self.names.get(&name).copied(),
        }
    }

    /// Names of stages, for suggestions.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// The stage or image name nearest to `name`, whose tag counts for nothing.
    pub(crate) fn near(&self, name: &str) -> Option<&str> {
        let bare = name.split([':', '@']).next().unwrap_or(name);
        suggest::nearest(bare, self.names().chain(COMMON_IMAGES))
    }

    /// The stages that `target` needs, itself included, as flags by index.
    pub(crate) fn needed(&self, target: usize) -> Vec<bool> {
        let mut needed = vec![false; self.stages.len()];
        let mut todo = vec![target];
        while let Some(index) = todo.pop() {
            if !std::mem::replace(&mut needed[index], true) {
                todo.extend(self.stages[index].edges().map(|(to, _)| to));
            }
        }
        needed
    }

    /// Whether the build is of one stage alone, which then has no name in progress.
    pub(crate) fn is_single(&self) -> bool {
        self.stages.len() + self.outside.len() == 1
    }

    /// Finds a stage that needs itself.
    fn check_circles(&self) -> Result<(), Diagnostic> {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            Open,
            Done,
        }
        let mut marks = vec![Mark::New; self.stages.len()];
        for start in 0..self.stages.len() {
            if marks[start] != Mark::New {
                continue;
            }
            marks[start] = Mark::Open;
            let edges = |index: usize| self.stages[index].edges().collect::<Vec<_>>().into_iter();
            let mut path = vec![(start, edges(start))];
            while let Some((index, rest)) = path.last_mut() {
                let index = *index;
                match rest.next() {
                    None => {
                        marks[index] = Mark::Done;
                        path.pop();
                    }
                    Some((to, span)) if marks[to] == Mark::Open => {
                        let from = path.iter().position(|(index, _)| *index == to).unwrap_or_default();
                        let circle = path[from..].iter().map(|(index, _)| *index).chain([to]);
                        let names: Vec<&str> = circle.map(|index| self.stages[index].name.as_str()).collect();
                        let message =
                            format!("circular dependency detected on stage: {}", self.stages[start].name);
                        return Err(Diagnostic::error(message, span)
                            .with_help(format!("each of these needs the next: {}", names.join(" -> "))));
                    }
                    Some((to, _)) if marks[to] == Mark::New => {
                        marks[to] = Mark::Open;
                        path.push((to, edges(to)));
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }
}

impl Planned<'_> {
    /// The stages that it needs itself, and where it says so.
    fn edges(&self) -> impl Iterator<Item = (usize, Span)> + '_ {
        let ground = match self.ground {
            Ground::Stage(index) | Ground::Instead(index) => Some((index, self.stage.base.span)),
            _ => None,
        };
        let steps = self.steps.iter().flat_map(|step| {
            let span = step.trigger.as_ref().map_or(step.instruction.span, |_| self.stage.span);
            step.sources.iter().filter_map(move |source| match source {
                Some(Origin::Stage(index)) => Some((*index, span)),
                _ => None,
            })
        });
        ground.into_iter().chain(steps)
    }
}

impl<'a> Lowering<'a> {
    /// Fills the table. `defaults` are the global variables as they were without build arguments.
    pub(crate) fn plan(&mut self, stages: &'a [Stage], defaults: Option<&Env>) -> Result<(), Diagnostic> {
        if let Some(defaults) = defaults {
            self.check_default_bases(stages, defaults);
        }
        let aliases = self.options.stage_contexts.iter();
        self.plan.aliases = aliases.map(|(name, to)| (name.to_lowercase(), to.to_lowercase())).collect();
        for (index, stage) in stages.iter().enumerate() {
            let planned = self.plan_stage(index, stage)?;
            self.plan.stages.push(planned);
            if let Some(name) = &stage.name {
                self.plan.names.insert(name.raw.to_lowercase(), index);
            }
        }
        // Sources are looked up once all names are known: a later stage is a mistake with a
        // message of its own, not an image.
        for (index, stage) in stages.iter().enumerate() {
            let steps: Result<Vec<Step<'a>>, Diagnostic> =
                stage.instructions.iter().map(|it| self.plan_step(Cow::Borrowed(it), None, None)).collect();
            self.plan.stages[index].steps = steps?;
        }
        self.plan.check_circles()
    }

    fn plan_stage(&mut self, index: usize, stage: &'a Stage) -> Result<Planned<'a>, Diagnostic> {
        self.warnings.begin(stage.span);
        let base = self.expand_global(&stage.base)?;
        self.report_undeclared(&base, stage.base.span);
        if base.text.is_empty() {
            let message = format!("base name ({}) should not be blank", stage.base.raw);
            let error = Diagnostic::error(message, stage.base.span);
            let Some(name) = base.unset.iter().next() else { return Err(error) };
            let known = self.declared_globals.iter().map(String::as_str);
            return Err(error.with_help(match suggest::nearest(name, known) {
                Some(near) => format!("did you mean ${near}?"),
                None => format!(
                    "give it a value with --build-arg {name}=… or a default: ARG {name}=… before the first FROM"
                ),
            }));
        }
        let platform = stage.platform.as_ref().map(|text| self.plan_platform(stage, text)).transpose()?;
        let given = stage.name.as_ref().map_or("", |name| name.raw.as_str());
        let mut ground = match self.plan.find(&base.text) {
            Some(stage) => Ground::Stage(stage),
            None if base.text == SCRATCH => Ground::Scratch,
            None if self.plan.aliases.contains_key(&base.text.to_lowercase()) => {
                return Err(self.no_stage_yet(&base.text, stage.base.span));
            }
            None => Ground::Named(base.text),
        };
        if self.plan.aliases.contains_key(&given.to_lowercase()) {
            let other = self.plan.find(given).ok_or_else(|| self.no_stage_yet(given, stage.span))?;
            ground = Ground::Instead(other);
        } else if !given.is_empty() {
            let wanted = platform.as_ref().unwrap_or(&self.options.platform).clone();
            if let Some(context) = self.named_context(given, &wanted, stage.span)? {
                ground = Ground::Replaced(context);
            }
        }
        let options = self.options;
        Ok(Planned {
            stage,
            ground,
            platform,
            steps: Vec::new(),
            name: if given.is_empty() { format!("stage-{index}") } else { given.to_owned() },
            no_cache: options.no_cache
                || options.no_cache_filter.iter().any(|name| name.eq_ignore_ascii_case(given)),
        })
    }

    /// Why a context that is a stage can't be had here.
    fn no_stage_yet(&self, name: &str, span: Span) -> Diagnostic {
        let stage = self.plan.aliases.get(&name.to_lowercase()).map_or("", String::as_str);
        Diagnostic::error(format!("build context {name}: there is no stage {stage:?} before this one"), span)
            .with_help(format!("it was given as {name}=target:{stage}"))
    }

    fn plan_platform(&mut self, stage: &Stage, text: &Text) -> Result<Platform, Diagnostic> {
        let expanded = self.expand_global(text)?;
        self.report_undeclared(&expanded, text.span);
        let near = || {
            let known: Vec<&str> = self.globals.iter().map(|(name, _)| name).collect();
            let names = expanded.unset.iter();
            names.filter_map(|name| suggest::nearest(name, known.iter().copied())).next().map(str::to_owned)
        };
        let fail = |message: String| {
            let error = Diagnostic::error(message, text.span);
            match near() {
                Some(near) => error.with_help(format!("did you mean ${near}?")),
                None => error,
            }
        };
        if expanded.text.is_empty() {
            return Err(fail(format!("empty platform value from expression {}", text.raw)));
        }
        let platform: Platform = expanded
            .text
            .parse()
            .map_err(|error| fail(format!("failed to parse platform {}: {error}", text.raw)))?;
        self.check_platform_flag(stage, text, &expanded, &platform);
        Ok(platform)
    }

    /// `RedundantTargetPlatform` and `FromPlatformFlagConstDisallowed`.
    fn check_platform_flag(&mut self, stage: &Stage, text: &Text, expanded: &Expanded, platform: &Platform) {
        if expanded.used.is_empty() && expanded.unset.is_empty() {
            let name = stage.name.as_ref().map_or("", |name| name.raw.as_str());
            if !name.contains(&platform.os) && !name.contains(&platform.architecture) {
                self.warnings.add(
                    Rule::FromPlatformFlagConstDisallowed,
                    format!("FROM --platform flag should not use constant value {:?}", expanded.text),
                    text.span,
                );
            }
        } else if expanded.used.len() == 1
            && expanded.unset.is_empty()
            && expanded.used.contains("TARGETPLATFORM")
        {
            let target = Variables::get(&self.globals, "TARGETPLATFORM");
            if target == Some(expanded.text.as_str()) {
                self.warnings.add(
                    Rule::RedundantTargetPlatform,
                    format!(
                        "Setting platform to predefined {} in FROM is redundant as this is the default behavior",
                        text.raw
                    ),
                    text.span,
                );
            }
        }
    }

    /// `InvalidDefaultArgInFrom`: bases must be sound without any build argument, too.
    fn check_default_bases(&mut self, stages: &[Stage], defaults: &Env) {
        for stage in stages {
            let Ok(base) = self.expander.text(&stage.base, defaults) else { return };
            self.warnings.begin(stage.span);
            let has_variables = !base.used.is_empty() || !base.unset.is_empty();
            if has_variables && Reference::parse(&base.text).is_err() {
                self.warnings.add(
                    Rule::InvalidDefaultArgInFrom,
                    format!(
                        "Default value for ARG {} results in empty or invalid base image name",
                        stage.base.raw
                    ),
                    stage.base.span,
                );
            }
        }
    }

    fn report_undeclared(&mut self, expanded: &Expanded, span: Span) {
        for name in &expanded.unset {
            // An argument that is declared without a value is not set, and yet declared.
            if !self.declared_globals.contains(name) {
                let known = self.declared_globals.iter().map(String::as_str);
                let known = known.chain(self.globals.iter().map(|(name, _)| name)).collect();
                self.warnings.undefined_argument(name, known, span);
            }
        }
    }

    /// A step with what it takes files from.
    /// `at` is where to point for a trigger, whose own places are in no file: its `FROM`.
    pub(crate) fn plan_step(
        &mut self,
        instruction: Cow<'a, Instruction>,
        trigger: Option<String>,
        at: Option<Span>,
    ) -> Result<Step<'a>, Diagnostic> {
        let sources = match &instruction.kind {
            Kind::Copy(copy) => match &copy.from {
                Some(from) => vec![Some(self.copy_origin(from, at.zip(trigger.as_deref()))?)],
                None => vec![None],
            },
            Kind::Run(run) => {
                let origin = |mount| self.mount_origin(mount, at.zip(trigger.as_deref()));
                run.mounts.iter().map(origin).collect::<Result<Vec<_>, _>>()?
            }
            _ => Vec::new(),
        };
        Ok(Step { instruction, sources, trigger })
    }

    fn copy_origin(&mut self, from: &Text, trigger: Option<(Span, &str)>) -> Result<Origin, Diagnostic> {
        let literal = Expander::new(self.expander.escape).text(from, &NoVariables)?;
        if literal.text != from.raw {
            return Err(Diagnostic::error(
                "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround",
                from.span,
            ));
        }
        if let Ok(index) = from.raw.parse::<i64>() {
            let index = usize::try_from(index).ok().filter(|index| *index < self.plan.stages.len());
            return index.map(Origin::Stage).ok_or_else(|| {
                Diagnostic::error(format!("invalid stage index {}", from.raw), from.span).with_help(format!(
                    "stages are numbered from 0 to {}",
                    self.plan.stages.len().saturating_sub(1)
                ))
            });
        }
        self.origin(from, trigger)
    }

    fn mount_origin(
        &mut self,
        mount: &Mount,
        trigger: Option<(Span, &str)>,
    ) -> Result<Option<Origin>, Diagnostic> {
        let from = mount.from().filter(|from| !from.raw.is_empty());
        from.map(|from| self.origin(from, trigger)).transpose()
    }

    fn origin(&mut self, from: &Text, trigger: Option<(Span, &str)>) -> Result<Origin, Diagnostic> {
        let name = from.raw.as_str();
        if self.plan.aliases.contains_key(&name.to_lowercase()) && self.plan.find(name).is_none() {
            return Err(self.no_stage_yet(name, from.span));
        }
        if let Some(stage) = self.plan.find(name) {
            return Ok(Origin::Stage(stage));
        }
        let plan = &mut self.plan;
        let index = *plan.outside_by_name.entry(name.to_owned()).or_insert_with(|| {
            let span = trigger.map_or(from.span, |(span, _)| span);
            let trigger = trigger.map(|(_, trigger)| trigger.to_owned());
            plan.outside.push(Outside { name: name.to_owned(), span, trigger });
            plan.outside.len() - 1
        });
        Ok(Origin::Outside(index))
    }

    fn expand_global(&mut self, text: &Text) -> Result<Expanded, Diagnostic> {
        let expanded = self.expander.text(text, &self.globals)?;
        self.budget.spend(expanded.text.len(), text.span)?;
        Ok(expanded)
    }

    /// The stage that is to be built.
    pub(crate) fn find_target(&self) -> Result<usize, Diagnostic> {
        let Some(name) = self.options.target.as_deref().filter(|name| !name.is_empty()) else {
            return Ok(self.plan.stages.len() - 1);
        };
        self.plan.find(name).ok_or_else(|| {
            let message = format!("target stage {name:?} could not be found");
            let names: Vec<&str> = self.plan.names().collect();
            let help = match (suggest::nearest(name, self.plan.names()), names.as_slice()) {
                (Some(near), _) => format!("did you mean {near}?"),
                (None, []) => {
                    "no stage of the Dockerfile has a name: give it one with FROM … AS NAME".to_owned()
                }
                (None, names) => format!("the stages are {}", names.join(", ")),
            };
            Diagnostic { span: None, ..Diagnostic::error(message, Span::default()).with_help(help) }
        })
    }
}
