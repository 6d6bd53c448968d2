//! Build checks, and the other questions to a Dockerfile that need no build: `--call=check`,
//! `--call=outline`, `--call=targets`; and the changes that checks propose, made in the file.
//!
//! No registry is asked and nothing is built. What is known of base images is what the store has.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

pub use dockerfile::call::{Outline, Target};
use dockerfile::check::{Known, Mended, Report};
use dockerfile::lower::{LowerOptions, ResolvedImage};
use dockerfile::{Diagnostic, check};
use oci::{Platform, Reference};

pub use dockerfile::check::text::Detail;
pub use dockerfile::check::{Origin, Rule};

use crate::build::context::{GivenSecrets, Inputs, Loading};
use crate::build::mask::Masks;
use crate::build::request::{BuildRequest, ContextSource, DockerfileSource};
use crate::build::{NamedSource, options, syntax};
use crate::{Engine, Error, Result};

/// A Dockerfile that was checked.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Its name, as the user knows it.
    pub name: String,
    /// Its path on the host; `None` where it came as a stream.
    pub path: Option<PathBuf>,
    /// Its bytes.
    source: Vec<u8>,
    report: Report,
}

impl Checked {
    /// How many warnings there are.
    pub fn warnings(&self) -> usize {
        self.report.warnings.len()
    }

    /// Whether it could be built, as far as that can be seen.
    pub fn is_sound(&self) -> bool {
        self.report.errors.is_empty()
    }

    /// The warnings for people, whole lines.
    pub fn text(&self, detail: Detail) -> String {
        check::text::warnings(&self.report, &self.name, &self.source, detail)
    }

    /// Why it cannot be built, for people, without a line end at the end; empty where it can.
    pub fn errors(&self, detail: Detail) -> String {
        check::text::errors(&self.report, &self.name, &self.source, detail)
    }

    /// All of it in the JSON of BuildKit's lint request.
    pub fn json(&self) -> serde_json::Value {
        check::json::report(&self.report, &self.name, &self.source)
    }

    /// All of it as a SARIF 2.1.0 log. `path` is the Dockerfile's as the log is to name it.
    pub fn sarif(&self, path: &str, version: &str) -> serde_json::Value {
        check::sarif::log(&self.report, path, &self.source, version)
    }
}

/// Checks a Dockerfile. `engine` is asked for base images, where there is a store; a context that is not
/// a directory of the host needs one.
///
/// # Errors
/// The Dockerfile or the context cannot be read. What is wrong in the Dockerfile is in the result.
pub fn check(
    engine: Option<&Engine>,
    request: &BuildRequest,
    stream: &mut (dyn Read + Send),
) -> Result<Checked> {
    let inputs = load(engine, request, stream)?;
    let report = check::check(
        &inputs.dockerfile,
        &settings(request, &inputs),
        &mut AtHand { engine, contexts: &request.sources.contexts },
    );
    Ok(Checked { name: inputs.name, path: inputs.path, source: inputs.dockerfile, report })
}

/// Makes the changes in the Dockerfile that checks propose and that are safe; says what was done, in
/// order. The file is replaced at once, or not at all, and keeps its mode.
///
/// # Errors
/// The Dockerfile cannot be read or written, or is no file.
pub fn fix(engine: Option<&Engine>, request: &BuildRequest) -> Result<Vec<String>> {
    let ContextSource::Directory(_) = request.context else { return Err(nowhere()) };
    let inputs = load(engine, request, &mut std::io::empty())?;
    let path = inputs.path.clone().ok_or_else(nowhere)?;
    let Mended { source, made } = check::mend(
        &inputs.dockerfile,
        &settings(request, &inputs),
        &mut AtHand { engine, contexts: &request.sources.contexts },
    );
    if source != inputs.dockerfile {
        replace(&path, &source)?;
    }
    Ok(made)
}

fn nowhere() -> Error {
    Error::invalid(
        "--fix changes the Dockerfile in place, and this one is no file of the context or the host",
    )
}

/// What the target takes.
///
/// # Errors
/// The Dockerfile cannot be read, or has a mistake.
pub fn outline(
    engine: Option<&Engine>,
    request: &BuildRequest,
    stream: &mut (dyn Read + Send),
) -> Result<(Outline, Vec<u8>)> {
    let inputs = load(engine, request, stream)?;
    let parsed = parse(&inputs)?;
    let outline = dockerfile::call::outline(&parsed.dockerfile, &settings(request, &inputs))
        .map_err(|error| syntax(&inputs, "failed to outline the build", &[error]))?;
    Ok((outline, inputs.dockerfile))
}

