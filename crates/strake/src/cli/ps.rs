//! `strake ps` (`container ls`).

use std::process::ExitCode;

use engine::container::{Container, Status};
use serde_json::{Value, json};

use crate::cli::format::{self, Format, Rows};
use crate::cli::{Global, Outcome, units};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show all containers (default: only those that run)
    #[arg(short, long)]
    all: bool,
    #[arg(long, value_name = "STRING", help = format::HELP)]
    format: Option<String>,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only show container IDs
    #[arg(short, long)]
    quiet: bool,
    /// Show the container made last, whatever its state
    #[arg(short, long)]
    latest: bool,
}

const TABLE: &str = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

/// The fields of a container in lists.
pub(crate) const ROWS: Rows<'_> = Rows {
    kind: "container",
    headers: &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("CreatedAt", "CREATED AT"),
        ("RunningFor", "CREATED"),
        ("State", "STATE"),
        ("Status", "STATUS"),
        ("Ports", "PORTS"),
        ("Names", "NAMES"),
        ("Labels", "LABELS"),
    ],
    methods: &[],
};

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let format = Format::parse(args.format.as_deref(), TABLE, args.quiet)?;
    let mut containers = engine::ps::ps(&global.engine()?, args.all || args.latest)?;
    if args.latest {
        containers.truncate(1);
    }
    let rows: Vec<Value> = containers.iter().map(|container| row(container, !args.no_trunc)).collect();
    format.print(&ROWS, &rows)?;
    Ok(ExitCode::SUCCESS)
}

/// A line's fields.
pub(crate) fn row(container: &Container, short: bool) -> Value {
    let state = &container.state;
    let created = container.record.created / 1_000_000_000;
    let mut command = state.run.args().join(" ");
    if short && command.chars().count() > 20 {
        command = command.chars().take(19).chain(['…']).collect();
    }
    let labels: Vec<String> = state.run.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let id = &container.record.id;
    format::row([
        ("ID", json!(if short { &id[..12] } else { id })),
        ("Image", json!(state.image_name)),
        ("Command", json!(format!("\"{command}\""))),
        ("CreatedAt", json!(units::timestamp(created))),
        ("RunningFor", json!(units::ago(created))),
        ("State", json!(state_word(container))),
        ("Status", json!(status(container))),
        ("Ports", json!("")),
        ("Names", json!(container.record.name)),
        ("Labels", json!(labels.join(","))),
    ])
}

fn state_word(container: &Container) -> &'static str {
    match container.state.status {
        Status::Created => "created",
        Status::Running => "running",
        Status::Exited => "exited",
    }
}

/// Docker's sentence: `Up 3 seconds`, `Exited (0) 5 minutes ago`, `Created`.
fn status(container: &Container) -> String {
    let state = &container.state;
    let since = |time: &Option<String>| {
        time.as_deref().and_then(|t| t.parse::<jiff::Timestamp>().ok()).map(|t| units::ago(t.as_second()))
    };
    match state.status {
        Status::Created => "Created".to_owned(),
        Status::Running => {
            let ago = since(&state.started).unwrap_or_default();
            format!("Up {}", ago.strip_suffix(" ago").unwrap_or(&ago))
        }
        Status::Exited => {
            let ago = since(&state.finished).unwrap_or_else(|| "some time ago".to_owned());
            format!("Exited ({}) {ago}", state.exit_code)
        }
    }
}
