//! What a build takes from elsewhere: named contexts, agents, and how downloads are done. What the command line says of
//! them is read here; nothing is opened.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use dockerfile::remote::{self, Remote};
use graph::{HttpSource, Source};
use oci::Reference;
use solver::source::Downloads;
pub use solver::source::GitSettings;
pub use solver::ssh::AgentSource;

use crate::{Error, Result};

/// The name of the main build context in the graph.
const MAIN: &str = "context";

/// What a build takes from elsewhere. Paths are on the host.
#[derive(Debug, Clone)]
pub struct Sources {
    /// `--build-context`, by name: a reference in its familiar form without `:latest`, or one with `::PLATFORM` behind.
    pub contexts: BTreeMap<String, NamedSource>,
    /// `--ssh`, by id.
    pub ssh: BTreeMap<String, AgentSource>,
    /// `PATH`, for `ssh-agent`.
    pub path: Option<OsString>,
    /// How git is called.
    pub git: GitSettings,
    /// The most bytes that one download may have.
    pub download_limit: u64,
}

impl Default for Sources {
    fn default() -> Sources {
        Sources {
            contexts: BTreeMap::new(),
            ssh: BTreeMap::new(),
            path: None,
            git: GitSettings::default(),
            download_limit: Downloads::LIMIT,
        }
    }
}

impl Sources {
    /// What downloads are done with.
    pub(crate) fn downloads(&self, client: &registry::Client) -> Downloads {
        Downloads {
            client: client.clone(),
            git: self.git.clone(),
            agents: solver::ssh::Agents::new(self.ssh.clone(), self.path.clone()),
            limit: self.download_limit,
        }
    }

    /// The names that stand for stages, with those.
    pub(crate) fn stages(&self) -> BTreeMap<String, String> {
        let stage = |source: &NamedSource| match source {
            NamedSource::Stage(stage) => Some(stage.clone()),
            _ => None,
        };
        self.contexts.iter().filter_map(|(name, source)| Some((name.clone(), stage(source)?))).collect()
    }
}

/// What `--build-context NAME=…` names.
#[derive(Debug, Clone, PartialEq)]
pub enum NamedSource {
    /// A directory.
    Directory(PathBuf),
    /// `docker-image://REFERENCE`
    Image(Reference),
    /// `docker-image://scratch`
    Scratch,
    /// `oci-layout://PATH[:TAG|@DIGEST]`
    Layout {
        /// The layout's directory.
        path: PathBuf,
        /// `org.opencontainers.image.ref.name` or digest of the image.
        image: Option<String>,
    },
    /// A URL or Git repository.
    Remote(Source),
    /// `target:STAGE`: a stage of the same Dockerfile.
    Stage(String),
}

/// Reads one `--build-context`: its name, and what that stands for.
///
/// # Errors
/// In buildx's words where it has some.
pub fn parse_named(text: &str) -> Result<(String, NamedSource)> {
    let bad = |why: &str| Error::invalid(format!("invalid context value: {text}, {why}"));
    let (name, value) = text.split_once('=').ok_or_else(|| bad("expected key=value"))?;
    let source = parse_source(value).map_err(|error| error.context(format_args!("build context {name}")))?;
    Ok((context_name(name)?, source))
}

/// The name of a context as it is compared.
///
/// # Errors
/// A name that can be no image's.
pub(crate) fn context_name(name: &str) -> Result<String> {
    let (bare, platform) = name.split_once("::").map_or((name, ""), |(bare, platform)| (bare, platform));
    let reference = Reference::parse(bare)
        .map_err(|error| Error::invalid(format!("invalid context name {name}: {error}")))?;
    let familiar = reference.familiar();
    let familiar = familiar.strip_suffix(":latest").unwrap_or(&familiar);
    if familiar == MAIN {
        return Err(Error::invalid(format!(
            "invalid context name {name}: that is the main context's, which is given as an argument of its own"
        )));
    }
    Ok(match platform {
        "" => familiar.to_owned(),
        platform => format!("{familiar}::{platform}"),
    })
}

