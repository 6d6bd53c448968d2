//! `ps`: containers, those that run or all.

use crate::container::Container;
use crate::{Engine, Result};

/// The containers, newest first; without `all` only those that run.
pub fn ps(engine: &Engine, all: bool) -> Result<Vec<Container>> {
    let containers = Container::all(engine)?;
    Ok(containers.into_iter().filter(|c| all || c.running).collect())
}
