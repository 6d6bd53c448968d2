//! What the needed stages stand on: images, named contexts, and the `ONBUILD` triggers they bring.
//!
//! Triggers may copy from stages that nothing else needs, and those may stand on images with
//! triggers again: hence the rounds.

use std::borrow::Cow;

use graph::{ImageSource, Source};
use oci::{History, ImageConfig, Platform, Reference};

use crate::ast::Kind;
use crate::check::Rule;
use crate::diagnostic::Diagnostic;
use crate::lower::plan::{Ground, Origin, Outside, SCRATCH, Step};
use crate::lower::remote::described;
use crate::lower::state::{Lowering, MAIN_CONTEXT, Tree, source};
use crate::lower::{BaseImage, NamedContext, ResolvedImage};
use crate::parser::parse_trigger;
use crate::span::Span;

/// Something from outside, found.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    pub(crate) found: Found,
    /// The config that a stage on it begins with: its own creation and unknown fields are gone.
    pub(crate) config: ImageConfig,
    pub(crate) base: Option<BaseImage>,
    /// Its name in progress.
    pub(crate) title: String,
    /// Its config is not known, see [`crate::lower::ConfigResolver::is_guess`].
    pub(crate) guessed: bool,
}

/// Its tree.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    Scratch,
    Image(ImageSource),
    Local(String),
    Remote(Source),
}

impl<'a> Lowering<'a> {
    /// Opens all that `target` needs; returns which stages those are.
    pub(crate) fn resolve(&mut self, target: usize) -> Result<Vec<bool>, Diagnostic> {
        self.grounds.resize(self.plan.stages.len(), None);
        let mut opened = vec![false; self.plan.stages.len()];
        loop {
            let needed = match self.every_stage {
                true => vec![true; self.plan.stages.len()],
                false => self.plan.needed(target),
            };
            let mut added = false;
            for index in 0..opened.len() {
                if needed[index] && !std::mem::replace(&mut opened[index], true) {
                    let triggers = self.open_ground(index)?;
                    added |= self.add_triggers(index, triggers)?;
                }
            }
            if !added {
                self.open_outside(&needed)?;
                return Ok(needed);
            }
        }
    }

    /// Opens what a stage stands on; returns the triggers that it brings.
    fn open_ground(&mut self, index: usize) -> Result<Vec<String>, Diagnostic> {
        let planned = &self.plan.stages[index];
        let platform = planned.platform.as_ref().unwrap_or(&self.options.platform).clone();
        let span = planned.stage.base.span;
        let mut opened = match &planned.ground {
            Ground::Scratch | Ground::Instead(_) => return Ok(Vec::new()),
            Ground::Stage(base) => {
                let steps = self.plan.stages[*base].steps.iter();
                let triggers = steps.filter_map(|step| match &step.instruction.kind {
                    Kind::Onbuild(onbuild) => Some(onbuild.expression.clone()),
                    _ => None,
                });
                return Ok(triggers.collect());
            }
            Ground::Replaced(context) => {
                let name = planned.stage.name.as_ref().map_or("", |name| name.raw.as_str()).to_owned();
                open_context(&name, context.clone(), &platform)
            }
            Ground::Named(name) => {
                let name = name.clone();
                let opened = self.open(&name, &platform, span)?;
                self.warnings.begin(self.plan.stages[index].stage.span);
                self.check_platform(&name, &platform, &opened.config.platform(), span)?;
                opened
            }
        };
        let triggers = std::mem::take(&mut opened.config.config.onbuild);
        let replaced = matches!(self.plan.stages[index].ground, Ground::Replaced(_));
        self.grounds[index] = Some(opened);
        Ok(if replaced { Vec::new() } else { triggers })
    }

    /// Puts triggers before the instructions of a stage; says whether they take from elsewhere.
    fn add_triggers(&mut self, index: usize, triggers: Vec<String>) -> Result<bool, Diagnostic> {
        let span = self.plan.stages[index].stage.span;
        let mut steps: Vec<Step<'a>> = Vec::with_capacity(triggers.len());
        for trigger in triggers {
            self.budget.spend(2 * trigger.len(), span)?;
            let fail = |error: Diagnostic| in_trigger(&trigger, span, error);
            let instruction = parse_trigger(&trigger).map_err(|all| {
                let first = all.into_iter().next();
                fail(first.unwrap_or_else(|| Diagnostic::error("it is no instruction", span)))
            })?;
            let step = self.plan_step(Cow::Owned(instruction), Some(trigger.clone()), Some(span));
            steps.push(step.map_err(fail)?);
        }
        let takes = steps.iter().any(|step| step.sources.iter().any(Option::is_some));
        let own = std::mem::take(&mut self.plan.stages[index].steps);
        steps.extend(own);
        self.plan.stages[index].steps = steps;
        Ok(takes)
    }

