//! `wait`: until containers end, for their exit codes.

use crate::cli::{Global, Outcome, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Containers
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let engine = global.engine()?;
    output::each(&args.containers, |name| Ok(format!("{}\n", engine::stop::wait(&engine, name)?)))
}
