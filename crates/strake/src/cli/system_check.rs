//! `strake system check`.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::json;

use crate::cli::{CliError, Global, Outcome, units};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Drop what is broken, and what depends on it
    #[arg(long)]
    repair: bool,
    /// 'json' for one line of JSON
    #[arg(long, value_name = "STRING", value_parser = ["json"])]
    format: Option<String>,
    /// Print nothing: the exit code tells
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let report = engine::check::check(&global.engine_unswept()?, args.repair)?;
    let sound = if args.repair { report.is_sound_now() } else { report.is_sound() };
    let mut out = io::stdout().lock();
    if args.format.is_some() {
        let problems: Vec<_> = report
            .problems
            .iter()
            .map(|problem| json!({"Subject": problem.subject, "Detail": problem.detail, "Action": problem.action}))
            .collect();
        let object = json!({
            "Blobs": report.blobs,
            "Bytes": report.bytes,
            "Snapshots": report.snapshots,
            "SnapshotsVerified": report.snapshots_verified,
            "Images": report.images,
            "References": report.references,
            "Containers": report.containers,
            "CacheRecords": report.cache_records,
            "RegistryManifests": report.registry_manifests,
            "Problems": problems,
            "Leftovers": report.garbage,
            "Sound": sound,
        });
        writeln!(out, "{object}")?;
    } else if !args.quiet {
        for problem in &report.problems {
            writeln!(out, "BROKEN: {}: {}", problem.subject, problem.detail)?;
            if let Some(action) = &problem.action {
                writeln!(out, "  {action}")?;
            }
        }
        for left in &report.garbage {
            writeln!(out, "left over: {left}")?;
        }
        writeln!(
            out,
            "Checked {} blobs ({}), {} snapshots ({} by content), {} images, {} references, {} containers, {} cache records.",
            report.blobs,
            units::size(report.bytes),
            report.snapshots,
            report.snapshots_verified,
            report.images,
            report.references,
            report.containers,
            report.cache_records
        )?;
        let verdict = match (report.problems.len(), sound) {
            (0, _) => "The store is sound.".to_owned(),
            (count, true) => format!("{count} problems repaired: the store is sound now."),
            (count, false) => format!("{count} problems."),
        };
        writeln!(out, "{verdict}")?;
    }
    out.flush()?;
    match (sound, args.repair || args.quiet || args.format.is_some()) {
        (true, _) => Ok(ExitCode::SUCCESS),
        (false, true) => Err(CliError::silent(1)),
        (false, false) => Err(CliError::silent(1).hint("strake system check --repair drops what is broken")),
    }
}
