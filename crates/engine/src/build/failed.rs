//! What the last failed step left, kept: a container that ended with the step's exit code, named `failed-last`. It goes
//! when another step fails, or by `rm` or a prune; `run failed:last` makes an image of it and runs that.
//!
//! Kept are the files, the environment, the user and the working directory; mounts, secrets and the build's own
//! variables for proxies are not.

use dockerfile::lower::Lowered;
use graph::Exec;
use oci::{ChainId, Digest, Document, History, ImageConfig, ImageId, Platform};
use snapshot::Search;
use solver::Kept;
use store::{ContainerRecord, ImageMeta};

use super::observe::Steps;
use super::request::BuildRequest;
use super::shell::{self, shell_in};
use crate::container::{Container, ContainerState, NetworkMode, RunConfig, Status, new_id};
use crate::{Engine, Error, Result};

/// The name of the container.
const CONTAINER: &str = "failed-last";
/// What stands for it where an image is named.
pub const FAILED: &str = "failed:last";

/// Opens the shell of `--on-error=shell` in what a failed step left, and keeps that for later.
pub(super) fn after(
    engine: &Engine,
    request: &BuildRequest,
    lowered: &Lowered,
    mut kept: Kept,
    mut error: Error,
    steps: &Steps<'_>,
    search: Option<&Search>,
) -> Error {
    let vertex = lowered.graph.vertex(kept.vertex);
    let code = kept.code;
    let graph::Op::Exec(exec) = &vertex.op else { return error };
    if request.run.shell_on_error {
        match &request.run.terminal {
            Some(terminal) => {
                let about = format!(
                    "{} failed with exit code {code}. A shell in what it left; when it ends, the build fails.",
                    vertex.name
                );
                let opened = steps.aside(|| shell::open(&mut kept, &about, &**terminal));
                if let Err(why) = opened {
                    error.hints.push(format!("no shell was opened: {why}"));
                    error.hints.extend(why.hints);
                }
            }
            None => error.hints.push("no shell was opened, for there is no terminal".to_owned()),
        }
    }
    let leak = search.map(|search| search.locate(kept.pending.fs())).transpose();
    if let Ok(Some(Some(hit))) = leak {
        // What an earlier step left is not what anybody asks for now.
        let _ = forget(engine);
        error.hints.push(format!("what the step left is not kept, for it holds the secret {:?}", hit.name));
        return error;
    }
    match keep(engine, kept, exec, &vertex.name) {
        Ok(true) => {
            error.hints.push(format!("to look around in what the step left: strake run -it {FAILED}"));
            let targets = exec.mounts.iter().map(|mount| mount.target.as_str());
            let targets: Vec<&str> = targets.filter(|target| !target.is_empty()).collect();
            if !targets.is_empty() {
                error.hints.push(format!(
                    "its mounts are not there ({}): build --on-error=shell opens a shell that has them",
                    targets.join(", ")
                ));
            }
        }
        Ok(false) => {}
        Err(why) => error.hints.push(format!("what the step left could not be kept: {why}")),
    }
    error
}

/// Keeps what a failed step left, in place of what an earlier one did; whether it is kept. One that runs right now is
/// left alone.
fn keep(engine: &Engine, kept: Kept, exec: &Exec, step: &str) -> Result<bool> {
    if !forget(engine)? {
        return Ok(false);
    }
    let mut layers = vec![kept.pending.fs().to_owned()];
    layers.extend(kept.container.rootfs.lowers.iter().cloned());
    let shell = shell_in(&snapshot::View::open(&layers)?, &exec.args);
    let run = RunConfig {
        cmd: shell.into_iter().collect(),
        env: exec.env.clone(),
        working_dir: exec.cwd.clone(),
        user: exec.user.clone(),
        hostname: "failed".to_owned(),
        network: match exec.network {
            graph::Network::None => NetworkMode::None,
            _ => NetworkMode::Host,
        },
        no_log: true,
        ..RunConfig::default()
    };
    let now = jiff::Timestamp::now();
    let state = ContainerState {
        image_name: FAILED.to_owned(),
        run,
        status: Status::Exited,
        exit_code: kept.code,
        error: step.to_owned(),
        finished: Some(now.to_string()),
        ..ContainerState::default()
    };
    let record = ContainerRecord {
        id: new_id()?,
        name: CONTAINER.to_owned(),
        // It was made from no image; this one is nobody's.
        image: ImageId(Digest::sha256(FAILED.as_bytes())),
        chain_id: kept.base.clone(),
        created: i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX),
        auto_remove: false,
        state: serde_json::to_string(&state).expect("because all its keys are strings"),
    };
    let lock = engine.store.create_container(&record)?;
    let dir = engine.store.container_dir(&record.id);
    let moved = std::fs::remove_dir(dir.join("fs"))
        .and_then(|()| std::fs::rename(kept.pending.fs(), dir.join("fs")))
        .and_then(|()| match kept.pending.dir().join("owners") {
            owners if owners.exists() => std::fs::rename(owners, dir.join("owners")),
            _ => Ok(()),
        });
    if let Err(error) = moved {
        engine.store.remove_container(&record.id, lock)?;
        return Err(Error::io("keep what the failed step left", &error));
    }
    Ok(true)
}

/// Drops what an earlier failed step left; whether there is nothing any more. One that runs right now stays.
fn forget(engine: &Engine) -> Result<bool> {
    let Ok(earlier) = engine.store.container(CONTAINER) else { return Ok(true) };
    let Some(lock) = engine.store.lock_container(&earlier.id)? else { return Ok(false) };
    engine.store.remove_container(&earlier.id, lock)?;
    Ok(true)
}

/// An image of what the last failed step left, without a name.
pub fn image(engine: &Engine) -> Result<ImageId> {
    let _lease = engine.store.lease()?;
    let container = Container::find(engine, CONTAINER).map_err(|_| {
        Error::not_found(format!("{FAILED}: what a failed step left is not kept here (any more)"))
            .hint("it is kept when a RUN step of a build fails, until another does or it is pruned")
    })?;
    let mut layers = match &container.record.chain_id {
        Some(chain) => engine.store.layers_of(chain)?,
        None => Vec::new(),
    };
    let lowers = engine.store.lowers(&layers)?;
    let pending = engine.store.begin_snapshot()?;
    let stat = solver::clone_layer(&container.upper(engine), pending.fs(), lowers)?;
    engine.store.commit_snapshot(pending, ChainId::of(&layers).as_ref(), &solver::row(&stat))?;
    layers.push(stat.diff_id);
    let run = &container.state.run;
    let mut config = ImageConfig::scratch(&Platform::host());
    config.config.env.clone_from(&run.env);
    config.config.user.clone_from(&run.user);
    config.config.working_dir.clone_from(&run.working_dir);
    config.config.cmd = (!run.cmd.is_empty()).then(|| run.cmd.clone());
    let created = container.state.finished.clone();
    config.created.clone_from(&created);
    for number in 0..layers.len() {
        let last = number + 1 == layers.len();
        let created_by = if last { container.state.error.clone() } else { String::new() };
        config.history.push(History { created: created.clone(), created_by, ..History::default() });
    }
    config.rootfs.diff_ids = layers;
    Ok(engine.store.put_image(&Document::of(config).bytes, &ImageMeta::default())?)
}
