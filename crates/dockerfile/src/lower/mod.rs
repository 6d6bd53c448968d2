//! Syntax tree to build graph and image config.
//!
//! [`lower`] plans the stages (`plan`), finds out what the reachable ones stand on (`resolve`), then
//! goes through their instructions in order: each changes the stage's state (`state`), and those
//! that change files add a vertex. The same input gives the same output, byte for byte. It does no
//! I/O: what an image or a named context is, is asked through [`ConfigResolver`].
//!
//! What is read here was written by anybody: the work and memory are bounded (`budget`), and no
//! recursion follows the input.

mod budget;
mod check;
mod config;
mod copy;
pub(crate) mod env;
mod expose;
pub(crate) mod globals;
mod mode;
mod mount;
pub(crate) mod path;
mod plan;
mod progress;
mod remote;
mod resolve;
mod run;
mod signal;
mod stage;
mod state;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use graph::{Graph, Network, VertexId};
use oci::{Config, Digest, ImageConfig, ImageId, Platform, Reference};

use crate::ast::{Check, Dockerfile};
use crate::diagnostic::Diagnostic;
use crate::ignore::Patterns;
use crate::lower::check::Warnings;
pub(crate) use crate::lower::path::rooted;
use crate::lower::state::Lowering;
use crate::span::Span;

/// What the command line says about a build.
#[derive(Debug, Clone)]
pub struct LowerOptions {
    /// The bytes that the Dockerfile was parsed from, for the lines and columns that vertices
    /// carry; empty for none.
    pub source: Vec<u8>,
    /// The stage to build; `None`: the last.
    pub target: Option<String>,
    /// `--build-arg`, by name.
    pub build_args: BTreeMap<String, String>,
    /// What the image is to run on.
    pub platform: Platform,
    /// Nobody asked for `platform`: the image's architecture is then its base image's.
    pub implicit_platform: bool,
    /// What the steps run on.
    pub build_platform: Platform,
    /// Several platforms are built: names of steps say which.
    pub multi_platform: bool,
    /// `--label`, by name. They win over the Dockerfile's.
    pub labels: BTreeMap<String, String>,
    /// Seconds since 1970 (`SOURCE_DATE_EPOCH`). Where it is `None`, the build argument or global
    /// `ARG` of that name counts.
    pub source_date_epoch: Option<i64>,
    /// Network of the RUN steps that do not ask for one.
    pub network: Network,
    /// Run every step, whatever is cached.
    pub no_cache: bool,
    /// Stages whose steps are run, whatever is cached; in any case.
    pub no_cache_filter: Vec<String>,
    /// `name` and `address` pairs for `/etc/hosts` of RUN steps.
    pub add_hosts: Vec<(String, String)>,
    /// Host name of RUN steps; empty for the default. The build argument
    /// `BUILDKIT_SANDBOX_HOSTNAME` counts where it is empty.
    pub hostname: String,
    /// The time of everything made, RFC 3339. Not used where there is a `SOURCE_DATE_EPOCH`.
    pub created: String,
    /// What `.dockerignore` leaves out of the build context, for the checks.
    pub ignore: Patterns,
    /// `HTTP_PROXY` and its like from the host's settings: build arguments that need not be
    /// declared and that a `--build-arg` wins over.
    pub proxies: BTreeMap<String, String>,
    /// `--build-context NAME=target:STAGE`: names that stand for stages of the Dockerfile.
    pub stage_contexts: BTreeMap<String, String>,
}

impl Default for LowerOptions {
    /// A build for this machine, with nothing asked for.
    fn default() -> LowerOptions {
        LowerOptions {
            source: Vec::new(),
            target: None,
            build_args: BTreeMap::new(),
            platform: Platform::host(),
            implicit_platform: false,
            build_platform: Platform::host(),
            multi_platform: false,
            labels: BTreeMap::new(),
            source_date_epoch: None,
            network: Network::Default,
            no_cache: false,
            no_cache_filter: Vec::new(),
            add_hosts: Vec::new(),
            hostname: String::new(),
            created: "1970-01-01T00:00:00Z".to_owned(),
            ignore: Patterns::default(),
            proxies: BTreeMap::new(),
            stage_contexts: BTreeMap::new(),
        }
    }
}

/// An image as [`ConfigResolver`] found it.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedImage {
    /// The image.
    pub image_id: ImageId,
    /// Its config.
    pub config: ImageConfig,
    /// Digest of the manifest or index that the name stands for, where it is known.
    pub digest: Option<Digest>,
    /// The name it was found by, with its tag.
    pub reference: Reference,
}

