//! `build`: a Dockerfile becomes an image. What is asked of builds that are over (`build logs`, …) has files of its own.

mod cache;
mod check;
mod docker_args;
pub(crate) mod history;
pub(crate) mod logs;
mod metadata;
mod output;

pub(crate) mod explain;
mod run_args;
mod sources;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use engine::build::{BuildRequest, ContextSource, DockerfileSource, SecretSource};
use oci::{Platform, Reference};

use crate::cli::output::{self as stdout, Stream};
use crate::cli::progress::{Mode, Progress};
use crate::cli::{BuildVerb, CliError, Global, Outcome, interrupt};
use output::{OutputArgs, Outputs};

/// A build; or, where the first word is one of [`BuildVerb`], what is asked of those that are over.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<BuildVerb>,
    /// Directory, Git repository or URL of the build context; `-` reads a tar, or a Dockerfile alone, from standard
    /// input. A directory that is called as a command below is built as `./NAME`
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
    #[command(flatten)]
    pub shared: cache::SharedCacheArgs,
    /// Steps at work at once (default: the number of processors, and more where steps wait)
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// OCI runtime for RUN instructions: `crun`, `runc` or a path (default: built in)
    #[arg(long)]
    pub runtime: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
    /// How progress is shown: auto, tty, plain, quiet, none or rawjson (default: $BUILDKIT_PROGRESS, else auto)
    #[arg(long, value_name = "MODE")]
    pub progress: Option<String>,
    /// Print nothing but the image ID
    #[arg(short, long)]
    pub quiet: bool,
    #[command(flatten)]
    pub check: check::CheckArgs,
    #[command(flatten)]
    docker: docker_args::DockerArgs,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    if let Some(verb) = args.verb {
        return verb.run(global);
    }
    if let Some(call) = args.check.call()? {
        return check::run(&call, &args, global);
    }
    args.docker.check()?;
    let tags = args.tags.iter().map(|text| tag(text)).collect::<Result<Vec<_>, _>>()?;
    let outputs = args.output.outputs(&tags, args.platform.len())?;
    let mode = mode(&args)?;
    let to_stdout = outputs.use_stdout();
    let request = request(&args, tags, outputs, global)?;
    if let Some(path) = &args.output.iidfile {
        // A build that fails leaves no ID of an earlier one.
        let _ = fs::remove_file(path);
    }
    let engine = global.engine_for_containers()?;
    let interrupted = interrupt::watch()?;
    let progress = Progress::new(mode)?;
    let mut out = Stream::new(io::stdout());
    let explained = explain::Explained::new(&progress);
    let checks = check::Found::new(&explained);
    let result = engine::build::build(&engine, &request, &mut io::stdin(), &mut out, interrupted, &checks);
    let report = args.cache.explain.then(|| explained.text()).flatten();
    progress.finish(result.as_ref().ok().map(|built| (&built.summary, built.image.short())));
    if !matches!(mode, Mode::Quiet | Mode::None | Mode::RawJson) {
        checks.tell();
    }
    if let Some(report) = report {
        stdout::say(&format!("\n{}", report.trim_end()));
    }
    let result = match result {
        Ok(result) => {
            out.finish(Ok::<(), CliError>(()))?;
            result
        }
        Err(error) => return out.finish(Err(CliError::from(error))).map(|()| ExitCode::FAILURE),
    };
    let id = metadata::image_id(&result);
    if let Some(path) = &args.output.iidfile {
        fs::write(path, &id).map_err(|e| CliError::new(format!("cannot write {}: {e}", path.display())))?;
    }
    if let Some(path) = &args.output.metadata_file {
        metadata::write(path, &result)?;
    }
    if mode == Mode::Quiet && !to_stdout {
        stdout::text(&format!("{id}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The display that is asked for, by an option or by Docker's variable.
fn mode(args: &Args) -> Result<Mode, CliError> {
    let asked = args.progress.clone().unwrap_or_else(|| env::var("BUILDKIT_PROGRESS").unwrap_or_default());
    match Mode::parse(&asked)? {
        // As buildx: what is to be silent has no display.
        Mode::Auto | Mode::Quiet if args.quiet => Ok(Mode::Quiet),
        _ if args.quiet && args.progress.is_none() => Ok(Mode::Quiet),
        _ if args.quiet => Err(CliError::new(format!("progress={asked} and quiet cannot be used together"))),
        mode => Ok(mode),
    }
}

fn request(
    args: &Args,
    tags: Vec<Reference>,
    outputs: Outputs,
    global: &Global,
) -> Result<BuildRequest, CliError> {
    let build_args = build_args(&args.build_args);
    let cache_to = args.shared.to(&build_args)?;
    let mut insecure = args.shared.insecure()?;
    insecure.extend(outputs.insecure);
    // The command line demands one.
    let context = sources::context(args.path.as_deref().unwrap_or("."), &build_args)?;
    let dockerfile = sources::dockerfile(args.file.as_deref());
    if matches!((&context, &dockerfile), (ContextSource::Stream, DockerfileSource::Stream)) {
        return Err(CliError::new("invalid argument: can't use stdin for both build context and dockerfile"));
    }
    let epoch = outputs.epoch.map_or_else(|| epoch(&args.build_args), |seconds| Ok(Some(seconds)))?;
    if outputs.rewrite_timestamp && epoch.is_none() {
        stdout::say("WARNING: rewrite-timestamp is specified, but no source-date-epoch was found");
    }
    let platforms =
        args.platform.iter().map(|text| text.trim().parse::<Platform>()).collect::<Result<Vec<_>, _>>();
    let mut request = BuildRequest {
        context,
        dockerfile,
        target: args.target.clone(),
        build_args,
        tags: tags.into_iter().map(Reference::with_default_tag).collect(),
        outputs: outputs.all,
        labels: args
            .labels
            .iter()
            .map(|label| label.split_once('=').unwrap_or((label, "")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        no_cache: false,
        verify_reproducible: args.output.verify_reproducible,
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
        epoch,
        jobs: args.jobs.map(usize::from),
        runtime: match &args.runtime {
            None => engine::build::RuntimeChoice::Embedded,
            Some(path) => engine::build::RuntimeChoice::External(path.clone()),
        },
        load: args.output.load,
        cache_from: args.shared.from()?,
        cache_to,
        registry: global.registry_client_trusting(insecure)?,
        sources: args.sources.sources()?,
        proxies: BTreeMap::new(),
    };
    explain::ask(&args.cache, &mut request)?;
    Ok(request)
}

/// A name that the image gets, with a tag or without.
fn tag(text: &str) -> Result<Reference, CliError> {
    match Reference::parse(text) {
        Ok(reference) if reference.digest.is_some() => {
            Err(CliError::new(format!("invalid tag {text:?}: a digest is made by the build, not given")))
        }
        Ok(reference) => Ok(reference),
        Err(error) => Err(CliError::new(format!("invalid tag {text:?}: {error}"))),
    }
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
