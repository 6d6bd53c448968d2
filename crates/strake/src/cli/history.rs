//! `strake history` (`image history`).

use std::process::ExitCode;

use engine::history::{History, HistoryStep};
use engine::{Event, Events};
use serde_json::{Value, json};

use crate::cli::error::shown;
use crate::cli::format::{self, Format, Rows};
use crate::cli::{Global, Outcome, units};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long, value_name = "STRING", help = format::HELP)]
    format: Option<String>,
    /// Print sizes and dates in human readable format
    #[arg(short = 'H', long, value_name = "BOOL", default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    human: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only show image IDs
    #[arg(short, long)]
    quiet: bool,
    /// A name or an ID
    #[arg(value_name = "IMAGE")]
    image: String,
}

const TABLE: &str = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const TABLE_FOR_MACHINES: &str = "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";

const ROWS: Rows<'_> = Rows {
    kind: "history",
    headers: &[
        ("ID", "IMAGE"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
        ("Layer", "LAYER"),
        ("Base", "BASE"),
    ],
    methods: &[],
};

/// Docker shows no age for what was made before: reproducible builds have times like 1970.
const YEAR_2000: i64 = 946_684_800;

/// Longest CREATED BY of a table.
const CREATED_BY_WIDTH: usize = 45;

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let table = if args.human { TABLE } else { TABLE_FOR_MACHINES };
    let format = Format::parse(args.format.as_deref(), table, args.quiet)?;
    let history = engine::history::history(&global.engine()?, &args.image)?;
    let rows: Vec<Value> = history.steps.iter().map(|step| row(step, &args)).collect();
    format.print(&ROWS, &rows)?;
    if args.format.is_none() && !args.quiet {
        tell_base(&history, global);
    }
    Ok(ExitCode::SUCCESS)
}

fn row(step: &HistoryStep, args: &Args) -> Value {
    let id = step.image.as_ref().map_or_else(|| "<missing>".to_owned(), ToString::to_string);
    let created_by = shown(&step.created_by).replace('\t', " ");
    let at = step.created.map(units::rfc3339).unwrap_or_default();
    let since = match step.created {
        Some(_) if !args.human => at.clone(),
        Some(seconds) if seconds > YEAR_2000 => units::ago(seconds),
        _ => String::new(),
    };
    format::row([
        ("ID", json!(if args.no_trunc { &id } else { units::short_id(&id) })),
        ("CreatedSince", json!(since)),
        ("CreatedAt", json!(at)),
        (
            "CreatedBy",
            json!(if args.no_trunc { created_by } else { units::ellipsis(&created_by, CREATED_BY_WIDTH) }),
        ),
        ("Size", json!(if args.human { units::size3(step.size) } else { step.size.to_string() })),
        ("Comment", json!(shown(&step.comment))),
        ("Layer", json!(step.layer.as_ref().map(ToString::to_string).unwrap_or_default())),
        ("Base", json!(step.base.clone().unwrap_or_default())),
    ])
}

/// Docker's table has no place for the base image: it is told beside it, on stderr.
fn tell_base(history: &History, global: &Global) {
    let Some(base) = &history.base else { return };
    let digest = base.digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
    let steps = history.steps.iter().filter(|step| step.base.is_some()).count();
    let part = match steps {
        0 => String::new(),
        1 => " (the last line)".to_owned(),
        steps => format!(" (the last {steps} lines)"),
    };
    global.event(Event::Status(format!("Base image: {}{digest}{part}", base.name)));
}
