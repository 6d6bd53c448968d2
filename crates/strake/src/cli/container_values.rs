//! What single flags of `run` and `create` say: a limit, a port, a line of a file of variables.

use std::env;
use std::fs;
use std::path::PathBuf;

use engine::container::{NetworkMode, RunConfig, Ulimit};

use crate::cli::{CliError, units};

/// The lines of a file of variables or labels that say something.
pub(crate) fn lines(path: &PathBuf) -> Result<Vec<String>, CliError> {
    let text = fs::read_to_string(path)
        .map_err(|e| CliError::new(format!("cannot read {}: {e}", path.display())))?;
    let mut all = Vec::new();
    for line in text.trim_start_matches('\u{feff}').lines().map(str::trim_start) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or(line);
        if name.is_empty() {
            return Err(CliError::new(format!("{}: no variable name on line '{line}'", path.display())));
        }
        if name.contains(char::is_whitespace) {
            return Err(CliError::new(format!("{}: variable '{name}' contains whitespaces", path.display())));
        }
        all.push(line.to_owned());
    }
    Ok(all)
}

/// `NAME=value`, or `NAME` with what the environment has for it.
pub(crate) fn from_environment(text: &str) -> Option<String> {
    match text.contains('=') {
        true => Some(text.to_owned()),
        false => env::var(text).ok().map(|value| format!("{text}={value}")),
    }
}

pub(crate) fn network(name: &str) -> Result<NetworkMode, CliError> {
    match name {
        "host" | "bridge" | "default" | "" => Ok(NetworkMode::Host),
        "none" => Ok(NetworkMode::None),
        other => Err(CliError::new(format!("network {other} not found"))
            .hint("there are two: host, which is the default, and none")),
    }
}

/// What `--expose` and `--publish` say is served, as `80/tcp`.
pub(crate) fn ports(exposed: &[String], published: &[String]) -> Result<Vec<String>, CliError> {
    let of_container = |text: &String| text.rsplit(':').next().unwrap_or(text).to_owned();
    let mut all = Vec::new();
    for text in exposed.iter().cloned().chain(published.iter().map(of_container)) {
        let (range, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let bad =
            || CliError::new(format!("invalid port {text:?}: write a number or a range, and /tcp or /udp"));
        let (first, last): (u16, u16) = (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
        if first > last || !matches!(protocol, "tcp" | "udp" | "sctp") {
            return Err(bad());
        }
        all.extend((first..=last).map(|port| format!("{port}/{protocol}")));
    }
    Ok(all)
}

pub(crate) fn ulimit(text: &str) -> Result<Ulimit, CliError> {
    let bad = || CliError::new(format!("invalid ulimit {text:?}: write name=soft[:hard]"));
    const NAMES: &[&str] = &[
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
    let (name, values) = text.split_once('=').ok_or_else(bad)?;
    if !NAMES.contains(&name) {
        return Err(CliError::new(format!("invalid ulimit type: {name}")));
    }
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let (soft, hard): (i64, i64) = (soft.parse().map_err(|_| bad())?, hard.parse().map_err(|_| bad())?);
    if hard != -1 && (soft > hard || soft == -1) {
        return Err(CliError::new(format!(
            "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        )));
    }
    Ok(Ulimit { name: name.to_owned(), soft, hard })
}

pub(crate) fn sysctl(text: &str) -> Result<(String, String), CliError> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(CliError::new(format!("invalid sysctl {text:?}: write name=value"))),
    }
}

pub(crate) fn shm_size(text: &str) -> Result<u64, CliError> {
    units::parse_size(text).ok_or_else(|| {
        CliError::new(format!("invalid argument {text:?} for \"--shm-size\" flag: invalid size: '{text}'"))
    })
}

/// Docker's options; those of other security modules say nothing here.
pub(crate) fn security(option: &str, run: &mut RunConfig) -> Result<(), CliError> {
    let (name, value) = option.split_once('=').or_else(|| option.split_once(':')).unwrap_or((option, ""));
    match (name, value) {
        ("no-new-privileges", "" | "true") => run.no_new_privileges = true,
        ("no-new-privileges", "false") => run.no_new_privileges = false,
        ("seccomp", "unconfined") => run.seccomp_unconfined = true,
        ("seccomp", "builtin") | ("apparmor" | "label", _) => {}
        ("seccomp", file) => {
            return Err(CliError::new(format!("the seccomp profile {file} cannot be used"))
                .hint("only the built-in profile and seccomp=unconfined are supported"));
        }
        _ => return Err(CliError::new(format!("invalid --security-opt: {option:?}"))),
    }
    Ok(())
}
