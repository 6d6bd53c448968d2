//! `tags`: the tags of a repository at its registry.

use std::process::ExitCode;

use engine::remote;
use serde_json::json;

use crate::cli::format::{self, Format, Rows};
use crate::cli::{CliError, Global, Outcome, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Format output using a custom template, a line for each tag: 'table', 'json' or a Go template
    #[arg(long, value_name = "STRING")]
    format: Option<String>,
    /// Show the first so many tags
    #[arg(short = 'n', long, value_name = "NUMBER")]
    limit: Option<usize>,
    /// The repository, without a tag
    #[arg(value_name = "REPOSITORY")]
    repository: String,
}

const ROWS: Rows<'_> = Rows {
    kind: "tag",
    headers: &[("Repository", "REPOSITORY"), ("Tag", "TAG"), ("Name", "NAME")],
    methods: &[],
};

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let format = match args.format.as_deref() {
        None => None,
        Some(text) => Some(Format::parse(Some(text), "{{.Repository}}\t{{.Tag}}", false)?),
    };
    let client = global.registry_client()?;
    let tags = remote::tags(&client, &args.repository)?;
    let repository = tags.repository.clone();
    let tags = tags.take(args.limit.unwrap_or(usize::MAX));
    match format {
        // As they come: there may be many.
        None => {
            for tag in tags {
                output::text(&format!("{}\n", tag?))?;
            }
        }
        Some(format) => {
            let row = |tag: engine::Result<String>| {
                let tag = tag?;
                Ok(format::row([
                    ("Name", json!(format!("{repository}:{tag}"))),
                    ("Repository", json!(repository)),
                    ("Tag", json!(tag)),
                ]))
            };
            let rows = tags.map(row).collect::<Result<Vec<_>, CliError>>()?;
            format.print(&ROWS, &rows)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
