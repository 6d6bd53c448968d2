//! A container as `docker inspect` shows it: Docker's JSON, field by field.

use serde_json::{Map, Value, json};

use super::Container;
use super::state::{MountKind, NetworkMode, Status};
use crate::{Engine, Result};

/// What Docker writes for a time that was not.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The JSON object of the container that `name` names.
pub fn inspect(engine: &Engine, name: &str) -> Result<Value> {
    let container = Container::find(engine, name)?;
    let (record, state, run) = (&container.record, &container.state, &container.state.run);
    let dir = engine.store.container_dir(&record.id);
    let path = |name: &str| dir.join(name).display().to_string();
    let args = run.args();
    let created = jiff::Timestamp::from_nanosecond(record.created.into()).unwrap_or_default();
    let none_if_empty = |list: &[String]| if list.is_empty() { Value::Null } else { json!(list) };
    let status = match state.status {
        Status::Created => "created",
        Status::Running => "running",
        Status::Exited => "exited",
    };
    Ok(json!({
        "Id": record.id,
        "Created": created.to_string(),
        "Path": args.first(),
        "Args": args.get(1..).unwrap_or_default(),
        "State": {
            "Status": status,
            "Running": container.running,
            "Paused": false,
            "Restarting": false,
            "OOMKilled": false,
            "Dead": false,
            "Pid": if container.running { state.pid } else { 0 },
            "ExitCode": state.exit_code,
            "Error": state.error,
            "StartedAt": state.started.as_deref().unwrap_or(NEVER),
            "FinishedAt": state.finished.as_deref().unwrap_or(NEVER),
        },
        "Image": record.image.to_string(),
        "ResolvConfPath": path("resolv.conf"),
        "HostnamePath": path("hostname"),
        "HostsPath": path("hosts"),
        "LogPath": path("log"),
        "Name": format!("/{}", record.name),
        "RestartCount": 0,
        "Driver": "overlay",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": null,
        "HostConfig": {
            "Binds": binds(&container),
            "NetworkMode": network(run.network),
            "AutoRemove": run.auto_remove,
            "CapAdd": none_if_empty(&run.cap_add),
            "CapDrop": none_if_empty(&run.cap_drop),
            "ExtraHosts": run.extra_hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect::<Vec<_>>(),
            "Privileged": run.privileged,
            "ReadonlyRootfs": run.read_only,
            "Tmpfs": tmpfs(&container),
            "Runtime": run.runtime.as_deref().unwrap_or("strake"),
            "Init": run.init,
        },
        "GraphDriver": {
            "Data": { "UpperDir": path("fs"), "WorkDir": path("work") },
            "Name": "overlay",
        },
        "Mounts": mounts(&container, &dir),
        "Config": {
            "Hostname": run.hostname,
            "Domainname": "",
            "User": run.user,
            "AttachStdin": run.stdin,
            "AttachStdout": true,
            "AttachStderr": true,
            "Tty": run.tty,
            "OpenStdin": run.stdin,
            "StdinOnce": run.stdin,
            "Env": run.env,
            "Cmd": none_if_empty(&run.cmd),
            "Image": state.image_name,
            "Volumes": volumes(&container),
            "WorkingDir": run.working_dir,
            "Entrypoint": none_if_empty(&run.entrypoint),
            "OnBuild": null,
            "Labels": run.labels,
            "StopSignal": if run.stop_signal.is_empty() { "SIGTERM" } else { &run.stop_signal },
        },
        "NetworkSettings": { "Networks": { network(run.network): {} } },
    }))
}

fn network(mode: NetworkMode) -> &'static str {
    match mode {
        NetworkMode::Host => "host",
        NetworkMode::None => "none",
    }
}

fn binds(container: &Container) -> Value {
    let bind = |mount: &super::state::MountPoint| match &mount.kind {
        MountKind::Bind(source) => {
            Some(format!("{source}:{}{}", mount.target, if mount.read_only { ":ro" } else { "" }))
        }
        _ => None,
    };
    let all: Vec<String> = container.state.run.mounts.iter().filter_map(bind).collect();
    if all.is_empty() { Value::Null } else { json!(all) }
}

fn tmpfs(container: &Container) -> Value {
    let mut all = Map::new();
    for mount in &container.state.run.mounts {
        if let MountKind::Tmpfs(options) = &mount.kind {
            all.insert(mount.target.clone(), json!(options.join(",")));
        }
    }
    if all.is_empty() { Value::Null } else { Value::Object(all) }
}

fn volumes(container: &Container) -> Value {
    let mut all = Map::new();
    for mount in &container.state.run.mounts {
        if mount.kind == MountKind::Anonymous {
            all.insert(mount.target.clone(), json!({}));
        }
    }
    if all.is_empty() { Value::Null } else { Value::Object(all) }
}

fn mounts(container: &Container, dir: &std::path::Path) -> Vec<Value> {
    let one = |(number, mount): (usize, &super::state::MountPoint)| {
        let (kind, source) = match &mount.kind {
            MountKind::Bind(source) => ("bind", source.clone()),
            MountKind::Anonymous => ("volume", dir.join(format!("volume{number}")).display().to_string()),
            MountKind::Tmpfs(_) => ("tmpfs", String::new()),
        };
        json!({
            "Type": kind,
            "Source": source,
            "Destination": mount.target,
            "Mode": "",
            "RW": !mount.read_only,
            "Propagation": if kind == "bind" { "rprivate" } else { "" },
        })
    };
    container.state.run.mounts.iter().enumerate().map(one).collect()
}
