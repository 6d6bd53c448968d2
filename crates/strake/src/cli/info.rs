//! `strake info` (`system info`).

use std::io::{self, Write};
use std::process::ExitCode;

use gotemplate::{Options, Template};
use serde_json::Value;

use crate::cli::{Global, Outcome, format};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Format output using a Go template, or 'json'
    #[arg(short, long, value_name = "STRING")]
    format: Option<String>,
}

/// Lines of the table for people, and the fields they show.
const LINES: [(&str, &str); 13] = [
    ("Containers", "Containers"),
    (" Running", "ContainersRunning"),
    (" Stopped", "ContainersStopped"),
    ("Images", "Images"),
    ("Server Version", "ServerVersion"),
    ("Storage Driver", "Driver"),
    ("Default Runtime", "DefaultRuntime"),
    ("Kernel Version", "KernelVersion"),
    ("Operating System", "OperatingSystem"),
    ("Architecture", "Architecture"),
    ("CPUs", "NCPU"),
    ("Name", "Name"),
    ("Root Dir", "DockerRootDir"),
];

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let template = match args.format.as_deref() {
        None | Some("" | "json") => None,
        Some(text) => Some(Template::parse(text).map_err(format::parsing)?),
    };
    let facts = engine::info::info(&global.engine()?)?;
    let mut out = io::stdout().lock();
    match (template, args.format.as_deref()) {
        (Some(template), _) => {
            let line = template.render(&facts, &Options::default()).map_err(format::parsing)?;
            writeln!(out, "{line}")?;
        }
        (None, Some("json")) => writeln!(out, "{facts}")?,
        (None, _) => {
            writeln!(out, "Server:")?;
            for (title, field) in LINES {
                writeln!(out, " {title}: {}", gotemplate::value_text(&facts[field]))?;
            }
            if let Some(options) = facts["SecurityOptions"].as_array() {
                writeln!(out, " Security Options:")?;
                for option in options.iter().filter_map(Value::as_str) {
                    writeln!(out, "  {option}")?;
                }
            }
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
