//! `commit`: a container's changes become a layer of a new image.

use oci::{ChainId, Document, History, ImageId, Reference};
use store::{Base, ImageMeta};

use crate::build::timestamp;
use crate::changes;
use crate::container::Container;
use crate::{Engine, Error, Result};

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

/// Makes an image of the container as it is now.
pub fn commit(engine: &Engine, request: &CommitRequest) -> Result<ImageId> {
    let _lease = engine.store.lease()?;
    let container = Container::find(engine, &request.container)?;
    let image = engine.image(&container.record.image)?;
    let layers = image.layers().to_vec();
    let upper = engine.store.container_dir(&container.record.id).join("fs");
    let pending = engine.store.begin_snapshot()?;
    let stat = solver::clone_layer(&upper, pending.fs(), engine.store.lowers(&layers)?)
        .map_err(|e| Error::internal(e.to_string()))?;
    engine.store.commit_snapshot(pending, ChainId::of(&layers).as_ref(), &solver::row(&stat))?;
    let mut config = image.config.value.clone();
    let created = Some(timestamp(request.epoch));
    let run = &container.state.run;
    config.created.clone_from(&created);
    config.author.clone_from(&request.author);
    config.rootfs.diff_ids.push(stat.diff_id);
    config.config.env.clone_from(&run.env);
    config.config.env.retain(|v| !v.starts_with("HOSTNAME=") && !v.starts_with("TERM="));
    config.config.cmd = (!run.cmd.is_empty()).then(|| run.cmd.clone());
    config.config.entrypoint = (!run.entrypoint.is_empty()).then(|| run.entrypoint.clone());
    config.config.user.clone_from(&run.user);
    config.config.working_dir.clone_from(&run.working_dir);
    config.history.push(History {
        created,
        created_by: run.args().join(" "),
        author: request.author.clone(),
        comment: request.message.clone(),
        empty_layer: false,
    });
    changes::apply(&mut config.config, &request.changes)?;
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