/// What `--build-context NAME=…` stands for.
#[derive(Debug, Clone, PartialEq)]
pub enum NamedContext {
    /// A directory; its tree is the graph's `Source::Local` of this name.
    Local(String),
    /// An image.
    Image(Box<ResolvedImage>),
    /// The empty tree.
    Scratch,
    /// What is downloaded when it is needed.
    Remote(graph::Source),
}

/// The questions that lowering may ask.
pub trait ConfigResolver {
    /// What image is `reference` for `platform`? The reference has a tag or digest.
    ///
    /// # Errors
    /// Why it can't be had, in words for the user; no final dot.
    fn resolve(&mut self, reference: &Reference, platform: &Platform) -> Result<ResolvedImage, String>;

    /// What context was given by the name `name`, if any? It may be the name of a stage or an image
    /// reference, which `docker build` compares in its familiar form without `:latest`. `scratch`
    /// and `context` are never asked for.
    ///
    /// # Errors
    /// As [`ConfigResolver::resolve`].
    fn context(&mut self, name: &str, platform: &Platform) -> Result<Option<NamedContext>, String> {
        let _ = (name, platform);
        Ok(None)
    }

    /// Whether the config of the image is but a guess, as nobody was asked for it: then no check
    /// rests on what it lacks.
    fn is_guess(&self, image: &ImageId) -> bool {
        let _ = image;
        false
    }
}

/// The image that a build's target finally comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseImage {
    /// Its full name with tag: `docker.io/library/debian:12`.
    pub name: String,
    /// Digest of its manifest or index, where it is known.
    pub digest: Option<Digest>,
    /// Its image ID.
    pub image_id: ImageId,
}

/// A stage that is part of the build.
#[derive(Debug, Clone, PartialEq)]
pub struct StageInfo {
    /// Its name, or `stage-N` where it has none.
    pub name: String,
    /// What it is built for.
    pub platform: Platform,
    /// Whether it runs anything, so that this machine must be able to run `platform`.
    pub runs: bool,
    /// Its `FROM`.
    pub span: Span,
    /// Its last step.
    pub vertex: VertexId,
    /// How a container of it runs.
    pub config: Config,
}

/// A build, ready to be solved.
#[derive(Debug, Clone)]
pub struct Lowered {
    /// The steps of the stages that the target needs.
    pub graph: Graph,
    /// The step whose tree is the image's.
    pub target: VertexId,
    /// The image's config, complete but for `rootfs.diff_ids`, which whoever solves the graph
    /// knows. As many history entries are not `empty_layer` as the target has layers.
    pub config: ImageConfig,
    /// What the target finally comes from; `None` for `scratch`.
    pub base: Option<BaseImage>,
    /// The stages that are built, in order.
    pub stages: Vec<StageInfo>,
    /// Contexts that are read, by name; the main one is `context`.
    pub contexts: BTreeSet<String>,
    /// The `SOURCE_DATE_EPOCH` in force, wherever it came from.
    pub source_date_epoch: Option<i64>,
    /// Build arguments that the Dockerfile declares nowhere.
    pub unused_build_args: Vec<String>,
    /// What is odd, in the order of building.
    pub warnings: Vec<Diagnostic>,
}

/// Makes the build graph and image config of a Dockerfile.
///
/// # Errors
/// What is wrong with the Dockerfile, or an image that could not be resolved; at least one.
pub fn lower(
    dockerfile: &Dockerfile,
    options: &LowerOptions,
    resolver: &mut dyn ConfigResolver,
) -> Result<Lowered, Vec<Diagnostic>> {
    let mut lowering = || {
        let check = Check::in_force(&dockerfile.directives, &options.build_args)?;
        Lowering::new(dockerfile, options, resolver, &mut Warnings::new(check))?.finish()
    };
    lowering().map_err(|diagnostic| vec![diagnostic])
}

/// Goes through a Dockerfile for its warnings alone: through all stages, where `options` name no
/// target. The warnings are those found up to the error, if there is one.
pub(crate) fn survey(
    dockerfile: &Dockerfile,
    options: &LowerOptions,
    check: &Check,
    resolver: &mut dyn ConfigResolver,
) -> (Vec<Diagnostic>, Option<Diagnostic>) {
    let mut warnings = Warnings::new(check.clone());
    let all = options.target.as_deref().is_none_or(str::is_empty);
    let lowering = Lowering::new(dockerfile, options, resolver, &mut warnings);
    let result = lowering.and_then(|lowering| if all { lowering.finish_all() } else { lowering.finish() });
    match result {
        Ok(lowered) => (lowered.warnings, None),
        Err(error) => (warnings.take(), Some(error)),
    }
}
