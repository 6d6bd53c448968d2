//! What becomes of the image, as buildx's options say it: `--output`, `--push`, `--load`, `--annotation`, `--iidfile`.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use engine::build::{
    Annotation, Annotations, ArchiveOutput, Destination, Format, ImageOutput, Level, Output, Pushing, Shape,
};
use engine::push::{ManifestFormat, Method};
use oci::{Platform, Reference};

use crate::cli::{CliError, csv};

#[derive(Debug, clap::Args)]
pub(crate) struct OutputArgs {
    /// Where the result goes, `type=local|tar|oci|docker|image|registry|cacheonly[,dest=PATH][,OPTION=…]`; a directory
    /// alone gets the files of the image, `-` writes them as a tar
    #[arg(short, long = "output", value_name = "OUTPUT")]
    outputs: Vec<String>,
    /// Push the image, by all its names, when it is built
    #[arg(long)]
    push: bool,
    /// Load the image into the store, also where there are other outputs
    #[arg(long)]
    pub(super) load: bool,
    /// Annotation of the manifest, `[LEVEL[PLATFORM],…:]key=value`; levels are manifest, index, manifest-descriptor and
    /// index-descriptor
    #[arg(long = "annotation", value_name = "ANNOTATION")]
    annotations: Vec<String>,
    /// Write the image ID to this file
    #[arg(long, value_name = "FILE")]
    pub(super) iidfile: Option<PathBuf>,
    /// Write what was made, as JSON, to this file
    #[arg(long, value_name = "FILE")]
    pub(super) metadata_file: Option<PathBuf>,
    /// Build twice without the cache, and fail with the first file that differs
    #[arg(long)]
    pub(super) verify_reproducible: bool,
}

/// All that is asked of the outputs.
#[derive(Debug)]
pub(super) struct Outputs {
    pub(super) all: Vec<Output>,
    /// The time that an output says, in place of `SOURCE_DATE_EPOCH`.
    pub(super) epoch: Option<i64>,
    /// Whether files were asked to be no younger than the epoch.
    pub(super) rewrite_timestamp: bool,
    /// Registries, `HOST[:PORT]`, that need not prove who they are (`registry.insecure=true`).
    pub(super) insecure: Vec<String>,
}

impl Outputs {
    /// Whether one of them takes standard output.
    pub(super) fn use_stdout(&self) -> bool {
        self.all.iter().any(is_stdout)
    }
}

impl OutputArgs {
    /// What is asked for, of an image with these names and so many platforms.
    pub(super) fn outputs(&self, tags: &[Reference], platforms: usize) -> Result<Outputs, CliError> {
        let annotations =
            self.annotations.iter().map(|text| annotation(text)).collect::<Result<Vec<_>, _>>()?.concat();
        let several = platforms > 1;
        let mut outputs =
            Outputs { all: Vec::new(), epoch: None, rewrite_timestamp: false, insecure: Vec::new() };
        for text in self.outputs.iter().filter(|text| !text.is_empty()) {
            let fields = Fields::parse(text)?;
            let output = fields.output(tags, several, &annotations, &mut outputs)?;
            outputs.all.push(output);
        }
        let image = |push| {
            Output::Image(ImageOutput {
                names: tags.to_vec(),
                push,
                annotations: Annotations(annotations.clone()),
                ..ImageOutput::default()
            })
        };
        if self.push {
            let mut images: Vec<&mut ImageOutput> = outputs
                .all
                .iter_mut()
                .filter_map(|output| match output {
                    Output::Image(image) => Some(image),
                    _ => None,
                })
                .collect();
            for image in images.iter_mut().filter(|image| image.push == Pushing::No) {
                image.push = Pushing::ByName;
            }
            if images.is_empty() {
                outputs.all.push(image(Pushing::ByName));
            }
        }
        let loaded =
            outputs.all.iter().any(|output| matches!(output, Output::Image(image) if !image.transient));
        if outputs.all.is_empty() || (self.load && !loaded) {
            outputs.all.push(image(Pushing::No));
        }
        for output in &mut outputs.all {
            check(output, several)?;
            if let Output::Image(ImageOutput { names, .. }) | Output::Archive(ArchiveOutput { names, .. }) =
                output
            {
                for name in names {
                    *name = name.clone().with_default_tag();
                }
            }
        }
        if outputs.all.iter().filter(|output| is_stdout(output)).count() > 1 {
            return Err(CliError::new("only one output can go to standard output"));
        }
        Ok(outputs)
    }
}

