//! `build`: a Dockerfile becomes an image.

mod check;
mod explain;
mod run_args;
mod sources;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use engine::build::{BuildRequest, ContextSource, DockerfileSource, SecretSource};
use engine::push::{PushOptions, PushRequest};
use engine::{Engine, Events, Silent};
use oci::{Platform, Reference};

use crate::cli::progress::Plain;
use crate::cli::transfer::Transfer;
use crate::cli::{CliError, Global, Outcome, interrupt, output};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    /// Directory, Git repository or URL of the build context; `-` reads a tar, or a Dockerfile alone, from standard input
    #[arg(value_name = "PATH|URL|-", required_unless_present = "explain_rule")]
    pub path: Option<String>,
    /// Name or URL of the Dockerfile (default: `PATH/Dockerfile`); `-` reads it from standard input
    #[arg(short, long)]
    pub file: Option<PathBuf>,
    /// Name and optionally a tag, `name:tag`
    #[arg(short, long = "tag", value_name = "NAME")]
    pub tags: Vec<String>,
    /// Stage to build
    #[arg(long)]
    pub target: Option<String>,
    /// Build-time variable, `NAME=value`, or `NAME` to take it from the environment
    #[arg(long = "build-arg", value_name = "ARG")]
    pub build_args: Vec<String>,
    /// Label of the image, `key=value`
    #[arg(long = "label", value_name = "LABEL")]
    pub labels: Vec<String>,
    #[command(flatten)]
    pub cache: explain::CacheArgs,
    /// Always look for newer base images at their registries
    #[arg(long)]
    pub pull: bool,
    /// Platforms of the image, `os/architecture[/variant]`, separated by commas
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',')]
    pub platform: Vec<String>,
    /// Network of RUN instructions
    #[arg(long, value_parser = ["default", "host", "none"], default_value = "default")]
    pub network: String,
    /// Host for `/etc/hosts` of RUN instructions, `name:address`
    #[arg(long = "add-host", value_name = "HOST")]
    pub add_hosts: Vec<String>,
    /// Secret for the build, `id=NAME[,src=FILE|,env=VARIABLE]`
    #[arg(long = "secret", value_name = "SECRET")]
    pub secrets: Vec<String>,
    #[command(flatten)]
    pub run: run_args::RunArgs,
    #[command(flatten)]
    pub sources: sources::SourceArgs,
    /// Steps at work at once (default: the number of processors, and more where steps wait)
    #[arg(long)]
    pub jobs: Option<usize>,
    /// OCI runtime for RUN instructions: `crun`, `runc` or a path (default: built in)
    #[arg(long)]
    pub runtime: Option<PathBuf>,
    /// Push the image, by all its names, when it is built
    #[arg(long)]
    pub push: bool,
    /// Write the image ID to this file
    #[arg(long, value_name = "FILE")]
    pub iidfile: Option<PathBuf>,
    /// How progress is shown
    #[arg(long, value_parser = ["auto", "plain", "quiet", "tty"], default_value = "auto")]
    pub progress: String,
    /// Print nothing but the image ID
    #[arg(short, long)]
    pub quiet: bool,
    #[command(flatten)]
    pub check: check::CheckArgs,
    /// Keep intermediate containers; taken for Docker's sake, there are none
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true")]
    pub rm: Option<String>,
    /// Taken for Docker's sake: images are always loaded into the store
    #[arg(long, hide = true)]
    pub load: bool,
    #[command(subcommand)]
    pub after: Option<After>,
}

