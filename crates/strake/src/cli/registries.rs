//! What the environment says of registries: accounts, mirrors, certificates, proxies. The only place that reads the
//! environment and HOME for them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::registry::credentials::{Accounts, Anonymous, Credentials, Secret};
use engine::registry::{Client, Hosts, Options, Proxies, hosts};

use crate::cli::{CliError, Global};

impl Global {
    /// A client of registries, as this person and machine are set up. Make one a command: it holds connections and
    /// tokens.
    pub(crate) fn registry_client(&self) -> Result<Client, CliError> {
        self.registry_client_trusting(Vec::new())
    }

    /// The same; the registries `insecure` (`HOST[:PORT]`) need not prove who they are, nor speak TLS.
    pub(crate) fn registry_client_trusting(&self, insecure: Vec<String>) -> Result<Client, CliError> {
        let credentials: Arc<dyn Credentials> = match accounts(self.docker_config()) {
            Some(accounts) => Arc::new(accounts),
            None => Arc::new(Anonymous),
        };
        Ok(Client::new(Options {
            hosts: Hosts { insecure, ..hosts()? },
            credentials,
            proxy: proxies(),
            ca_file: path("SSL_CERT_FILE"),
            ..Options::default()
        }))
    }

    /// The host that is asked where Docker Hub is searched: `STRAKE_SEARCH_HOST`, for those who have another, or
    /// Docker's.
    pub(crate) fn search_index(&self) -> String {
        let set = set("STRAKE_SEARCH_HOST").and_then(|host| host.into_string().ok());
        set.unwrap_or_else(|| engine::search::DOCKER_HUB.to_owned())
    }

    /// Where accounts are kept.
    pub(crate) fn accounts(&self) -> Result<Accounts, CliError> {
        accounts(self.docker_config()).ok_or_else(|| {
            CliError::new("where are accounts kept? neither DOCKER_CONFIG nor HOME is set")
                .hint("set DOCKER_CONFIG to a directory")
        })
    }
}

/// In `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`, and where podman and skopeo keep theirs.
fn accounts(named: Option<&Path>) -> Option<Accounts> {
    let named = named.map(Path::to_owned).or_else(|| path("DOCKER_CONFIG"));
    let dir = named.or_else(|| Some(path("HOME")?.join(".docker")))?;
    let mut others = Vec::new();
    match path("REGISTRY_AUTH_FILE") {
        Some(file) => others.push(file),
        None => {
            let run = path("XDG_RUNTIME_DIR").map(|dir| dir.join("containers"));
            let uid = rustix::process::getuid().as_raw();
            others.push(run.unwrap_or_else(|| format!("/run/containers/{uid}").into()).join("auth.json"));
            others.extend(config_dir().map(|dir| dir.join("containers/auth.json")));
        }
    }
    let environment = set("DOCKER_AUTH_CONFIG").and_then(|text| text.into_string().ok()).map(Secret::new);
    let accounts = Accounts::new(dir.join("config.json"), set("PATH").unwrap_or_default());
    Some(accounts.with_environment(environment).with_fallbacks(others).with_runner(as_outside()))
}

/// What runs a program as the user that is root in here: where files and containers are dealt with, the process is in a
/// namespace in which the user's own id is 0, and keyrings (by D-Bus) do not speak to somebody who says that he is root.
/// Nothing where the user is the same in here and outside, or where there is no such program.
fn as_outside() -> Vec<OsString> {
    let outside = |map: &str| {
        let text = std::fs::read_to_string(map).ok()?;
        let mut words = text.lines().next()?.split_ascii_whitespace();
        (words.next()? == "0").then_some(words.next()?.parse::<u32>().ok()?).filter(|id| *id != 0)
    };
    let (Some(user), Some(group)) = (outside("/proc/self/uid_map"), outside("/proc/self/gid_map")) else {
        return Vec::new();
    };
    let path = set("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path).map(|dir| dir.join("unshare")).find(|path| path.is_file());
    let Some(program) = program else { return Vec::new() };
    let words = [format!("--map-user={user}"), format!("--map-group={group}"), "--".to_owned()];
    [program.into_os_string()].into_iter().chain(words.map(OsString::from)).collect()
}

fn hosts() -> Result<Hosts, CliError> {
    let of_user = |name: &str| config_dir().map(|dir| dir.join(name));
    let both = |name: &str| {
        of_user(name).into_iter().chain([PathBuf::from("/etc").join(name)]).collect::<Vec<PathBuf>>()
    };
    let files = hosts::Files {
        own: both("strake/registries.conf"),
        containers: match path("CONTAINERS_REGISTRIES_CONF") {
            Some(file) => vec![file],
            None => both("containers/registries.conf"),
        },
        // What a person says counts more than what the machine's files say.
        containers_dirs: both("containers/registries.conf.d").into_iter().rev().collect(),
    };
    let registries = files.read().map_err(|error| CliError::new(error.to_string()))?;
    let mut certificates = both("docker/certs.d");
    certificates.extend(both("containers/certs.d"));
    Ok(Hosts { registries, certificates, ..Hosts::default() })
}

/// Upper case counts more, as with Go.
fn proxies() -> Proxies {
    let of = |upper: &str| {
        let text = set(upper).or_else(|| set(&upper.to_lowercase()));
        text.and_then(|text| text.into_string().ok()).unwrap_or_default()
    };
    Proxies::new(&of("HTTP_PROXY"), &of("HTTPS_PROXY"), &of("NO_PROXY"))
}

fn config_dir() -> Option<PathBuf> {
    path("XDG_CONFIG_HOME").filter(|dir| dir.is_absolute()).or_else(|| Some(path("HOME")?.join(".config")))
}

fn path(name: &str) -> Option<PathBuf> {
    set(name).map(PathBuf::from)
}

fn set(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
