//! `kill`: a signal to containers that run.

use crate::cli::{Global, Outcome, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Signal, by name or number
    #[arg(short, long, default_value = "KILL")]
    signal: String,
    /// Containers
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let engine = global.engine()?;
    output::each(&args.containers, |name| {
        engine::stop::kill(&engine, name, &args.signal)?;
        Ok(format!("{name}\n"))
    })
}
