//! `export`: a container's file system as a tar.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::save::to_file_or_stdout;
use crate::cli::{Global, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The container
    container: String,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let engine = global.engine_in_namespace()?;
    to_file_or_stdout(args.output.as_deref(), |out| {
        Ok(engine::export::export(&engine, &args.container, out)?)
    })?;
    Ok(ExitCode::SUCCESS)
}
