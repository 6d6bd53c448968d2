//! `stop`: containers asked to end, and killed where they do not.

use crate::cli::{Global, Outcome, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Signal that asks them, by name or number
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
    let engine = global.engine()?;
    output::each(&args.containers, |name| {
        engine::stop::stop(&engine, name, args.signal.as_deref(), args.timeout)?;
        Ok(format!("{name}\n"))
    })
}
