//! What the verbs that prune share: asking first, and Docker's lists of what went.

use std::io::{self, Write};

use engine::prune::Item;

use crate::cli::{CliError, terminal, units};

/// Asks whether to go on, unless forced. A no is an error without words but Docker's exit code.
pub(crate) fn confirm(force: bool, warning: &str) -> Result<(), CliError> {
    if force || terminal::confirm(&format!("{warning}\nAre you sure you want to continue?"))? {
        Ok(())
    } else {
        Err(CliError::silent(1))
    }
}

/// Prints what went, kind by kind, and the space that came free.
pub(crate) fn tell(items: &[Item], freed: u64) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let mut section = |title: &str, lines: Vec<String>| -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        writeln!(out, "{title}")?;
        for line in lines {
            writeln!(out, "{line}")?;
        }
        writeln!(out)
    };
    section(
        "Deleted Containers:",
        collect(items, |item| match item {
            Item::Container(id) => Some(id.clone()),
            _ => None,
        }),
    )?;
    section(
        "Deleted Images:",
        collect(items, |item| match item {
            Item::Untagged(name) => Some(format!("untagged: {name}")),
            Item::Image(id) => Some(format!("deleted: {id}")),
            Item::Layer(chain_id) => Some(format!("deleted: {chain_id}")),
            _ => None,
        }),
    )?;
    section(
        "Deleted build cache objects:",
        collect(items, |item| match item {
            Item::Cache(key) => Some(key.hex().to_owned()),
            Item::CacheMount(id) => Some(id.clone()),
            _ => None,
        }),
    )?;
    writeln!(out, "Total reclaimed space: {}", units::size(freed))?;
    out.flush()?;
    Ok(())
}

fn collect(items: &[Item], line: impl Fn(&Item) -> Option<String>) -> Vec<String> {
    items.iter().filter_map(line).collect()
}
