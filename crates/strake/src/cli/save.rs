//! `save`: images as an archive.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use engine::save::{Format, save};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat};
use rustix::io::Errno;

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
    let failed =
        |doing: &str, error: io::Error| CliError::new(format!("cannot {doing} {}: {error}", path.display()));
    // A device or a pipe is written as it is: nothing can be renamed over it.
    if path.exists() && !path.is_file() {
        let file = File::create(path).map_err(|e| failed("open", e))?;
        return write(&mut BufWriter::with_capacity(1 << 20, file));
    }
    let part = Part::new(path).map_err(|e| failed("create", e))?;
    let mut out = BufWriter::with_capacity(1 << 20, &part.file);
    write(&mut out)?;
    out.flush().map_err(|e| failed("write", e))?;
    drop(out);
    part.becomes(path).map_err(|e| failed("create", e))
}

/// A file that is not there yet: without a name where the file system can have such, so that nothing is left of it
/// when we are killed, else under another name.
struct Part {
    file: File,
    name: PathBuf,
    named: bool,
}

impl Part {
    fn new(path: &Path) -> io::Result<Part> {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".part{}", std::process::id()));
        let name = PathBuf::from(name);
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let nameless = openat(CWD, directory.unwrap_or(Path::new(".")), flags, Mode::from_raw_mode(0o666));
        match nameless {
            Ok(file) => Ok(Part { file: file.into(), name, named: false }),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                Ok(Part { file: File::create(&name)?, name, named: true })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Gives it its name, in the place of what had it.
    fn becomes(mut self, path: &Path) -> io::Result<()> {
        if !self.named {
            let link = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            linkat(CWD, link, CWD, &self.name, AtFlags::SYMLINK_FOLLOW)?;
            self.named = true;
        }
        std::fs::rename(&self.name, path)?;
        self.named = false;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.named {
            let _ = std::fs::remove_file(&self.name);
        }
    }
}
