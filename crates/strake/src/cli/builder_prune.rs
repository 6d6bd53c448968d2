//! `strake builder prune`.

use std::process::ExitCode;

use engine::prune::{self, PruneCacheRequest};

use crate::cli::filter::{self, Filter};
use crate::cli::{CliError, Global, Outcome, units};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Remove all build cache, not just what no image shares
    #[arg(short, long)]
    all: bool,
    /// Only records that match: until (unused for that long)
    #[arg(long = "filter", value_name = "NAME=VALUE")]
    filters: Vec<Filter>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
    /// Amount of disk space to keep for cache, such as 512MB
    #[arg(long, alias = "max-used-space", alias = "reserved-space", value_name = "BYTES")]
    keep_storage: Option<String>,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let keep_bytes = args.keep_storage.as_deref().map(|text| {
        units::parse_size(text).ok_or_else(|| CliError::new(format!("invalid size: '{text}'")).with_code(125))
    });
    let keep_bytes = keep_bytes.transpose()?;
    let which = match args.all {
        true => "WARNING! This will remove all build cache.",
        false => "WARNING! This will remove all dangling build cache.",
    };
    crate::cli::prune::confirm(args.force, which)?;
    let request = PruneCacheRequest { all: args.all, filters: filter::collect(args.filters), keep_bytes };
    let report = prune::cache(&global.engine_in_namespace()?, &request)?;
    crate::cli::prune::tell(&report.items, report.freed)?;
    Ok(ExitCode::SUCCESS)
}