fn is_stdout(output: &Output) -> bool {
    matches!(
        output,
        Output::Tar { to: Destination::Stream, .. }
            | Output::Archive(ArchiveOutput { shape: Shape::Tar(Destination::Stream), .. })
    )
}

/// What cannot be, seen before anything runs.
fn check(output: &Output, several: bool) -> Result<(), CliError> {
    let annotations = match output {
        Output::Image(image) => {
            if image.push != Pushing::No && image.names.is_empty() {
                return Err(CliError::new("--push needs a name to push to: give one by --tag"));
            }
            if image.push == Pushing::ByDigest
                && let Some(tagged) = image.names.iter().find(|name| name.tag.is_some())
            {
                // BuildKit's words.
                return Err(CliError::new(format!("can't push tagged ref {tagged} by digest"))
                    .hint("push-by-digest=true takes names without a tag"));
            }
            &image.annotations
        }
        Output::Archive(archive) => &archive.annotations,
        _ => return Ok(()),
    };
    // BuildKit's words.
    for (level, name) in [(Level::Index, "index"), (Level::IndexDescriptor, "index descriptor")] {
        if annotations.has(level) && !several {
            return Err(CliError::new(format!(
                "{name} annotations not supported for single platform export"
            )));
        }
    }
    Ok(())
}

/// The fields of one `--output`.
struct Fields {
    kind: String,
    dest: Option<String>,
    /// The others, in the order in which they were given.
    rest: Vec<(String, String)>,
}

impl Fields {
    fn parse(text: &str) -> Result<Fields, CliError> {
        let fields = csv::fields(text);
        if let [only] = fields.as_slice()
            && only == text
            && !text.starts_with("type=")
        {
            let kind = if text == "-" { "tar" } else { "local" };
            return Ok(Fields { kind: kind.to_owned(), dest: Some(text.to_owned()), rest: Vec::new() });
        }
        let (mut kind, mut dest, mut rest) = (None, None, Vec::new());
        for field in fields {
            let (key, value) =
                field.split_once('=').ok_or_else(|| CliError::new(format!("invalid value {field}")))?;
            match key.trim().to_lowercase().as_str() {
                "type" => kind = Some(value.to_owned()),
                "dest" => dest = Some(value.to_owned()),
                // The key of an annotation keeps its case.
                other if other.starts_with("annotation") => {
                    rest.push((key.trim().to_owned(), value.to_owned()))
                }
                other => rest.push((other.to_owned(), value.to_owned())),
            }
        }
        let kind = kind.ok_or_else(|| CliError::new("type is required for output"))?;
        Ok(Fields { kind, dest, rest })
    }

