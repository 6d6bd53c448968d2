//! `strake cp` (`container cp`): files between a container and the host.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

use engine::Engine;
use engine::cp::{CopyOptions, copy_in, copy_out, process, stream_in, stream_out};

use crate::cli::output::Stream;
use crate::cli::{CliError, Global, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Give what goes into the container to the user that it runs as
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
    if let Some((name, "")) = from.or(to) {
        return Err(CliError::new(format!("the path in the container is empty: {name}:/ is its root")));
    }
    let (name, outwards) = match (from, to) {
        (Some(_), Some(_)) => return Err(CliError::new("copying between containers is not supported")),
        (None, None) => return Err(CliError::new("must specify at least one container source")),
        (Some((name, _)), None) => (name, true),
        (None, Some((name, _))) => (name, false),
    };
    if outwards && args.dest == "-" && io::stdout().is_terminal() {
        return Err(CliError::new("cowardly refusing to write a tar to a terminal: redirect it"));
    }
    let here = std::env::current_dir().map_err(|e| CliError::new(format!("no working directory: {e}")))?;
    let engine = engine(global, name)?;
    let (source, dest) = (from.map_or("", |(_, path)| path), to.map_or("", |(_, path)| path));
    match (outwards, args.source.as_str(), args.dest.as_str()) {
        (true, _, "-") => {
            let mut out = Stream::new(io::BufWriter::with_capacity(256 << 10, io::stdout().lock()));
            let written = stream_out(&engine, name, source, &mut out, &options);
            out.finish(written)?;
        }
        (true, _, host) => copy_out(&engine, name, source, Path::new(host), &here, &options)?,
        (false, "-", _) => stream_in(&engine, name, dest, &mut io::stdin())?,
        (false, host, _) => copy_in(&engine, Path::new(host), &here, name, dest, &options)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The engine, where the container's files can be reached.
fn engine(global: &Global, name: &str) -> Result<Engine, CliError> {
    let engine = global.engine()?;
    if let Some(pid) = process(&engine, name)? {
        runtime::join(pid)?;
        return Ok(engine);
    }
    drop(engine);
    global.engine_in_namespace()
}

/// `CONTAINER:PATH`; what begins with `/` or `.` is a path of the host, as in Docker.
fn container_path(text: &str) -> Option<(&str, &str)> {
    match text.starts_with(['/', '.']) {
        true => None,
        false => text.split_once(':'),
    }
}
