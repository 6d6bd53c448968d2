//! `strake builder prune`.

use std::process::ExitCode;

use engine::prune::{self, CacheSpace, PruneCacheRequest};

use crate::cli::filter::{self, Loose};
use crate::cli::{CliError, Global, Outcome, units};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Remove all build cache, not just what no image shares
    #[arg(short, long)]
    all: bool,
    /// Only what matches: until (unused for that long), id, type (regular, exec.cachemount, source.local), description,
    /// mutable, immutable, shared, private
    #[arg(long = "filter", value_name = "NAME=VALUE")]
    filters: Vec<Loose>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
    /// Amount of disk space always allowed to keep for cache, such as 512MB
    #[arg(long, alias = "keep-storage", value_name = "BYTES")]
    reserved_space: Option<String>,
    /// Maximum amount of disk space allowed to keep for cache
    #[arg(long, value_name = "BYTES")]
    max_used_space: Option<String>,
    /// Target amount of free disk space after pruning
    #[arg(long, value_name = "BYTES")]
    min_free_space: Option<String>,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let size = |given: &Option<String>| {
        let parse = |text: &String| {
            units::parse_size(text)
                .ok_or_else(|| CliError::new(format!("invalid size: '{text}'")).with_code(125))
        };
        given.as_ref().map(parse).transpose()
    };
    let reserved = size(&args.reserved_space)?;
    let max_used = size(&args.max_used_space)?;
    let min_free = size(&args.min_free_space)?;
    let keep = space(reserved, max_used, min_free);
    let which = match args.all {
        true => "WARNING! This will remove all build cache.",
        false => "WARNING! This will remove all dangling build cache.",
    };
    crate::cli::prune::confirm(args.force, which)?;
    let request = PruneCacheRequest { all: args.all, filters: filter::collect_loose(args.filters), keep };
    let report = prune::cache(&global.engine_in_namespace()?, &request)?;
    crate::cli::prune::tell(&report.items, report.freed)?;
    Ok(ExitCode::SUCCESS)
}

/// As BuildKit takes the three together: what is reserved stays, and where no maximum and no free space are given, no
/// more than that.
fn space(reserved: Option<u64>, max_used: Option<u64>, min_free: Option<u64>) -> Option<CacheSpace> {
    if reserved.is_none() && max_used.is_none() && min_free.is_none() {
        return None;
    }
    let max_used = max_used.unwrap_or(if min_free.is_some() { u64::MAX } else { 0 });
    Some(CacheSpace { reserved: reserved.unwrap_or(0), max_used, min_free: min_free.unwrap_or(0) })
}
