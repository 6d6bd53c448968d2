//! The image in the store, by its names, and on its way to registries.

use oci::{Descriptor, Digest, ImageId, Index, Reference};

use super::{Exported, ImageOutput, Layers, Level, Pushing, Writing};
use crate::build::observe::{internal, internal_with};
use crate::push::{Built, PushOptions, push_built, push_elsewhere};
use crate::transfer::Raw;
use crate::{Result, manifest};

impl Writing<'_> {
    /// Puts the images into the store, lets the names stand for them, and pushes those.
    pub(super) fn image(&self, output: &ImageOutput) -> Result<Exported> {
        if output.transient {
            return self.transient(output);
        }
        if output.push != Pushing::No && !self.elsewhere.is_here(self.made[self.host].image.layers())? {
            return self.pass_on(output);
        }
        let (images, index) = self.stored(output)?;
        let manifest = self.push_all(output, &images, index.as_ref())?;
        Ok(Exported { names: output.names.clone(), manifest })
    }

    /// The images in the store, by their names, and their index where there are several.
    fn stored(&self, output: &ImageOutput) -> Result<(Vec<ImageId>, Option<Index>)> {
        let store = &self.engine.store;
        internal(self.steps, "exporting to image", |say| {
            let mut images = Vec::with_capacity(self.made.len());
            for made in self.made {
                let mut meta = made.image.meta.clone();
                meta.annotations.extend(output.annotations.of(Level::Manifest, Some(&made.platform)));
                let id = store.put_image(&made.image.config.bytes, &meta)?;
                say(&format!("writing image {id} done"));
                images.push(id);
            }
            let index = match images.len() {
                1 => None,
                _ => Some(self.index(&images, output)?),
            };
            if output.push != Pushing::ByDigest {
                self.name(&output.names, &images[self.host], index.as_ref(), say)?;
            }
            Ok((images, index))
        })
    }

    /// Pushes by each name; what the last one stands for.
    fn push_all(
        &self,
        output: &ImageOutput,
        images: &[ImageId],
        index: Option<&Index>,
    ) -> Result<Option<Descriptor>> {
        let mut manifest = None;
        if output.push != Pushing::No {
            for name in &output.names {
                manifest = Some(self.push(output, name, images, index)?);
            }
        }
        Ok(manifest)
    }

    /// Pushes what was built, if it is to be pushed, and leaves the store's images and names as they were.
    fn transient(&self, output: &ImageOutput) -> Result<Exported> {
        match (output.push, self.made.len()) {
            (Pushing::No, _) => Ok(Exported { names: Vec::new(), manifest: None }),
            (_, 1) => self.pass_on(output),
            _ => {
                // An index is of images that are in the store: they are, for so long.
                let store = &self.engine.store;
                let mut ours = Vec::new();
                for made in self.made {
                    if store.image(&made.image.id)?.is_none() {
                        ours.push(made.image.id.clone());
                    }
                }
                let stored =
                    ImageOutput { transient: false, push: Pushing::No, names: Vec::new(), ..output.clone() };
                let (images, index) = self.stored(&stored)?;
                let pushed = self.push_all(output, &images, index.as_ref());
                for id in ours {
                    store.remove_image(&id)?;
                }
                Ok(Exported { names: output.names.clone(), manifest: pushed? })
            }
        }
    }

    /// Pushes the one image of which layers are not here, without their coming here: it is at its registries then, and
    /// not in the store.
    fn pass_on(&self, output: &ImageOutput) -> Result<Exported> {
        let made = &self.made[self.host];
        let mut image = made.image.clone();
        image.meta.annotations.extend(output.annotations.of(Level::Manifest, Some(&made.platform)));
        self.engine.store.put_blob(&image.config.bytes)?;
        let options = options(output);
        let by_digest = output.push == Pushing::ByDigest;
        let client = &self.request.registry;
        let mut manifest = None;
        for name in &output.names {
            let sent = internal_with(self.steps, &format!("pushing {}", name.familiar()), |within| {
                push_elsewhere(self.engine, &image, name, by_digest, &options, self.elsewhere, client, within)
            })?;
            manifest = Some(self.descriptor(&sent)?);
            if !by_digest && !output.transient {
                // The name stands for the image at the registry now, and for none here.
                self.engine.store.remove_reference(name)?;
            }
        }
        Ok(Exported { names: output.names.clone(), manifest })
    }

    fn index(&self, images: &[ImageId], output: &ImageOutput) -> Result<Index> {
        let mut index = manifest::index_of_images(self.engine, images)?;
        for (entry, made) in index.manifests.iter_mut().zip(self.made) {
            entry.annotations.extend(output.annotations.of(Level::ManifestDescriptor, Some(&made.platform)));
        }
        index.annotations.extend(output.annotations.of(Level::Index, None));
        Ok(index)
    }

    /// Sets the references: the moment the build becomes visible by name. With several images each name stands for
    /// their index, and for `image` where one is run.
    fn name(
        &self,
        names: &[Reference],
        image: &ImageId,
        index: Option<&Index>,
        say: &dyn Fn(&str),
    ) -> Result<()> {
        for name in names {
            self.engine.store.set_reference(name, image)?;
            if let Some(index) = index {
                manifest::keep(self.engine, name, index)?;
            }
            say(&format!("naming to {name} done"));
        }
        Ok(())
    }

    fn push(
        &self,
        output: &ImageOutput,
        name: &Reference,
        images: &[ImageId],
        index: Option<&Index>,
    ) -> Result<Descriptor> {
        let by_digest = output.push == Pushing::ByDigest;
        let options = options(output);
        let built = Built { images, host: self.host, index, by_digest };
        let shown = if by_digest { name.familiar_name() } else { name.familiar() };
        let sent = internal_with(self.steps, &format!("pushing {shown}"), |within| {
            push_built(self.engine, &built, name, &options, &self.request.registry, within)
        })?;
        self.descriptor(&sent)
    }

    /// What is told of a manifest: for an image of one platform with the digest of its config.
    fn descriptor(&self, sent: &Raw) -> Result<Descriptor> {
        let mut descriptor = sent.descriptor();
        if !sent.is_index() {
            let config: Digest = sent.manifest()?.config.digest;
            descriptor.annotations.insert("config.digest".to_owned(), config.to_string());
        }
        Ok(descriptor)
    }
}

/// How the image leaves.
fn options(output: &ImageOutput) -> PushOptions {
    let Layers { compression, force, format } = output.layers;
    PushOptions { method: compression, force, format, jobs: None }
}
