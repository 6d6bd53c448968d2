//! `commit`: a container becomes an image.

use std::process::ExitCode;

use engine::commit::{CommitRequest, commit};
use oci::Reference;

use crate::cli::{CliError, Global, Outcome, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The container
    container: String,
    /// Name of the image
    reference: Option<String>,
    /// Apply a Dockerfile instruction to the image
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    changes: Vec<String>,
    /// Comment in the image's history
    #[arg(short, long, default_value = "")]
    message: String,
    /// Author, such as "Hannibal Smith <hannibal@example.com>"
    #[arg(short, long, default_value = "")]
    author: String,
    /// Taken for Docker's sake: a container is committed as it is at that moment
    #[arg(short, long, hide = true)]
    pause: bool,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let parse = |text: &String| match Reference::parse(text) {
        Ok(reference) if reference.digest.is_some() => {
            Err(CliError::new("refusing to create a tag with a digest reference"))
        }
        parsed => parsed.map_err(|e| CliError::new(e.to_string())),
    };
    let request = CommitRequest {
        reference: args.reference.as_ref().map(parse).transpose()?,
        container: args.container,
        changes: args.changes,
        message: args.message,
        author: args.author,
        epoch: crate::cli::build::epoch(&[])?,
    };
    let engine = global.engine_in_namespace()?;
    let image = commit(&engine, &request)?;
    output::text(&format!("{image}\n"))?;
    Ok(ExitCode::SUCCESS)
}
