//! The Dockerfile and the build context: where they are, what is left out of them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use dockerfile::ignore::Patterns;
use dockerfile::render;
use graph::{HttpSource, Source};
use oci::{ChainId, Digest};
use runtime::beneath;
use snapshot::{Limits, Mtime, Owner, UnpackOptions};
use solver::context::Context;
use solver::source::{Downloads, Fetch, Listener};
use store::{PendingSnapshot, Store};

use crate::build::ignore::Ignore;
use crate::build::mask::Masks;
use crate::build::request::{BuildRequest, ContextSource, DockerfileSource, SecretSource};
use crate::build::sources::NamedSource;
use crate::{Engine, Error, Result};

/// The largest Dockerfile taken, in bytes.
const DOCKERFILE_LIMIT: u64 = 64 << 20;

/// What a build reads.
pub(crate) struct Inputs {
    /// The Dockerfile's name, as the user knows it.
    pub name: String,
    /// Its path on the host; `None` where it came as a stream.
    pub path: Option<PathBuf>,
    /// Its bytes.
    pub dockerfile: Vec<u8>,
    /// The context's directory on the host.
    pub root: PathBuf,
    /// What is left out of the context.
    pub ignore: Patterns,
    /// The name of the file that says so.
    pub ignore_name: String,
    /// What downloads are done with.
    pub downloads: Downloads,
    /// Named contexts that are directories, by name.
    directories: BTreeMap<String, PathBuf>,
    /// Where a context from a stream was unpacked, until the build ends.
    unpacked: Option<PendingSnapshot>,
}

/// What loading the inputs is called, as BuildKit has it.
pub(crate) fn title(request: &BuildRequest) -> String {
    match &request.context {
        ContextSource::Remote(Source::Git(git)) => format!("[internal] load git source {}", git.redacted()),
        ContextSource::Remote(_) => "[internal] load remote build context".to_owned(),
        _ => "[internal] load build definition from Dockerfile".to_owned(),
    }
}

/// What inputs are loaded with.
pub(crate) struct Loading<'a> {
    pub engine: &'a Engine,
    pub request: &'a BuildRequest,
    pub secrets: &'a dyn solver::Secrets,
    pub interrupted: &'a AtomicBool,
    /// Told how downloads go.
    pub say: &'a dyn Fn(&str),
}

/// The context as it was found.
struct Found {
    root: PathBuf,
    unpacked: Option<PendingSnapshot>,
    /// It came from elsewhere: its links are not followed out of it.
    confined: bool,
    /// The Dockerfile, where the context is one alone.
    alone: Option<Vec<u8>>,
}

impl Inputs {
    pub fn load(loading: &Loading<'_>, stream: &mut (dyn Read + Send)) -> Result<Inputs> {
        let request = loading.request;
        let downloads = request.sources.downloads(&request.registry);
        let found = loading.context(&downloads, stream)?;
        let (file, name, bytes) = match (found.alone, &request.dockerfile) {
            (Some(bytes), DockerfileSource::Default | DockerfileSource::Path(_)) => {
                (None, "Dockerfile".to_owned(), bytes)
            }
            (_, DockerfileSource::Remote(source)) => {
                let name = source.name.clone().unwrap_or_else(|| "Dockerfile".to_owned());
                (None, name, loading.file(&downloads, source)?)
            }
            _ => dockerfile_for(&found.root, found.confined, request, stream)?,
        };
        let (ignore, ignore_name) = ignore_for(&found.root, file.as_deref(), found.confined)?;
        let mut directories = BTreeMap::new();
        for (name, source) in &request.sources.contexts {
            if let NamedSource::Directory(path) = source {
                let root =
                    directory(path).map_err(|error| error.context(format_args!("build context {name}")))?;
                directories.insert(name.clone(), root);
            }
        }
        let (dockerfile, root, unpacked) = (bytes, found.root, found.unpacked);
        let path = file.filter(|_| !found.confined);
        Ok(Inputs { name, path, dockerfile, root, ignore, ignore_name, downloads, directories, unpacked })
    }

