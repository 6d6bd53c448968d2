//! `strake version`: Docker's fields, so that scripts that ask for the engine's version get one.

use std::io::{self, Write};
use std::process::ExitCode;

use gotemplate::{Options, Template};
use serde_json::{Value, json};

use crate::cli::{Global, Outcome, format};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Format output using a Go template, or 'json'
    #[arg(short, long, value_name = "STRING")]
    format: Option<String>,
}

pub(crate) fn run(args: Args, _global: &Global) -> Outcome {
    let facts = facts();
    let mut out = io::stdout().lock();
    match args.format.as_deref() {
        None | Some("") => {
            for part in ["Client", "Server"] {
                writeln!(out, "{part}: strake\n Version:    {}", text(&facts, part, "Version"))?;
                writeln!(out, " OS/Arch:    {}/{}", text(&facts, part, "Os"), text(&facts, part, "Arch"))?;
            }
        }
        Some("json") => writeln!(out, "{facts}")?,
        Some(template) => {
            let template = Template::parse(template).map_err(format::parsing)?;
            let line = template.render(&facts, &Options::default()).map_err(format::parsing)?;
            writeln!(out, "{line}")?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn facts() -> Value {
    let platform = oci::Platform::host();
    // One binary is both: what Docker asks of its daemon is asked of us.
    let both = json!({
        "Platform": { "Name": "strake" },
        "Version": env!("CARGO_PKG_VERSION"),
        "Os": platform.os,
        "Arch": platform.architecture,
    });
    json!({ "Client": both, "Server": both })
}

fn text<'a>(facts: &'a Value, part: &str, name: &str) -> &'a str {
    facts[part][name].as_str().unwrap_or_default()
}
