//! `build`: a Dockerfile and a context become an image.
//!
//! One way, and the type changes at each step: request -> text -> `Dockerfile` -> `Graph` and config
//! -> layers -> image. The image becomes visible by the last thing done: its references are set.

mod arguments;
pub mod cache;
pub mod check;
mod context;
mod elsewhere;
mod emulation;
mod entitlement;
pub mod explain;
mod export;
pub mod failed;
mod ignore;
mod layout;
mod leak;
mod log;
mod mask;
mod observe;
mod output;
mod request;
mod resolve;
mod run_options;
mod shell;
mod solve;
mod sources;
mod summary;
mod verify;
mod work;

use std::io::{Read, Write};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use dockerfile::ast::{Check, Dockerfile};
use dockerfile::lower::{LowerOptions, Lowered, lower};
use dockerfile::{Diagnostic, Reading, render};
use oci::Platform;

pub(crate) use elsewhere::Elsewhere;
pub(crate) use export::timestamp;
pub use graph::Network;
pub use runtime::RuntimeChoice;

pub use run_options::{Entitlement, Limits, RunOptions, Terminal};
pub use shell::busybox_in;

pub use log::{BuildRecord, LoggedStep, builds, find_build, find_steps, write_log};
pub use output::{
    Annotation, Annotations, ArchiveOutput, Destination, Exported, Format, ImageOutput, Layers, Level,
    Output, Pushing, Shape,
};
pub use request::{BuildRequest, BuildResult, ContextSource, DockerfileSource, SecretSource};
pub use sources::{
    AgentSource, GitSettings, NamedSource, Sources, parse_named, parse_remote, remote_dockerfile,
};

pub use summary::{Ending, LayerSize, Summary, Timed};

use crate::build::context::{Inputs, Loading};
use crate::build::log::Log;
use crate::build::mask::Masks;
use crate::build::observe::{Steps, internal};
use crate::build::resolve::Bases;
use crate::build::solve::excerpt;
use crate::build::work::Work;
use crate::{Engine, Error, Event, Events, Kind, Result};

/// Builds an image.
///
/// `stream` is read where the request says that the context or the Dockerfile is a stream;
/// `out` is written where an output says so; `interrupted` stops the build when it is set.
pub fn build(
    engine: &Engine,
    request: &BuildRequest,
    stream: &mut (dyn Read + Send),
    out: &mut (dyn Write + Send),
    interrupted: &AtomicBool,
    events: &dyn Events,
) -> Result<BuildResult> {
    let masks = Masks::default();
    let steps = Steps::new(events, &masks, Log::begin(&engine.store, &request.shown()));
    let result = work(engine, request, stream, out, interrupted, events, &steps, &masks);
    steps.finish(result.as_ref().err());
    result
}

#[allow(clippy::too_many_arguments, reason = "what a build needs and was not made yet")]
fn work(
    engine: &Engine,
    request: &BuildRequest,
    stream: &mut (dyn Read + Send),
    out: &mut (dyn Write + Send),
    interrupted: &AtomicBool,
    events: &dyn Events,
    steps: &Steps<'_>,
    masks: &Masks,
) -> Result<BuildResult> {
    let began = Instant::now();
    arguments::multi_platform(request)?;
    let lease = engine.store.lease()?;
    let secrets = context::GivenSecrets { given: &request.secrets, masks };
    let inputs = internal(steps, &context::title(request), |say| {
        Inputs::load(&Loading { engine, request, secrets: &secrets, interrupted, say }, stream)
    })?;
    let (dockerfile, settings, mut warnings) = read(&inputs, request, events)?;
    if let Some(warning) = arguments::syntax_warning(&dockerfile.directives) {
        events.event(Event::Warning(warning));
    }
    let mut platforms = request.platforms.clone();
    if platforms.is_empty() {
        platforms.push(Platform::host());
    }
    let elsewhere = Elsewhere::new(&engine.store, events, interrupted, !request.cache_to.is_empty());
    cache::import(&request.registry, &request.cache_from, &elsewhere, steps, events);
    let mut bases = Bases::new(engine, request, steps, events, &elsewhere);
    // All are planned before the first runs: what cannot be is seen early.
    let plans = platforms
        .iter()
        .map(|platform| plan(&dockerfile, request, &inputs, platform, &mut bases, events))
        .collect::<Result<Vec<_>>>()?;
    warnings.extend(plans.iter().flat_map(|lowered| lowered.warnings.iter().cloned()));
    if let Some(violation) = settings.violation(&warnings) {
        return Err(Error::invalid(format!("failed to solve: {violation}")));
    }
    let arguments = explain::arguments(&dockerfile);
    let host = platforms.iter().position(|platform| platform.matches(&Platform::host())).unwrap_or(0);
    let work = Work {
        engine,
        request,
        inputs: &inputs,
        plans: &plans,
        platforms: &platforms,
        host,
        arguments: &arguments,
        steps,
        elsewhere: &elsewhere,
        interrupted,
        events,
    };
    let done = work.make(out);
    // What came of base images need not come again, whatever became of the build.
    let kept = bases.keep();
    let (made, exported) = done?;
    kept?;
    let image = &made[host].image;
    let layers = summary::layers(&engine.store, &plans[host].graph, plans[host].target, image.layers())?;
    drop(lease);
    let summary = Summary { steps: steps.ended(), layers };
    if summary.ran() > 0
        && let Err(error) = crate::cache::keep_within_limit(engine)
    {
        events.event(Event::Warning(format!("the build cache was not brought down to its limit: {error}")));
    }
    Ok(BuildResult {
        id: steps.id(),
        image: image.id.clone(),
        references: exported.iter().flat_map(|exported| exported.names.clone()).collect(),
        base: image.meta.base.clone(),
        exported,
        summary,
        elapsed: began.elapsed(),
    })
}

