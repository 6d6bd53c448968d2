//! `strake ps` (`container ls`).

use std::process::ExitCode;

use engine::container::{Container, MountKind, NetworkMode, Status};
use engine::ps::{PsRequest, Sizes, ps, sizes};
use serde_json::{Value, json};

use crate::cli::filter::{self, Filter};
use crate::cli::format::{self, Format, Rows};
use crate::cli::{Global, Outcome, units};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show all containers (default: only those that run)
    #[arg(short, long)]
    all: bool,
    /// Only containers that match: ancestor, before, exited, id, label, name, network, since, status, volume
    #[arg(short, long = "filter", value_name = "NAME=VALUE")]
    filters: Vec<Filter>,
    #[arg(long, value_name = "STRING", help = format::HELP)]
    format: Option<String>,
    /// Show the last so many containers made, whatever their state
    #[arg(short = 'n', long, value_name = "NUMBER", default_value = "-1", allow_negative_numbers = true)]
    last: i64,
    /// Show the container made last, whatever its state
    #[arg(short, long)]
    latest: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only show container IDs
    #[arg(short, long)]
    quiet: bool,
    /// Display total file sizes
    #[arg(short, long)]
    size: bool,
}

const TABLE: &str = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
const TABLE_WITH_SIZE: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}";

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
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Mounts", "MOUNTS"),
        ("Networks", "NETWORKS"),
        ("Platform", "PLATFORM"),
        ("Size", "SIZE"),
    ],
    methods: &[("Label", label)],
};

/// `{{.Label "key"}}`
fn label(row: &Value, arguments: &[Value]) -> Result<Value, String> {
    let key = arguments.first().and_then(Value::as_str).ok_or("Label wants the name of a label")?;
    let labels = row.get("Labels").and_then(Value::as_str).unwrap_or_default();
    let found = labels.split(',').filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == key);
    Ok(json!(found.map_or("", |(_, value)| value)))
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let table = if args.size { TABLE_WITH_SIZE } else { TABLE };
    let format = Format::parse(args.format.as_deref(), table, args.quiet)?;
    let request = PsRequest {
        all: args.all,
        last: if args.latest { Some(1) } else { usize::try_from(args.last).ok().filter(|n| *n > 0) },
        filters: filter::collect(args.filters),
    };
    let with_size = args.size || format.shows("Size");
    let engine = if with_size { global.engine_in_namespace()? } else { global.engine()? };
    let containers = ps(&engine, &request)?;
    let mut rows = Vec::new();
    for container in &containers {
        let size = with_size.then(|| sizes(&engine, container)).transpose()?;
        rows.push(row(container, !args.no_trunc, size));
    }
    format.print(&ROWS, &rows)?;
    Ok(ExitCode::SUCCESS)
}

/// A line's fields.
pub(crate) fn row(container: &Container, short: bool, size: Option<Sizes>) -> Value {
    let state = &container.state;
    let created = container.record.created / 1_000_000_000;
    let args = state.run.args();
    let spoken = |(at, arg): (usize, &String)| match at > 0 && arg.contains(' ') {
        true => format!("'{arg}'"),
        false => arg.clone(),
    };
    let mut command = args.iter().enumerate().map(spoken).collect::<Vec<_>>().join(" ");
    if short {
        command = units::ellipsis(&command, 20);
    }
    let labels: Vec<String> = state.run.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let id = &container.record.id;
    let cut = |text: &str| if short { units::ellipsis(text, 15) } else { text.to_owned() };
    let mounts: Vec<String> = state
        .run
        .mounts
        .iter()
        .filter_map(|mount| match &mount.kind {
            MountKind::Bind(source) => Some(cut(source)),
            MountKind::Anonymous => Some(cut(&mount.target)),
            MountKind::Tmpfs(_) => None,
        })
        .collect();
    let volumes = state.run.mounts.iter().filter(|m| m.kind == MountKind::Anonymous).count();
    let size = size.map_or_else(
        || "0B".to_owned(),
        |size| format!("{} (virtual {})", units::size3(size.own), units::size3(size.own + size.image)),
    );
    format::row([
        ("ID", json!(if short { &id[..12] } else { id })),
        ("Image", json!(image_name(container, short))),
        ("Command", json!(quoted(&command))),
        ("CreatedAt", json!(units::timestamp(created))),
        ("RunningFor", json!(units::ago(created))),
        ("State", json!(state.status.word())),
        ("Status", json!(status(container))),
        ("Ports", json!("")),
        ("Names", json!(container.record.name)),
        ("Labels", json!(labels.join(","))),
        ("LocalVolumes", json!(volumes.to_string())),
        ("Mounts", json!(mounts.join(","))),
        (
            "Networks",
            json!(match state.run.network {
                NetworkMode::Host => "host",
                NetworkMode::None => "none",
            }),
        ),
        ("Platform", json!("")),
        ("Size", json!(size)),
    ])
}

/// As it was named; an ID as IDs are shown.
fn image_name(container: &Container, short: bool) -> String {
    let name = &container.state.image_name;
    let is_id =
        name.starts_with("sha256:") || name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
    match short && is_id {
        true => units::short_id(name).to_owned(),
        false => name.clone(),
    }
}

/// As Go quotes it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
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
            // Where nobody was left to write when it ended, it is not known.
            let ago = since(&state.finished).map(|ago| format!(" {ago}")).unwrap_or_default();
            format!("Exited ({}){ago}", state.exit_code)
        }
    }
}
