//! `push`: images to a registry.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use engine::push::{ManifestFormat, Method, PushOptions, PushRequest, push};
use engine::{Events, Silent};
use oci::{DEFAULT_TAG, Digest, Reference};

use crate::cli::transfer::Transfer;
use crate::cli::{CliError, Global, Outcome, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image
    #[arg(value_name = "NAME[:TAG]")]
    image: String,
    /// Push all tags of an image to the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Print only the image's name with its digest
    #[arg(short, long)]
    quiet: bool,
    /// Write the digest of what was pushed to this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    #[command(flatten)]
    how: How,
    /// Taken for Docker's sake: there is no content trust here
    #[arg(long, hide = true)]
    disable_content_trust: bool,
}

/// How images are sent; the same for all verbs that send some.
#[derive(Debug, clap::Args)]
pub(crate) struct How {
    /// How layers are compressed that were made here: gzip, zstd or uncompressed
    #[arg(long, alias = "compression-format", value_name = "NAME")]
    compression: Option<String>,
    /// How much: gzip 0 to 9 (default 1), zstd 1 to 19 (default 3)
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    compression_level: Option<i64>,
    /// Compress layers anew that came compressed in another way
    #[arg(long)]
    force_compression: bool,
    /// Kind of manifest: oci or docker (default: the image's own, else oci)
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// How many layers to send at once (default 4, or 3 where some are compressed)
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: Option<u16>,
}

impl How {
    pub(crate) fn options(&self) -> Result<PushOptions, CliError> {
        let method = match (&self.compression, self.compression_level) {
            (None, None) if self.force_compression => {
                return Err(CliError::new(
                    "--force-compression needs --compression: gzip, zstd or uncompressed",
                ));
            }
            (None, None) => None,
            (name, level) => Some(
                Method::new(name.as_deref().unwrap_or("gzip"), level)
                    .map_err(|error| CliError::new(error.to_string()))?,
            ),
        };
        let format = self.format.as_deref().map(manifest_format).transpose()?;
        Ok(PushOptions { method, force: self.force_compression, format, jobs: self.jobs.map(usize::from) })
    }
}

/// `oci` or `docker`, which podman calls `v2s2`.
pub(crate) fn manifest_format(text: &str) -> Result<ManifestFormat, CliError> {
    match text {
        "oci" => Ok(ManifestFormat::Oci),
        "docker" | "v2s2" => Ok(ManifestFormat::Docker),
        other => Err(CliError::new(format!("unknown format {other:?}: oci or docker"))),
    }
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let name = Reference::parse(&args.image).map_err(|error| CliError::new(error.to_string()))?;
    if args.all_tags && name.tag.is_some() {
        return Err(CliError::new("tag can't be used with --all-tags/-a"));
    }
    let options = args.how.options()?;
    let engine = global.engine_in_namespace()?;
    if name.tag.is_none() && name.digest.is_none() && !args.all_tags && !args.quiet {
        output::say(&format!("Using default tag: {DEFAULT_TAG}"));
    }
    let request = PushRequest { name, all_tags: args.all_tags, options };
    let transfer = Transfer::new();
    let events: &dyn Events = if args.quiet { &Silent } else { &transfer };
    let pushed = push(&engine, &request, &global.registry_client()?, events);
    drop(transfer);
    let pushed = pushed?;
    if let (Some(path), Some(last)) = (&args.digestfile, pushed.last()) {
        write_digest(path, &last.digest)?;
    }
    if args.quiet {
        for pushed in &pushed {
            output::text(&format!("{}@{}\n", pushed.reference, pushed.digest))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The digest alone, as podman writes it.
pub(crate) fn write_digest(path: &Path, digest: &Digest) -> Result<(), CliError> {
    std::fs::write(path, digest.to_string())
        .map_err(|error| CliError::new(format!("cannot write {}: {error}", path.display())))
}
