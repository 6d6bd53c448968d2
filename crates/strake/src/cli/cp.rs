//! `strake cp` (`container cp`): files between a container and the host.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use engine::cp::{CopyOptions, copy_in, copy_out, stream_in, stream_out};

use crate::cli::{CliError, Global, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keep the owners of files
    #[arg(short, long)]
    archive: bool,
    /// Follow a symbolic link that is the source
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Taken for Docker's sake
    #[arg(short, long, hide = true)]
    quiet: bool,
    /// `CONTAINER:PATH`, a path of the host, or `-` for a tar on standard input
    source: String,
    /// `CONTAINER:PATH`, a path of the host, or `-` for a tar on standard output
    dest: String,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let options = CopyOptions { archive: args.archive, follow: args.follow_link };
    let (from, to) = (container_path(&args.source), container_path(&args.dest));
    if from.is_some() == to.is_some() {
        return Err(CliError::new(match from {
            Some(_) => "copying between containers is not supported",
            None => "must specify at least one container source",
        }));
    }
    let engine = global.engine_in_namespace()?;
    match (from, to) {
        (Some((name, path)), _) if args.dest == "-" => {
            stream_out(&engine, name, path, &mut io::stdout().lock())?
        }
        (Some((name, path)), _) => copy_out(&engine, name, path, Path::new(&args.dest), &options)?,
        (None, Some((name, path))) if args.source == "-" => {
            stream_in(&engine, name, path, &mut io::stdin())?;
        }
        (None, Some((name, path))) => copy_in(&engine, Path::new(&args.source), name, path, &options)?,
        (None, None) => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// `CONTAINER:PATH`; what begins with `/` or `.` is a path of the host, as in Docker.
fn container_path(text: &str) -> Option<(&str, &str)> {
    match text.starts_with(['/', '.']) {
        true => None,
        false => text.split_once(':'),
    }
}
