//! `restart`: containers stopped, if they run, and started again.

use engine::container::Container;

use crate::cli::{CliError, Global, Outcome, monitor, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Signal that asks them to end, by name or number
    #[arg(short, long)]
    signal: Option<String>,
    /// Seconds to wait before killing; -1: for ever
    #[arg(short, long, alias = "time", value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// Containers
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let engine = global.engine_in_namespace()?;
    output::each(&args.containers, |name| {
        let container = Container::find(&engine, name)?;
        engine::stop::stop(&engine, name, args.signal.as_deref(), args.timeout)?;
        match monitor::start(global, &container.record.id)? {
            None => Ok(format!("{name}\n")),
            Some(ended) => Err(CliError::new(ended.error.unwrap_or_default())),
        }
    })
}
