//! `run`: a container from an image, in the foreground.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use engine::container::{CreateRequest, MountKind, MountPoint, NetworkMode};
use engine::pull::PullSource;
use oci::Platform;

use crate::cli::attach::Attached;
use crate::cli::build::host_entry;
use crate::cli::{CliError, Global, Outcome};

/// What `run` and `create` share.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct ContainerArgs {
    /// Print help
    #[arg(long, action = clap::ArgAction::HelpLong)]
    pub help: Option<bool>,
    /// Remove the container when it ends
    #[arg(long)]
    pub rm: bool,
    /// Keep standard input open
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the container a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Set an environment variable, `NAME=value`, or `NAME` to take it from the environment
    #[arg(short, long, value_name = "VARIABLE")]
    pub env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Bind a path of the host, `source:target[:ro]`
    #[arg(short, long, value_name = "VOLUME")]
    pub volume: Vec<String>,
    /// Mount something, `type=bind|tmpfs|volume,source=…,target=…[,readonly]`
    #[arg(long, value_name = "MOUNT")]
    pub mount: Vec<String>,
    /// Mount an empty directory in memory, `target[:options]`
    #[arg(long, value_name = "TARGET")]
    pub tmpfs: Vec<String>,
    /// Working directory in the container
    #[arg(short, long, value_name = "PATH")]
    pub workdir: Option<String>,
    /// User, `user[:group]`, names or numbers
    #[arg(short, long)]
    pub user: Option<String>,
    /// Replace the image's entry point
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Option<String>,
    /// Name of the container
    #[arg(long)]
    pub name: Option<String>,
    /// Host name
    #[arg(short = 'h', long)]
    pub hostname: Option<String>,
    /// Make the root file system read-only
    #[arg(long)]
    pub read_only: bool,
    /// Network
    #[arg(long, alias = "net", value_parser = ["host", "none", "bridge", "default"], default_value = "host")]
    pub network: String,
    /// Add a capability to Docker's default set, or `ALL`
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_add: Vec<String>,
    /// Take a capability away, or `ALL`
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_drop: Vec<String>,
    /// All capabilities, all devices, nothing hidden
    #[arg(long)]
    pub privileged: bool,
    /// Run a small init that forwards signals and reaps processes
    #[arg(long)]
    pub init: bool,
    /// Host for `/etc/hosts`, `name:address`
    #[arg(long, value_name = "HOST")]
    pub add_host: Vec<String>,
    /// Label, `key=value`
    #[arg(short, long, value_name = "LABEL")]
    pub label: Vec<String>,
    /// When to pull the image
    #[arg(long, value_parser = ["always", "missing", "never"], default_value = "missing")]
    pub pull: String,
    /// Platform of the image
    #[arg(long)]
    pub platform: Option<String>,
    /// OCI runtime: `crun`, `runc` or a path (default: built in)
    #[arg(long)]
    pub runtime: Option<String>,
    /// The image
    pub image: String,
    /// Command and arguments, instead of the image's
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    container: ContainerArgs,
    /// Write the container ID to this file
    #[arg(long, value_name = "FILE")]
    cidfile: Option<PathBuf>,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let request = request(&args.container)?;
    if let Some(path) = &args.cidfile
        && path.exists()
    {
        return Err(CliError::new(format!(
            "container ID file found, make sure the other container isn't running or delete {}",
            path.display()
        )));
    }
    let engine = global.engine_in_namespace()?;
    ensure_image(&args.container, &engine)?;
    let attached = Attached::new(request.tty, request.stdin)?;
    let ended = engine::run::run(&engine, &request, attached.io(), &|container| {
        if let Some(path) = &args.cidfile {
            let _ = fs::write(path, &container.record.id);
        }
    })?;
    drop(attached);
    finish(&request.image, ended)
}

/// Says why a container did not start, and gives its exit code.
pub(crate) fn finish(_image: &str, ended: engine::container::Ended) -> Outcome {
    if let Some(error) = ended.error {
        eprintln!("strake: {error}");
    }
    Ok(ExitCode::from(u8::try_from(ended.code & 0xff).unwrap_or(1)))
}

/// Pulls the image where it is missing, or always, as asked.
pub(crate) fn ensure_image(args: &ContainerArgs, engine: &engine::Engine) -> Result<(), CliError> {
    let here = engine.store.resolve(&args.image);
    let pull = match (args.pull.as_str(), &here) {
        ("always", _) => true,
        ("never", _) => false,
        (_, Err(store_error)) => matches!(store_error, engine::ResolveError::NotFound { .. }),
        _ => false,
    };
    if !pull {
        return Ok(());
    }
    if here.is_err() {
        eprintln!("Unable to find image '{}' locally", args.image);
    }
    let platform = match &args.platform {
        Some(text) => text.parse().map_err(|e: oci::PlatformError| CliError::new(e.to_string()))?,
        None => Platform::host(),
    };
    let source = PullSource::parse(&args.image)?;
    let progress = crate::cli::progress::Plain::default();
    engine::pull::pull(engine, &source, &platform, &engine::pull::Options::default(), &progress)?;
    Ok(())
}

