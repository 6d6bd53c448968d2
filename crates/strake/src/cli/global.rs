//! What stands before the verb: where the store is and how much to say. The only place that reads the
//! environment and HOME for them.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use engine::{Engine, Event, Events};

use crate::cli::CliError;

/// Where root's store is.
const ROOTS: &str = "/var/lib/strake";

/// Options of every verb.
#[derive(Debug, clap::Args)]
pub(crate) struct GlobalArgs {
    /// Directory of the store [env: STRAKE_ROOT] [default: /var/lib/strake, or $XDG_DATA_HOME/strake for an
    /// ordinary user]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global Options")]
    root: Option<PathBuf>,
    /// How much to tell on stderr
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        default_value = "info",
        help_heading = "Global Options"
    )]
    pub(crate) log_level: LogLevel,
    /// Where accounts are, instead of where the environment says.
    #[arg(skip)]
    pub(crate) docker_config: Option<PathBuf>,
}

/// Which messages are shown; each level shows those before it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum LogLevel {
    /// Only what ends the command.
    Fatal,
    /// The same.
    Error,
    /// Also what goes on but should be known.
    Warn,
    /// Also what happens.
    Info,
    /// Also how it happens.
    Debug,
}

/// What every verb gets.
#[derive(Debug)]
pub(crate) struct Global {
    root: Option<PathBuf>,
    log_level: LogLevel,
    docker_config: Option<PathBuf>,
}

impl Global {
    pub(crate) fn new(args: GlobalArgs) -> Global {
        Global { root: args.root, log_level: args.log_level, docker_config: args.docker_config }
    }

    /// The directory of `config.json` that the command line names.
    pub(crate) fn docker_config(&self) -> Option<&Path> {
        self.docker_config.as_deref()
    }

    /// Whether messages of that level are to be shown.
    pub(crate) fn shows(&self, level: LogLevel) -> bool {
        level <= self.log_level
    }

    /// The store's directory, on the host: the option, `STRAKE_ROOT`, or the default of root or of the user.
    pub(crate) fn root(&self) -> Result<PathBuf, CliError> {
        let root = self.root_as_given()?;
        // The supervisor of containers and the paths in messages know no working directory of ours.
        std::path::absolute(&root)
            .map_err(|error| CliError::new(format!("the store's directory {}: {error}", root.display())))
    }

    fn root_as_given(&self) -> Result<PathBuf, CliError> {
        if let Some(root) = &self.root {
            return Ok(root.clone());
        }
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(root) = set("STRAKE_ROOT") {
            return Ok(root);
        }
        if rustix::process::geteuid().is_root() && (is_writable(ROOTS) || set("HOME").is_none()) {
            return Ok(PathBuf::from(ROOTS));
        }
        match set("XDG_DATA_HOME").filter(|dir| dir.is_absolute()) {
            Some(data) => Ok(data.join("strake")),
            None => match set("HOME") {
                Some(home) => Ok(home.join(".local/share/strake")),
                None => Err(CliError::new("where is the store? neither HOME nor XDG_DATA_HOME is set")
                    .hint("give --root DIR or set STRAKE_ROOT")),
            },
        }
    }

    /// The engine, for verbs that read and write the store's own files and database alone.
    pub(crate) fn engine(&self) -> Result<Engine, CliError> {
        Ok(Engine::open(&self.root()?)?)
    }

    /// The engine inside the user and mount namespace, for verbs that touch images' files: mount, read or remove
    /// them. Clears first what dead processes left. Has to be called before the process has threads.
    pub(crate) fn engine_in_namespace(&self) -> Result<Engine, CliError> {
        let engine = self.engine_unswept()?;
        let swept = engine::check::sweep(&engine)?;
        for dropped in swept.dropped {
            self.event(Event::Warning(format!("dropped after an unclean end: {dropped}")));
        }
        Ok(engine)
    }

    /// As [`Global::engine_in_namespace`], for verbs that run containers. Says what cannot be kept where only one id
    /// is mapped.
    pub(crate) fn engine_for_containers(&self) -> Result<Engine, CliError> {
        let engine = self.engine_in_namespace()?;
        if let Some(why) = runtime::why_single() {
            self.event(Event::Warning(format!(
                "only one id is mapped: {why}. Files get the owners that images, ADD, COPY and chown give them, but \
                 show as root's inside; processes of every USER run as one, so that permissions do not part them; there \
                 are no devices"
            )));
        }
        Ok(engine)
    }

    /// The engine inside the namespace with what dead processes left still there, for verbs that tell of it.
    pub(crate) fn engine_unswept(&self) -> Result<Engine, CliError> {
        // Before, since inside the namespace everybody is root.
        let root = self.root()?;
        runtime::enter()?;
        Ok(Engine::open(&root)?)
    }
}

/// Whether `path` is there and may be written, or made. Root of a user namespace is an ordinary user outside.
fn is_writable(path: &str) -> bool {
    let there = std::path::Path::new(path).ancestors().find(|above| above.exists());
    there.is_some_and(|there| rustix::fs::access(there, rustix::fs::Access::WRITE_OK).is_ok())
}

/// Shows warnings and status lines on stderr: the events of all verbs without a display of their own.
impl Events for Global {
    fn event(&self, event: Event) {
        match event {
            Event::Warning(text) if self.shows(LogLevel::Warn) => eprint(&format!("WARNING: {text}")),
            Event::Status(text) if self.shows(LogLevel::Info) => eprint(&text),
            _ => {}
        }
    }
}

fn eprint(line: &str) {
    use std::io::Write;
    // Where stderr is gone, nobody is left to be told.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
