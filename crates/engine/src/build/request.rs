//! What a build is asked for, and what it gives.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use oci::{ImageId, Platform, Reference};

use super::run_options::RunOptions;
use crate::build::cache::{CacheFrom, CacheTo};
use crate::build::output::{Exported, Output};
use crate::build::sources::Sources;
use crate::build::summary::Summary;

/// What `build` is asked to do. Paths are on the host.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The files that COPY and ADD see.
    pub context: ContextSource,
    /// The Dockerfile.
    pub dockerfile: DockerfileSource,
    /// The stage to build; `None`: the last.
    pub target: Option<String>,
    /// `--build-arg`, by name.
    pub build_args: BTreeMap<String, String>,
    /// Names the image gets.
    pub tags: Vec<Reference>,
    /// Where the result goes.
    pub outputs: Vec<Output>,
    /// `--label`, by name.
    pub labels: BTreeMap<String, String>,
    /// Run every step, whatever is cached.
    pub no_cache: bool,
    /// Stages whose steps are run, whatever is cached.
    pub no_cache_filter: Vec<String>,
    /// Fail where a step of these stages would have to run, and of what only they need; none for every stage.
    pub require_cached: Option<Vec<String>>,
    /// Run every step twice, and fail where the second time gives something else.
    pub verify_reproducible: bool,
    /// Look base images up at their registry even where they are in the store.
    pub pull: bool,
    /// What the image is to run on: none for this machine; with several, an image for each, under an index.
    pub platforms: Vec<Platform>,
    /// Network of RUN steps that ask for none.
    pub network: graph::Network,
    /// `name` and `address` pairs for `/etc/hosts` of RUN steps.
    pub add_hosts: Vec<(String, String)>,
    /// Secrets that RUN steps may mount, by id.
    pub secrets: BTreeMap<String, SecretSource>,
    /// What it says of its RUN steps.
    pub run: RunOptions,
    /// Seconds since 1970: the time of everything made (`SOURCE_DATE_EPOCH`).
    pub epoch: Option<i64>,
    /// Steps at work at once; `None`: as many as there are cores.
    pub jobs: Option<usize>,
    /// Keep the image in the store although it is only pushed: layers that are elsewhere come for that.
    pub load: bool,
    /// Shared caches to look results up in.
    pub cache_from: Vec<CacheFrom>,
    /// Shared caches to write.
    pub cache_to: Vec<CacheTo>,
    /// The runtime that steps run in.
    pub runtime: runtime::RuntimeChoice,
    /// Who fetches base images.
    pub registry: registry::Client,
    /// Named contexts, agents, and how downloads are done.
    pub sources: Sources,
    /// `HTTP_PROXY` and its like of the host, passed to RUN steps and kept out of keys and history.
    pub proxies: BTreeMap<String, String>,
}

/// Where the build context is.
#[derive(Debug, Clone)]
pub enum ContextSource {
    /// A directory, read in place.
    Directory(PathBuf),
    /// A tar archive, compressed or not, on an open file that need not be seekable; or a
    /// Dockerfile alone. Which of the two is seen from its first bytes.
    Stream,
    /// What is downloaded: a Git repository, a tar archive at a URL, or a Dockerfile alone at one.
    Remote(graph::Source),
}

/// Where the Dockerfile is.
#[derive(Debug, Clone)]
pub enum DockerfileSource {
    /// `Dockerfile` in the context.
    Default,
    /// This file: below the context where it is a stream or downloaded, else on the host. So is an absolute path to a
    /// file that is there.
    Path(PathBuf),
    /// What is at a URL.
    Remote(graph::HttpSource),
    /// Standard input.
    Stream,
}

/// Where a secret's bytes are.
#[derive(Clone)]
pub enum SecretSource {
    /// A file on the host, read when a step mounts it.
    File(PathBuf),
    /// The bytes themselves (from an environment variable).
    Value(Vec<u8>),
}

impl std::fmt::Debug for SecretSource {
    /// Never the bytes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SecretSource::File(path) => f.debug_tuple("File").field(path).finish(),
            SecretSource::Value(_) => f.write_str("Value(…)"),
        }
    }
}

/// What a build made.
#[derive(Debug, Clone)]
pub struct BuildResult {
    /// The build's own ID, by which its logs are kept; empty where none are.
    pub id: String,
    /// The image; of several platforms the one for this machine, else the first.
    pub image: ImageId,
    /// The names it got.
    pub references: Vec<Reference>,
    /// The image it was built on; `None` for `scratch`.
    pub base: Option<store::Base>,
    /// What became of each output.
    pub exported: Vec<Exported>,
    /// Its steps and layers.
    pub summary: Summary,
    /// Time it all took.
    pub elapsed: Duration,
}

impl BuildRequest {
    /// What is built, for lists: the context's directory or where it comes from.
    pub(crate) fn shown(&self) -> String {
        match (&self.context, self.tags.first()) {
            (_, Some(name)) => name.familiar(),
            (ContextSource::Directory(path), None) => path.display().to_string(),
            (ContextSource::Stream, None) => "-".to_owned(),
            (ContextSource::Remote(graph::Source::Git(git)), None) => git.redacted(),
            (ContextSource::Remote(graph::Source::Http(http)), None) => http.redacted(),
            (ContextSource::Remote(_), None) => String::new(),
        }
    }
}