    fn open_outside(&mut self, needed: &[bool]) -> Result<(), Diagnostic> {
        self.outside.resize(self.plan.outside.len(), None);
        let stages = self.plan.stages.iter().zip(needed).filter(|(_, needed)| **needed);
        let sources = stages.flat_map(|(stage, _)| &stage.steps).flat_map(|step| &step.sources);
        let wanted: Vec<usize> = sources
            .filter_map(|source| match source {
                Some(Origin::Outside(index)) => Some(*index),
                _ => None,
            })
            .collect();
        let platform = self.options.platform.clone();
        for index in wanted {
            if self.outside[index].is_none() {
                let Outside { name, span, trigger } = self.plan.outside[index].clone();
                let opened = self.open(&name, &platform, span).map_err(|error| match &trigger {
                    Some(trigger) => in_trigger(trigger, span, error),
                    None => error,
                });
                self.outside[index] = Some(opened?);
            }
        }
        Ok(())
    }

    /// The tree of something from outside that a step takes from.
    pub(crate) fn outside_tree(&mut self, index: usize) -> Tree {
        if let Some(tree) = self.outside_trees.get(&index) {
            return *tree;
        }
        let span = self.plan.outside[index].span;
        let opened = self.outside[index].clone().expect("because resolve opened what is needed");
        let title = match &opened.found {
            Found::Remote(_) => opened.title.clone(),
            _ => format!("FROM {}", opened.title),
        };
        let tree = self.open_tree(&opened, title, span);
        self.outside_trees.insert(index, tree);
        tree
    }

    /// The vertex of something from outside.
    pub(crate) fn open_tree(&mut self, opened: &Opened, title: String, span: Span) -> Tree {
        match &opened.found {
            Found::Scratch => Tree { vertex: self.scratch(), local: false },
            Found::Local(name) => self.context(name),
            Found::Remote(remote) => {
                let location = self.location(span);
                Tree { vertex: self.remote(remote, title, location), local: false }
            }
            Found::Image(image) => {
                let location = self.location(span);
                let vertex = self.graph.add(source(Source::Image(image.clone()), title, location));
                Tree { vertex, local: false }
            }
        }
    }

    /// The named context `name`, if one was given.
    pub(crate) fn named_context(
        &mut self,
        name: &str,
        platform: &Platform,
        span: Span,
    ) -> Result<Option<NamedContext>, Diagnostic> {
        if name.eq_ignore_ascii_case(SCRATCH) || name.eq_ignore_ascii_case(MAIN_CONTEXT) {
            return Ok(None);
        }
        self.resolver
            .context(name, platform)
            .map_err(|message| Diagnostic::error(format!("build context {name}: {message}"), span))
    }

    /// Opens an image or named context.
    fn open(&mut self, name: &str, platform: &Platform, span: Span) -> Result<Opened, Diagnostic> {
        if name == SCRATCH {
            return Ok(Opened {
                found: Found::Scratch,
                config: ImageConfig::scratch(platform),
                base: None,
                title: SCRATCH.to_owned(),
                guessed: false,
            });
        }
        if let Some(context) = self.named_context(name, platform, span)? {
            return Ok(open_context(name, context, platform));
        }
        let suggest = |error: Diagnostic| match self.plan.near(name) {
            Some(near) => error.with_help(format!("did you mean {near}?")),
            None => error,
        };
        let reference = Reference::parse(name).map_err(|error| {
            suggest(Diagnostic::error(format!("failed to parse stage name {name:?}: {error}"), span))
        })?;
        let reference = reference.with_default_tag();
        match self.resolver.resolve(&reference, platform) {
            Ok(image) => {
                let guessed = self.resolver.is_guess(&image.image_id);
                Ok(Opened { guessed, ..open_image(&reference, image) })
            }
            Err(message) => Err(suggest(Diagnostic::error(format!("{name}: {message}"), span))),
        }
    }

