//! `pull`: an image from a registry or an OCI layout.

use std::process::ExitCode;

use engine::pull::{PullSource, pull};
use engine::{Events, Silent};
use oci::{Platform, Reference};

use crate::cli::transfer::Transfer;
use crate::cli::{CliError, Global, Outcome, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image
    image: String,
    /// Print only the image's name
    #[arg(short, long)]
    quiet: bool,
    /// What the image is to run on
    #[arg(long)]
    platform: Option<String>,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let source = PullSource::parse(&args.image)?;
    let platform = match &args.platform {
        Some(text) => text.parse().map_err(|e: oci::PlatformError| CliError::new(e.to_string()))?,
        None => Platform::host(),
    };
    let engine = global.engine_in_namespace()?;
    let named = Reference::parse(&args.image).ok().filter(|_| matches!(source, PullSource::Registry(_)));
    if named.is_some_and(|name| name.tag.is_none() && name.digest.is_none()) && !args.quiet {
        crate::cli::output::say("Using default tag: latest");
    }
    let transfer = Transfer::default();
    let events: &dyn Events = if args.quiet { &Silent } else { &transfer };
    for pulled in pull(&engine, &source, &platform, &engine::pull::Options::default(), events)? {
        for reference in &pulled.references {
            output::text(&format!("{reference}\n"))?;
        }
        if pulled.references.is_empty() {
            output::text(&format!("{}\n", pulled.image))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
