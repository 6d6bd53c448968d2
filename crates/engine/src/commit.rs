//! `commit`: a container's changes become a layer of a new image.

use std::collections::BTreeMap;

use oci::{ChainId, Config, Document, Empty, History, ImageId, Reference};
use store::{Base, ImageMeta};

use crate::build::timestamp;
use crate::changes;
use crate::container::{Container, MountKind, RunConfig};
use crate::{Engine, Result};

/// What `commit` is asked for.
#[derive(Debug, Clone, Default)]
pub struct CommitRequest {
    /// The container.
    pub container: String,
    /// The name the image gets.
    pub reference: Option<Reference>,
    /// Dockerfile instructions that change the config (`--change`).
    pub changes: Vec<String>,
    /// `--message`
    pub message: String,
    /// `--author`
    pub author: String,
    /// Seconds since 1970 that the image says it was made at; `None`: now.
    pub epoch: Option<i64>,
}

/// Makes an image of the container as it is now. One that changed nothing gives no layer.
pub fn commit(engine: &Engine, request: &CommitRequest) -> Result<ImageId> {
    let _lease = engine.store.lease()?;
    let container = Container::find(engine, &request.container)?;
    let image = engine.image(&container.record.image)?;
    let run = &container.state.run;
    let mut config = image.config.value.clone();
    config.config = as_image(run, &config.config);
    // Before the work: a wrong instruction leaves nothing.
    changes::apply(&mut config.config, &request.changes)?;
    let layers = image.layers().to_vec();
    let pending = engine.store.begin_snapshot()?;
    let lowers = engine.store.lowers(&layers)?;
    let stat = solver::clone_layer(&container.upper(engine), pending.fs(), lowers)?;
    let empty = stat.inodes == 0 && stat.tar_size <= EMPTY_TAR;
    if !empty {
        engine.store.commit_snapshot(pending, ChainId::of(&layers).as_ref(), &solver::row(&stat))?;
        config.rootfs.diff_ids.push(stat.diff_id);
    }
    let created = Some(timestamp(request.epoch));
    config.created.clone_from(&created);
    config.author.clone_from(&request.author);
    config.history.push(History {
        created,
        created_by: run.cmd.join(" "),
        author: request.author.clone(),
        comment: request.message.clone(),
        empty_layer: empty,
    });
    let document = Document::of(config);
    let base = image.meta.base.or_else(|| {
        let name = Reference::parse(&container.state.image_name).ok()?.with_default_tag();
        Some(Base { name: name.to_string(), digest: image.meta.manifest.clone() })
    });
    let meta = ImageMeta { base, ..ImageMeta::default() };
    let id = engine.store.put_image(&document.bytes, &meta)?;
    if let Some(reference) = &request.reference {
        engine.store.set_reference(&reference.clone().with_default_tag(), &id)?;
    }
    Ok(id)
}

/// Bytes of a tar without entries.
const EMPTY_TAR: u64 = 1024;

/// How containers of the new image run: as this one did.
fn as_image(run: &RunConfig, image: &Config) -> Config {
    let list = |items: &[String]| (!items.is_empty()).then(|| items.to_vec());
    let set = |names: &mut dyn Iterator<Item = &String>| {
        let set: BTreeMap<String, Empty> = names.map(|name| (name.clone(), Empty {})).collect();
        (!set.is_empty()).then_some(set)
    };
    let volumes = run.mounts.iter().filter(|mount| mount.kind == MountKind::Anonymous);
    Config {
        user: run.user.clone(),
        exposed_ports: set(&mut run.exposed_ports.iter()),
        env: run.env.clone(),
        entrypoint: list(&run.entrypoint),
        cmd: list(&run.cmd),
        volumes: set(&mut volumes.map(|mount| &mount.target)),
        working_dir: run.working_dir.clone(),
        labels: (!run.labels.is_empty()).then(|| run.labels.clone()),
        stop_signal: run.stop_signal.clone(),
        // Triggers were for images built on the container's image.
        onbuild: Vec::new(),
        ..image.clone()
    }
}
