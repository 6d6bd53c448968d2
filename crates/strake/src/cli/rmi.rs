//! `strake rmi` (`image rm`).

use std::io::{self, Write};
use std::process::ExitCode;

use engine::Kind;
use engine::remote::Deleted;
use engine::rmi::Removed;

use crate::cli::{CliError, Global, Outcome, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Force removal of the image
    #[arg(short, long)]
    force: bool,
    /// Do not delete untagged parents (here nothing: no image has parents)
    #[arg(long)]
    no_prune: bool,
    /// Delete from the image's registry, not here; with --force under all the names that its manifest has there
    #[arg(long)]
    remote: bool,
    /// Names or IDs
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    if args.remote {
        return remote(&args, global);
    }
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

fn remote(args: &Args, global: &Global) -> Outcome {
    let client = global.registry_client()?;
    output::each(&args.images, |image| {
        let lines =
            engine::remote::delete(&client, image, args.force)?.into_iter().map(|deleted| match deleted {
                Deleted::Tag(name) => format!("Untagged: {name}\n"),
                Deleted::Manifest(name) => format!("Deleted: {name}\n"),
            });
        Ok(lines.collect())
    })
}
