//! A container as `docker inspect` shows it: Docker's JSON, field by field and in its order.
//!
//! Fields of what is not there without a daemon (restarts, limits of cgroups, ports) have the values of a container
//! that asks for none of it, since programs look them up.

use std::path::Path;

use runtime::spec::docker_default;
use serde_json::{Map, Value, json};

use super::state::{MountKind, MountPoint, NetworkMode, RunConfig, Ulimit};
use super::{Container, volume};
use crate::ps::sizes;
use crate::{Engine, Result};

/// What Docker writes for a time that was not.
const NEVER: &str = "0001-01-01T00:00:00Z";
/// Docker's size of `/dev/shm`, where none is asked for.
const SHM_SIZE: u64 = 64 << 20;

/// The JSON object of the container that `name` names. With `size` its files are measured, which takes the namespace
/// where their owners are mapped.
pub fn inspect(engine: &Engine, name: &str, size: bool) -> Result<Value> {
    let container = Container::find(engine, name)?;
    let (record, state, run) = (&container.record, &container.state, &container.state.run);
    let dir = engine.store.container_dir(&record.id);
    let path = |name: &str| dir.join(name).display().to_string();
    let args = run.args();
    let created = jiff::Timestamp::from_nanosecond(record.created.into()).unwrap_or_default();
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    put("Id", json!(record.id));
    put("Created", json!(created.to_string()));
    put("Path", json!(args.first()));
    put("Args", json!(args.get(1..).unwrap_or_default()));
    put(
        "State",
        json!({
            "Status": state.status.word(),
            "Running": container.running,
            "Paused": false,
            "Restarting": false,
            "OOMKilled": false,
            "Dead": false,
            "Pid": state.pid,
            "ExitCode": state.exit_code,
            "Error": state.error,
            "StartedAt": state.started.as_deref().unwrap_or(NEVER),
            "FinishedAt": state.finished.as_deref().unwrap_or(NEVER),
        }),
    );
    put("Image", json!(record.image.to_string()));
    put("ResolvConfPath", json!(path("resolv.conf")));
    put("HostnamePath", json!(path("hostname")));
    put("HostsPath", json!(path("hosts")));
    put("LogPath", json!(if run.no_log { String::new() } else { path("log") }));
    put("Name", json!(format!("/{}", record.name)));
    put("RestartCount", json!(0));
    put("Driver", json!("overlay2"));
    put("Platform", json!("linux"));
    put("MountLabel", json!(""));
    put("ProcessLabel", json!(""));
    put("AppArmorProfile", json!(""));
    put("ExecIDs", Value::Null);
    put("HostConfig", host_config(run));
    put("GraphDriver", graph_driver(engine, &container, &dir)?);
    if size {
        let sizes = sizes(engine, &container)?;
        put("SizeRw", json!(sizes.own));
        put("SizeRootFs", json!(sizes.own + sizes.image));
    }
    put("Mounts", json!(mounts(run, &dir)));
    put("Config", config(run, &state.image_name));
    put("NetworkSettings", network_settings(run.network));
    Ok(Value::Object(object))
}

fn null_if_empty(list: &[String]) -> Value {
    if list.is_empty() { Value::Null } else { json!(list) }
}

fn network(mode: NetworkMode) -> &'static str {
    match mode {
        NetworkMode::Host => "host",
        NetworkMode::None => "none",
    }
}

