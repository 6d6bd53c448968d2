//! `logs`: what a container printed.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::cli::{CliError, Global, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only the last lines, a number or `all`
    #[arg(short = 'n', long, default_value = "all")]
    tail: String,
    /// Show when each line was printed
    #[arg(short, long)]
    timestamps: bool,
    /// The container
    container: String,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let engine = global.engine()?;
    let entries: Vec<_> = engine::logs::logs(&engine, &args.container)?.collect();
    let first = match args.tail.as_str() {
        "all" => 0,
        number => entries.len().saturating_sub(
            number.parse().map_err(|_| CliError::new(format!("invalid value {number:?} for --tail")))?,
        ),
    };
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    for entry in &entries[first..] {
        let time = if args.timestamps { format!("{} ", entry.time) } else { String::new() };
        let text = format!("{time}{}", entry.log);
        let to: &mut dyn Write = if entry.stream == "stderr" { &mut err } else { &mut out };
        to.write_all(text.as_bytes()).map_err(CliError::from)?;
    }
    Ok(ExitCode::SUCCESS)
}
