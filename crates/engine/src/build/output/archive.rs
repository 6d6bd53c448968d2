//! The image as an OCI layout, or Docker's, as a tar or a directory; of several platforms with their index.
//!
//! The manifests are those that a push makes, so that what is loaded from an archive and what is pulled have one digest.
//! No dates are written: the same image gives the same bytes.

use std::io::Write;

use oci::{Descriptor, Document, Index, Manifest, Reference, annotation, media_type};

use super::blobs::Blobs;
use super::{ArchiveOutput, Exported, Format, Level, Shape, Writing};
use crate::archive::{Archive, DockerManifest, blob_path};
use crate::build::observe::internal_with;
use crate::push::{ManifestFormat, manifest_for};
use crate::transfer::layout::Layout;
use crate::transfer::{COPY, JOBS, Raw, Transfer};
use crate::{Error, Result, whole_file};

impl Writing<'_> {
    pub(super) fn archive(
        &self,
        output: &ArchiveOutput,
        stream: &mut (dyn Write + Send),
    ) -> Result<Exported> {
        if output.format == Format::Docker && self.made.len() > 1 {
            return Err(Error::unsupported(
                "docker exporter does not support exporting manifest lists, use the oci exporter instead",
            )
            .hint("-o type=oci,dest=FILE; or without a destination, into the store"));
        }
        let kind = if output.format == Format::Docker { "docker" } else { "oci" };
        let root = internal_with(self.steps, &format!("exporting to {kind} image format"), |within| {
            let mut blobs = Blobs::new(&self.engine.store);
            let contents = self.contents(output, &mut blobs)?;
            within.say("exporting layers done");
            for (manifest, _) in &contents.images {
                within.say(&format!("exporting manifest {} done", manifest.digest));
            }
            match &output.shape {
                Shape::Tar(to) => {
                    whole_file::write(to, stream, |out| tar(output, &blobs, &contents, out))?;
                    within.say("sending tarball done");
                }
                Shape::Directory(path) => {
                    let layout = Layout::open_or_make(path)?;
                    let transfer =
                        Transfer { source: &blobs, target: &layout, jobs: JOBS, words: COPY, events: within };
                    transfer.whole(&contents.root_raw)?;
                    for (entry, name) in contents.entries(&output.names) {
                        layout.list(&entry, name.as_deref())?;
                    }
                }
            }
            Ok(contents.root)
        })?;
        let mut manifest = root;
        if self.made.len() == 1 {
            let config = self.made[0].image.id.to_string();
            manifest.annotations.insert("config.digest".to_owned(), config);
        }
        Ok(Exported { names: output.names.clone(), manifest: Some(manifest) })
    }

    /// The documents of the archive; its layers are made.
    fn contents(&self, output: &ArchiveOutput, blobs: &mut Blobs<'_>) -> Result<Contents> {
        let format = output.layers.format.unwrap_or_default();
        let annotations = &output.annotations;
        let mut images = Vec::with_capacity(self.made.len());
        let mut entries = Vec::with_capacity(self.made.len());
        for made in self.made {
            let mut image = made.image.clone();
            image.meta.annotations.extend(annotations.of(Level::Manifest, Some(&made.platform)));
            let layers = blobs.layers(image.layers(), &output.layers)?;
            let manifest = manifest_for(&image, &layers, format)?;
            blobs.add_config(&image.config.digest, &image.config.bytes);
            blobs.add_document(&manifest);
            let mut entry = manifest.descriptor();
            entry.platform = Some(made.platform.clone());
            entry.annotations = annotations.of(Level::ManifestDescriptor, Some(&made.platform));
            images.push((manifest.clone(), manifest.manifest()?));
            entries.push(entry);
        }
        if let ([(manifest, _)], [entry]) = (images.as_slice(), entries.as_slice()) {
            return Ok(Contents { root_raw: manifest.clone(), root: entry.clone(), images });
        }
        let media_type = match format {
            ManifestFormat::Oci => media_type::OCI_INDEX,
            ManifestFormat::Docker => media_type::DOCKER_MANIFEST_LIST,
        };
        let document = Document::of(Index {
            schema_version: 2,
            media_type: Some(media_type.to_owned()),
            artifact_type: None,
            manifests: entries,
            subject: None,
            annotations: annotations.of(Level::Index, None).into_iter().collect(),
        });
        let index = Raw::new(document.bytes, Some(media_type))?;
        blobs.add_document(&index);
        let mut root = index.descriptor();
        root.annotations = annotations.of(Level::IndexDescriptor, None);
        Ok(Contents { root_raw: index, root, images })
    }
}

/// The documents of one archive.
struct Contents {
    /// What a name stands for: the manifest, or the index.
    root_raw: Raw,
    root: Descriptor,
    images: Vec<(Raw, Manifest)>,
}

impl Contents {
    /// The entries of `index.json`, with the tag that each has.
    fn entries(&self, names: &[Reference]) -> Vec<(Descriptor, Option<String>)> {
        if names.is_empty() {
            return vec![(self.root.clone(), None)];
        }
        let entry = |name: &Reference| {
            let mut entry = self.root.clone();
            entry.annotations.insert(annotation::IMAGE_NAME.to_owned(), name.to_string());
            (entry, name.tag.clone())
        };
        names.iter().map(entry).collect()
    }
}

fn tar(
    output: &ArchiveOutput,
    blobs: &Blobs<'_>,
    contents: &Contents,
    out: &mut (dyn Write + Send),
) -> Result<()> {
    let mut archive = Archive::new(out)?;
    for (raw, manifest) in &contents.images {
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            archive.stream(blob, |out| blobs.copy(blob, out))?;
        }
        archive.blob(&raw.digest, &raw.bytes)?;
    }
    // Of one image this is its manifest, which is there.
    archive.blob(&contents.root_raw.digest, &contents.root_raw.bytes)?;
    let manifests = contents.entries(&output.names).into_iter().map(|(mut entry, tag)| {
        if let Some(tag) = tag {
            entry.annotations.insert(annotation::REF_NAME.to_owned(), tag);
        }
        entry
    });
    let index = Index {
        schema_version: 2,
        media_type: Some(media_type::OCI_INDEX.to_owned()),
        artifact_type: None,
        manifests: manifests.collect(),
        subject: None,
        annotations: Default::default(),
    };
    archive.json("index.json", &index)?;
    if output.format == Format::Docker {
        let docker: Vec<DockerManifest> = contents
            .images
            .iter()
            .map(|(_, manifest)| DockerManifest {
                config: blob_path(&manifest.config.digest),
                repo_tags: (!output.names.is_empty())
                    .then(|| output.names.iter().map(Reference::familiar).collect()),
                layers: manifest.layers.iter().map(|layer| blob_path(&layer.digest)).collect(),
            })
            .collect();
        archive.json("manifest.json", &docker)?;
    }
    archive.end()
}
