//! What `build` says of its RUN steps: entitlements, limits, shells.

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use engine::build::{Entitlement, RunOptions, Terminal, busybox_in};
use engine::container::RunIo;
use runtime::spec::Rlimit;
use rustix::termios::isatty;

use crate::cli::CliError;
use crate::cli::attach::{Attached, Wanted};
use crate::cli::container_values::{shm_size, ulimit};
use crate::cli::interrupt;
use crate::cli::limits::{self, LimitArgs};

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Allow what is else refused: security.insecure, network.host (with --network none), secret-in-layer
    #[arg(long, value_name = "ENTITLEMENT", value_delimiter = ',')]
    allow: Vec<Entitlement>,
    /// Size of /dev/shm in RUN instructions
    #[arg(long, value_name = "BYTES")]
    shm_size: Option<String>,
    /// Resource limit of RUN instructions, `name=soft[:hard]`
    #[arg(long, value_name = "LIMIT")]
    ulimit: Vec<String>,
    /// Limits of each RUN instruction, `memory=1g,memory-swap=,cpus=,cpu-quota=,cpu-period=,cpu-shares=,cpuset-cpus=,cpuset-mems=,pids=`
    #[arg(long, value_name = "KEY=VALUE")]
    resource: Vec<String>,
    #[command(flatten)]
    limits: LimitArgs,
    /// What to do when a RUN instruction fails: `fail`, or open a `shell` in what it left
    #[arg(long, value_parser = ["fail", "shell"], default_value = "fail")]
    on_error: String,
    /// Open a shell after a stage, or after the step on a line of the Dockerfile; then the build goes on
    #[arg(long, value_name = "STAGE|LINE")]
    shell_after: Option<String>,
}

impl RunArgs {
    /// What they ask for.
    pub(crate) fn options(&self) -> Result<RunOptions, CliError> {
        let mut limits = self.limits.limits()?;
        for text in &self.resource {
            limits::resource(text, &mut limits)?;
        }
        limits.shm_size = self.shm_size.as_deref().map(shm_size).transpose()?;
        for text in &self.ulimit {
            let limit = ulimit(text)?;
            // -1 is RLIM_INFINITY.
            let value = |number: i64| u64::from_ne_bytes(number.to_ne_bytes());
            limits.rlimits.push(Rlimit {
                kind: format!("RLIMIT_{}", limit.name.to_uppercase()),
                soft: value(limit.soft),
                hard: value(limit.hard),
            });
        }
        let has_terminal = isatty(io::stdin()) && isatty(io::stderr());
        if self.shell_after.is_some() && !has_terminal {
            return Err(CliError::new("--shell-after opens a shell, and there is no terminal for it"));
        }
        Ok(RunOptions {
            allow: self.allow.clone(),
            limits,
            shell_on_error: self.on_error == "shell",
            shell_after: self.shell_after.clone(),
            terminal: has_terminal.then(|| Arc::new(Own) as Arc<dyn Terminal>),
        })
    }
}

/// The terminal that the command was started on.
struct Own;

impl Terminal for Own {
    fn open(
        &self,
        about: &str,
        run: &mut dyn FnMut(RunIo<'_>) -> engine::Result<i32>,
    ) -> engine::Result<i32> {
        let _ = writeln!(io::stderr().lock(), "\n{about}");
        let wanted = Wanted { tty: true, stdin: true, stdout: true, stderr: true, log: false, signals: true };
        let attached = Attached::new(wanted).map_err(|error| engine::Error::internal(error.text()))?;
        let ended = run(attached.io());
        drop(attached);
        // What interrupts is the build's again.
        let _ = interrupt::watch();
        ended
    }

    fn busybox(&self) -> Vec<PathBuf> {
        env::var_os("PATH").map_or_else(Vec::new, |path| busybox_in(&path))
    }
}
