//! Ctrl-C, as a flag that the engine looks at.

use std::sync::atomic::AtomicBool;

use crate::cli::CliError;

/// From now on INT, TERM and HUP set the flag; a second one ends the process.
pub(crate) fn watch() -> Result<&'static AtomicBool, CliError> {
    runtime::signals::interrupted().map_err(|e| CliError::new(format!("cannot take signals: {e}")))
}
