//! The Dockerfile and the build context: where they are, what is left out of them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use dockerfile::ignore::Patterns;
use dockerfile::render;
use snapshot::{Limits, Mtime, Owner, UnpackOptions};
use solver::context::Context;
use store::{PendingSnapshot, Store};

use crate::build::ignore::Ignore;
use crate::build::request::{BuildRequest, ContextSource, DockerfileSource, SecretSource};
use crate::{Engine, Error, Result};

/// The largest Dockerfile taken, in bytes.
const DOCKERFILE_LIMIT: u64 = 64 << 20;

/// What a build reads.
pub(crate) struct Inputs {
    /// The Dockerfile's name, as the user knows it.
    pub name: String,
    /// Its bytes.
    pub dockerfile: Vec<u8>,
    /// The context's directory on the host.
    pub root: PathBuf,
    /// What is left out of the context.
    pub ignore: Patterns,
    /// The name of the file that says so.
    pub ignore_name: String,
    /// Where a context from a stream was unpacked, until the build ends.
    unpacked: Option<PendingSnapshot>,
}

impl Inputs {
    pub fn load(engine: &Engine, request: &BuildRequest, stream: &mut (dyn Read + Send)) -> Result<Inputs> {
        match &request.context {
            ContextSource::Directory(path) => {
                let root = directory(path)?;
                let (file, name, bytes) = dockerfile_for(&root, request, stream)?;
                Inputs::new(root, file, name, bytes, None)
            }
            ContextSource::Stream => {
                let mut head = vec![0u8; 512];
                let read = read_up_to(stream, &mut head).map_err(|e| Error::io("read standard input", &e))?;
                head.truncate(read);
                let whole = head.as_slice().chain(&mut *stream);
                let pending = engine.store.begin_snapshot()?;
                let root = pending.fs().to_owned();
                if !is_archive(&head) {
                    let bytes = bounded(whole, "standard input")?;
                    return Inputs::new(root, None, "Dockerfile".to_owned(), bytes, Some(pending));
                }
                unpack(whole, &root)?;
                let (file, name, bytes) = dockerfile_for(&root, request, &mut io::empty())?;
                Inputs::new(root, file, name, bytes, Some(pending))
            }
        }
    }

    /// The build contexts by name.
    pub fn contexts(&self, store: &Store) -> Result<BTreeMap<String, Context>> {
        let filter = Ignore { patterns: self.ignore.clone(), name: self.ignore_name.clone() };
        // What was unpacked for this build alone is not worth remembering.
        let cache = self.unpacked.is_none().then(|| store.context_file(&self.root));
        let context = Context::open(&self.root, Box::new(filter), cache)?;
        Ok(BTreeMap::from([("context".to_owned(), context)]))
    }

    fn new(
        root: PathBuf,
        file: Option<PathBuf>,
        name: String,
        dockerfile: Vec<u8>,
        unpacked: Option<PendingSnapshot>,
    ) -> Result<Inputs> {
        let own = file.map(|file| {
            let mut path = file.into_os_string();
            path.push(".dockerignore");
            PathBuf::from(path)
        });
        let own = own.filter(|path| path.is_file());
        let path = own.unwrap_or_else(|| root.join(".dockerignore"));
        let ignore_name =
            path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let text = match File::open(&path) {
            Ok(file) => bounded(file, &ignore_name)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io(format!("open {}", path.display()), &error)),
        };
        let ignore = Patterns::parse(&text).map_err(|all| {
            let texts: Vec<String> = all.iter().map(|d| render(d, &ignore_name, &text)).collect();
            Error::invalid(texts.join("\n"))
        })?;
        Ok(Inputs { name, dockerfile, root, ignore, ignore_name, unpacked })
    }
}

