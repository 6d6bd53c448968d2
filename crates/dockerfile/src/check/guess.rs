//! Base images of a check: those that are known as they are, the others guessed.

use oci::{Digest, ImageConfig, ImageId, Platform, Reference};

use crate::lower::{ConfigResolver, NamedContext, ResolvedImage};

/// What is known without asking anybody.
pub trait Known {
    /// The image of that name for `platform`, where it is at hand.
    fn image(&mut self, reference: &Reference, platform: &Platform) -> Option<ResolvedImage>;

    /// Whether a build context of that name was given; it may be an image's.
    fn is_context(&mut self, name: &str) -> bool {
        let _ = name;
        false
    }
}

/// Knows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nothing;

impl Known for Nothing {
    fn image(&mut self, _: &Reference, _: &Platform) -> Option<ResolvedImage> {
        None
    }
}

/// Says of each image that is not known that it is an empty one for the platform.
pub(crate) struct Guess<'a> {
    known: &'a mut dyn Known,
    id: ImageId,
}

impl<'a> Guess<'a> {
    pub(crate) fn new(known: &'a mut dyn Known) -> Guess<'a> {
        Guess { known, id: ImageId(Digest::sha256(b"an image that nobody was asked for")) }
    }

    fn guess(&self, reference: &Reference, platform: &Platform) -> ResolvedImage {
        ResolvedImage {
            image_id: self.id.clone(),
            config: ImageConfig::scratch(platform),
            digest: None,
            reference: reference.clone(),
        }
    }
}

impl ConfigResolver for Guess<'_> {
    fn resolve(&mut self, reference: &Reference, platform: &Platform) -> Result<ResolvedImage, String> {
        let known = self.known.image(reference, platform);
        Ok(known.unwrap_or_else(|| self.guess(reference, platform)))
    }

    fn context(&mut self, name: &str, platform: &Platform) -> Result<Option<NamedContext>, String> {
        if !self.known.is_context(name) {
            return Ok(None);
        }
        let reference = Reference::parse("context").map_err(|error| error.to_string())?;
        Ok(Some(NamedContext::Image(Box::new(self.guess(&reference.with_default_tag(), platform)))))
    }

    fn is_guess(&self, image: &ImageId) -> bool {
        *image == self.id
    }
}