    fn output(
        self,
        tags: &[Reference],
        several: bool,
        annotations: &[Annotation],
        all: &mut Outputs,
    ) -> Result<Output, CliError> {
        let mut taken = Taken {
            image: ImageOutput { names: Vec::new(), ..ImageOutput::default() },
            split: several,
            tar: true,
            ..Taken::default()
        };
        let (mut compression, mut level, mut insecure) = (None, None, false);
        for (key, value) in &self.rest {
            let yes = || truth(key, value);
            match key.as_str() {
                "name" => {
                    let names = value.split(',').filter(|name| !name.is_empty());
                    taken.image.names = names.map(super::tag).collect::<Result<_, _>>()?;
                }
                "push" => taken.push = Some(yes()?),
                "push-by-digest" => taken.by_digest = yes()?,
                "compression" => compression = Some(value.as_str()),
                "compression-level" => {
                    let number = value.parse::<i64>();
                    level = Some(number.map_err(|_| bad(key, value, "a number"))?);
                }
                "force-compression" => taken.image.layers.force = yes()?,
                "oci-mediatypes" => {
                    let format = if yes()? { ManifestFormat::Oci } else { ManifestFormat::Docker };
                    taken.image.layers.format = Some(format);
                }
                "tar" => taken.tar = yes()?,
                "platform-split" => taken.split = yes()?,
                "rewrite-timestamp" => all.rewrite_timestamp |= yes()?,
                "source-date-epoch" => {
                    let seconds = value.parse::<i64>().ok().filter(|seconds| *seconds >= 0);
                    let seconds = seconds.ok_or_else(|| bad(key, value, "a number of seconds since 1970"))?;
                    if all.epoch.replace(seconds).is_some_and(|before| before != seconds) {
                        return Err(CliError::new("outputs of one build have one source-date-epoch"));
                    }
                }
                // What is here is as they want it anyway.
                "store" => taken.image.transient = !yes()?,
                "registry.insecure" => insecure = yes()?,
                // Layers that stay are unpacked, and what was pushed is known by its digest, too.
                "unpack" | "name-canonical" => drop(yes()?),
                "buildinfo" | "buildinfo-attrs" | "attestation-prefix" => {}
                "dangling-name-prefix" => {
                    return Err(CliError::new(format!("output type={}: {key} is not supported", self.kind))
                        .hint("an image without a name is found by its ID: --iidfile writes it"));
                }
                key if key.starts_with("annotation") => {
                    taken.image.annotations.0.push(annotation_field(key, value)?);
                }
                other => {
                    return Err(CliError::new(format!(
                        "output type={}: unknown option {other:?}",
                        self.kind
                    )));
                }
            }
        }
        // As buildx: tags hold before the names of an output, and its own annotations before those of all.
        if !tags.is_empty() {
            taken.image.names = tags.to_vec();
        }
        if insecure {
            all.insecure.extend(taken.image.names.iter().map(|name| name.registry.clone()));
        }
        taken.image.annotations.0.splice(0..0, annotations.iter().cloned());
        taken.image.layers.compression = self::compression(compression, level)?;
        self.of_kind(taken)
    }

    fn of_kind(&self, taken: Taken) -> Result<Output, CliError> {
        let Taken { mut image, push, by_digest, split, tar } = taken;
        match self.kind.as_str() {
            "local" => Ok(Output::Files { to: self.directory()?, split }),
            "tar" => Ok(Output::Tar { to: self.file()?, split }),
            "cacheonly" => Ok(Output::Nothing),
            "image" | "registry" => {
                let push = push.unwrap_or(self.kind == "registry");
                image.push = match (push, by_digest) {
                    (true, true) => Pushing::ByDigest,
                    (true, false) => Pushing::ByName,
                    (false, _) => Pushing::No,
                };
                Ok(Output::Image(image))
            }
            "docker" if self.dest.is_none() && tar => Ok(Output::Image(image)),
            "docker" | "oci" => {
                let shape = if tar { Shape::Tar(self.file()?) } else { Shape::Directory(self.directory()?) };
                let format = if self.kind == "oci" { Format::Oci } else { Format::Docker };
                let ImageOutput { names, layers, annotations, .. } = image;
                Ok(Output::Archive(ArchiveOutput { format, shape, names, layers, annotations }))
            }
            other => Err(CliError::new(format!(
                "unknown output type {other:?}: local, tar, oci, docker, image, registry or cacheonly"
            ))),
        }
    }

