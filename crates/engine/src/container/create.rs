//! Making a container: the image's config and the command line become one `RunConfig`.

use oci::Config;
use store::{ContainerLock, ContainerRecord};

use super::Container;
use super::name::{new_id, new_name};
use super::state::{ContainerState, MountKind, MountPoint, RunConfig, name_of};
use crate::{Engine, Error, Result};

/// What `run` and `create` are asked for.
#[derive(Debug, Clone, Default)]
pub struct CreateRequest {
    /// The image, as named by the user; it is in the store.
    pub image: String,
    /// The one of that name for this platform; `None`: the one that the name stands for.
    pub platform: Option<oci::Platform>,
    /// Name of the container; `None`: two words.
    pub name: Option<String>,
    /// `--entrypoint`; an empty text resets the image's.
    pub entrypoint: Option<String>,
    /// All else. What is empty is the image's; `cmd` is what stands after the image, `entrypoint` is not looked at.
    pub run: RunConfig,
}

/// Makes the container and takes its lock.
pub fn create(engine: &Engine, request: &CreateRequest) -> Result<(Container, ContainerLock)> {
    let _lease = engine.store.lease()?;
    let id = match &request.platform {
        Some(platform) => engine
            .image_for(&request.image, platform)?
            .ok_or_else(|| Error::not_found(format!("No such image for {platform}: {}", request.image)))?,
        None => engine.resolve(&request.image)?,
    };
    let image = engine.image(&id)?;
    let layers = image.layers().to_vec();
    let container_id = new_id()?;
    let run = combine(request, &image.config.value.config, &container_id)?;
    if run.args().is_empty() {
        return Err(Error::invalid("no command specified").hint(format!(
            "the image {} has neither CMD nor ENTRYPOINT: name a command after it",
            request.image
        )));
    }
    solver::unpack(&engine.store, &layers)?;
    let state = ContainerState { image_name: request.image.clone(), run, ..ContainerState::default() };
    let mut record = ContainerRecord {
        id: container_id,
        name: String::new(),
        image: id,
        chain_id: oci::ChainId::of(&layers),
        created: i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX),
        auto_remove: false,
        state: serde_json::to_string(&state).expect("because all its keys are strings"),
    };
    if let Some(name) = &request.name {
        record.name = name.strip_prefix('/').unwrap_or(name).to_owned();
        let lock = engine.store.create_container(&record)?;
        return Ok((Container { record, state, running: false }, lock));
    }
    loop {
        let taken: Vec<String> = engine.store.containers()?.into_iter().map(|c| c.name).collect();
        record.name = new_name(|name| taken.iter().any(|other| other == name))?;
        match engine.store.create_container(&record) {
            // Another process took it meanwhile.
            Err(store::Error::NameInUse { .. }) => {}
            made => return Ok((Container { record, state, running: false }, made?)),
        }
    }
}

/// Docker's rules: a given entry point drops the image's command; arguments replace the command.
fn combine(request: &CreateRequest, image: &Config, id: &str) -> Result<RunConfig> {
    let (entrypoint, image_cmd) = match &request.entrypoint {
        Some(text) if text.is_empty() => (Vec::new(), None),
        Some(text) => (vec![text.clone()], None),
        // Arguments of the command line are arguments of the image's entry point.
        None => (image.entrypoint.clone().unwrap_or_default(), image.cmd.clone()),
    };
    let mut run = request.run.clone();
    run.entrypoint = entrypoint;
    if run.cmd.is_empty() {
        run.cmd = image_cmd.unwrap_or_default();
    }
    if run.hostname.is_empty() {
        run.hostname = id[..12].to_owned();
    }
    for variable in &image.env {
        if !run.env.iter().any(|given| name_of(given) == name_of(variable)) {
            run.env.push(variable.clone());
        }
    }
    match run.working_dir.as_str() {
        "" => run.working_dir.clone_from(&image.working_dir),
        path if !path.starts_with('/') => {
            return Err(Error::invalid(format!(
                "the working directory '{path}' is invalid, it needs to be an absolute path"
            )));
        }
        _ => {}
    }
    if run.user.is_empty() {
        run.user.clone_from(&image.user);
    }
    if run.stop_signal.is_empty() {
        run.stop_signal.clone_from(&image.stop_signal);
    }
    for (name, value) in image.labels.iter().flatten() {
        run.labels.entry(name.clone()).or_insert_with(|| value.clone());
    }
    for port in image.exposed_ports.iter().flat_map(|ports| ports.keys()) {
        if !run.exposed_ports.contains(port) {
            run.exposed_ports.push(port.clone());
        }
    }
    mount(&mut run, image)?;
    // Said now, and not when it is started.
    super::spec::capabilities(&run)?;
    if !run.stop_signal.is_empty() {
        crate::signal::number(&run.stop_signal)?;
    }
    Ok(run)
}

