//! The runtime spec of a container: Docker's defaults, and what the container asks for.

use std::fs;
use std::path::{Path, PathBuf};

use runtime::capability;
use runtime::spec::{self, NamespaceKind, Rlimit, Spec};

use super::state::{MountKind, NetworkMode, RunConfig, Ulimit};
use super::{Container, volume};
use crate::{Engine, Error, Result};

/// The spec for the container in `dir` (on the host), with its own volumes and files made. `layers`: its writable layer
/// and those below, topmost first.
pub(super) fn of(engine: &Engine, container: &Container, dir: &Path, layers: &[PathBuf]) -> Result<Spec> {
    let run = &container.state.run;
    let mode = runtime::mode().unwrap_or(runtime::Mode::Root);
    let mut spec = spec::docker_default(mode);
    set_process(&mut spec, run, layers)?;
    spec.hostname = Some(run.hostname.clone()).filter(|_| !run.host_uts);
    spec.domainname = Some(run.domainname.clone()).filter(|name| !name.is_empty() && !run.host_uts);
    if run.network == NetworkMode::None {
        spec.linux.set_namespace(NamespaceKind::Network, true);
    }
    if run.host_ipc {
        spec.linux.set_namespace(NamespaceKind::Ipc, false);
    }
    if run.host_uts {
        spec.linux.set_namespace(NamespaceKind::Uts, false);
    }
    spec.linux.sysctl.clone_from(&run.sysctls);
    if run.privileged {
        spec.make_privileged();
    } else if !run.cap_add.is_empty() || !run.cap_drop.is_empty() {
        spec.set_capabilities(capabilities(run)?);
    }
    if run.seccomp_unconfined {
        spec.linux.seccomp = None;
    }
    for (path, target) in &run.devices {
        if mode != runtime::Mode::Root {
            // Only the machine's root may make nodes; the host's own can be bound.
            check_device(path)?;
            spec.mounts.push(spec::Mount::bind(path, target, false));
            continue;
        }
        spec.add_device(Path::new(path), Some(Path::new(target))).map_err(|_| no_device(path))?;
    }
    if let Some(size) = run.shm_size {
        spec.set_shm_size(size);
    }
    run.limits.apply(&mut spec);
    volume::make(container, dir, layers)?;
    let mut mounts = files(engine, run, dir)?;
    if runtime::mode() == Some(runtime::Mode::SingleId) {
        let view = snapshot::View::open(layers)?;
        let more = solver::single_id_files(&view, dir).map_err(|e| Error::internal(e.to_string()))?;
        mounts.extend(more);
    }
    for (number, mount) in run.mounts.iter().enumerate() {
        mounts.push(match &mount.kind {
            MountKind::Bind(source) => {
                check_source(source)?;
                spec::Mount::bind(source, &mount.target, mount.read_only)
            }
            MountKind::Anonymous => {
                spec::Mount::bind(volume::path(dir, number), &mount.target, mount.read_only)
            }
            MountKind::Tmpfs(given) => {
                let mut made =
                    spec::Mount::new(&mount.target, "tmpfs", "tmpfs", &["nosuid", "nodev", "noexec"]);
                made.options.extend(given.iter().cloned());
                if mount.read_only {
                    made.options.push("ro".to_owned());
                }
                made
            }
        });
    }
    // What is mounted in another mount comes after it, however it was given.
    mounts.sort_by_key(|mount| mount.destination.components().count());
    // One in place of what every container has, such as /dev/shm, replaces it.
    spec.mounts.retain(|own| !mounts.iter().any(|mount| mount.destination == own.destination));
    spec.mounts.append(&mut mounts);
    Ok(spec)
}

/// Docker's default set, as the container changes it.
pub(super) fn capabilities(run: &RunConfig) -> Result<Vec<String>> {
    capability::adjust(capability::docker_default(), &run.cap_add, &run.cap_drop).map_err(|error| match error
    {
        runtime::Error::Spec(text) => Error::invalid(text),
        other => other.into(),
    })
}

fn set_process(spec: &mut Spec, run: &RunConfig, layers: &[PathBuf]) -> Result<()> {
    // The container's own /etc/passwd counts: an earlier run may have added the user.
    let view = snapshot::View::open(layers)?;
    let invalid = |e: solver::Failure| Error::invalid(e.to_string());
    let user = solver::find_user(&view, &run.user).map_err(invalid)?;
    // The user's own group too, so that giving it up by setgid leaves no access that it was to take away.
    let mut groups = user.groups;
    if !groups.contains(&user.gid) {
        groups.insert(0, user.gid);
    }
    for group in &run.groups {
        let found = solver::find_user(&view, &format!("0:{group}")).map_err(invalid)?;
        if !groups.contains(&found.gid) {
            groups.push(found.gid);
        }
    }
    let process = &mut spec.process;
    process.args = run.args();
    process.env = run.environment();
    if !process.env.iter().any(|v| v.starts_with("HOME=")) {
        process.env.push(format!("HOME={}", user.home));
    }
    process.cwd = if run.working_dir.is_empty() { "/".to_owned() } else { run.working_dir.clone() };
    process.terminal = run.tty;
    process.user = spec::User { uid: user.uid, gid: user.gid, umask: None, additional_gids: groups };
    process.no_new_privileges = run.no_new_privileges;
    process.rlimits = run.ulimits.iter().map(rlimit).collect();
    Ok(())
}

