//! `info`: how much is in the store and what machine it is on, under Docker's names for it.

use serde_json::{Value, json};

use crate::{Engine, Result};

/// The facts as one JSON object, in the order and with the names of Docker's API.
pub fn info(engine: &Engine) -> Result<Value> {
    let containers = engine.store.containers()?;
    let mut running = 0;
    for container in &containers {
        if engine.store.container_locked(&container.id)? {
            running += 1;
        }
    }
    let uname = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let memory = rustix::system::sysinfo();
    let mut security = vec!["name=seccomp,profile=builtin"];
    if !rustix::process::geteuid().is_root() {
        security.push("name=rootless");
    }
    Ok(json!({
        "Containers": containers.len(),
        "ContainersRunning": running,
        "ContainersPaused": 0,
        "ContainersStopped": containers.len() - running,
        "Images": engine.store.images()?.len(),
        "Driver": "overlay2",
        "KernelVersion": text(uname.release()),
        "OperatingSystem": operating_system(),
        "OSType": "linux",
        "Architecture": text(uname.machine()),
        "NCPU": std::thread::available_parallelism().map_or(1, usize::from),
        "MemTotal": memory.totalram.saturating_mul(memory.mem_unit.into()),
        "DockerRootDir": engine.store.root().display().to_string(),
        "Name": text(uname.nodename()),
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "DefaultRuntime": "embedded",
        "SecurityOptions": security,
    }))
}

/// The distribution's name for itself, from os-release(5).
fn operating_system() -> String {
    std::fs::read_to_string("/etc/os-release")
        .ok()
        .and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
            Some(line.trim_matches('"').to_owned())
        })
        .unwrap_or_else(|| "Linux".to_owned())
}