/// What is asked of a build that has ended. A context of such a name is `./explain`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum After {
    /// Say why the steps of the last build ran, or that they were cached
    Explain(explain::ExplainArgs),
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    match &args.after {
        Some(After::Explain(explain)) => return explain::run(explain, global),
        None => {}
    }
    if let Some(call) = args.check.call()? {
        return check::run(&call, &args, global);
    }
    let request = request(&args, global)?;
    if args.push && request.tags.is_empty() {
        return Err(CliError::new("--push needs a name to push to: give one by --tag"));
    }
    let engine = global.engine_for_containers()?;
    let interrupted = interrupt::watch()?;
    let plain = Plain::default();
    let quiet = args.quiet || args.progress == "quiet";
    let events: &dyn Events = if quiet { &Silent } else { &plain };
    let explained = explain::Explained::new(events);
    let checks = check::Found::new(&explained);
    let result = engine::build::build(&engine, &request, &mut io::stdin(), interrupted, &checks);
    if !quiet {
        checks.tell();
    }
    if args.cache.explain {
        explained.print();
    }
    let result = result?;
    if args.push {
        push(&engine, &request, quiet)?;
    }
    if let Some(path) = &args.iidfile {
        fs::write(path, result.image.to_string())
            .map_err(|e| CliError::new(format!("cannot write {}: {e}", path.display())))?;
    }
    if quiet {
        output::text(&format!("{}\n", result.image))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Pushes all names that the image got.
fn push(engine: &Engine, request: &BuildRequest, quiet: bool) -> Result<(), CliError> {
    let transfer = Transfer::new();
    let events: &dyn Events = if quiet { &Silent } else { &transfer };
    for name in &request.tags {
        let push = PushRequest { name: name.clone(), all_tags: false, options: PushOptions::default() };
        engine::push::push(engine, &push, &request.registry, events)?;
    }
    Ok(())
}

fn request(args: &Args, global: &Global) -> Result<BuildRequest, CliError> {
    let build_args = build_args(&args.build_args);
    let context = sources::context(args.path.as_deref().unwrap_or_default(), &build_args)?;
    let dockerfile = sources::dockerfile(args.file.as_deref());
    if matches!((&context, &dockerfile), (ContextSource::Stream, DockerfileSource::Stream)) {
        return Err(CliError::new("invalid argument: can't use stdin for both build context and dockerfile"));
    }
    let tags = args
        .tags
        .iter()
        .map(|tag| match Reference::parse(tag) {
            Ok(reference) if reference.digest.is_some() => {
                Err(CliError::new(format!("invalid tag {tag:?}: a digest is made by the build, not given")))
            }
            Ok(reference) => Ok(reference.with_default_tag()),
            Err(error) => Err(CliError::new(format!("invalid tag {tag:?}: {error}"))),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let platforms =
        args.platform.iter().map(|text| text.trim().parse::<Platform>()).collect::<Result<Vec<_>, _>>();
    let mut request = BuildRequest {
        context,
        dockerfile,
        target: args.target.clone(),
        build_args,
        tags,
        labels: args
            .labels
            .iter()
            .map(|label| label.split_once('=').unwrap_or((label, "")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        no_cache: false,
        no_cache_filter: Vec::new(),
        require_cached: None,
        pull: args.pull,
        platforms: platforms.map_err(|e| CliError::new(e.to_string()))?,
        network: match args.network.as_str() {
            "none" => engine::build::Network::None,
            "host" => engine::build::Network::Host,
            _ => engine::build::Network::Default,
        },
        add_hosts: args.add_hosts.iter().map(|host| host_entry(host)).collect::<Result<_, _>>()?,
        secrets: args.secrets.iter().map(|secret| self::secret(secret)).collect::<Result<_, _>>()?,
        run: args.run.options()?,
        epoch: epoch(&args.build_args)?,
        jobs: args.jobs,
        runtime: match &args.runtime {
            None => engine::build::RuntimeChoice::Embedded,
            Some(path) => engine::build::RuntimeChoice::External(path.clone()),
        },
        registry: global.registry_client()?,
        sources: args.sources.sources()?,
        proxies: BTreeMap::new(),
    };
    explain::ask(&args.cache, &mut request)?;
    Ok(request)
}

/// `NAME=value`; a name alone takes its value from the environment, and is nothing where that has none.
fn build_args(given: &[String]) -> BTreeMap<String, String> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => Some((text.clone(), env::var(text).ok()?)),
    };
    given.iter().filter_map(pair).collect()
}

/// `SOURCE_DATE_EPOCH`: the build argument, or the environment's, as buildx passes it on.
pub(crate) fn epoch(build_args: &[String]) -> Result<Option<i64>, CliError> {
    const NAME: &str = "SOURCE_DATE_EPOCH";
    let given =
        build_args.iter().rev().find_map(|arg| arg.strip_prefix(NAME)?.strip_prefix('=').map(str::to_owned));
    let Some(text) = given.or_else(|| env::var(NAME).ok()).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    match text.parse::<i64>() {
        Ok(seconds) if seconds >= 0 => Ok(Some(seconds)),
        _ => Err(CliError::new(format!("{NAME} is {text:?}: it must be a number of seconds since 1970"))),
    }
}

/// `name:address` or `name=address`; an address may be IPv6, in brackets or not.
pub(crate) fn host_entry(text: &str) -> Result<(String, String), CliError> {
    let bad = || CliError::new(format!("invalid host {text:?}: write name:address"));
    let (name, address) = text.split_once('=').or_else(|| text.split_once(':')).ok_or_else(bad)?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<std::net::IpAddr>() {
        Ok(_) if !name.is_empty() => Ok((name.to_owned(), address.to_owned())),
        _ if address == "host-gateway" => Ok((name.to_owned(), "127.0.0.1".to_owned())),
        _ => Err(bad()),
    }
}

fn secret(text: &str) -> Result<(String, SecretSource), CliError> {
    let (mut id, mut source, mut variable, mut kind) = (None, None, None, None);
    for field in text.split(',') {
        let (name, value) = field.split_once('=').ok_or_else(|| {
            CliError::new(format!("invalid secret: the field {field:?} must be a key=value pair"))
        })?;
        match name.to_lowercase().as_str() {
            "id" => id = Some(value.to_owned()),
            "src" | "source" => source = Some(value.to_owned()),
            "env" => variable = Some(value.to_owned()),
            "type" if matches!(value, "env" | "file") => kind = Some(value.to_owned()),
            "type" => return Err(CliError::new(format!("unsupported secret type {value:?}"))),
            _ => return Err(CliError::new(format!("invalid secret: unexpected key {name:?}"))),
        }
    }
    let id = id.or_else(|| source.clone()).ok_or_else(|| CliError::new("invalid secret: it has no id"))?;
    if variable.is_none() && kind.as_deref() == Some("env") {
        // What the source is, is then a variable's name.
        variable = Some(source.take().unwrap_or_else(|| id.clone()));
    }
    if variable.is_none() && source.is_none() && kind.is_none() {
        // `id=NAME` alone means the variable of that name where there is one, else the file.
        variable = env::var(&id).is_ok().then(|| id.clone());
    }
    if let Some(name) = variable {
        let value = env::var(&name).map_err(|_| {
            CliError::new(format!("secret {id:?}: the environment variable {name} is not set"))
        })?;
        return Ok((id, SecretSource::Value(value.into_bytes())));
    }
    let path = PathBuf::from(source.unwrap_or_else(|| id.clone()));
    match path.is_file() {
        true => Ok((id, SecretSource::File(path))),
        false => Err(CliError::new(format!("secret {id:?}: there is no file {}", path.display()))),
    }
}
