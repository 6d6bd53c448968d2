//! `create`: a container made and not started.

use std::process::ExitCode;

use crate::cli::container_args::ContainerArgs;
use crate::cli::run::CidFile;
use crate::cli::{Global, Outcome, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    container: ContainerArgs,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let request = args.container.request()?;
    args.container.warn(global);
    let cidfile = args.container.cidfile.as_deref().map(CidFile::new).transpose()?;
    let engine = global.engine_in_namespace()?;
    args.container.ensure_image(&engine, global)?;
    let (container, _lock) = engine::container::create(&engine, &request)?;
    if let Some(cidfile) = &cidfile {
        cidfile.write(&container.record.id);
    }
    output::text(&format!("{}\n", container.record.id))?;
    Ok(ExitCode::SUCCESS)
}
