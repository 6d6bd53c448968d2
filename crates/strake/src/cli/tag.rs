//! `strake tag`.

use std::process::ExitCode;

use crate::cli::{Global, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image: a name or an ID
    #[arg(value_name = "SOURCE_IMAGE[:TAG]")]
    source: String,
    /// Its new name
    #[arg(value_name = "TARGET_IMAGE[:TAG]")]
    target: String,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    engine::tag::tag(&global.engine()?, &args.source, &args.target)?;
    Ok(ExitCode::SUCCESS)
}
