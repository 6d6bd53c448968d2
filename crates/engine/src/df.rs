//! `system df`: where the store's bytes are.

use std::collections::HashMap;

pub use store::{CacheMountUsage, CacheUsage, ImageUsage, Usage};

use crate::container::Container;
use crate::images::{self, ImageSummary, ImagesRequest};
use crate::{Engine, Result};

/// Where the bytes are, and what the images and containers among it are called.
#[derive(Debug, Clone)]
pub struct DiskUsage {
    /// Every byte, in one of a few columns.
    pub usage: Usage,
    /// The images of `usage`, newest first.
    pub images: Vec<ImageSummary>,
    /// The containers of `usage`, each with the bytes of its writable layer.
    pub containers: Vec<(Container, u64)>,
}

/// Accounts for every byte. Measures containers' files, so it has to run where their owners are mapped.
pub fn df(engine: &Engine) -> Result<DiskUsage> {
    let usage = engine.store.usage()?;
    let counts: HashMap<_, _> = usage.images.iter().map(|image| (&image.id, image.containers)).collect();
    let mut images = images::list(engine, &ImagesRequest::default())?;
    for image in &mut images {
        image.containers = counts.get(&image.id).copied();
    }
    let containers = usage
        .containers
        .iter()
        .map(|usage| Ok((Container::of(engine, usage.record.clone())?, usage.size)))
        .collect::<Result<_>>()?;
    Ok(DiskUsage { usage, images, containers })
}
