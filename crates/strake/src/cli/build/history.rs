//! `build history`: the builds that are remembered.

use std::process::ExitCode;

use engine::build::{BuildRecord, builds};
use serde_json::{Value, json};

use crate::cli::format::{self, Format, Rows};
use crate::cli::{Global, Outcome, units};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long, value_name = "STRING", help = format::HELP)]
    format: Option<String>,
    /// Only show IDs
    #[arg(short, long)]
    quiet: bool,
}

const TABLE: &str = "{{.ID}}\t{{.Name}}\t{{.Status}}\t{{.CreatedSince}}\t{{.Duration}}";

const ROWS: Rows<'_> = Rows {
    kind: "build",
    headers: &[
        ("ID", "BUILD ID"),
        ("Name", "NAME"),
        ("Status", "STATUS"),
        ("CreatedSince", "CREATED AT"),
        ("CreatedAt", "CREATED AT"),
        ("Duration", "DURATION"),
        ("Steps", "STEPS"),
        ("Cached", "CACHED"),
        ("Error", "ERROR"),
    ],
    methods: &[],
};

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let format = Format::parse(args.format.as_deref(), TABLE, args.quiet)?;
    let rows: Vec<Value> = builds(&global.engine()?)?.iter().map(row).collect();
    format.print(&ROWS, &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn row(record: &BuildRecord) -> Value {
    let began = i64::try_from(record.began / 1000).unwrap_or(i64::MAX);
    let status = match (&record.error, record.took) {
        (Some(_), _) => "Error",
        (None, Some(_)) => "Completed",
        // It runs, or was killed.
        (None, None) => "Unfinished",
    };
    let cached = record.steps.iter().filter(|step| step.ending == "cached").count();
    format::row([
        ("ID", json!(record.id)),
        ("Name", json!(record.name)),
        ("Status", json!(status)),
        ("CreatedSince", json!(units::ago(began))),
        ("CreatedAt", json!(units::rfc3339(began))),
        ("Duration", json!(record.took.map_or_else(String::new, |ms| format!("{:.1}s", ms as f64 / 1000.0)))),
        ("Steps", json!(record.steps.len())),
        ("Cached", json!(cached)),
        ("Error", json!(record.error.as_deref().unwrap_or_default())),
    ])
}