fn host_config(run: &RunConfig) -> Value {
    let hosts: Vec<String> = run.extra_hosts.iter().map(|(n, address)| format!("{n}:{address}")).collect();
    let device = |(path, target): &(String, String)| json!({ "PathOnHost": path, "PathInContainer": target, "CgroupPermissions": "rwm" });
    let ulimit = |limit: &Ulimit| json!({ "Name": limit.name, "Hard": limit.hard, "Soft": limit.soft });
    let defaults = docker_default(runtime::mode().unwrap_or(runtime::Mode::Root)).linux;
    let hidden = |paths: Vec<String>| if run.privileged { Value::Null } else { json!(paths) };
    let mut security = Vec::new();
    if run.no_new_privileges {
        security.push("no-new-privileges".to_owned());
    }
    if run.seccomp_unconfined {
        security.push("seccomp=unconfined".to_owned());
    }
    let capability = |name: &String| match name.to_uppercase() {
        name if name == "ALL" || name.starts_with("CAP_") => name,
        name => format!("CAP_{name}"),
    };
    let capabilities = |names: &[String]| null_if_empty(&names.iter().map(capability).collect::<Vec<_>>());
    let mut config = json!({
        "Binds": binds(run),
        "ContainerIDFile": "",
        "LogConfig": { "Type": if run.no_log { "none" } else { "json-file" }, "Config": {} },
        "NetworkMode": network(run.network),
        "PortBindings": {},
        "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 },
        "AutoRemove": run.auto_remove,
        "VolumeDriver": "",
        "VolumesFrom": null,
        "ConsoleSize": [0, 0],
        "CapAdd": capabilities(&run.cap_add),
        "CapDrop": capabilities(&run.cap_drop),
        "CgroupnsMode": "private",
        "Dns": run.dns.servers,
        "DnsOptions": run.dns.options,
        "DnsSearch": run.dns.search,
        "ExtraHosts": null_if_empty(&hosts),
        "GroupAdd": null_if_empty(&run.groups),
        "IpcMode": if run.host_ipc { "host" } else { "private" },
        "Cgroup": "",
        "Links": null,
        "OomScoreAdj": 0,
        "PidMode": "",
        "Privileged": run.privileged,
        "PublishAllPorts": false,
        "ReadonlyRootfs": run.read_only,
        "SecurityOpt": null_if_empty(&security),
        "Tmpfs": tmpfs(run),
        "UTSMode": if run.host_uts { "host" } else { "" },
        "UsernsMode": "",
        "ShmSize": run.shm_size.unwrap_or(SHM_SIZE),
        "Sysctls": run.sysctls,
        "Runtime": run.runtime.as_deref().unwrap_or("strake"),
        "Isolation": "",
        "MaskedPaths": hidden(defaults.masked_paths),
        "ReadonlyPaths": hidden(defaults.readonly_paths),
        "Devices": run.devices.iter().map(device).collect::<Vec<_>>(),
        "Init": run.init,
        "Ulimits": run.ulimits.iter().map(ulimit).collect::<Vec<_>>(),
    });
    if let (Value::Object(config), Ok(Value::Object(unlimited))) =
        (&mut config, serde_json::from_str(UNLIMITED))
    {
        config.extend(unlimited);
    }
    config
}

/// A container without limits.
const UNLIMITED: &str = r#"{
    "CpuShares": 0,
    "Memory": 0,
    "NanoCpus": 0,
    "CgroupParent": "",
    "BlkioWeight": 0,
    "BlkioWeightDevice": [],
    "BlkioDeviceReadBps": [],
    "BlkioDeviceWriteBps": [],
    "BlkioDeviceReadIOps": [],
    "BlkioDeviceWriteIOps": [],
    "CpuPeriod": 0,
    "CpuQuota": 0,
    "CpuRealtimePeriod": 0,
    "CpuRealtimeRuntime": 0,
    "CpusetCpus": "",
    "CpusetMems": "",
    "DeviceCgroupRules": null,
    "DeviceRequests": null,
    "MemoryReservation": 0,
    "MemorySwap": 0,
    "MemorySwappiness": null,
    "OomKillDisable": false,
    "PidsLimit": null,
    "CpuCount": 0,
    "CpuPercent": 0,
    "IOMaximumIOps": 0,
    "IOMaximumBandwidth": 0
}"#;

fn graph_driver(engine: &Engine, container: &Container, dir: &Path) -> Result<Value> {
    let lowers: Vec<String> =
        container.lowers(engine)?.iter().map(|path| path.display().to_string()).collect();
    Ok(json!({
        "Data": {
            "LowerDir": lowers.join(":"),
            "UpperDir": dir.join("fs").display().to_string(),
            "WorkDir": dir.join("work").display().to_string(),
        },
        "Name": "overlay2",
    }))
}

