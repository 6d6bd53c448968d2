//! What may stand between `docker` and its verb: taken, so that command lines written for Docker work as they are. There
//! is no daemon to be reached, so most of it says nothing here.

use std::path::PathBuf;

use crate::cli::global::{GlobalArgs, LogLevel};
use crate::cli::output;

#[derive(Debug, clap::Args)]
pub(crate) struct DockerGlobals {
    /// Debug mode
    #[arg(short = 'D', long, hide = true)]
    debug: bool,
    /// As --log-level
    #[arg(short = 'l', id = "docker_log_level", hide = true, value_name = "LEVEL")]
    level: Option<LogLevel>,
    /// Directory of the accounts, as DOCKER_CONFIG
    #[arg(long, hide = true, value_name = "DIR")]
    config: Option<PathBuf>,
    /// Socket of a daemon
    #[arg(short = 'H', long = "host", hide = true, value_name = "URL")]
    hosts: Vec<String>,
    /// Name of a daemon
    #[arg(short = 'c', long, hide = true, value_name = "NAME")]
    context: Option<String>,
}

impl DockerGlobals {
    /// What they say, as options of ours.
    pub(crate) fn apply(self, mut global: GlobalArgs) -> GlobalArgs {
        if let Some(level) = self.level {
            global.log_level = level;
        }
        if self.debug {
            global.log_level = LogLevel::Debug;
        }
        global.docker_config = self.config;
        let context = self.context.filter(|context| context != "default");
        for (option, value) in
            self.hosts.iter().map(|host| ("--host", host)).chain(context.iter().map(|c| ("--context", c)))
        {
            output::say(&format!(
                "WARNING: {option} {value} is not used: there is no daemon, what is asked for is done here"
            ));
        }
        global
    }
}