fn parse_source(value: &str) -> Result<NamedSource> {
    if let Some(image) = value.strip_prefix("docker-image:") {
        let image = image.strip_prefix("//").unwrap_or(image);
        if image == "scratch" {
            return Ok(NamedSource::Scratch);
        }
        let reference = Reference::parse(image).map_err(|error| Error::invalid(error.to_string()))?;
        return Ok(NamedSource::Image(reference.with_default_tag()));
    }
    if let Some(layout) = value.strip_prefix("oci-layout:") {
        let layout = layout.strip_prefix("//").unwrap_or(layout);
        let (path, image) = match layout.rsplit_once('@') {
            Some((path, digest)) if digest.contains(':') => {
                let path = path
                    .rsplit_once(':')
                    .filter(|(_, tag)| !tag.contains('/'))
                    .map_or(path, |(path, _)| path);
                (path, Some(digest.to_owned()))
            }
            _ => match layout.rsplit_once(':') {
                Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
                _ => (layout, None),
            },
        };
        return Ok(NamedSource::Layout { path: path.into(), image });
    }
    if let Some(stage) = value.strip_prefix("target:") {
        return match stage {
            "" => Err(Error::invalid("target: names no stage")),
            stage => Ok(NamedSource::Stage(stage.to_owned())),
        };
    }
    if let Some(remote) = parse_remote(value, false)? {
        return Ok(NamedSource::Remote(remote));
    }
    if value.is_empty() {
        return Err(Error::invalid("it stands for nothing: write NAME=PATH"));
    }
    Ok(NamedSource::Directory(value.into()))
}

/// The URL or repository that `text` names; `None` where it is a path. What is a directory on the host is one.
/// `keep_git_dir`: keep `.git`, whatever the URL says of it.
///
/// # Errors
/// A Git repository whose fragment or query is wrong.
pub fn parse_remote(text: &str, keep_git_dir: bool) -> Result<Option<Source>> {
    if Path::new(text).is_dir() {
        return Ok(None);
    }
    let parsed =
        remote::parse(text).map_err(|why| Error::invalid(format!("{}: {why}", graph::redacted(text))))?;
    Ok(parsed.map(|remote| match remote {
        Remote::Git(git) => {
            let mut source = git.source(false);
            source.keep_git_dir |= keep_git_dir;
            Source::Git(source)
        }
        // BuildKit's name for it.
        Remote::Http(url) => Source::Http(HttpSource { url, name: Some(MAIN.to_owned()), checksum: None }),
    }))
}

/// The Dockerfile at a URL (`-f https://…`); `None` where it is a path.
pub fn remote_dockerfile(text: &str) -> Option<HttpSource> {
    let scheme = text.split_once("://")?.0.to_ascii_lowercase();
    matches!(scheme.as_str(), "http" | "https").then(|| HttpSource {
        url: text.to_owned(),
        name: Some(remote::file_name(text).unwrap_or_else(|| "Dockerfile".to_owned())),
        checksum: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_as_buildx_reads_them() {
        let digest = oci::Digest::sha256(b"");
        let of = |text: &str| parse_named(text).unwrap();
        let layout = |path: &str, image: Option<&str>| NamedSource::Layout {
            path: path.into(),
            image: image.map(str::to_owned),
        };
        assert_eq!(
            of("docker.io/library/alpine:latest=dir"),
            ("alpine".into(), NamedSource::Directory("dir".into()))
        );
        assert_eq!(of("a::linux/arm64=d").0, "a::linux/arm64");
        assert_eq!(
            of("a=docker-image://debian").1,
            NamedSource::Image(Reference::parse("debian:latest").unwrap())
        );
        assert_eq!(of("a=docker-image://scratch").1, NamedSource::Scratch);
        assert_eq!(of("a=oci-layout:///x/y").1, layout("/x/y", None));
        assert_eq!(of("a=oci-layout://x/y:1").1, layout("x/y", Some("1")));
        assert_eq!(of(&format!("a=oci-layout://x:1@{digest}")).1, layout("x", Some(digest.as_str())));
        assert_eq!(of("a=target:b").1, NamedSource::Stage("b".into()));
        assert!(matches!(of("a=https://h/x.git#y").1, NamedSource::Remote(Source::Git(_))));
        assert!(matches!(of("a=https://h/x").1, NamedSource::Remote(Source::Http(_))));
        for bad in ["a", "A b=c", "context=d", "a=target:", "a=", "a=https://h/x.git#-x"] {
            assert!(parse_named(bad).is_err(), "{bad}");
        }
    }
}
