//! `rename`: another name for a container.

use std::process::ExitCode;

use crate::cli::{Global, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The container
    container: String,
    /// Its new name
    new_name: String,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    engine::rename::rename(&global.engine()?, &args.container, &args.new_name)?;
    Ok(ExitCode::SUCCESS)
}
