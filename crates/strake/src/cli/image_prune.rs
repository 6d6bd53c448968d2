//! `strake image prune`.

use std::process::ExitCode;

use engine::prune::{self, PruneImagesRequest};

use crate::cli::filter::{self, Filter};
use crate::cli::{Global, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Remove all unused images, not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// Only images that match: label, label!, until
    #[arg(long = "filter", value_name = "NAME=VALUE")]
    filters: Vec<Filter>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let which = match args.all {
        true => "WARNING! This will remove all images without at least one container associated to them.",
        false => "WARNING! This will remove all dangling images.",
    };
    crate::cli::prune::confirm(args.force, which)?;
    let request = PruneImagesRequest { all: args.all, filters: filter::collect(args.filters) };
    let report = prune::images(&global.engine_in_namespace()?, &request)?;
    crate::cli::prune::tell(&report.items, report.freed)?;
    Ok(ExitCode::SUCCESS)
}
