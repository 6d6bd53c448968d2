//! `strake system df`.

use std::io::{self, Write};
use std::process::ExitCode;

use engine::container::Container;
use engine::df::{CacheMountUsage, CacheUsage, DiskUsage};
use serde_json::{Value, json};

use crate::cli::format::{self, Format, Rows};
use crate::cli::{CliError, Global, Outcome, images, ps, units};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long, value_name = "STRING", help = format::HELP)]
    format: Option<String>,
    /// Show detailed information on space usage
    #[arg(short, long)]
    verbose: bool,
}

const TABLE: &str = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";

const ROWS: Rows<'_> = Rows {
    kind: "disk usage",
    headers: &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
    methods: &[],
};

const CACHE_TABLE: &str =
    "{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}";

/// The fields of a build-cache record.
const CACHE_ROWS: Rows<'_> = Rows {
    kind: "build cache",
    headers: &[
        ("ID", "CACHE ID"),
        ("CacheType", "CACHE TYPE"),
        ("Size", "SIZE"),
        ("CreatedSince", "CREATED"),
        ("LastUsedSince", "LAST USED"),
        ("UsageCount", "USAGE"),
        ("Shared", "SHARED"),
        ("InUse", "IN USE"),
        ("Description", "DESCRIPTION"),
    ],
    methods: &[],
};

const IMAGE_TABLE: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";
const CONTAINER_TABLE: &str = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}";

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let found = engine::df::df(&global.engine_unswept()?)?;
    if args.verbose {
        return verbose(&args, &found);
    }
    let format = Format::parse(args.format.as_deref(), TABLE, false)?;
    format.print(&ROWS, &summary(&found))?;
    Ok(ExitCode::SUCCESS)
}

/// Docker's four rows, then what else takes space here, so that the column sums up to the whole store.
fn summary(found: &DiskUsage) -> Vec<Value> {
    let usage = &found.usage;
    let active_images = usage.images.iter().filter(|image| image.containers > 0).count();
    let running = usage.containers.iter().filter(|container| container.running).count();
    let in_use = usage.cache.iter().filter(|record| record.in_use).count()
        + usage.mounts.iter().filter(|mount| mount.in_use).count();
    let part = |size: u64, free: u64| match (u128::from(free) * 100).checked_div(u128::from(size)) {
        Some(percent) => format!("{} ({percent}%)", units::size(free)),
        None => units::size(free),
    };
    let row = |kind: &str, total: usize, active: usize, size: u64, reclaimable: String| {
        format::row([
            ("Type", json!(kind)),
            ("TotalCount", json!(total.to_string())),
            ("Active", json!(active.to_string())),
            ("Size", json!(units::size(size))),
            ("Reclaimable", json!(reclaimable)),
        ])
    };
    let mut rows = vec![
        row(
            "Images",
            usage.images.len(),
            active_images,
            usage.images_size,
            part(usage.images_size, usage.images_reclaimable),
        ),
        row(
            "Containers",
            usage.containers.len(),
            running,
            usage.containers_size,
            part(usage.containers_size, usage.containers_reclaimable),
        ),
        row("Local Volumes", 0, 0, 0, units::size(0)),
        row(
            "Build Cache",
            usage.cache.len() + usage.mounts.len(),
            in_use,
            usage.cache_size,
            units::size(usage.cache_reclaimable),
        ),
    ];
    // Blobs go with their images, which have a row of their own already: nothing more comes free by them.
    let manifests = usize::try_from(usage.registry_manifests).unwrap_or(usize::MAX);
    for (kind, total, size, free) in [
        ("Blobs", 0, usage.blobs_size, 0),
        ("Registry", manifests, usage.registry_size, 0),
        ("In Progress", 0, usage.in_progress, 0),
        ("Left Over", 0, usage.garbage, usage.garbage),
        ("Database", 0, usage.database, 0),
    ] {
        if size > 0 || total > 0 {
            rows.push(row(kind, total, 0, size, units::size(free)));
        }
    }
    rows
}

