//! Making a container: the image's config and the command line become one `RunConfig`.

use std::collections::BTreeMap;
use std::fs;

use oci::{Config, ImageId};
use store::{ContainerLock, ContainerRecord};

use super::Container;
use super::name::{new_id, new_name};
use super::state::{ContainerState, MountKind, MountPoint, NetworkMode, RunConfig, Status};
use crate::{Engine, Error, Result};

/// What `run` and `create` are asked for; what is `None` or empty is the image's.
#[derive(Debug, Clone, Default)]
pub struct CreateRequest {
    /// The image, as named by the user; it is in the store.
    pub image: String,
    /// Name of the container; `None`: two words.
    pub name: Option<String>,
    /// Arguments after the image.
    pub args: Vec<String>,
    /// `--entrypoint`; an empty text resets the image's.
    pub entrypoint: Option<String>,
    /// `NAME=value`, later ones win.
    pub env: Vec<String>,
    /// `-w`
    pub working_dir: Option<String>,
    /// `-u`
    pub user: Option<String>,
    /// `--hostname`
    pub hostname: Option<String>,
    /// `-t`
    pub tty: bool,
    /// `-i`
    pub stdin: bool,
    /// `--label`
    pub labels: BTreeMap<String, String>,
    /// `-v`, `--mount`, `--tmpfs`
    pub mounts: Vec<MountPoint>,
    /// `--network`
    pub network: NetworkMode,
    /// `--read-only`
    pub read_only: bool,
    /// `--cap-add`
    pub cap_add: Vec<String>,
    /// `--cap-drop`
    pub cap_drop: Vec<String>,
    /// `--privileged`
    pub privileged: bool,
    /// `--init`
    pub init: bool,
    /// `--add-host`
    pub extra_hosts: Vec<(String, String)>,
    /// `--runtime`
    pub runtime: Option<String>,
    /// `--rm`
    pub auto_remove: bool,
}

/// Makes the container and takes its lock.
pub fn create(engine: &Engine, request: &CreateRequest) -> Result<(Container, ContainerLock)> {
    let id = engine.resolve(&request.image)?;
    let image = engine.image(&id)?;
    let layers = image.layers().to_vec();
    solver::unpack(&engine.store, &layers).map_err(|e| Error::internal(e.to_string()))?;
    let container_id = new_id()?;
    let run = combine(request, &image.config.value.config, &container_id)?;
    if run.args().is_empty() {
        return Err(Error::invalid("no command specified").hint(format!(
            "the image {} has neither CMD nor ENTRYPOINT: name a command after it",
            request.image
        )));
    }
    let state = ContainerState {
        image_name: request.image.clone(),
        run,
        status: Status::Created,
        pid: 0,
        exit_code: 0,
        error: String::new(),
        started: None,
        finished: None,
    };
    let names: Vec<String> = match &request.name {
        Some(_) => Vec::new(),
        None => engine.store.containers()?.into_iter().map(|c| c.name).collect(),
    };
    let name = match &request.name {
        Some(name) => name.trim_start_matches('/').to_owned(),
        None => new_name(|name| names.iter().any(|taken| taken == name))?,
    };
    let record = record(container_id, name, id, &layers, &state);
    let lock = engine.store.create_container(&record)?;
    Ok((Container { record, state, running: false }, lock))
}

fn record(
    id: String,
    name: String,
    image: ImageId,
    layers: &[oci::DiffId],
    state: &ContainerState,
) -> ContainerRecord {
    ContainerRecord {
        id,
        name,
        image,
        chain_id: oci::ChainId::of(layers),
        created: i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX),
        auto_remove: false,
        state: serde_json::to_string(state).expect("because all its keys are strings"),
    }
}