/// Unpacks a context's archive into the empty directory `root`.
fn unpack(source: impl Read + Send, root: &Path) -> Result<()> {
    let options = UnpackOptions {
        lowers: Vec::new(),
        limits: Limits::default(),
        ids: runtime::mode().unwrap_or(runtime::Mode::Root),
        chown: Some(Owner::ROOT),
        made: (Owner::ROOT, 0o755, Mtime::default()),
    };
    snapshot::unpack_into(source, root, b"/", &options)?;
    Ok(())
}

fn directory(path: &Path) -> Result<PathBuf> {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => {
            return Err(Error::invalid(format!("the build context {shown} is not a directory"))
                .hint("give a directory, or - for a tar or a Dockerfile on standard input"));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::not_found(format!("unable to prepare context: path {shown} not found")));
        }
        Err(error) => return Err(Error::io(format!("open the build context {shown}"), &error)),
    }
    fs::canonicalize(path).map_err(|e| Error::io(format!("open the build context {shown}"), &e))
}

/// The Dockerfile: its path on the host where it has one, its name for people, its bytes.
fn dockerfile_for(
    root: &Path,
    request: &BuildRequest,
    stream: &mut dyn Read,
) -> Result<(Option<PathBuf>, String, Vec<u8>)> {
    let streamed = matches!(request.context, ContextSource::Stream);
    let candidates = match &request.dockerfile {
        DockerfileSource::Stream => {
            return Ok((None, "Dockerfile".to_owned(), bounded(stream, "standard input")?));
        }
        DockerfileSource::Default => vec![root.join("Dockerfile"), root.join("dockerfile")],
        DockerfileSource::Path(path) if streamed => vec![inside(root, path)?],
        DockerfileSource::Path(path) => vec![path.clone()],
    };
    for path in &candidates {
        match File::open(path) {
            Ok(file) => {
                let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
                if file.metadata().is_ok_and(|meta| meta.is_dir()) {
                    return Err(Error::invalid(format!("the Dockerfile {} is a directory", path.display())));
                }
                return Ok((Some(path.clone()), name.clone(), bounded(file, &name)?));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(format!("open the Dockerfile {}", path.display()), &error)),
        }
    }
    let wanted = candidates.first().map(|path| path.strip_prefix(root).unwrap_or(path).display().to_string());
    Err(Error::not_found(format!(
        "failed to read dockerfile: open {}: no such file or directory",
        wanted.unwrap_or_default()
    ))
    .hint("name it with -f, or give the directory that holds it as the context"))
}

/// A path below `root`, which a streamed archive may have filled with links.
fn inside(root: &Path, path: &Path) -> Result<PathBuf> {
    let whole = root.join(path.strip_prefix("/").unwrap_or(path));
    match fs::canonicalize(&whole) {
        Ok(real) if !real.starts_with(root) => {
            Err(Error::invalid(format!("the Dockerfile {} leads out of the build context", path.display())))
        }
        _ => Ok(whole),
    }
}

fn bounded(source: impl Read, name: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source
        .take(DOCKERFILE_LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::io(format!("read {name}"), &e))?;
    match bytes.len() as u64 > DOCKERFILE_LIMIT {
        true => Err(Error::invalid(format!("{name} is larger than {DOCKERFILE_LIMIT} bytes"))),
        false => Ok(bytes),
    }
}

fn read_up_to(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Whether `head`, the first bytes of a stream, begin a tar archive, compressed or not, as Docker tells.
fn is_archive(head: &[u8]) -> bool {
    const MAGIC: [&[u8]; 4] = [b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];
    MAGIC.iter().any(|magic| head.starts_with(magic)) || head.get(257..262) == Some(b"ustar")
}

/// The secrets of a request; files are read when a step mounts them.
pub(crate) struct GivenSecrets<'a> {
    pub given: &'a BTreeMap<String, SecretSource>,
}

impl solver::Secrets for GivenSecrets<'_> {
    fn secret(&self, id: &str) -> Option<Vec<u8>> {
        match self.given.get(id)? {
            SecretSource::Value(bytes) => Some(bytes.clone()),
            SecretSource::File(path) => fs::read(path).ok(),
        }
    }
}
