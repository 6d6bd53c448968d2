//! `rename`: another name for a container.

use crate::container::Container;
use crate::{Engine, Error, Result};

/// Gives the container that `name` names the name `new`.
pub fn rename(engine: &Engine, name: &str, new: &str) -> Result<()> {
    let mut record = Container::find(engine, name)?.record;
    let new = new.strip_prefix('/').unwrap_or(new);
    if record.name == new {
        return Err(Error::invalid("renaming a container with the same name as its current name"));
    }
    new.clone_into(&mut record.name);
    // The record is read and written whole: one that is just starting or ending may write its own meanwhile.
    for _ in 0..3 {
        engine.store.put_container(&record)?;
        let now = engine.store.container(&record.id)?;
        if now == record {
            break;
        }
        record = store::ContainerRecord { name: record.name, ..now };
    }
    Ok(())
}