    fn directory(&self) -> Result<PathBuf, CliError> {
        match self.dest.as_deref() {
            None | Some("") => Err(CliError::new(format!("dest is required for {} exporter", self.kind))),
            Some("-") => Err(CliError::new(format!("dest cannot be stdout for {} exporter", self.kind))),
            Some(path) if Path::new(path).exists() && !Path::new(path).is_dir() => {
                Err(CliError::new(format!("destination directory {path} is a file")))
            }
            Some(path) => Ok(path.into()),
        }
    }

    fn file(&self) -> Result<Destination, CliError> {
        match self.dest.as_deref() {
            None | Some("" | "-") if io::stdout().is_terminal() => Err(CliError::new(format!(
                "dest file is required for {} exporter. refusing to write to console",
                self.kind
            ))),
            None | Some("" | "-") => Ok(Destination::Stream),
            Some(path) if Path::new(path).is_dir() => {
                Err(CliError::new(format!("destination file {path} is a directory")))
            }
            Some(path) => Ok(Destination::File(path.into())),
        }
    }
}

/// What the options of an output said.
#[derive(Default)]
struct Taken {
    image: ImageOutput,
    push: Option<bool>,
    by_digest: bool,
    split: bool,
    tar: bool,
}

fn bad(key: &str, value: &str, wanted: &str) -> CliError {
    CliError::new(format!("invalid value {value:?} for {key}: it has to be {wanted}"))
}

fn truth(key: &str, value: &str) -> Result<bool, CliError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(CliError::new(format!("non-bool value specified for {key}: {value:?}"))),
    }
}

fn compression(name: Option<&str>, level: Option<i64>) -> Result<Option<Method>, CliError> {
    if name.is_none() && level.is_none() {
        return Ok(None);
    }
    Method::new(name.unwrap_or("gzip"), level).map(Some).map_err(|error| CliError::new(error.to_string()))
}

/// `[LEVEL[PLATFORM],…:]key=value`, as buildx reads it.
fn annotation(text: &str) -> Result<Vec<Annotation>, CliError> {
    let (left, value) = text
        .split_once('=')
        .ok_or_else(|| CliError::new(format!("invalid annotation {text:?}, expected key=value")))?;
    let Some((levels, key)) = left.split_once(':') else {
        return Ok(vec![made(Level::Manifest, None, left, value)]);
    };
    levels.split(',').map(|level| self::level(level).map(|(level, of)| made(level, of, key, value))).collect()
}

/// `annotation[-LEVEL][[PLATFORM]].KEY`, as BuildKit reads it.
fn annotation_field(field: &str, value: &str) -> Result<Annotation, CliError> {
    let wrong = || CliError::new(format!("could not fully parse annotation {field}"));
    let rest = field.strip_prefix("annotation").ok_or_else(wrong)?;
    // A platform has no dot and comes before the key, which may have some.
    let (head, key) = match rest.find(']') {
        Some(end) if rest[..end].contains('[') => (&rest[..=end], rest[end + 1..].strip_prefix('.')),
        _ => rest.split_once('.').map_or((rest, None), |(head, key)| (head, Some(key))),
    };
    let key = key.filter(|key| !key.is_empty()).ok_or_else(wrong)?;
    let (level, platform) = match head.strip_prefix('-') {
        Some(named) => self::level(named)?,
        None if head.is_empty() => (Level::Manifest, None),
        None => self::level(&format!("manifest{head}"))?,
    };
    Ok(made(level, platform, key, value))
}

/// `LEVEL[PLATFORM]`.
fn level(text: &str) -> Result<(Level, Option<Platform>), CliError> {
    let (name, platform) = match text.split_once('[') {
        Some((name, rest)) => (name, Some(rest.strip_suffix(']').unwrap_or(rest))),
        None => (text, None),
    };
    let level =
        Level::parse(name).ok_or_else(|| CliError::new(format!("unknown annotation type {name:?}")))?;
    let platform = platform
        .map(|text| text.parse().map_err(|e| CliError::new(format!("invalid platform {text:?}: {e}"))))
        .transpose()?;
    if platform.is_some() && !level.is_of_manifest() {
        return Err(CliError::new(format!("annotations of an {name} have no platform")));
    }
    Ok((level, platform))
}

