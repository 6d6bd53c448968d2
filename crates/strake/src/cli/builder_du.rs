//! `strake builder du`: what the build cache holds, in buildx's columns.

use std::io::{self, Write};
use std::process::ExitCode;

use engine::cache::{self, CacheEntry};
use serde_json::{Value, json};

use crate::cli::filter::{self, Loose};
use crate::cli::format::{self, Format, Rows};
use crate::cli::{CliError, Global, Outcome, units};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only entries that match: until, id, type, description, inuse, mutable, immutable, shared, private
    #[arg(long = "filter", value_name = "NAME=VALUE")]
    filters: Vec<Loose>,
    #[arg(long, value_name = "STRING", help = format::HELP)]
    format: Option<String>,
    /// Provide a more verbose output
    #[arg(long)]
    verbose: bool,
}

const TABLE: &str = "{{.ID}}\t{{.Reclaimable}}\t{{.Size}}\t{{.LastUsedAt}}";

const ROWS: Rows<'_> = Rows {
    kind: "disk usage",
    headers: &[
        ("ID", "ID"),
        ("Reclaimable", "RECLAIMABLE"),
        ("Size", "SIZE"),
        ("LastUsedAt", "LAST ACCESSED"),
        ("Parents", "PARENTS"),
        ("CreatedAt", "CREATED AT"),
        ("Mutable", "MUTABLE"),
        ("Shared", "SHARED"),
        ("Description", "DESCRIPTION"),
        ("UsageCount", "USAGE COUNT"),
        ("Type", "TYPE"),
    ],
    methods: &[],
};

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    if args.verbose && args.format.is_some() {
        return Err(CliError::new("--format and --verbose cannot be used together"));
    }
    let filtered = !args.filters.is_empty();
    let filters = filter::collect_loose(args.filters);
    let entries = cache::entries(&global.engine_unswept()?, &filters)?;
    let mut out = io::stdout().lock();
    if args.verbose {
        for entry in &entries {
            out.write_all(verbose(entry).as_bytes())?;
        }
    } else {
        let option = args.format.as_deref();
        let table = matches!(option, None | Some("table")) || option.is_some_and(|o| o.starts_with("table"));
        let format = Format::parse(option, TABLE, false)?;
        let rows: Vec<Value> = entries.iter().map(|entry| row(entry, table)).collect();
        out.write_all(format.render(&ROWS, &rows)?.as_bytes())?;
        if !table {
            out.flush()?;
            return Ok(ExitCode::SUCCESS);
        }
    }
    if !filtered {
        out.write_all(summary(&entries).as_bytes())?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// `label:` and its value, as far apart as buildx's tabs set them.
fn pair(label: &str, value: &str) -> String {
    let tabs = if label.len() + 1 < 8 { "\t\t" } else { "\t" };
    format!("{label}:{tabs}{value}\n")
}

fn verbose(entry: &CacheEntry) -> String {
    let mut text = pair("ID", &entry.id);
    if !entry.parents.is_empty() {
        text.push_str(&pair("Parent", &entry.parents.join(",")));
    }
    text.push_str(&pair("Created at", &units::timestamp(entry.created / 1_000_000_000)));
    text.push_str(&pair("Mutable", &entry.mutable().to_string()));
    text.push_str(&pair("Reclaimable", &(!entry.in_use).to_string()));
    text.push_str(&pair("Shared", &entry.shared.to_string()));
    text.push_str(&pair("Size", &units::size(entry.size)));
    text.push_str(&pair("Description", &entry.description.replace('\n', " ")));
    text.push_str(&pair("Usage count", &entry.uses.to_string()));
    if entry.last_used > 0 {
        text.push_str(&pair("Last used", &ago(entry.last_used)));
    }
    text.push_str(&pair("Type", entry.kind.name()));
    text.push('\n');
    text
}

/// How long ago a moment is, in nanoseconds since the Unix epoch.
fn ago(moment: i64) -> String {
    units::ago(moment / 1_000_000_000)
}

/// In a table a star marks what steps write into, and what images share.
fn row(entry: &CacheEntry, table: bool) -> Value {
    let star = |text: String, marked: bool| if table && marked { format!("{text}*") } else { text };
    let last_used = match (table, entry.last_used) {
        (_, 0) => String::new(),
        (true, moment) => ago(moment),
        (false, moment) => units::rfc3339(moment / 1_000_000_000),
    };
    format::row([
        ("ID", json!(star(entry.id.clone(), entry.mutable()))),
        ("Reclaimable", json!(!entry.in_use)),
        ("Size", json!(star(units::size(entry.size), entry.shared))),
        ("LastUsedAt", json!(last_used)),
        ("Parents", json!(entry.parents)),
        ("CreatedAt", json!(units::rfc3339(entry.created / 1_000_000_000))),
        ("Mutable", json!(entry.mutable())),
        ("Shared", json!(entry.shared)),
        ("Description", json!(entry.description)),
        ("UsageCount", json!(entry.uses)),
        ("Type", json!(entry.kind.name())),
    ])
}

fn summary(entries: &[CacheEntry]) -> String {
    let sum = |wanted: &dyn Fn(&CacheEntry) -> bool| -> u64 {
        entries.iter().filter(|entry| wanted(entry)).map(|entry| entry.size).sum()
    };
    let (total, shared) = (sum(&|_| true), sum(&|entry| entry.shared));
    let mut text = String::new();
    if shared > 0 {
        text.push_str(&pair("Shared", &units::size(shared)));
        text.push_str(&pair("Private", &units::size(total - shared)));
    }
    text.push_str(&pair("Reclaimable", &units::size(sum(&|entry| !entry.in_use))));
    text.push_str(&pair("Total", &units::size(total)));
    text
}