    /// Those of a context that is a directory of the host, for what needs no store: nothing is
    /// downloaded.
    pub fn in_directory(
        path: &Path,
        request: &BuildRequest,
        stream: &mut (dyn Read + Send),
    ) -> Result<Inputs> {
        let root = directory(path)?;
        let (path, name, dockerfile) = dockerfile_for(&root, false, request, stream)?;
        let (ignore, ignore_name) = ignore_for(&root, path.as_deref(), false)?;
        let downloads = request.sources.downloads(&request.registry);
        let directories = BTreeMap::new();
        Ok(Inputs {
            name,
            path,
            dockerfile,
            root,
            ignore,
            ignore_name,
            downloads,
            directories,
            unpacked: None,
        })
    }

    /// The build contexts by name.
    pub fn contexts(&self, store: &Store) -> Result<BTreeMap<String, Context>> {
        let filter = Ignore { patterns: self.ignore.clone(), name: self.ignore_name.clone() };
        // What was unpacked for this build alone is not worth remembering.
        let cache = self.unpacked.is_none().then(|| store.context_file(&self.root));
        let context = Context::open(&self.root, Box::new(filter), cache)?;
        let mut all = BTreeMap::from([("context".to_owned(), context)]);
        for (name, root) in &self.directories {
            let (patterns, file) = ignore_for(root, None, false)?;
            let filter = Ignore { patterns, name: format!("{file} of the build context {name}") };
            let context = Context::open(root, Box::new(filter), Some(store.context_file(root)))?;
            all.insert(name.clone(), context);
        }
        Ok(all)
    }

    /// What tells builds of this text from others: the context's directory and the Dockerfile's name. One from a
    /// stream has no place of its own.
    pub fn origin(&self) -> String {
        let root = if self.unpacked.is_some() { Path::new("-") } else { self.root.as_path() };
        let text = format!("{}\0{}", root.display(), self.name);
        Digest::sha256(text.as_bytes()).short().to_owned()
    }
}

impl Loading<'_> {
    fn context(&self, downloads: &Downloads, stream: &mut (dyn Read + Send)) -> Result<Found> {
        match &self.request.context {
            ContextSource::Directory(path) => {
                Ok(Found { root: directory(path)?, unpacked: None, confined: false, alone: None })
            }
            ContextSource::Stream => self.archive_or_dockerfile(stream, "standard input"),
            ContextSource::Remote(Source::Http(source)) => {
                let path = self.download(downloads, source)?;
                let mut file =
                    File::open(&path).map_err(|e| Error::io(format!("open {}", path.display()), &e))?;
                let shown = source.redacted();
                self.archive_or_dockerfile(&mut file, &shown)
            }
            ContextSource::Remote(Source::Git(source)) => {
                let fetched = self.fetch(downloads).git(source, self)?;
                let chain =
                    ChainId::of(&[fetched.layer]).expect("because a stack of one layer has a ChainID");
                let root = self.engine.store.snapshot_dir(&chain);
                Ok(Found { root, unpacked: None, confined: true, alone: None })
            }
            ContextSource::Remote(_) => {
                Err(Error::invalid("a build context is a directory, a URL or a Git repository"))
            }
        }
    }

    /// A tar archive, unpacked; or a Dockerfile with nothing beside it.
    fn archive_or_dockerfile(&self, stream: &mut (dyn Read + Send), name: &str) -> Result<Found> {
        let mut head = vec![0u8; 512];
        let read = read_up_to(stream, &mut head).map_err(|e| Error::io(format!("read {name}"), &e))?;
        head.truncate(read);
        let whole = head.as_slice().chain(&mut *stream);
        let pending = self.engine.store.begin_snapshot()?;
        let root = pending.fs().to_owned();
        let alone = match is_archive(&head) {
            false => Some(bounded(whole, name)?),
            true => {
                unpack(whole, &root)?;
                None
            }
        };
        Ok(Found { root, unpacked: Some(pending), confined: true, alone })
    }

    /// The bytes of a small file at a URL.
    fn file(&self, downloads: &Downloads, source: &HttpSource) -> Result<Vec<u8>> {
        let path = self.download(downloads, source)?;
        let file = File::open(&path).map_err(|e| Error::io(format!("open {}", path.display()), &e))?;
        bounded(file, &source.redacted())
    }

    /// Where a download is now, on the host.
    fn download(&self, downloads: &Downloads, source: &HttpSource) -> Result<PathBuf> {
        let fetched = self.fetch(downloads).http(source, self)?;
        let chain = ChainId::of(&[fetched.layer]).expect("because a stack of one layer has a ChainID");
        let dir = self.engine.store.snapshot_dir(&chain);
        let name = match &source.name {
            Some(name) => name.clone().into(),
            None => {
                let mut names =
                    fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
                names.next().unwrap_or_default()
            }
        };
        Ok(dir.join(name))
    }

    fn fetch<'f>(&'f self, downloads: &'f Downloads) -> Fetch<'f> {
        Fetch { store: &self.engine.store, downloads, secrets: self.secrets, stops: vec![self.interrupted] }
    }
}

