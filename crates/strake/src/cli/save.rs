//! `save`: images as an archive.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use engine::save::{Format, save};

use crate::cli::output::Stream;
use crate::cli::{CliError, Global, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Kind of archive
    #[arg(long, value_parser = ["docker-archive", "oci-archive"], default_value = "docker-archive")]
    format: String,
    /// Images, by name or ID
    #[arg(required = true)]
    images: Vec<String>,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let format = if args.format == "oci-archive" { Format::Oci } else { Format::Docker };
    let engine = global.engine_in_namespace()?;
    to_file_or_stdout(args.output.as_deref(), |out| Ok(save(&engine, &args.images, format, out)?))?;
    Ok(ExitCode::SUCCESS)
}

/// Lets `write` write to a file, which appears only when it is whole, or to standard output, which must
/// be no terminal.
pub(crate) fn to_file_or_stdout(
    output: Option<&Path>,
    write: impl FnOnce(&mut (dyn Write + Send)) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let Some(path) = output else {
        if io::stdout().is_terminal() {
            return Err(CliError::new(
                "cowardly refusing to save to a terminal. Use the -o flag or redirect",
            ));
        }
        let mut out = Stream::new(BufWriter::with_capacity(1 << 20, io::stdout()));
        let written = write(&mut out);
        return out.finish(written);
    };
    engine::whole_file::write_file(path, write)
}
