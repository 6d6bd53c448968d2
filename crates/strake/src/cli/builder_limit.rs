//! `strake builder limit`: how large the build cache may grow.

use std::process::ExitCode;

use engine::cache::{self, CacheLimit};

use crate::cli::{CliError, Global, Outcome, output, units};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The new limit: a size such as 20GB, a share of the disk such as 60%, `none`, or `default`, which is at most 80% of
    /// the disk and 100GB, with 20% of the disk left free
    #[arg(value_name = "SIZE")]
    limit: Option<String>,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let engine = global.engine()?;
    if let Some(text) = &args.limit {
        let limit = match (text.parse::<CacheLimit>(), units::parse_size(text)) {
            (Ok(limit), _) => limit,
            (Err(()), Some(bytes)) => CacheLimit::Bytes(bytes),
            (Err(()), None) => {
                return Err(CliError::new(format!("invalid size: '{text}'"))
                    .hint("write a size (20GB), a share of the disk (60%), none or default"));
            }
        };
        cache::set_limit(&engine, limit)?;
        return Ok(ExitCode::SUCCESS);
    }
    let limit = cache::limit(&engine)?;
    let text = match (limit, cache::most(&engine)?) {
        (CacheLimit::Bytes(bytes), _) => units::size(bytes),
        (limit, Some(most)) => format!("{limit} (at most {})", units::size(most)),
        (limit, None) => limit.to_string(),
    };
    output::text(&format!("{text}\n"))?;
    Ok(ExitCode::SUCCESS)
}