/// Docker's rules: a given entry point drops the image's command; arguments replace the command.
fn combine(request: &CreateRequest, image: &Config, id: &str) -> Result<RunConfig> {
    let (entrypoint, image_cmd) = match &request.entrypoint {
        Some(text) if text.is_empty() => (Vec::new(), None),
        Some(text) => (vec![text.clone()], None),
        None => (image.entrypoint.clone().unwrap_or_default(), image.cmd.clone()),
    };
    let cmd = match request.args.is_empty() {
        true => image_cmd.unwrap_or_default(),
        false => request.args.clone(),
    };
    let hostname = request.hostname.clone().unwrap_or_else(|| id[..12].to_owned());
    let mut env: Vec<String> = Vec::new();
    if !image.env.iter().any(|v| v.starts_with("PATH=")) {
        env.push("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
    }
    env.push(format!("HOSTNAME={hostname}"));
    if request.tty {
        env.push("TERM=xterm".to_owned());
    }
    for variable in image.env.iter().chain(&request.env) {
        set(&mut env, variable);
    }
    let working_dir = match &request.working_dir {
        Some(path) if !path.starts_with('/') => {
            return Err(Error::invalid(format!(
                "the working directory {path:?} is invalid: it needs to be an absolute path"
            )));
        }
        Some(path) => path.clone(),
        None if image.working_dir.is_empty() => "/".to_owned(),
        None => image.working_dir.clone(),
    };
    let mut labels = image.labels.clone().unwrap_or_default();
    labels.extend(request.labels.clone());
    let mut mounts = request.mounts.clone();
    for target in image.volumes.iter().flat_map(|v| v.keys()) {
        if !mounts.iter().any(|m| m.target == *target) {
            mounts.push(MountPoint { target: target.clone(), kind: MountKind::Anonymous, read_only: false });
        }
    }
    for mount in &mounts {
        check_mount(mount)?;
    }
    Ok(RunConfig {
        entrypoint,
        cmd,
        env,
        working_dir,
        user: request.user.clone().unwrap_or_else(|| image.user.clone()),
        hostname,
        tty: request.tty,
        stdin: request.stdin,
        labels,
        mounts,
        network: request.network,
        read_only: request.read_only,
        cap_add: request.cap_add.clone(),
        cap_drop: request.cap_drop.clone(),
        privileged: request.privileged,
        init: request.init,
        stop_signal: image.stop_signal.clone(),
        extra_hosts: request.extra_hosts.clone(),
        runtime: request.runtime.clone(),
        auto_remove: request.auto_remove,
    })
}

/// Sets a variable in its old place, or at the end.
fn set(env: &mut Vec<String>, variable: &str) {
    let name = variable.split('=').next().unwrap_or(variable);
    let same = |known: &String| known.split('=').next() == Some(name);
    match env.iter_mut().find(|known| same(known)) {
        Some(known) => variable.clone_into(known),
        None => env.push(variable.to_owned()),
    }
}

fn check_mount(mount: &MountPoint) -> Result<()> {
    if !mount.target.starts_with('/') || mount.target == "/" {
        return Err(Error::invalid(format!(
            "invalid mount target {:?}: it must be an absolute path, and not '/'",
            mount.target
        )));
    }
    if let MountKind::Bind(source) = &mount.kind
        && !source.starts_with('/')
    {
        return Err(Error::invalid(format!("invalid mount source {source:?}: it must be an absolute path")));
    }
    Ok(())
}

/// Whether a bind mount's source is there; Docker makes missing ones for `-v` and refuses them for
/// `--mount`, which the caller decides by making it first.
pub(crate) fn check_source(source: &str) -> Result<()> {
    match fs::metadata(source) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::io(format!("invalid mount: bind source path {source}"), &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Config {
        Config {
            entrypoint: Some(vec!["entry".into()]),
            cmd: Some(vec!["default".into()]),
            env: vec!["A=1".into(), "PATH=/bin".into()],
            ..Config::default()
        }
    }

    fn args(request: CreateRequest) -> Vec<String> {
        combine(&request, &image(), &"0".repeat(64)).unwrap().args()
    }

    #[test]
    fn entry_point_and_command_combine_as_in_docker() {
        let request = CreateRequest::default;
        assert_eq!(args(request()), ["entry", "default"]);
        assert_eq!(args(CreateRequest { args: vec!["x".into()], ..request() }), ["entry", "x"]);
        let given = Some("sh".to_owned());
        assert_eq!(args(CreateRequest { entrypoint: given.clone(), ..request() }), ["sh"]);
        assert_eq!(
            args(CreateRequest { entrypoint: given, args: vec!["-c".into()], ..request() }),
            ["sh", "-c"]
        );
        let empty = CreateRequest { entrypoint: Some(String::new()), args: vec!["y".into()], ..request() };
        assert_eq!(args(empty), ["y"]);
    }

    #[test]
    fn later_variables_win_in_place() {
        let request = CreateRequest { env: vec!["A=2".into(), "B=3".into()], ..CreateRequest::default() };
        let run = combine(&request, &image(), &"0".repeat(64)).unwrap();
        assert_eq!(run.env[1..], ["A=2", "PATH=/bin", "B=3"].map(str::to_owned));
    }
}
