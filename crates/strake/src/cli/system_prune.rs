//! `strake system prune`.

use std::process::ExitCode;

use engine::prune::{self, PruneSystemRequest};

use crate::cli::filter::{self, Filter};
use crate::cli::{Global, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Remove all unused images, not just dangling ones, and all build cache
    #[arg(short, long)]
    all: bool,
    /// Only what matches: label, label!, until
    #[arg(long = "filter", value_name = "NAME=VALUE")]
    filters: Vec<Filter>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
    /// Prune anonymous volumes (here nothing: there are none)
    #[arg(long)]
    volumes: bool,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let (images, cache) = match args.all {
        true => ("all images without at least one container associated to them", "all build cache"),
        false => ("all dangling images", "unused build cache"),
    };
    let warning =
        format!("WARNING! This will remove:\n  - all stopped containers\n  - {images}\n  - {cache}\n");
    crate::cli::prune::confirm(args.force, &warning)?;
    let request = PruneSystemRequest { all: args.all, filters: filter::collect(args.filters) };
    let report = prune::system(&global.engine_in_namespace()?, &request)?;
    crate::cli::prune::tell(&report.items, report.freed)?;
    Ok(ExitCode::SUCCESS)
}
