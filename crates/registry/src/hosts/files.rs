//! Reading `registries.conf`: which of the files that may be there count.
//!
//! strake's own files come first; where there are none, those of podman and skopeo are read, with the files beside them.
//! Where these places are is the caller's knowledge.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{ConfigError, Registries};

/// The largest file taken, in bytes.
const LIMIT: u64 = 4 << 20;

/// Places of `registries.conf`, on the host.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// Our own: the first that is there is the only one read.
    pub own: Vec<PathBuf>,
    /// Those of containers' tools: read where none of ours is there, the first that is there.
    pub containers: Vec<PathBuf>,
    /// Directories of files `*.conf` that are added to those of containers' tools, in the order of their names.
    pub containers_dirs: Vec<PathBuf>,
}

impl Files {
    /// Reads what is there.
    pub fn read(&self) -> Result<Registries, ConfigError> {
        for path in &self.own {
            if let Some(registries) = parsed(path)? {
                return Ok(registries);
            }
        }
        let mut registries = Registries::default();
        for path in &self.containers {
            if let Some(read) = parsed(path)? {
                registries = read;
                break;
            }
        }
        for dir in &self.containers_dirs {
            let Ok(entries) = fs::read_dir(dir) else { continue };
            let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            paths.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
            paths.sort();
            for path in paths {
                registries.add(parsed(&path)?.unwrap_or_default());
            }
        }
        Ok(registries)
    }
}

fn parsed(path: &Path) -> Result<Option<Registries>, ConfigError> {
    let refused = |reason: String| ConfigError { path: path.to_owned(), reason };
    let Some(bytes) = bounded(path, LIMIT).map_err(|error| refused(error.to_string()))? else {
        return Ok(None);
    };
    let text = String::from_utf8(bytes).map_err(|_| refused("it is not UTF-8".to_owned()))?;
    Registries::parse(&text, path).map(Some)
}

/// A file's content; `None` where there is no file, or none that may be looked for.
pub(crate) fn bounded(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it is larger than {limit} bytes")));
    }
    Ok(Some(bytes))
}
