//! What is said of an entry of a list.

use std::collections::BTreeMap;

use oci::{Descriptor, Digest, Platform, Reference};

use super::entry::is_meant;
use super::{find, keep, no_list};
use crate::{Engine, Error, Result};

/// What is to be said of an entry; empty fields leave what was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations {
    /// Operating system.
    pub os: Option<String>,
    /// Architecture of the processor.
    pub architecture: Option<String>,
    /// Variant of the architecture.
    pub variant: Option<String>,
    /// Version of the operating system.
    pub os_version: Option<String>,
    /// Features of the operating system.
    pub os_features: Vec<String>,
    /// Annotations in the sense of OCI.
    pub annotations: BTreeMap<String, String>,
}

impl Annotations {
    pub(super) fn apply(&self, entry: &mut Descriptor) {
        let Annotations { os, architecture, variant, os_version, os_features, annotations } = self;
        entry.annotations.extend(annotations.clone());
        let of_platform = [os, architecture, variant, os_version];
        if of_platform.iter().all(|field| field.is_none()) && os_features.is_empty() {
            return;
        }
        let platform = entry.platform.get_or_insert_with(|| Platform {
            architecture: String::new(),
            os: String::new(),
            os_version: String::new(),
            os_features: Vec::new(),
            variant: String::new(),
        });
        for (field, value) in [
            (&mut platform.os, os),
            (&mut platform.architecture, architecture),
            (&mut platform.variant, variant),
            (&mut platform.os_version, os_version),
        ] {
            if let Some(value) = value {
                field.clone_from(value);
            }
        }
        if !os_features.is_empty() {
            platform.os_features.clone_from(os_features);
        }
    }
}

/// Says `with` of the entry `image` (its digest, or the name by which it came) of the list `name`.
pub fn annotate(engine: &Engine, name: &Reference, image: &str, with: &Annotations) -> Result<Digest> {
    let _lease = engine.store.lease()?;
    let mut index = find(engine, name)?.ok_or_else(|| no_list(name))?;
    let mut found = false;
    // An ID stands for the image however it is listed.
    let id = engine.store.resolve(image).ok();
    let manifest = match &id {
        Some(id) => engine.image(id)?.meta.manifest,
        None => None,
    };
    for entry in &mut index.manifests {
        let is_id = id.as_ref().is_some_and(|id| id.0 == entry.digest);
        if is_meant(entry, image) || is_id || manifest.as_ref() == Some(&entry.digest) {
            with.apply(entry);
            found = true;
        }
    }
    if !found {
        return Err(Error::not_found(format!(
            "manifest for image {image} does not exist in {}",
            name.familiar()
        )));
    }
    keep(engine, name, &index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_stays() {
        let mut entry = Descriptor::new("m", Digest::sha256(b"x"), 1);
        Annotations::default().apply(&mut entry);
        assert_eq!(entry.platform, None);
        let arm = Annotations {
            os: Some("linux".into()),
            architecture: Some("arm".into()),
            variant: Some("v7".into()),
            ..Annotations::default()
        };
        arm.apply(&mut entry);
        let later = Annotations { variant: Some("v6".into()), ..Annotations::default() };
        later.apply(&mut entry);
        assert_eq!(entry.platform.unwrap().to_string(), "linux/arm/v6");
    }
}
