//! A file that is there only when all of it is: written without a name, or under another, and then named.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat};
use rustix::io::Errno;

use crate::build::Destination;
use crate::{Error, Result};

const BUFFER: usize = 1 << 20;

/// As [`write_file`]; or to `stream`, where there is no file.
pub(crate) fn write(
    to: &Destination,
    stream: &mut (dyn Write + Send),
    write: impl FnOnce(&mut (dyn Write + Send)) -> Result<()>,
) -> Result<()> {
    match to {
        Destination::File(path) => write_file(path, write),
        Destination::Stream => {
            let mut out = BufWriter::with_capacity(BUFFER, stream);
            write(&mut out)?;
            out.flush().map_err(|e| Error::io("write to the stream", &e))
        }
    }
}

/// Lets `write` write to the file `path` on the host, which appears when it is whole, in the place of what had its name.
///
/// # Errors
/// What `write` says, or what making the file does.
pub fn write_file<E: From<Error>>(
    path: &Path,
    write: impl FnOnce(&mut (dyn Write + Send)) -> Result<(), E>,
) -> Result<(), E> {
    let failed =
        |doing: &str, error: io::Error| Error::io(format!("cannot {doing} {}", path.display()), &error);
    // A device or a pipe is written as it is: nothing can be renamed over it.
    if path.exists() && !path.is_file() {
        let file = File::options().write(true).open(path).map_err(|e| failed("open", e))?;
        let mut out = BufWriter::with_capacity(BUFFER, file);
        write(&mut out)?;
        return Ok(out.flush().map_err(|e| failed("write", e))?);
    }
    let part = Part::new(path).map_err(|e| failed("create", e))?;
    let mut out = BufWriter::with_capacity(BUFFER, Named { inner: &part.file, path });
    write(&mut out)?;
    out.flush().map_err(|e| failed("write", e))?;
    drop(out);
    Ok(part.becomes(path).map_err(|e| failed("create", e))?)
}

/// Names the file in what goes wrong: whoever writes to it knows only what is written.
struct Named<'a> {
    inner: &'a File,
    path: &'a Path,
}

impl Write for Named<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            kind => io::Error::new(kind, format!("writing {}: {error}", self.path.display())),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A file that is not there yet: without a name where the file system can have such, so that nothing is left of it
/// when we are killed, else under another name.
struct Part {
    file: File,
    name: PathBuf,
    named: bool,
}

impl Part {
    fn new(path: &Path) -> io::Result<Part> {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".part{}", std::process::id()));
        let name = PathBuf::from(name);
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let nameless = openat(CWD, directory.unwrap_or(Path::new(".")), flags, Mode::from_raw_mode(0o666));
        match nameless {
            Ok(file) => Ok(Part { file: file.into(), name, named: false }),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                // A name that anybody can guess: whatever is there, a link above all, is not written to.
                Ok(Part { file: File::create_new(&name)?, name, named: true })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Gives it its name, in the place of what had it.
    fn becomes(mut self, path: &Path) -> io::Result<()> {
        if !self.named {
            let link = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            linkat(CWD, link, CWD, &self.name, AtFlags::SYMLINK_FOLLOW)?;
            self.named = true;
        }
        std::fs::rename(&self.name, path)?;
        self.named = false;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.named {
            let _ = std::fs::remove_file(&self.name);
        }
    }
}
