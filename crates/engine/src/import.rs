//! `import`: a tar of a root file system becomes an image of one layer.

use std::io::{self, Read};

use oci::{ChainId, Document, History, ImageConfig, ImageId, Platform, Reference};
use snapshot::{ApplyOptions, DiffOptions};
use store::ImageMeta;

use crate::build::timestamp;
use crate::changes;
use crate::{Engine, Result};

/// What `import` is asked to do.
#[derive(Debug, Clone, Default)]
pub struct ImportRequest {
    /// The name the image gets.
    pub reference: Option<Reference>,
    /// Dockerfile instructions that set the config (`--change`).
    pub changes: Vec<String>,
    /// The history's comment (`--message`).
    pub message: Option<String>,
    /// What the image runs on; `None`: this machine.
    pub platform: Option<Platform>,
    /// Seconds since 1970 that the image says it was made at; `None`: now.
    pub epoch: Option<i64>,
}

/// Imports `source`, a tar archive, plain or compressed. Its layer is what the archive unpacks to,
/// whatever order or format the archive had: the same tree gives the same DiffID.
pub fn import(engine: &Engine, request: &ImportRequest, source: impl Read + Send) -> Result<ImageId> {
    let lease = engine.store.lease()?;
    let mut config = oci::Config::default();
    // Before the work: a wrong instruction leaves nothing.
    changes::apply(&mut config, &request.changes)?;
    let pending = engine.store.begin_snapshot()?;
    let mode = runtime::mode().unwrap_or(runtime::Mode::Root);
    let options = ApplyOptions { any_compression: true, ..ApplyOptions::new(mode) };
    snapshot::apply(source, pending.fs(), &options)?;
    let stat = snapshot::diff(pending.fs(), io::sink(), &DiffOptions::default())?;
    engine.store.commit_snapshot(pending, None::<&ChainId>, &solver::row(&stat))?;
    let platform = request.platform.clone().unwrap_or_else(Platform::host);
    let mut config = ImageConfig { config, ..ImageConfig::scratch(&platform) };
    let created = Some(timestamp(request.epoch));
    config.created.clone_from(&created);
    config.rootfs.diff_ids = vec![stat.diff_id];
    config.history = vec![History {
        created,
        comment: request.message.clone().unwrap_or_else(|| "Imported from -".to_owned()),
        ..History::default()
    }];
    let document = Document::of(config);
    let image = engine.store.put_image(&document.bytes, &ImageMeta::default())?;
    if let Some(reference) = &request.reference {
        engine.store.set_reference(&reference.clone().with_default_tag(), &image)?;
    }
    drop(lease);
    Ok(image)
}
