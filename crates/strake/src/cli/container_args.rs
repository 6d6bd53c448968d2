//! What `run` and `create` are asked for on the command line: Docker's flags, as an engine's request.

use std::collections::BTreeMap;
use std::path::PathBuf;

use engine::container::{CreateRequest, Dns, MountKind, MountPoint, RunConfig};

use crate::cli::build::host_entry;
use crate::cli::container_values::{
    from_environment, lines, network, ports, security, shm_size, sysctl, ulimit,
};
use crate::cli::global::LogLevel;
use crate::cli::limits::LimitArgs;
use crate::cli::{CliError, Global, mounts};

/// What `run` and `create` share.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct ContainerArgs {
    /// Print help
    #[arg(long, action = clap::ArgAction::HelpLong)]
    pub help: Option<bool>,
    /// Automatically remove the container when it ends
    #[arg(long)]
    pub rm: bool,
    /// Keep standard input open
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the container a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Attach to STDIN, STDOUT or STDERR only
    #[arg(short, long, value_name = "STREAM")]
    pub attach: Vec<String>,
    /// Set an environment variable, `NAME=value`, or `NAME` to take it from the environment
    #[arg(short, long, value_name = "VARIABLE")]
    pub env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Bind a path of the host, `source:target[:ro]`; `target` alone is a volume of the container's own
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
    /// Add a group, name or number, for the user
    #[arg(long, value_name = "GROUP")]
    pub group_add: Vec<String>,
    /// Replace the image's entry point
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Option<String>,
    /// Name of the container
    #[arg(long)]
    pub name: Option<String>,
    /// Host name
    #[arg(short = 'h', long)]
    pub hostname: Option<String>,
    /// NIS domain name
    #[arg(long)]
    pub domainname: Option<String>,
    /// Make the root file system read-only
    #[arg(long)]
    pub read_only: bool,
    /// Network: `host` (the default, also under the names `bridge` and `default`) or `none`
    #[arg(long, alias = "net", value_name = "NETWORK", default_value = "host")]
    pub network: String,
    /// Publish a port: on the host's network a port is where the container opens it
    #[arg(short, long, value_name = "PORT")]
    pub publish: Vec<String>,
    /// Publish all exposed ports
    #[arg(short = 'P', long)]
    pub publish_all: bool,
    /// Say that a port is served
    #[arg(long, value_name = "PORT")]
    pub expose: Vec<String>,
    /// Name server, instead of the host's
    #[arg(long, value_name = "ADDRESS")]
    pub dns: Vec<String>,
    /// Search domain
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,
    /// Resolver option
    #[arg(long, alias = "dns-opt", value_name = "OPTION")]
    pub dns_option: Vec<String>,
    /// Host for `/etc/hosts`, `name:address`
    #[arg(long, value_name = "HOST")]
    pub add_host: Vec<String>,
    /// Add a capability to Docker's default set, or `ALL`
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_add: Vec<String>,
    /// Take a capability away, or `ALL`
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_drop: Vec<String>,
    /// All capabilities, all devices, nothing hidden
    #[arg(long)]
    pub privileged: bool,
    /// `no-new-privileges`, `seccomp=unconfined`
    #[arg(long, value_name = "OPTION")]
    pub security_opt: Vec<String>,
    /// Add a device of the host, `path[:path in the container[:rwm]]`
    #[arg(long, value_name = "DEVICE")]
    pub device: Vec<String>,
    /// Resource limit, `name=soft[:hard]`
    #[arg(long, value_name = "LIMIT")]
    pub ulimit: Vec<String>,
    /// Kernel parameter of the container's namespaces, `name=value`
    #[arg(long, value_name = "PARAMETER")]
    pub sysctl: Vec<String>,
    /// Size of /dev/shm
    #[arg(long, value_name = "BYTES")]
    pub shm_size: Option<String>,
    /// IPC namespace: `private` or `host`
    #[arg(long, value_name = "MODE", value_parser = ["", "private", "shareable", "none", "host"])]
    pub ipc: Option<String>,
    /// UTS namespace: the container's own, or `host`
    #[arg(long, value_name = "MODE", value_parser = ["", "host"])]
    pub uts: Option<String>,
    /// Run a small init that forwards signals and reaps processes
    #[arg(long)]
    pub init: bool,
    /// Signal that stops the container
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,
    /// Seconds between that signal and KILL
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub stop_timeout: Option<i64>,
    /// Label, `key=value`
    #[arg(short, long, value_name = "LABEL")]
    pub label: Vec<String>,
    /// Read labels from a file
    #[arg(long, value_name = "FILE")]
    pub label_file: Vec<PathBuf>,
    /// Write the container ID to this file
    #[arg(long, value_name = "FILE")]
    pub cidfile: Option<PathBuf>,
    /// Where the log goes: `json-file`, or `none`
    #[arg(long, value_name = "DRIVER")]
    pub log_driver: Option<String>,
    /// When to pull the image
    #[arg(long, value_parser = ["always", "missing", "never"], default_value = "missing")]
    pub pull: String,
    /// Do not show how the pull goes
    #[arg(short, long)]
    pub quiet: bool,
    /// Platform of the image
    #[arg(long)]
    pub platform: Option<String>,
    /// OCI runtime: `crun`, `runc` or a path (default: built in)
    #[arg(long)]
    pub runtime: Option<String>,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    discarded: Discarded,
    /// The image, and the command to run in it instead of the image's own. What looks like an option after the image
    /// is an argument of the command
    #[arg(trailing_var_arg = true, required = true, value_name = "IMAGE [COMMAND] [ARG]")]
    image_and_command: Vec<String>,
}