    /// `InvalidBaseImagePlatform`. Another architecture may run by emulation, another system not.
    fn check_platform(
        &mut self,
        name: &str,
        wanted: &Platform,
        actual: &Platform,
        span: Span,
    ) -> Result<(), Diagnostic> {
        let (wanted, actual) = (wanted.clone().normalized(), actual.clone().normalized());
        if wanted.os != actual.os {
            let message = format!("base image {name} is for {actual}, and the build is for {wanted}");
            return Err(Diagnostic::error(message, span)
                .with_help(format!("use an image for {}, or FROM --platform={actual}", wanted.os)));
        }
        if wanted.architecture != actual.architecture {
            self.warnings.add(
                Rule::InvalidBaseImagePlatform,
                format!(
                    "Base image {name} was pulled with platform \"{actual}\", expected \"{wanted}\" for current build"
                ),
                span,
            );
        }
        Ok(())
    }
}

/// An error of a trigger, whose own places are in no file, at the `FROM` that brought it.
pub(crate) fn in_trigger(trigger: &str, from: Span, error: Diagnostic) -> Diagnostic {
    let first = trigger.lines().next().unwrap_or_default();
    let message =
        format!("in the trigger {:?} of the base image: {}", format!("ONBUILD {first}"), error.message);
    Diagnostic { message, span: Some(from), ..error }
}

fn open_context(name: &str, context: NamedContext, platform: &Platform) -> Opened {
    match context {
        NamedContext::Local(context) => Opened {
            title: context.clone(),
            found: Found::Local(context),
            config: ImageConfig::scratch(platform),
            base: None,
            guessed: false,
        },
        NamedContext::Image(image) => open_image(&image.reference.clone(), *image),
        NamedContext::Scratch => Opened {
            found: Found::Scratch,
            config: ImageConfig::scratch(platform),
            base: None,
            title: SCRATCH.to_owned(),
            guessed: false,
        },
        NamedContext::Remote(remote) => Opened {
            title: format!("[context {name}] {}", described(&remote)),
            found: Found::Remote(remote),
            config: ImageConfig::scratch(platform),
            base: None,
            guessed: false,
        },
    }
}

fn open_image(asked: &Reference, image: ResolvedImage) -> Opened {
    let ResolvedImage { image_id, mut config, digest, reference } = image;
    let mut title = reference.with_default_tag();
    let diff_ids = std::mem::take(&mut config.rootfs.diff_ids);
    let mut name = asked.clone();
    if digest.is_some() {
        title.digest.clone_from(&digest);
    }
    if name.tag.is_some() {
        // A digest beside a tag has its own annotation.
        name.digest = None;
    }
    let base = BaseImage { name: name.to_string(), digest: digest.clone(), image_id: image_id.clone() };
    account_for_layers(&mut config, diff_ids.len(), &title);
    config.created = None;
    // These tell of the base image's own making (`container_config`, `docker_version`, …).
    config.extra.clear();
    config.config.extra.clear();
    let found = match diff_ids.is_empty() {
        true => Found::Scratch,
        false => Found::Image(ImageSource {
            reference: Some(asked.clone()),
            image_id: Some(image_id),
            digest,
            diff_ids,
        }),
    };
    Opened { found, config, base: Some(base), title: title.to_string(), guessed: false }
}

/// Makes the history tell of each layer once. Images without history, and such that tell of layers
/// they don't have, exist.
fn account_for_layers(config: &mut ImageConfig, layers: usize, title: &Reference) {
    let mut told = 0;
    for entry in &mut config.history {
        if !entry.empty_layer {
            told += 1;
            entry.empty_layer = told > layers;
        }
    }
    let missing = layers.saturating_sub(told);
    let created = config.created.clone();
    config.history.extend((0..missing).map(|_| History {
        created: created.clone(),
        created_by: format!("pulled from {title}"),
        author: String::new(),
        comment: "buildkit.exporter.image.v0".to_owned(),
        empty_layer: false,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_tells_of_each_layer_once() {
        let entry = |empty_layer| History { empty_layer, ..History::default() };
        let title = Reference::parse("a:1").unwrap();
        for (history, layers) in
            [(vec![], 2), (vec![false, true], 2), (vec![false, false, true, false], 2), (vec![true], 0)]
        {
            let mut config = ImageConfig::scratch(&Platform::new("linux", "amd64", ""));
            config.history = history.into_iter().map(entry).collect();
            account_for_layers(&mut config, layers, &title);
            assert_eq!(config.history.iter().filter(|entry| !entry.empty_layer).count(), layers);
        }
    }
}