/// Adds the image's volumes, and looks whether everything can be mounted as asked.
fn mount(run: &mut RunConfig, image: &Config) -> Result<()> {
    for mount in &mut run.mounts {
        mount.target = clean(&mount.target)?;
        if let MountKind::Bind(source) = &mount.kind
            && !source.starts_with('/')
        {
            return Err(Error::invalid(format!(
                "invalid mount source {source:?}: it must be an absolute path"
            )));
        }
    }
    for (at, mount) in run.mounts.iter().enumerate() {
        if run.mounts[..at].iter().any(|earlier| earlier.target == mount.target) {
            return Err(Error::invalid(format!("Duplicate mount point: {}", mount.target)));
        }
    }
    for target in image.volumes.iter().flat_map(|v| v.keys()) {
        // What VOLUME says is kept as it is written; as in Docker a relative one is beneath the root.
        let target = clean(&format!("/{target}"))?;
        if !run.mounts.iter().any(|m| m.target == target) {
            run.mounts.push(MountPoint { target, kind: MountKind::Anonymous, read_only: false });
        }
    }
    Ok(())
}

/// A mount's target without `.`, `..` and doubled slashes.
fn clean(target: &str) -> Result<String> {
    let mut parts = Vec::new();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    if !target.starts_with('/') {
        return Err(Error::invalid(format!("invalid mount target {target:?}: it must be an absolute path")));
    }
    if parts.is_empty() {
        return Err(Error::invalid("invalid mount target: it can't be '/'"));
    }
    Ok(format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Config {
        Config {
            entrypoint: Some(vec!["entry".into()]),
            cmd: Some(vec!["default".into()]),
            env: vec!["A=1".into(), "PATH=/bin".into()],
            volumes: Some(std::collections::BTreeMap::from([("/vol/".to_owned(), oci::Empty {})])),
            ..Config::default()
        }
    }

    fn args(entrypoint: Option<&str>, cmd: &[&str]) -> Vec<String> {
        let run = RunConfig { cmd: cmd.iter().map(|s| (*s).to_owned()).collect(), ..RunConfig::default() };
        let request =
            CreateRequest { entrypoint: entrypoint.map(str::to_owned), run, ..CreateRequest::default() };
        combine(&request, &image(), &"0".repeat(64)).unwrap().args()
    }

    fn combined(run: RunConfig) -> Result<RunConfig> {
        combine(&CreateRequest { run, ..CreateRequest::default() }, &image(), &"0".repeat(64))
    }

    #[test]
    fn entry_point_and_command_combine_as_in_docker() {
        assert_eq!(args(None, &[]), ["entry", "default"]);
        assert_eq!(args(None, &["x"]), ["entry", "x"]);
        assert_eq!(args(Some("sh"), &[]), ["sh"]);
        assert_eq!(args(Some("sh"), &["-c"]), ["sh", "-c"]);
        assert_eq!(args(Some(""), &["y"]), ["y"]);
    }

    #[test]
    fn given_variables_stand_before_the_images_others() {
        let env = ["A=2", "B=3"].map(str::to_owned).to_vec();
        let run = combined(RunConfig { env, ..RunConfig::default() }).unwrap();
        assert_eq!(run.env, ["A=2", "B=3", "PATH=/bin"].map(str::to_owned));
    }

    #[test]
    fn mounts_are_looked_at() {
        let on = |target: &str| MountPoint {
            target: target.to_owned(),
            kind: MountKind::Anonymous,
            read_only: false,
        };
        let with = |mounts: Vec<MountPoint>| combined(RunConfig { mounts, ..RunConfig::default() });
        let targets: Vec<String> =
            with(vec![on("/a//b/../c/")]).unwrap().mounts.into_iter().map(|m| m.target).collect();
        assert_eq!(targets, ["/a/c", "/vol"]);
        assert!(with(vec![on("/a"), on("/a/")]).unwrap_err().message.contains("Duplicate mount point: /a"));
        assert!(with(vec![on("/..")]).unwrap_err().message.contains("can't be '/'"));
        assert!(with(vec![on("a")]).is_err());
        let relative = std::collections::BTreeMap::from([
            ("vol".to_owned(), oci::Empty {}),
            ("/vol".to_owned(), oci::Empty {}),
        ]);
        let image = Config { volumes: Some(relative), ..image() };
        let run = combine(&CreateRequest::default(), &image, &"0".repeat(64)).unwrap();
        assert_eq!(run.mounts.iter().map(|m| &m.target).collect::<Vec<_>>(), ["/vol"]);
        assert_eq!(with(vec![on("/vol")]).unwrap().mounts.len(), 1);
    }
}