/// The Dockerfile, how it is to be checked, and what checking its text found.
fn read(
    inputs: &Inputs,
    request: &BuildRequest,
    events: &dyn Events,
) -> Result<(Dockerfile, Check, Vec<Diagnostic>)> {
    const FAILED: &str = "failed to read the Dockerfile";
    let Reading { dockerfile, directives, mut warnings } = dockerfile::read(&inputs.dockerfile);
    let settings = Check::in_force(&directives, &request.build_args)
        .map_err(|error| syntax(inputs, FAILED, &[error]))?;
    warnings.retain(|warning| settings.shows(warning));
    check::tell(inputs, &warnings, events);
    let dockerfile = dockerfile.map_err(|all| syntax(inputs, FAILED, &all))?;
    Ok((dockerfile, settings, warnings))
}

/// What is to be done for one platform.
fn plan(
    dockerfile: &Dockerfile,
    request: &BuildRequest,
    inputs: &Inputs,
    platform: &Platform,
    bases: &mut Bases<'_>,
    events: &dyn Events,
) -> Result<Lowered> {
    let options = options(request, inputs, platform.clone(), arguments::multi_platform(request)?);
    let lowered =
        lower(dockerfile, &options, bases).map_err(|all| syntax(inputs, "failed to plan the build", &all))?;
    // What is wrong for one platform is wrong for the next.
    if request.platforms.first().is_none_or(|first| first == platform) {
        check::tell(inputs, &lowered.warnings, events);
        if !lowered.unused_build_args.is_empty() {
            let names = lowered.unused_build_args.join(", ");
            events.event(Event::Warning(format!("one or more build-args were not consumed: {names}")));
        }
    }
    refuse(&lowered)?;
    entitlement::check(&lowered, inputs, request)?;
    Ok(lowered)
}

fn options(
    request: &BuildRequest,
    inputs: &Inputs,
    platform: Platform,
    multi_platform: bool,
) -> LowerOptions {
    LowerOptions {
        target: request.target.clone(),
        build_args: request.build_args.clone(),
        platform,
        implicit_platform: request.platforms.is_empty(),
        multi_platform,
        build_platform: Platform::host(),
        source: inputs.dockerfile.clone(),
        labels: request.labels.clone(),
        source_date_epoch: request.epoch,
        no_cache: request.no_cache || request.verify_reproducible,
        no_cache_filter: request.no_cache_filter.clone(),
        add_hosts: request.add_hosts.clone(),
        created: export::UNDATED.to_owned(),
        ignore: inputs.ignore.clone(),
        proxies: request.proxies.clone(),
        stage_contexts: request.sources.stages(),
        ..LowerOptions::default()
    }
}

/// What can be seen not to work before anything runs.
fn refuse(lowered: &Lowered) -> Result<()> {
    let host = Platform::host();
    for stage in lowered.stages.iter().filter(|stage| stage.runs) {
        if !stage.platform.matches(&host) && !emulation::runs(&stage.platform) {
            return Err(Error::unsupported(format!(
                "stage {} runs commands for {}, and this machine runs {host}",
                stage.name, stage.platform
            ))
            .hint(
                "to emulate it, install qemu-user-static and binfmt-support; or let the stage only COPY, or run on the build platform: FROM --platform=$BUILDPLATFORM",
            ));
        }
    }
    Ok(())
}

/// Errors of the Dockerfile, each with its line shown.
fn syntax(inputs: &Inputs, what: &str, all: &[Diagnostic]) -> Error {
    let texts: Vec<String> = all.iter().map(|d| render(d, &inputs.name, &inputs.dockerfile)).collect();
    Error::new(Kind::Invalid, format!("{what}\n{}", texts.join("\n")))
}
