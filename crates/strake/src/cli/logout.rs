//! `logout`: forgets the account at a registry.

use std::process::ExitCode;

use engine::login::{self, DEFAULT_REGISTRY, DOCKER_HUB};

use crate::cli::{Global, Outcome, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The registry's host; Docker Hub if none is given
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let registry = login::registry_of(args.server.as_deref().unwrap_or_default())?;
    let shown = if registry == DEFAULT_REGISTRY { DOCKER_HUB } else { &registry };
    output::text(&format!("Removing login credentials for {shown}\n"))?;
    if let Err(error) = login::logout(&global.accounts()?, &registry) {
        // As Docker: it tells, and is content.
        output::say(&format!("WARNING: could not erase credentials:\n{shown}: {}", error.message));
    }
    Ok(ExitCode::SUCCESS)
}
