//! `logs`: what a container printed.

use std::io::{self, Write};
use std::process::ExitCode;

use engine::container::LogEntry;
use engine::logs::{LogsRequest, logs};

use crate::cli::{CliError, Global, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Go on until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines, a number or `all`
    #[arg(short = 'n', long, default_value = "all", allow_negative_numbers = true)]
    tail: String,
    /// Show when each line was printed
    #[arg(short, long)]
    timestamps: bool,
    /// Only from this time on, or from so long ago, such as `42m`
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only up to this time, or up to so long ago
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Taken for Docker's sake
    #[arg(long, hide = true)]
    details: bool,
    /// The container
    container: String,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let engine = global.engine()?;
    let time = |text: &Option<String>| -> Result<Option<i128>, CliError> {
        let mut filters = engine::filter::Filters::default();
        if let Some(text) = text {
            filters.add("until", text);
        }
        Ok(filters.until()?.map(i128::from))
    };
    let request = LogsRequest {
        // As in Docker, a number that is none is all.
        tail: args.tail.parse::<u64>().ok(),
        follow: args.follow,
        since: time(&args.since)?,
        until: time(&args.until)?,
    };
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    logs::<CliError>(&engine, &args.container, &request, &mut |entries: &[LogEntry]| {
        for entry in entries {
            let to: &mut dyn Write = if entry.stream == "stderr" { &mut err } else { &mut out };
            if args.timestamps {
                write!(to, "{} ", entry.time)?;
            }
            to.write_all(entry.log.as_bytes())?;
        }
        Ok(out.flush()?)
    })?;
    Ok(ExitCode::SUCCESS)
}
