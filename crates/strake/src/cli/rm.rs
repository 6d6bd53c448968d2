//! `rm`: containers removed.

use engine::Kind;

use crate::cli::{Global, Outcome, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Kill and remove containers that run
    #[arg(short, long)]
    force: bool,
    /// Remove anonymous volumes too; they always go with their container
    #[arg(short, long)]
    volumes: bool,
    /// Containers
    #[arg(required = true)]
    containers: Vec<String>,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let engine = global.engine_in_namespace()?;
    output::each(&args.containers, |name| {
        match engine::rm::rm(&engine, name, args.force) {
            // As in Docker: it is gone, which is what was wanted.
            Err(error) if args.force && error.kind == Kind::NotFound => {
                crate::cli::output::say(&format!("Error: {error}"));
                Ok(String::new())
            }
            done => Ok(done.map(|()| format!("{name}\n"))?),
        }
    })
}