fn rlimit(limit: &Ulimit) -> Rlimit {
    // -1 is RLIM_INFINITY.
    let value = |number: i64| u64::from_ne_bytes(number.to_ne_bytes());
    Rlimit {
        kind: format!("RLIMIT_{}", limit.name.to_uppercase()),
        soft: value(limit.soft),
        hard: value(limit.hard),
    }
}

/// `/etc/resolv.conf`, `/etc/hosts` and `/etc/hostname`, bound from beside the writable layer.
fn files(engine: &Engine, run: &RunConfig, dir: &Path) -> Result<Vec<spec::Mount>> {
    let hosts = solver::hosts_file(&run.hostname, &run.extra_hosts).into_bytes();
    let all = [
        ("resolv.conf", "/etc/resolv.conf", resolv_conf(engine.resolv_conf(), run)),
        ("hosts", "/etc/hosts", hosts),
        ("hostname", "/etc/hostname", format!("{}\n", run.hostname).into_bytes()),
    ];
    let mut mounts = Vec::new();
    for (name, target, content) in all {
        if run.mounts.iter().any(|m| m.target == target) {
            continue;
        }
        let mut mount = solver::bind_file(&dir.join(name), &content, 0o644, target)
            .map_err(|e| Error::internal(e.to_string()))?;
        // Docker lets a container change these, for as long as it lives.
        mount.options = ["rbind", if run.read_only { "ro" } else { "rw" }].map(str::to_owned).to_vec();
        mounts.push(mount);
    }
    Ok(mounts)
}

/// The host's file, with its lines of a kind replaced where the container names its own.
fn resolv_conf(host: Vec<u8>, run: &RunConfig) -> Vec<u8> {
    let dns = &run.dns;
    if *dns == super::state::Dns::default() {
        return host;
    }
    let search: &[String] = if dns.search == ["."] { &[] } else { &dns.search };
    let of_kind = |line: &str, kind: &str| line.split_whitespace().next() == Some(kind);
    let mut text = String::new();
    for line in String::from_utf8_lossy(&host).lines() {
        let replaced = of_kind(line, "nameserver") && !dns.servers.is_empty()
            || (of_kind(line, "search") || of_kind(line, "domain")) && !dns.search.is_empty()
            || of_kind(line, "options") && !dns.options.is_empty();
        if !replaced {
            text.push_str(line);
            text.push('\n');
        }
    }
    let mut line = |kind: &str, values: &[String]| {
        if !values.is_empty() {
            text.push_str(&format!("{kind} {}\n", values.join(" ")));
        }
    };
    line("search", search);
    for server in &dns.servers {
        line("nameserver", std::slice::from_ref(server));
    }
    line("options", &dns.options);
    text.into_bytes()
}

fn no_device(path: &str) -> Error {
    Error::not_found(format!("{path} is no device of the host"))
}

fn check_device(path: &str) -> Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let kind = fs::metadata(path).map_err(|_| no_device(path))?.file_type();
    if kind.is_char_device() || kind.is_block_device() { Ok(()) } else { Err(no_device(path)) }
}

/// Whether a bind mount's source is there; Docker makes missing ones for `-v` and refuses them for
/// `--mount`, which the caller decides by making it first.
fn check_source(source: &str) -> Result<()> {
    match fs::metadata(source) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::io(format!("invalid mount: bind source path {source}"), &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::Dns;
    use super::*;

    #[test]
    fn own_name_servers_replace_the_hosts() {
        let host = b"# made by hand\nnameserver 10.0.0.1\nsearch example.com\noptions ndots:1\n".to_vec();
        let with = |dns: Dns| {
            let run = RunConfig { dns, ..RunConfig::default() };
            String::from_utf8(resolv_conf(host.clone(), &run)).unwrap()
        };
        assert_eq!(with(Dns::default()).into_bytes(), host);
        let dns = Dns { servers: vec!["9.9.9.9".into()], search: vec![".".into()], options: vec![] };
        assert_eq!(with(dns), "# made by hand\noptions ndots:1\nnameserver 9.9.9.9\n");
    }
}