/// The stages that can be built.
///
/// # Errors
/// The Dockerfile cannot be read, or has a mistake.
pub fn targets(
    engine: Option<&Engine>,
    request: &BuildRequest,
    stream: &mut (dyn Read + Send),
) -> Result<(Vec<Target>, Vec<u8>)> {
    let inputs = load(engine, request, stream)?;
    let parsed = parse(&inputs)?;
    Ok((dockerfile::call::targets(&parsed.dockerfile), inputs.dockerfile))
}

fn parse(inputs: &Inputs) -> Result<dockerfile::Parsed> {
    dockerfile::parse(&inputs.dockerfile).map_err(|all| syntax(inputs, "failed to read the Dockerfile", &all))
}

fn load(engine: Option<&Engine>, request: &BuildRequest, stream: &mut (dyn Read + Send)) -> Result<Inputs> {
    match (&request.context, engine) {
        (ContextSource::Directory(path), _) if !matches!(request.dockerfile, DockerfileSource::Remote(_)) => {
            Inputs::in_directory(path, request, stream)
        }
        (_, Some(engine)) => {
            let masks = Masks::default();
            let secrets = GivenSecrets { given: &request.secrets, masks: &masks };
            let interrupted = &AtomicBool::new(false);
            Inputs::load(&Loading { engine, request, secrets: &secrets, interrupted, say: &|_| {} }, stream)
        }
        (_, None) => Err(Error::invalid("a context that is no directory needs a store to unpack it in")),
    }
}

fn settings(request: &BuildRequest, inputs: &Inputs) -> LowerOptions {
    let platform = request.platforms.first().cloned().unwrap_or_else(Platform::host);
    options(request, inputs, platform, false)
}

/// What is known without asking anybody: the images of the store, and which contexts were named.
struct AtHand<'a> {
    engine: Option<&'a Engine>,
    contexts: &'a BTreeMap<String, NamedSource>,
}

impl Known for AtHand<'_> {
    fn image(&mut self, reference: &Reference, platform: &Platform) -> Option<ResolvedImage> {
        let engine = self.engine?;
        let id = engine.store.resolve(&reference.familiar()).ok()?;
        let image = engine.image(&id).ok()?;
        let config = image.config.value;
        config.platform().matches(platform).then(|| ResolvedImage {
            image_id: id,
            config,
            digest: image.meta.index.or(image.meta.manifest),
            reference: reference.clone(),
        })
    }

    fn is_context(&mut self, name: &str) -> bool {
        self.contexts.contains_key(name)
    }
}

/// Writes a file beside `path` and puts it in its place.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let fail = |what: &str, error: &std::io::Error| Error::io(format!("{what} {}", path.display()), error);
    // A link stays one: what it leads to is replaced.
    let path = fs::canonicalize(path).map_err(|e| fail("find", &e))?;
    let old = fs::metadata(&path).map_err(|e| fail("look at", &e))?;
    let directory = path.parent().ok_or_else(nowhere)?;
    let mut new = tempfile(directory, &path).map_err(|e| fail("write beside", &e))?;
    let written = new.1.write_all(bytes).and_then(|()| {
        new.1.set_permissions(fs::Permissions::from_mode(old.mode() & 0o7777))?;
        // Root keeps the file its owner's; others can but own what they write.
        let _ = std::os::unix::fs::fchown(&new.1, Some(old.uid()), Some(old.gid()));
        new.1.sync_all()?;
        fs::rename(&new.0, &path)
    });
    written.map_err(|error| {
        let _ = fs::remove_file(&new.0);
        fail("write", &error)
    })
}

fn tempfile(directory: &Path, path: &Path) -> std::io::Result<(PathBuf, File)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = directory.join(format!(".{name}.{}.tmp", std::process::id()));
    let file = File::options().write(true).create_new(true).open(&new)?;
    Ok((new, file))
}

/// The warnings of a build that are to be shown, as events, in the order in which they were found.
pub(crate) fn tell(inputs: &Inputs, warnings: &[Diagnostic], events: &dyn crate::Events) {
    let index = dockerfile::LineIndex::new(&inputs.dockerfile);
    for warning in warnings {
        events.event(crate::Event::Check(warning.short(&index)));
    }
}