fn made(level: Level, platform: Option<Platform>, key: &str, value: &str) -> Annotation {
    Annotation { level, platform, key: key.to_owned(), value: value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(options: &[&str]) -> Result<Vec<Output>, String> {
        let args = OutputArgs {
            outputs: options.iter().map(|text| (*text).to_owned()).collect(),
            push: false,
            load: false,
            annotations: Vec::new(),
            iidfile: None,
            metadata_file: None,
            verify_reproducible: false,
        };
        args.outputs(&[], 1).map(|outputs| outputs.all).map_err(|error| error.text())
    }

    #[test]
    fn of_outputs() {
        assert_eq!(outputs(&["out"]).unwrap(), [Output::Files { to: "out".into(), split: false }]);
        assert_eq!(outputs(&["type=cacheonly"]).unwrap(), [Output::Nothing]);
        let tar = outputs(&["type=tar,\"dest=/a,b\""]).unwrap();
        assert_eq!(tar, [Output::Tar { to: Destination::File("/a,b".into()), split: false }]);
        let Output::Archive(oci) =
            &outputs(&["type=oci,dest=x,tar=false,compression=zstd,compression-level=9"]).unwrap()[0]
        else {
            panic!("no archive");
        };
        assert_eq!(oci.shape, Shape::Directory("x".into()));
        assert_eq!(oci.layers.compression, Some(Method::Zstd(9)));
        let Output::Image(image) = &outputs(&["type=registry,\"name=a:1,b:2\""]).unwrap()[0] else {
            panic!("no image");
        };
        assert_eq!((image.names.len(), image.push), (2, Pushing::ByName));
        for (wrong, why) in [
            ("dest=x,push=true", "type is required"),
            ("type=local", "dest is required"),
            ("type=local,dest=-", "stdout"),
            ("type=oci,dest=/", "is a directory"),
            ("type=local,dest=/etc/passwd", "is a file"),
            ("type=floppy", "unknown output type"),
            ("type=image,push=maybe", "non-bool"),
            ("type=image,bogus=1", "unknown option"),
            ("type=image,compression=lzma", "lzma"),
            ("type=registry", "--tag"),
            ("type=image,annotation-index.a=b", "single platform"),
        ] {
            let said = outputs(&[wrong]).unwrap_err();
            assert!(said.contains(why), "{wrong}: {said}");
        }
    }

    #[test]
    fn of_annotations() {
        let shown = |text: &str| -> Vec<String> {
            let all = annotation(text).unwrap_or_default();
            all.iter()
                .map(|a| {
                    format!(
                        "{:?} {:?} {}={}",
                        a.level,
                        a.platform.as_ref().map(ToString::to_string),
                        a.key,
                        a.value
                    )
                })
                .collect()
        };
        assert_eq!(shown("a.b=c=d"), ["Manifest None a.b=c=d"]);
        assert_eq!(shown("index,manifest-descriptor:k=v"), ["Index None k=v", "ManifestDescriptor None k=v"]);
        assert_eq!(shown("manifest[linux/arm64]:k="), ["Manifest Some(\"linux/arm64\") k="]);
        assert!(
            annotation("k").is_err()
                && annotation("mani:k=v").is_err()
                && annotation("index[a/b]:k=v").is_err()
        );
        let field = |text| annotation_field(text, "v").map(|a| (a.level, a.platform.is_some(), a.key)).ok();
        assert_eq!(field("annotation.a.b"), Some((Level::Manifest, false, "a.b".into())));
        assert_eq!(field("annotation-manifest[linux/amd64].k"), Some((Level::Manifest, true, "k".into())));
        assert_eq!(field("annotation[linux/amd64].k"), Some((Level::Manifest, true, "k".into())));
        assert_eq!(field("annotation-index-descriptor.k"), Some((Level::IndexDescriptor, false, "k".into())));
        assert_eq!(field("annotationk"), None);
    }
}
