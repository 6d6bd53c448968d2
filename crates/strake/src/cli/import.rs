//! `import`: a tar of a root file system becomes an image.

use std::fs::File;
use std::io::{self, Read};
use std::process::ExitCode;

use engine::import::{ImportRequest, import};
use oci::Reference;

use crate::cli::{CliError, Global, Outcome, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The tar, plain or compressed; `-` reads standard input
    file: String,
    /// Name of the image
    reference: Option<String>,
    /// Apply a Dockerfile instruction to the image
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    changes: Vec<String>,
    /// Comment in the image's history
    #[arg(short, long)]
    message: Option<String>,
    /// What the image runs on
    #[arg(long)]
    platform: Option<String>,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let source: Box<dyn Read + Send> = match args.file.as_str() {
        "-" => Box::new(io::stdin()),
        path if path.starts_with("http://") || path.starts_with("https://") => {
            return Err(CliError::new("importing from a URL is not supported: download the file first"));
        }
        path => Box::new(File::open(path).map_err(|e| CliError::new(format!("cannot open {path}: {e}")))?),
    };
    let parse = |text: &String| match Reference::parse(text) {
        Ok(reference) if reference.digest.is_some() => {
            Err(CliError::new("refusing to create a tag with a digest reference"))
        }
        parsed => parsed.map_err(|e| CliError::new(e.to_string())),
    };
    let request = ImportRequest {
        reference: args.reference.as_ref().map(parse).transpose()?,
        changes: args.changes,
        message: args.message,
        platform: match &args.platform {
            Some(text) => Some(text.parse().map_err(|e: oci::PlatformError| CliError::new(e.to_string()))?),
            None => None,
        },
        epoch: crate::cli::build::epoch(&[])?,
    };
    let engine = global.engine_in_namespace()?;
    let image = import(&engine, &request, source)?;
    output::text(&format!("{image}\n"))?;
    Ok(ExitCode::SUCCESS)
}
