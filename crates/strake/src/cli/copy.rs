//! `copy`: images from one registry or layout to another, as they are.

use std::path::PathBuf;
use std::process::ExitCode;

use engine::copy::{CopyRequest, Place, copy};
use engine::{Events, Silent};
use oci::PlatformError;

use crate::cli::push::{How, write_digest};
use crate::cli::transfer::Transfer;
use crate::cli::{CliError, Global, Outcome, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to copy: a reference, oci:DIRECTORY[:TAG], or store:NAME for an image that is here
    from: String,
    /// Where to: the same
    to: String,
    /// Of a multi-platform image only the one for this platform
    #[arg(long)]
    platform: Option<String>,
    /// Leave what refers to the image: signatures, attestations, bills of material
    #[arg(long)]
    no_referrers: bool,
    /// Taken for skopeo's sake: all platforms are copied unless one is asked for
    #[arg(short, long, hide = true)]
    all: bool,
    /// Print only the digest
    #[arg(short, long)]
    quiet: bool,
    /// Write the digest of what was copied to this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let platform = args.platform.as_deref().map(str::parse).transpose();
    let options = args.how.options()?;
    let request = CopyRequest {
        from: args.from.parse()?,
        to: args.to.parse()?,
        platform: platform.map_err(|e: PlatformError| CliError::new(e.to_string()))?,
        alone: args.no_referrers,
        jobs: options.jobs,
        options,
    };
    // The store's files are looked at only where it is one of the places.
    let of_store = [&request.from, &request.to].iter().any(|place| matches!(place, Place::Store(_)));
    let engine = if of_store { global.engine_in_namespace()? } else { global.engine()? };
    let transfer = Transfer::new();
    let events: &dyn Events = if args.quiet { &Silent } else { &transfer };
    let copied = copy(&engine, &request, &global.registry_client()?, events);
    drop(transfer);
    let copied = copied?;
    if let Some(path) = &args.digestfile {
        write_digest(path, &copied.digest)?;
    }
    if args.quiet {
        output::text(&format!("{}\n", copied.digest))?;
    } else if copied.referrers > 0 {
        output::say(&format!("{} that refer to it were copied, too", copied.referrers));
    }
    Ok(ExitCode::SUCCESS)
}
