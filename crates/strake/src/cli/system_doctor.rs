//! `strake system doctor`.

use std::io::{self, Write};
use std::process::ExitCode;

use engine::doctor::{Check, Status};
use serde_json::json;

use crate::cli::format::{self, Format, Rows};
use crate::cli::{CliError, Global, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long, value_name = "STRING", help = format::HELP)]
    format: Option<String>,
}

const TABLE: &str = "{{.Status}}\t{{.Name}}\t{{.Detail}}";

const ROWS: Rows<'_> = Rows {
    kind: "check",
    headers: &[
        ("Status", "STATUS"),
        ("Name", "CHECK"),
        ("Detail", "FOUND"),
        ("Without", "WITHOUT IT"),
        ("Remedy", "REMEDY"),
    ],
    methods: &[],
};

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let checks = engine::doctor::checks(&global.root()?);
    match &args.format {
        None => explain(&checks)?,
        Some(option) => {
            let rows: Vec<_> = checks
                .iter()
                .map(|check| {
                    format::row([
                        ("Status", json!(word(check.status))),
                        ("Name", json!(check.name)),
                        ("Detail", json!(check.detail)),
                        ("Without", json!(check.without)),
                        ("Remedy", json!(check.remedy)),
                    ])
                })
                .collect();
            Format::parse(Some(option), TABLE, false)?.print(&ROWS, &rows)?;
        }
    }
    if checks.iter().any(|check| check.status == Status::Missing) {
        return Err(CliError::silent(1));
    }
    Ok(ExitCode::SUCCESS)
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Degraded => "degraded",
        Status::Missing => "missing",
    }
}

/// For people: a line for each, and below what is not as it should be, what that means and what to do.
fn explain(checks: &[Check]) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    for check in checks {
        writeln!(out, "{:<8}  {:<width$}  {}", word(check.status), check.name, check.detail)?;
        for (title, text) in [("without it", &check.without), ("to turn it on", &check.remedy)] {
            if !text.is_empty() {
                writeln!(out, "{:<8}  {:<width$}  {title}: {text}", "", "")?;
            }
        }
    }
    let count = |status: Status| checks.iter().filter(|check| check.status == status).count();
    let verdict = match (count(Status::Missing), count(Status::Degraded)) {
        (0, 0) => "Everything works here.".to_owned(),
        (0, 1) => "Builds and containers work here; one thing works in a lesser way.".to_owned(),
        (0, lesser) => format!("Builds and containers work here; {lesser} things work in a lesser way."),
        (1, _) => "Builds and containers do not work here: one thing is missing.".to_owned(),
        (missing, _) => format!("Builds and containers do not work here: {missing} things are missing."),
    };
    writeln!(out, "\n{verdict}")?;
    out.flush()?;
    Ok(())
}