fn config(run: &RunConfig, image: &str) -> Value {
    let volumes: Map<String, Value> = run
        .mounts
        .iter()
        .filter(|mount| mount.kind == MountKind::Anonymous)
        .map(|mount| (mount.target.clone(), json!({})))
        .collect();
    let mut config = json!({
        "Hostname": run.hostname,
        "Domainname": run.domainname,
        "User": run.user,
        "AttachStdin": run.stdin,
        "AttachStdout": true,
        "AttachStderr": true,
    });
    let Value::Object(object) = &mut config else { return config };
    if !run.exposed_ports.is_empty() {
        let ports: Map<String, Value> = run.exposed_ports.iter().map(|p| (p.clone(), json!({}))).collect();
        object.insert("ExposedPorts".into(), Value::Object(ports));
    }
    let rest = json!({
        "Tty": run.tty,
        "OpenStdin": run.stdin,
        "StdinOnce": run.stdin,
        "Env": run.env,
        "Cmd": null_if_empty(&run.cmd),
        "Image": image,
        "Volumes": if volumes.is_empty() { Value::Null } else { Value::Object(volumes) },
        "WorkingDir": run.working_dir,
        "Entrypoint": null_if_empty(&run.entrypoint),
        "OnBuild": null,
        "Labels": run.labels,
    });
    if let Value::Object(rest) = rest {
        object.extend(rest);
    }
    if !run.stop_signal.is_empty() {
        object.insert("StopSignal".into(), json!(run.stop_signal));
    }
    if let Some(timeout) = run.stop_timeout {
        object.insert("StopTimeout".into(), json!(timeout));
    }
    config
}

fn network_settings(mode: NetworkMode) -> Value {
    json!({
        "Bridge": "",
        "SandboxID": "",
        "SandboxKey": "",
        "Ports": {},
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null,
        "EndpointID": "",
        "Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "MacAddress": "",
        "Networks": {
            network(mode): {
                "IPAMConfig": null,
                "Links": null,
                "Aliases": null,
                "MacAddress": "",
                "DriverOpts": null,
                "GwPriority": 0,
                "NetworkID": "",
                "EndpointID": "",
                "Gateway": "",
                "IPAddress": "",
                "IPPrefixLen": 0,
                "IPv6Gateway": "",
                "GlobalIPv6Address": "",
                "GlobalIPv6PrefixLen": 0,
                "DNSNames": null,
            },
        },
    })
}

fn binds(run: &RunConfig) -> Value {
    let bind = |mount: &MountPoint| match &mount.kind {
        MountKind::Bind(source) => {
            Some(format!("{source}:{}{}", mount.target, if mount.read_only { ":ro" } else { "" }))
        }
        _ => None,
    };
    null_if_empty(&run.mounts.iter().filter_map(bind).collect::<Vec<_>>())
}

fn tmpfs(run: &RunConfig) -> Value {
    let mut all = Map::new();
    for mount in &run.mounts {
        if let MountKind::Tmpfs(options) = &mount.kind {
            all.insert(mount.target.clone(), json!(options.join(",")));
        }
    }
    if all.is_empty() { Value::Null } else { Value::Object(all) }
}

/// Directories in memory are not among Docker's mounts.
fn mounts(run: &RunConfig, dir: &Path) -> Vec<Value> {
    let mode = |mount: &MountPoint| if mount.read_only { "ro" } else { "" };
    let one = |(number, mount): (usize, &MountPoint)| match &mount.kind {
        MountKind::Bind(source) => Some(json!({
            "Type": "bind",
            "Source": source,
            "Destination": mount.target,
            "Mode": mode(mount),
            "RW": !mount.read_only,
            "Propagation": "rprivate",
        })),
        MountKind::Anonymous => Some(json!({
            "Type": "volume",
            "Name": format!("volume{number}"),
            "Source": volume::path(dir, number).display().to_string(),
            "Destination": mount.target,
            "Driver": "local",
            "Mode": mode(mount),
            "RW": !mount.read_only,
            "Propagation": "",
        })),
        MountKind::Tmpfs(_) => None,
    };
    run.mounts.iter().enumerate().filter_map(one).collect()
}
