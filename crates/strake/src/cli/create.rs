//! `create`: a container made and not started.

use std::process::ExitCode;

use crate::cli::run::{ContainerArgs, ensure_image, request};
use crate::cli::{Global, Outcome, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    container: ContainerArgs,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let request = request(&args.container)?;
    let engine = global.engine_in_namespace()?;
    ensure_image(&args.container, &engine)?;
    let (container, _lock) = engine::container::create(&engine, &request)?;
    output::text(&format!("{}\n", container.record.id))?;
    Ok(ExitCode::SUCCESS)
}
