//! strake: builds, keeps, ships and runs container images.
//!
//! The binary is a skin over `engine`: `cli` reads the command line and draws, one file for each verb.

#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // A supervisor of containers is this program too; for one, this does not return.
    runtime::init();
    cli::main()
}
