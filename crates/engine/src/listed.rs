//! Which image a name means for a platform: the one that it stands for, or another of the index that this came by.

use oci::{Digest, ImageId, Index, Manifest, Platform, Reference, media_type};
use serde::de::DeserializeOwned;

use crate::archive::DOCUMENT_LIMIT;
use crate::{Engine, Result};

impl Engine {
    /// The image for `platform` that is in the store under the name or ID `text`. `None`: what is here of that name is
    /// for others.
    ///
    /// # Errors
    /// Those of a name that is not here, or that may mean several.
    pub fn image_for(&self, text: &str, platform: &Platform) -> Result<Option<ImageId>> {
        let named = self.resolve(text)?;
        if self.image(&named)?.config.value.platform().matches(platform) {
            return Ok(Some(named));
        }
        let reference = Reference::parse(text).ok().map(Reference::with_default_tag);
        self.listed(reference.as_ref(), Some(&named), platform)
    }

    /// The image for `platform` that is here as one of an index: the one that `reference` stands for, or that the image
    /// `named` came by.
    pub(crate) fn listed(
        &self,
        reference: Option<&Reference>,
        named: Option<&ImageId>,
        platform: &Platform,
    ) -> Result<Option<ImageId>> {
        let mut index = match reference.filter(|reference| reference.digest.is_none()) {
            Some(reference) => self.store.manifest(reference)?,
            None => None,
        };
        if let (None, Some(id)) = (&index, named) {
            index = self.image(id)?.meta.index;
        }
        let Some(chosen) =
            index.and_then(|digest| self.document::<Index>(&digest)?.select(platform).cloned())
        else {
            return Ok(None);
        };
        let id = match media_type::is_config(&chosen.media_type) {
            true => Some(chosen.digest),
            false => self.document::<Manifest>(&chosen.digest).map(|manifest| manifest.config.digest),
        };
        let Some(id) = id.map(ImageId) else { return Ok(None) };
        Ok(self.store.image(&id)?.map(|_| id))
    }

    /// A document of the store; `None` where it is not here, or is something else.
    fn document<T: DeserializeOwned>(&self, digest: &Digest) -> Option<T> {
        let bytes = self.store.read_blob(digest, DOCUMENT_LIMIT).ok()?;
        serde_json::from_slice(&bytes).ok()
    }
}
