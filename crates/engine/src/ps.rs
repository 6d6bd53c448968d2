//! `ps`: containers, those that run or all, filtered.

use std::fs;
use std::io;
use std::path::Path;

use crate::container::{Container, MountKind, NetworkMode, Status};
use crate::filter::Filters;
use crate::{Engine, Error, Result};

/// The filters of Docker's that say something here.
const FILTERS: &[&str] = &[
    "ancestor", "before", "exited", "expose", "health", "id", "label", "label!", "name", "network",
    "publish", "since", "status", "volume",
];

/// Which containers are asked for.
#[derive(Debug, Clone, Default)]
pub struct PsRequest {
    /// Also those that do not run.
    pub all: bool,
    /// The newest so many, whether they run or not.
    pub last: Option<usize>,
    /// Docker's filters: all names must hold, of each name one of the values (of `label` all).
    pub filters: Filters,
}

/// The containers asked for, newest first.
pub fn ps(engine: &Engine, request: &PsRequest) -> Result<Vec<Container>> {
    let filters = &request.filters;
    filters.only(FILTERS)?;
    let statuses = [Status::Created, Status::Running, Status::Exited].map(Status::word);
    for status in filters.get("status") {
        let known = statuses.contains(&status.as_str());
        if !known && !["paused", "restarting", "removing", "dead"].contains(&status.as_str()) {
            return Err(Error::invalid(format!("invalid filter 'status={status}'")));
        }
    }
    for code in filters.get("exited") {
        code.parse::<i32>().map_err(|_| Error::invalid(format!("invalid filter 'exited={code}'")))?;
    }
    let mut containers = Container::all(engine)?;
    // One that was to go when it ended, and whose process was killed: the next command that changes anything clears
    // it away.
    containers.retain(|c| c.running || !c.record.auto_remove);
    // As in Docker: asked for a state, those that do not run are meant too.
    let all = request.all || request.last.is_some() || !filters.get("status").is_empty();
    containers.retain(|c| all || c.running);
    let moment = |name: &str| -> Result<Option<i64>> {
        match filters.get(name).last() {
            Some(other) => Ok(Some(Container::find(engine, other)?.record.created)),
            None => Ok(None),
        }
    };
    let (before, since) = (moment("before")?, moment("since")?);
    containers.retain(|c| before.is_none_or(|b| c.record.created < b));
    containers.retain(|c| since.is_none_or(|s| c.record.created > s));
    let ancestors = ancestors(engine, filters.get("ancestor"))?;
    let mut found = Vec::new();
    for container in containers {
        if passes(&container, filters) && ancestors.pass(engine, &container)? {
            found.push(container);
        }
    }
    if let Some(last) = request.last {
        found.truncate(last);
    }
    Ok(found)
}

fn passes(container: &Container, filters: &Filters) -> bool {
    let (record, run) = (&container.record, &container.state.run);
    // No value asks for nothing.
    let any = |name: &str, holds: &dyn Fn(&str) -> bool| {
        let values = filters.get(name);
        values.is_empty() || values.iter().any(|value| holds(value))
    };
    any("id", &|id| record.id.starts_with(id))
        && any("name", &|name| name_matches(&record.name, name))
        && any("status", &|status| container.state.status.word() == status)
        && any("exited", &|code| {
            container.state.status == Status::Exited && code.parse() == Ok(container.state.exit_code)
        })
        && any("health", &|health| health == "none")
        && any("network", &|network| {
            network
                == match run.network {
                    NetworkMode::Host => "host",
                    NetworkMode::None => "none",
                }
        })
        && any("expose", &|port| {
            let port = if port.contains('/') { port.to_owned() } else { format!("{port}/tcp") };
            run.exposed_ports.contains(&port)
        })
        && any("publish", &|_| false)
        && any("volume", &|volume| {
            run.mounts.iter().any(|mount| match &mount.kind {
                MountKind::Bind(source) => source == volume || mount.target == volume,
                MountKind::Anonymous => mount.target == volume,
                MountKind::Tmpfs(_) => false,
            })
        })
        && filters.labels(Some(&run.labels))
}

/// Docker takes a regular expression; a part of the name, with `^` and `$`, is what of it is used.
fn name_matches(name: &str, pattern: &str) -> bool {
    let (pattern, from_start) = match pattern.strip_prefix('^') {
        Some(rest) => (rest, true),
        None => (pattern, pattern.starts_with('/')),
    };
    let pattern = pattern.strip_prefix('/').unwrap_or(pattern);
    let (pattern, to_end) = match pattern.strip_suffix('$') {
        Some(rest) => (rest, true),
        None => (pattern, false),
    };
    match (from_start, to_end) {
        (true, true) => name == pattern,
        (true, false) => name.starts_with(pattern),
        (false, true) => name.ends_with(pattern),
        (false, false) => name.contains(pattern),
    }
}

/// Images that a container may be of, or of one built on.
struct Ancestors {
    any: bool,
    stacks: Vec<(oci::ImageId, Vec<oci::DiffId>)>,
}

fn ancestors(engine: &Engine, names: &[String]) -> Result<Ancestors> {
    let mut stacks = Vec::new();
    for name in names {
        // As in Docker: nothing is built on an image that is not there.
        if let Ok(id) = engine.resolve(name) {
            let layers = engine.image(&id)?.layers().to_vec();
            stacks.push((id, layers));
        }
    }
    Ok(Ancestors { any: names.is_empty(), stacks })
}

impl Ancestors {
    fn pass(&self, engine: &Engine, container: &Container) -> Result<bool> {
        if self.any {
            return Ok(true);
        }
        let layers = match &container.record.chain_id {
            Some(chain) if !self.stacks.is_empty() => engine.store.layers_of(chain)?,
            _ => Vec::new(),
        };
        Ok(self.stacks.iter().any(|(id, below)| {
            *id == container.record.image || !below.is_empty() && layers.starts_with(below)
        }))
    }
}

/// Bytes of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sizes {
    /// Of the files in its writable layer.
    pub own: u64,
    /// Of its image.
    pub image: u64,
}

/// Measures a container. It has to run where the files' owners are mapped.
pub fn sizes(engine: &Engine, container: &Container) -> Result<Sizes> {
    let upper = container.upper(engine);
    let own = file_bytes(&upper).map_err(|e| Error::io(format!("measure {}", upper.display()), &e))?;
    let image = engine.store.image(&container.record.image)?.map_or(0, |image| image.size);
    Ok(Sizes { own, image })
}

fn file_bytes(top: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    let mut todo = vec![top.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => todo.push(entry.path()),
                Ok(meta) if meta.is_file() => bytes += meta.len(),
                Ok(_) => {}
                // It went away meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::name_matches;

    #[test]
    fn names_match_by_part() {
        for (pattern, matches) in [
            ("web", true),
            ("eb_", true),
            ("^web", true),
            ("^/web_1$", true),
            ("/web", true),
            ("eb_1$", true),
            ("^eb", false),
            ("/eb", false),
            ("web$", false),
        ] {
            assert_eq!(name_matches("web_1", pattern), matches, "{pattern}");
        }
    }
}
