//! `load`: images from an archive.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use engine::load::{Source, load};

use crate::cli::{CliError, Global, Outcome, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Read this file instead of standard input
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Print only the images' names
    #[arg(short, long)]
    quiet: bool,
    /// Taken for Docker's sake: of several platforms this machine's is loaded
    #[arg(long, hide = true)]
    platform: Option<String>,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let source = match &args.input {
        Some(path) => Source::File(
            File::open(path).map_err(|e| CliError::new(format!("cannot open {}: {e}", path.display())))?,
        ),
        None if io::stdin().is_terminal() => {
            return Err(CliError::new(
                "requested load from stdin, but stdin is empty: redirect an archive or use -i",
            ));
        }
        // It may be a file as well.
        None => match io::stdin().as_fd().try_clone_to_owned() {
            Ok(stdin) => Source::File(stdin.into()),
            Err(_) => Source::Stream(Box::new(io::stdin())),
        },
    };
    let engine = global.engine_in_namespace()?;
    for loaded in load(&engine, source)? {
        if !args.quiet {
            for (reference, before) in &loaded.replaced {
                output::text(&format!(
                    "The image {} already exists, renaming the old one with ID {before} to empty string\n",
                    reference.familiar()
                ))?;
            }
        }
        if loaded.references.is_empty() {
            output::text(&format!("Loaded image ID: {}\n", loaded.image))?;
        } else {
            for reference in &loaded.references {
                output::text(&format!("Loaded image: {}\n", reference.familiar()))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