impl Listener for Loading<'_> {
    fn started(&self) {}

    fn line(&self, text: &str) {
        (self.say)(text);
    }
}

/// What is left out of the context in `root`, and the file that says so: that of the Dockerfile `file` first.
fn ignore_for(root: &Path, file: Option<&Path>, confined: bool) -> Result<(Patterns, String)> {
    let own = file.map(|file| {
        let mut path = file.as_os_str().to_owned();
        path.push(".dockerignore");
        PathBuf::from(path)
    });
    let own = own.filter(|path| open(root, path, confined).is_ok());
    let path = own.unwrap_or_else(|| root.join(".dockerignore"));
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let text = match open(root, &path, confined) {
        Ok(file) => bounded(file, &name)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Error::io(format!("open {}", path.display()), &error)),
    };
    let patterns = Patterns::parse(&text).map_err(|all| {
        let texts: Vec<String> = all.iter().map(|d| render(d, &name, &text)).collect();
        Error::invalid(texts.join("\n"))
    })?;
    Ok((patterns, name))
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

/// The Dockerfile: its path on the host where it has one, its name for people, its bytes. `confined`: the context came
/// from elsewhere and may be full of links.
fn dockerfile_for(
    root: &Path,
    confined: bool,
    request: &BuildRequest,
    stream: &mut dyn Read,
) -> Result<(Option<PathBuf>, String, Vec<u8>)> {
    let (candidates, confined) = match &request.dockerfile {
        DockerfileSource::Stream => {
            return Ok((None, "Dockerfile".to_owned(), bounded(stream, "standard input")?));
        }
        DockerfileSource::Default => (vec![root.join("Dockerfile"), root.join("dockerfile")], confined),
        // As with buildx, an absolute path is one of this machine, but in a stream, which may have been made elsewhere.
        DockerfileSource::Path(path) if confined && !(path.is_absolute() && path.is_file()) => {
            (vec![root.join(path.strip_prefix("/").unwrap_or(path))], true)
        }
        DockerfileSource::Path(path) => (vec![path.clone()], false),
        DockerfileSource::Remote(_) => (Vec::new(), confined),
    };
    for path in &candidates {
        match open(root, path, confined) {
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

/// Opens a file. Where it is `confined`, no link leads out of `root`, of whose paths `path` is one, and what is no
/// regular file is not opened: an archive can hold devices.
fn open(root: &Path, path: &Path, confined: bool) -> io::Result<File> {
    if !confined {
        return File::open(path);
    }
    let below = path.strip_prefix(root).unwrap_or(path);
    let opened = beneath::open_root(root)?;
    beneath::open_file(opened.as_fd(), below).map(File::from).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => io::Error::other("it is no regular file"),
        _ => error,
    })
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
    /// Told what was given to a step.
    pub masks: &'a Masks,
}

impl solver::Secrets for GivenSecrets<'_> {
    fn secret(&self, id: &str) -> Option<Vec<u8>> {
        let bytes = match self.given.get(id)? {
            SecretSource::Value(bytes) => bytes.clone(),
            SecretSource::File(path) => fs::read(path).ok()?,
        };
        self.masks.add(&bytes);
        Some(bytes)
    }
}
