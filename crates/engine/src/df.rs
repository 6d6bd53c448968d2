//! `system df`: where the store's bytes are.

use std::collections::HashMap;

pub use store::{CacheUsage, ContainerUsage, ImageUsage, Usage};

use crate::images::{self, ImageSummary, ImagesRequest};
use crate::{Engine, Result};

/// Where the bytes are, and what the images among it are called.
#[derive(Debug, Clone)]
pub struct DiskUsage {
    /// Every byte, in one of a few columns.
    pub usage: Usage,
    /// The images of `usage`, newest first.
    pub images: Vec<ImageSummary>,
}

/// Accounts for every byte. Measures containers' files, so it has to run where their owners are mapped.
pub fn df(engine: &Engine) -> Result<DiskUsage> {
    let usage = engine.store.usage()?;
    let containers: HashMap<_, _> = usage.images.iter().map(|image| (&image.id, image.containers)).collect();
    let mut images = images::list(engine, &ImagesRequest::default())?;
    for image in &mut images {
        image.containers = containers.get(&image.id).copied();
    }
    Ok(DiskUsage { usage, images })
}