/// What the arguments ask for.
pub(crate) fn request(args: &ContainerArgs) -> Result<CreateRequest, CliError> {
    let mut env = Vec::new();
    for path in &args.env_file {
        let text = fs::read_to_string(path)
            .map_err(|e| CliError::new(format!("cannot read the env file {}: {e}", path.display())))?;
        for line in text.lines().map(str::trim_start).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            env.extend(variable(line)?);
        }
    }
    for text in &args.env {
        env.extend(variable(text)?);
    }
    let mut mounts = Vec::new();
    for text in &args.volume {
        mounts.push(volume(text)?);
    }
    for text in &args.mount {
        mounts.push(mount(text)?);
    }
    for text in &args.tmpfs {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let options = options.split(',').filter(|o| !o.is_empty()).map(str::to_owned).collect();
        mounts.push(MountPoint {
            target: target.to_owned(),
            kind: MountKind::Tmpfs(options),
            read_only: false,
        });
    }
    Ok(CreateRequest {
        image: args.image.clone(),
        name: args.name.clone(),
        args: args.command.clone(),
        entrypoint: args.entrypoint.clone(),
        env,
        working_dir: args.workdir.clone(),
        user: args.user.clone(),
        hostname: args.hostname.clone(),
        tty: args.tty,
        stdin: args.interactive,
        labels: args
            .label
            .iter()
            .map(|label| label.split_once('=').unwrap_or((label, "")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect::<BTreeMap<_, _>>(),
        mounts,
        network: if args.network == "none" { NetworkMode::None } else { NetworkMode::Host },
        read_only: args.read_only,
        cap_add: args.cap_add.clone(),
        cap_drop: args.cap_drop.clone(),
        privileged: args.privileged,
        init: args.init,
        extra_hosts: args.add_host.iter().map(|host| host_entry(host)).collect::<Result<_, _>>()?,
        runtime: args.runtime.clone(),
        auto_remove: args.rm,
    })
}

/// `NAME=value`, or `NAME` for that of the environment, where it has one.
fn variable(text: &str) -> Result<Option<String>, CliError> {
    if text.starts_with('=') || text.is_empty() {
        return Err(CliError::new(format!("invalid environment variable: {text:?}")));
    }
    Ok(match text.contains('=') {
        true => Some(text.to_owned()),
        false => env::var(text).ok().map(|value| format!("{text}={value}")),
    })
}

/// `-v source:target[:options]`. A missing source is made, as Docker does.
fn volume(text: &str) -> Result<MountPoint, CliError> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => {
            return Ok(MountPoint {
                target: (*target).to_owned(),
                kind: MountKind::Anonymous,
                read_only: false,
            });
        }
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => return Err(CliError::new(format!("invalid volume {text:?}: write source:target[:ro]"))),
    };
    let source = absolute(source, text)?;
    let mut read_only = false;
    for option in options.split(',').filter(|o| !o.is_empty()) {
        match option {
            "ro" => read_only = true,
            // Labels and propagation of other systems change nothing here.
            "rw" | "z" | "Z" | "rprivate" | "private" | "cached" | "delegated" | "consistent" => {}
            _ => return Err(CliError::new(format!("invalid volume {text:?}: unknown option {option:?}"))),
        }
    }
    if !source.exists() {
        fs::create_dir_all(&source)
            .map_err(|e| CliError::new(format!("cannot create {}: {e}", source.display())))?;
    }
    let source = source.to_string_lossy().into_owned();
    Ok(MountPoint { target: target.to_owned(), kind: MountKind::Bind(source), read_only })
}

fn absolute(source: &str, whole: &str) -> Result<PathBuf, CliError> {
    let path = PathBuf::from(source);
    if path.is_absolute() {
        return Ok(path);
    }
    if source.starts_with('.') {
        let here = env::current_dir().map_err(|e| CliError::new(format!("no working directory: {e}")))?;
        return Ok(here.join(path));
    }
    Err(CliError::new(format!(
        "invalid volume {whole:?}: named volumes are not supported, give a path that begins with / or ."
    )))
}

/// `--mount type=…,key=value,…`
fn mount(text: &str) -> Result<MountPoint, CliError> {
    let (mut kind, mut source, mut target, mut read_only) = ("volume".to_owned(), None, None, false);
    let mut options = Vec::new();
    for field in text.split(',') {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        match name.to_lowercase().as_str() {
            "type" => kind = value.to_lowercase(),
            "source" | "src" => source = Some(value.to_owned()),
            "target" | "dst" | "destination" => target = Some(value.to_owned()),
            "readonly" | "ro" => read_only = matches!(value, "" | "true" | "1"),
            "tmpfs-size" => options.push(format!("size={value}")),
            "tmpfs-mode" => options.push(format!("mode={value}")),
            "bind-propagation" | "consistency" => {}
            _ => return Err(CliError::new(format!("invalid mount {text:?}: unexpected key {name:?}"))),
        }
    }
    let target =
        target.ok_or_else(|| CliError::new(format!("invalid mount {text:?}: target is required")))?;
    let kind = match (kind.as_str(), source) {
        ("bind", Some(source)) => {
            let source = absolute(&source, text)?;
            if !source.exists() {
                return Err(CliError::new(format!(
                    "invalid mount {text:?}: bind source path does not exist: {}",
                    source.display()
                )));
            }
            MountKind::Bind(source.to_string_lossy().into_owned())
        }
        ("bind", None) => return Err(CliError::new(format!("invalid mount {text:?}: source is required"))),
        ("tmpfs", _) => MountKind::Tmpfs(options),
        ("volume", None) => MountKind::Anonymous,
        ("volume", Some(name)) => {
            return Err(CliError::new(format!(
                "invalid mount {text:?}: named volumes ({name}) are not supported, use type=bind"
            )));
        }
        (other, _) => return Err(CliError::new(format!("invalid mount {text:?}: unknown type {other:?}"))),
    };
    Ok(MountPoint { target, kind, read_only })
}