fn verbose(args: &Args, found: &DiskUsage) -> Outcome {
    let table = matches!(args.format.as_deref(), None | Some("table"));
    let images: Vec<Value> = found.images.iter().map(|image| image_row(found, image, table)).collect();
    let containers: Vec<Value> =
        found.containers.iter().map(|(container, size)| container_row(container, *size, table)).collect();
    let records = found.usage.cache.iter().map(|usage| cache_row(usage, table));
    let mounts = found.usage.mounts.iter().map(mount_row);
    let cache: Vec<Value> = records.chain(mounts).collect();
    let mut out = io::stdout().lock();
    if !table {
        let all = json!({ "Images": images, "Containers": containers, "Volumes": [], "BuildCache": cache });
        let format = Format::parse(args.format.as_deref(), "", false)?;
        let rows = Rows { kind: "disk usage", headers: &[], methods: &[] };
        out.write_all(format.render(&rows, &[all])?.as_bytes())?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut section = |title: &str, table: &str, rows: &Rows<'_>, values: &[Value]| -> Result<(), CliError> {
        let text = Format::parse(None, table, false)?.render(rows, values)?;
        writeln!(out, "{title}\n\n{text}")?;
        Ok(())
    };
    section("Images space usage:", IMAGE_TABLE, &images::ROWS, &images)?;
    let headers: Vec<_> = ps::ROWS
        .headers
        .iter()
        .copied()
        .chain([("LocalVolumes", "LOCAL VOLUMES"), ("Size", "SIZE")])
        .collect();
    let container_rows = Rows { headers: &headers, ..ps::ROWS };
    section("Containers space usage:", CONTAINER_TABLE, &container_rows, &containers)?;
    let volumes = Rows {
        kind: "volume",
        headers: &[("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")],
        methods: &[],
    };
    section("Local Volumes space usage:", "{{.Name}}\t{{.Links}}\t{{.Size}}", &volumes, &[])?;
    let title = format!("Build cache usage: {}", units::size(found.usage.cache_size));
    let text = Format::parse(None, CACHE_TABLE, false)?.render(&CACHE_ROWS, &cache)?;
    write!(out, "{title}\n\n{text}")?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn image_row(found: &DiskUsage, image: &engine::images::ImageSummary, short: bool) -> Value {
    let shares = found.usage.images.iter().find(|usage| usage.id == image.id);
    images::row(image, &images::first_name(image), short, shares.map(|usage| (usage.shared, usage.unique)))
}

fn container_row(container: &Container, size: u64, short: bool) -> Value {
    let mut row = ps::row(container, short, None);
    row["LocalVolumes"] = json!("0");
    row["Size"] = json!(units::size3(size));
    row
}

fn mount_row(usage: &CacheMountUsage) -> Value {
    let mount = &usage.mount;
    format::row([
        ("ID", json!(mount.id)),
        ("CacheType", json!("exec.cachemount")),
        ("Size", json!(units::size3(usage.size))),
        ("CreatedSince", json!(units::ago(mount.created / 1_000_000_000))),
        ("LastUsedSince", json!(units::ago(mount.last_used / 1_000_000_000))),
        ("UsageCount", json!(mount.uses.to_string())),
        ("Shared", json!("false")),
        ("InUse", json!(usage.in_use.to_string())),
        ("Description", json!(mount.description)),
    ])
}

fn cache_row(usage: &CacheUsage, short: bool) -> Value {
    let record = &usage.record;
    let key = record.key.to_string();
    format::row([
        ("ID", json!(if short { units::short_id(&key) } else { &key })),
        ("CacheType", json!("regular")),
        ("Size", json!(units::size3(record.size))),
        ("CreatedSince", json!(units::ago(record.created / 1_000_000_000))),
        ("LastUsedSince", json!(units::ago(record.last_used / 1_000_000_000))),
        ("UsageCount", json!(record.uses.to_string())),
        ("Shared", json!(usage.shared.to_string())),
        ("InUse", json!(usage.in_use.to_string())),
        ("Description", json!(record.step)),
    ])
}