/// Flags of Docker's that ask for what is not there without a daemon. Command lines that have them still run.
#[derive(Debug, clap::Args)]
struct Discarded {
    #[arg(long, hide = true)]
    restart: Option<String>,
    #[arg(long, hide = true)]
    memory_reservation: Option<String>,
    #[arg(long, hide = true)]
    health_cmd: Option<String>,
    #[arg(long, hide = true)]
    health_interval: Option<String>,
    #[arg(long, hide = true)]
    health_timeout: Option<String>,
    #[arg(long, hide = true)]
    health_retries: Option<String>,
    #[arg(long, hide = true)]
    health_start_period: Option<String>,
    // Asking for what is so anyhow.
    #[arg(long, hide = true)]
    no_healthcheck: bool,
    #[arg(long, hide = true)]
    log_opt: Vec<String>,
    #[arg(long, hide = true)]
    userns: Option<String>,
    #[arg(long, hide = true)]
    cgroupns: Option<String>,
    #[arg(long, hide = true)]
    disable_content_trust: bool,
}

impl Discarded {
    /// A sentence for each that changes what the container does.
    fn warnings(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.restart.as_ref().is_some_and(|policy| !matches!(policy.as_str(), "" | "no")) {
            all.push("--restart is discarded: without a daemon nobody restarts a container".to_owned());
        }
        if self.memory_reservation.is_some() {
            all.push("--memory-reservation is discarded: there are limits, and no reservations".to_owned());
        }
        if self.health_cmd.is_some() {
            all.push("--health-cmd is discarded: health checks are not run".to_owned());
        }
        all
    }
}

impl ContainerArgs {
    /// The image as named.
    pub(crate) fn image(&self) -> &str {
        self.image_and_command.first().map_or("", String::as_str)
    }

    /// Whether a stream is to be attached: `stdin`, `stdout`, `stderr`.
    pub(crate) fn attaches(&self, stream: &str) -> bool {
        match self.attach.is_empty() {
            true => stream != "stdin" || self.interactive,
            false => self.attach.iter().any(|given| given.eq_ignore_ascii_case(stream)),
        }
    }

    /// Says on stderr what of the flags changes nothing.
    pub(crate) fn warn(&self, global: &Global) {
        let mut warnings = self.discarded.warnings();
        if !self.publish.is_empty() || self.publish_all {
            warnings.push("Published ports are discarded when using host network mode".to_owned());
        }
        if global.shows(LogLevel::Warn) {
            for warning in warnings {
                crate::cli::output::say(&format!("WARNING: {warning}"));
            }
        }
    }

