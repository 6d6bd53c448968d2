//! `run`: a container from an image, in the foreground or in the background.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::ExitCode;

use engine::container::{Container, Ended};

use crate::cli::attach::{Attached, Wanted};
use crate::cli::container_args::ContainerArgs;
use crate::cli::{CliError, Global, Outcome, monitor, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run in the background and print the container ID
    #[arg(short, long)]
    detach: bool,
    /// Whether signals are the container's
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true")]
    sig_proxy: String,
    /// Taken for Docker's sake
    #[arg(long, hide = true)]
    detach_keys: Option<String>,
    #[command(flatten)]
    container: ContainerArgs,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    run_at_all(&args, global).map_err(CliError::not_started)
}

fn run_at_all(args: &Args, global: &Global) -> Outcome {
    let given = &args.container;
    if args.detach && !given.attach.is_empty() {
        return Err(CliError::new("conflicting options: cannot specify both --attach and --detach"));
    }
    let mut request = given.request()?;
    given.warn(global);
    let cidfile = given.cidfile.as_deref().map(CidFile::new).transpose()?;
    let engine = global.engine_for_containers()?;
    if given.image() == engine::build::failed::FAILED {
        request.image = engine::build::failed::image(&engine)?.to_string();
    } else {
        given.ensure_image(&engine, global)?;
    }
    let made = |container: &Container| {
        if let Some(cidfile) = &cidfile {
            cidfile.write(&container.record.id);
        }
    };
    if args.detach {
        let (container, lock) = engine::container::create(&engine, &request)?;
        made(&container);
        let id = container.record.id;
        drop(lock);
        return match monitor::start(global, &id)? {
            None => {
                output::text(&format!("{id}\n"))?;
                Ok(ExitCode::SUCCESS)
            }
            Some(ended) => finish(ended),
        };
    }
    let attached = Attached::new(Wanted {
        tty: given.tty,
        stdin: given.attaches("stdin"),
        stdout: given.attaches("stdout"),
        stderr: given.attaches("stderr"),
        log: !given.rm,
        signals: args.sig_proxy != "false",
    })?;
    let ended = engine::run::run(&engine, &request, attached.io(), &made)?;
    drop(attached);
    finish(ended)
}

/// Says why a container did not start, and gives its exit code.
pub(crate) fn finish(ended: Ended) -> Outcome {
    for warning in ended.warnings {
        crate::cli::output::say(&format!("WARNING: {warning}"));
    }
    let code = u8::try_from(ended.code & 0xff).unwrap_or(1);
    match ended.error {
        Some(error) => Err(CliError::new(error).not_started().with_code(code)),
        None => Ok(ExitCode::from(code)),
    }
}

/// The file that gets the container's ID: made before the container, so that there are never two for one file.
pub(crate) struct CidFile<'a>(&'a Path);

impl CidFile<'_> {
    pub(crate) fn new(path: &Path) -> Result<CidFile<'_>, CliError> {
        match File::create_new(path) {
            Ok(_) => Ok(CidFile(path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(CliError::new(format!(
                "container ID file found, make sure the other container isn't running or delete {}",
                path.display()
            ))),
            Err(error) => Err(CliError::new(format!(
                "failed to create the container ID file {}: {error}",
                path.display()
            ))),
        }
    }

    pub(crate) fn write(&self, id: &str) {
        // Told and not fatal: the container is there.
        if let Err(error) = fs::write(self.0, id) {
            crate::cli::output::say(&format!("WARNING: writing {}: {error}", self.0.display()));
        }
    }
}

impl Drop for CidFile<'_> {
    fn drop(&mut self) {
        // Still empty: no container was made.
        if fs::metadata(self.0).is_ok_and(|meta| meta.len() == 0) {
            let _ = fs::remove_file(self.0);
        }
    }
}
