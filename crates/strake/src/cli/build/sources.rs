//! Options of `build` for what comes from elsewhere: contexts, Dockerfiles, agents, downloads.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use engine::build::{
    AgentSource, ContextSource, DockerfileSource, GitSettings, Sources, parse_named, parse_remote,
    remote_dockerfile,
};

use crate::cli::CliError;
use crate::cli::units;

#[derive(Debug, clap::Args)]
pub(crate) struct SourceArgs {
    /// Another context, `name=PATH|URL|docker-image://REF|oci-layout://PATH[:TAG|@DIGEST]|target:STAGE`
    #[arg(long = "build-context", value_name = "NAME=SOURCE")]
    pub contexts: Vec<String>,
    /// SSH agent socket or keys for the build, `default|id[=SOCKET|KEY[,KEY]]`
    #[arg(long, value_name = "SSH")]
    pub ssh: Vec<String>,
    /// Largest download of an ADD or a context, in bytes or with a unit
    #[arg(long, value_name = "SIZE", default_value = "16g")]
    pub max_download: String,
}

/// What of the environment git gets: how to find programs and the way to the network.
const FOR_GIT: [&str; 9] = [
    "PATH",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
];

impl SourceArgs {
    pub(super) fn sources(&self) -> Result<Sources, CliError> {
        let mut contexts = BTreeMap::new();
        for text in &self.contexts {
            let (name, source) = parse_named(text)?;
            contexts.insert(name, source);
        }
        let mut ssh = BTreeMap::new();
        for text in &self.ssh {
            let (id, source) = agent(text)?;
            if ssh.insert(id.clone(), source).is_some() {
                return Err(CliError::new(format!("duplicate SSH agent {id:?}")));
            }
        }
        let limit = units::parse_size(&self.max_download).filter(|limit| *limit > 0);
        let download_limit = limit.ok_or_else(|| {
            CliError::new(format!("invalid size {:?}: write 500m or 2g", self.max_download))
        })?;
        Ok(Sources { contexts, ssh, path: env::var_os("PATH"), git: git(), download_limit })
    }
}

/// How git is called: with our proxies and authorities, and the keys of hosts that the user knows.
fn git() -> GitSettings {
    let given = |name: &str| Some((OsString::from(name), env::var_os(name)?));
    let mut environment: Vec<_> = FOR_GIT.iter().filter_map(|name| given(name)).collect();
    if let Some(file) = env::var_os("SSL_CERT_FILE") {
        environment.push(("GIT_SSL_CAINFO".into(), file));
    }
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".ssh/known_hosts"));
    let files = [Some(PathBuf::from("/etc/ssh/ssh_known_hosts")), home];
    let known_hosts = files.into_iter().flatten().filter(|file| file.is_file()).collect();
    GitSettings { environment, known_hosts }
}

/// The main context. `build_args` may say that `.git` is to stay in it.
pub(super) fn context(path: &str, build_args: &BTreeMap<String, String>) -> Result<ContextSource, CliError> {
    if path == "-" {
        return Ok(ContextSource::Stream);
    }
    let keep = build_args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR");
    let keep = keep.is_some_and(|keep| matches!(keep.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True"));
    Ok(match parse_remote(path, keep)? {
        Some(remote) => ContextSource::Remote(remote),
        None => ContextSource::Directory(path.into()),
    })
}

/// The Dockerfile.
pub(super) fn dockerfile(file: Option<&Path>) -> DockerfileSource {
    match file {
        None => DockerfileSource::Default,
        Some(path) if path == Path::new("-") => DockerfileSource::Stream,
        Some(path) => match path.to_str().and_then(remote_dockerfile) {
            Some(remote) => DockerfileSource::Remote(remote),
            None => DockerfileSource::Path(path.to_owned()),
        },
    }
}

/// `default`, `id`, `id=SOCKET`, `id=KEY,KEY`.
fn agent(text: &str) -> Result<(String, AgentSource), CliError> {
    let (id, paths) = text.split_once('=').unwrap_or((text, ""));
    let id = if id.is_empty() { "default" } else { id };
    let fail = |why: String| CliError::new(format!("SSH agent {id:?}: {why}"));
    if paths.is_empty() {
        let socket = env::var_os("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty()).ok_or_else(|| {
            fail("invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set".to_owned())
                .hint(format!("start an agent (eval $(ssh-agent); ssh-add), or name a key: --ssh {id}=FILE"))
        })?;
        return Ok((id.to_owned(), AgentSource::Socket(socket.into())));
    }
    let paths: Vec<PathBuf> = paths.split(',').map(PathBuf::from).collect();
    let mut sockets = 0;
    for path in &paths {
        let meta = std::fs::metadata(path).map_err(|error| fail(format!("{}: {error}", path.display())))?;
        sockets += usize::from(std::os::unix::fs::FileTypeExt::is_socket(&meta.file_type()));
    }
    match (sockets, paths.as_slice()) {
        (0, _) => Ok((id.to_owned(), AgentSource::Keys(paths))),
        (1, [socket]) => Ok((id.to_owned(), AgentSource::Socket(socket.clone()))),
        (1, _) => Err(fail("invalid combination of keys and sockets".to_owned())),
        _ => Err(fail("only single socket allowed".to_owned())),
    }
}