    /// What the arguments ask for.
    pub(crate) fn request(&self) -> Result<CreateRequest, CliError> {
        for stream in &self.attach {
            if !["stdin", "stdout", "stderr"].iter().any(|known| stream.eq_ignore_ascii_case(known)) {
                return Err(CliError::new(format!(
                    "invalid argument {stream:?} for \"-a, --attach\" flag: valid streams are STDIN, STDOUT and STDERR"
                )));
            }
        }
        let mut run = RunConfig {
            cmd: self.image_and_command.iter().skip(1).cloned().collect(),
            env: self.environment()?,
            working_dir: self.workdir.clone().unwrap_or_default(),
            user: self.user.clone().unwrap_or_default(),
            groups: self.group_add.clone(),
            hostname: self.hostname.clone().unwrap_or_default(),
            domainname: self.domainname.clone().unwrap_or_default(),
            tty: self.tty,
            stdin: self.interactive || self.attaches("stdin"),
            labels: self.labels()?,
            mounts: self.mounts()?,
            devices: self.device.iter().map(|device| mounts::device(device)).collect::<Result<_, _>>()?,
            exposed_ports: ports(&self.expose, &self.publish)?,
            network: network(&self.network)?,
            dns: Dns {
                servers: self.dns.clone(),
                search: self.dns_search.clone(),
                options: self.dns_option.clone(),
            },
            read_only: self.read_only,
            cap_add: self.cap_add.clone(),
            cap_drop: self.cap_drop.clone(),
            privileged: self.privileged,
            ulimits: self.ulimit.iter().map(|limit| ulimit(limit)).collect::<Result<_, _>>()?,
            sysctls: self.sysctl.iter().map(|given| sysctl(given)).collect::<Result<_, _>>()?,
            shm_size: self.shm_size.as_deref().map(shm_size).transpose()?,
            limits: self.limits.limits()?,
            host_ipc: self.ipc.as_deref() == Some("host"),
            host_uts: self.uts.as_deref() == Some("host"),
            init: self.init,
            stop_signal: self.stop_signal.clone().unwrap_or_default(),
            stop_timeout: self.stop_timeout,
            extra_hosts: self.add_host.iter().map(|host| host_entry(host)).collect::<Result<_, _>>()?,
            runtime: self.runtime.clone(),
            no_log: self.no_log()?,
            auto_remove: self.rm,
            ..RunConfig::default()
        };
        for option in &self.security_opt {
            security(option, &mut run)?;
        }
        Ok(CreateRequest {
            image: self.image().to_owned(),
            platform: self.wanted_platform()?,
            name: self.name.clone(),
            entrypoint: self.entrypoint.clone(),
            run,
        })
    }

    fn environment(&self) -> Result<Vec<String>, CliError> {
        let mut all = Vec::new();
        for path in &self.env_file {
            // A name alone is nothing where the environment has none, as Docker has it for files.
            all.extend(lines(path)?.into_iter().filter_map(|line| from_environment(&line)));
        }
        for text in &self.env {
            if text.is_empty() || text.starts_with('=') {
                return Err(CliError::new(format!(
                    "invalid argument {text:?} for \"-e, --env\" flag: invalid environment variable: {text}"
                )));
            }
            all.push(from_environment(text).unwrap_or_else(|| text.clone()));
        }
        // Later ones win, in the place of the earlier.
        let mut once: Vec<String> = Vec::new();
        for variable in all {
            let name = |text: &str| text.split('=').next().map(str::to_owned);
            match once.iter_mut().find(|known| name(known) == name(&variable)) {
                Some(known) => *known = variable,
                None => once.push(variable),
            }
        }
        Ok(once)
    }

    fn labels(&self) -> Result<BTreeMap<String, String>, CliError> {
        let mut all = Vec::new();
        for path in &self.label_file {
            all.extend(lines(path)?);
        }
        all.extend(self.label.iter().cloned());
        Ok(all
            .iter()
            .map(|label| label.split_once('=').unwrap_or((label, "")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect())
    }

    fn mounts(&self) -> Result<Vec<MountPoint>, CliError> {
        let mut all = Vec::new();
        for text in &self.volume {
            all.push(mounts::volume(text)?);
        }
        for text in &self.mount {
            all.push(mounts::mount(text)?);
        }
        for text in &self.tmpfs {
            let (target, options) = text.split_once(':').unwrap_or((text, ""));
            let options = options.split(',').filter(|o| !o.is_empty()).map(str::to_owned).collect();
            let kind = MountKind::Tmpfs(options);
            all.push(MountPoint { target: target.to_owned(), kind, read_only: false });
        }
        Ok(all)
    }

    fn no_log(&self) -> Result<bool, CliError> {
        match self.log_driver.as_deref() {
            None | Some("" | "json-file" | "local") => Ok(false),
            Some("none") => Ok(true),
            Some(other) => Err(CliError::new(format!("unknown log driver {other:?}: json-file or none"))),
        }
    }
}
