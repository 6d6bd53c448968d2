//! `diff`: what a container changed.

use std::process::ExitCode;

use engine::diff::Change;

use crate::cli::{Global, Outcome, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The container
    container: String,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let engine = global.engine_in_namespace()?;
    let mut text = Vec::new();
    for (change, path) in engine::diff::diff(&engine, &args.container)? {
        let letter = match change {
            Change::Added => b"A ",
            Change::Changed => b"C ",
            Change::Deleted => b"D ",
        };
        text.extend_from_slice(letter);
        text.extend_from_slice(&path);
        text.push(b'\n');
    }
    output::bytes(&text)?;
    Ok(ExitCode::SUCCESS)
}
