//! Replacing a small file as Docker replaces its `config.json`: whole or not at all, through a symbolic link, with the
//! owner and mode that it had.
//!
//! Unlike Docker, changes by several processes follow one another: the directory is locked meanwhile.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// How many symbolic links are followed.
const LINKS: usize = 40;

/// A file that is to be changed; others that would change it wait.
pub(super) struct Replacement {
    /// Where the file is, all links followed.
    target: PathBuf,
    /// Holds the lock.
    _directory: File,
}

impl Replacement {
    /// Begins a change of `path`, which may be a link, or not be there. Missing directories are made, for the owner
    /// alone.
    pub fn begin(path: &Path) -> io::Result<Replacement> {
        let target = followed(path)?;
        let dir = match target.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let directory = File::open(dir)?;
        directory.lock()?;
        Ok(Replacement { target, _directory: directory })
    }

    /// The file's path, all links followed.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Puts `content` in the file's place.
    pub fn put(&self, content: &[u8]) -> io::Result<()> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = self.target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let unique = format!("{name}.{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let new = self.target.with_file_name(unique);
        let written = self.write(&new, content).and_then(|()| fs::rename(&new, &self.target));
        if written.is_err() {
            // What is left is of no use, and may hold a secret.
            let _ = fs::remove_file(&new);
        }
        written
    }

    fn write(&self, new: &Path, content: &[u8]) -> io::Result<()> {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(new)?;
        file.write_all(content)?;
        if let Ok(old) = fs::metadata(&self.target) {
            // Where it was another's and we may not give it away, it becomes ours, as with Docker.
            let _ = chown(new, Some(old.uid()), Some(old.gid()));
            file.set_permissions(Permissions::from_mode(old.mode() & 0o777))?;
        }
        file.sync_all()
    }
}

/// Follows links, of which the last may point at nothing.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&path) {
            Ok(to) => path = path.parent().unwrap_or(Path::new("")).join(to),
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) => {
                return Ok(path);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}
