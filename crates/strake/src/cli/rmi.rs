//! `strake rmi` (`image rm`).

use std::io::{self, Write};
use std::process::ExitCode;

use engine::Kind;
use engine::rmi::Removed;

use crate::cli::{CliError, Global, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Force removal of the image
    #[arg(short, long)]
    force: bool,
    /// Do not delete untagged parents (here nothing: no image has parents)
    #[arg(long)]
    no_prune: bool,
    /// Names or IDs
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let engine = global.engine_in_namespace()?;
    let mut out = io::stdout().lock();
    let mut errors: Vec<CliError> = Vec::new();
    let mut only_missing = true;
    for image in &args.images {
        match engine::rmi::remove(&engine, image, args.force) {
            Ok(removed) => {
                for item in removed {
                    match item {
                        Removed::Untagged(name) => writeln!(out, "Untagged: {name}")?,
                        Removed::Image(id) => writeln!(out, "Deleted: {id}")?,
                        Removed::Layer(chain_id) => writeln!(out, "Deleted: {chain_id}")?,
                    }
                }
            }
            Err(error) => {
                only_missing &= error.kind == Kind::NotFound;
                errors.push(error.into());
            }
        }
    }
    out.flush()?;
    match CliError::all(errors) {
        // What does not exist is gone as asked; Docker says so and is content.
        Some(error) if args.force && only_missing => {
            error.tell();
            Ok(ExitCode::SUCCESS)
        }
        Some(error) => Err(error),
        None => Ok(ExitCode::SUCCESS),
    }
}
