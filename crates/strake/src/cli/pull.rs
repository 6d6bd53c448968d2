//! `pull`: an image from a registry or an OCI layout.

use std::process::ExitCode;

use engine::pull::{PullRequest, PullSource, pull};
use engine::{Events, Silent};
use oci::{Platform, Reference};

use crate::cli::transfer::Transfer;
use crate::cli::{CliError, Global, Outcome, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image: a reference, or oci:DIRECTORY[:TAG]
    image: String,
    /// Download all tagged images in the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Print only the image's name
    #[arg(short, long)]
    quiet: bool,
    /// What the image is to run on
    #[arg(long)]
    platform: Option<String>,
    /// How many layers to download at once
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: Option<u16>,
    /// Taken for Docker's sake: there is no content trust here
    #[arg(long, hide = true)]
    disable_content_trust: bool,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let source = PullSource::parse(&args.image)?;
    let platform = match &args.platform {
        Some(text) => text.parse().map_err(|e: oci::PlatformError| CliError::new(e.to_string()))?,
        None => Platform::host(),
    };
    let named = Reference::parse(&args.image).ok().filter(|_| matches!(source, PullSource::Registry(_)));
    if args.all_tags && named.as_ref().is_some_and(|name| name.tag.is_some() || name.digest.is_some()) {
        return Err(CliError::new("tag can't be used with --all-tags/-a"));
    }
    let engine = global.engine_in_namespace()?;
    if named.is_some_and(|name| name.tag.is_none() && name.digest.is_none()) && !args.quiet && !args.all_tags
    {
        crate::cli::output::say("Using default tag: latest");
    }
    let request = PullRequest {
        all_tags: args.all_tags,
        jobs: args.jobs.map(usize::from),
        ..PullRequest::new(source, platform)
    };
    let transfer = Transfer::new();
    let events: &dyn Events = if args.quiet { &Silent } else { &transfer };
    let pulled = pull(&engine, &request, &global.registry_client()?, events);
    drop(transfer);
    for pulled in pulled? {
        for reference in &pulled.references {
            output::text(&format!("{reference}\n"))?;
        }
        if pulled.references.is_empty() {
            output::text(&format!("{}\n", pulled.image))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
