//! `rm`: containers removed.

use crate::cli::{Global, Outcome, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Kill and remove containers that run
    #[arg(short, long)]
    force: bool,
    /// Remove anonymous volumes too; they always go with their container
    #[arg(short, long)]
    volumes: bool,
    /// Containers
    #[arg(required = true)]
    containers: Vec<String>,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let engine = global.engine_in_namespace()?;
    output::each(&args.containers, |name| {
        engine::rm::rm(&engine, name, args.force)?;
        Ok(format!("{name}\n"))
    })
}
