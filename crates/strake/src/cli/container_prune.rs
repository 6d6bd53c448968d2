//! `strake container prune`.

use std::process::ExitCode;

use crate::cli::filter::{self, Filter};
use crate::cli::{Global, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only containers that match: label, label!, until
    #[arg(long = "filter", value_name = "NAME=VALUE")]
    filters: Vec<Filter>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    crate::cli::prune::confirm(args.force, "WARNING! This will remove all stopped containers.")?;
    let filters = filter::collect(args.filters);
    let report = engine::prune::containers(&global.engine_in_namespace()?, &filters)?;
    crate::cli::prune::tell(&report.items, report.freed)?;
    Ok(ExitCode::SUCCESS)
}
