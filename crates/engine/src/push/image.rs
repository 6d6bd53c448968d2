//! One image on its way out: its layers side by side, then its manifest.

use std::io::{self, Read};
use std::sync::mpsc::{self, SyncSender};
use std::thread;

use oci::{Descriptor, DiffId, Digest, Document, Hasher, Manifest, media_type};
use snapshot::compress::Method;
use store::{Compressed, Image};

use super::way::{self, Way};
use super::{Destination, ManifestFormat, Push, threads};
use crate::build::cache::sent::Sent;
use crate::transfer::{self, Raw, Taken, Target as _, made, side_by_side, stored::Stored};
use crate::{Error, Event, Kind, Result};

/// A compressed layer of up to so many bytes is held in memory until its digest is known, so that it need not be sent
/// if the registry has it.
const HELD: usize = 1 << 20;
const PIECE: usize = 256 << 10;
/// Pieces that are made while others are on their way: as much as one chunk of the upload, for while the registry
/// takes that in, nothing is sent.
const AHEAD: usize = 32;
/// Layers compressed at once, unless said otherwise: each has threads and memory of its own.
const MAKING: usize = 3;
/// How often a layer is sent from its beginning.
const ATTEMPTS: u32 = 3;

impl Push<'_> {
    /// Sends the image and its manifest, and returns that. `held` is the manifest that the name stands for.
    pub(super) fn image(&self, image: &Image, held: Option<Digest>, target: &Destination) -> Result<Raw> {
        let before = match held {
            Some(held) => Some(held),
            None => image.meta.manifest.clone().filter(|digest| self.is_for_registries(digest, image)),
        };
        let sent = self.image_once(image, before, target);
        match sent {
            Err(Failed::Changed) => {
                // The layers that once left so can no longer be made: then it is another manifest.
                self.image_once(image, None, target).map_err(Failed::into_error)
            }
            other => other.map_err(Failed::into_error),
        }
    }

    /// Whether a manifest is one that is sent as it is: an archive's has its layers uncompressed, and then neither is
    /// sent so (unless that is asked for, and then the manifest comes out the same), nor would images built on it share
    /// what was sent. Nor is one that a build has given other annotations since.
    fn is_for_registries(&self, digest: &Digest, image: &Image) -> bool {
        let bytes = self.engine.store.read_blob(digest, transfer::MANIFEST_LIMIT);
        let manifest = bytes.ok().and_then(|bytes| Raw::new(bytes, None).ok()?.manifest().ok());
        manifest.is_some_and(|manifest| {
            let docker = manifest.media_type.as_deref() == Some(media_type::DOCKER_MANIFEST);
            if !docker && manifest.annotations != image.meta.annotations {
                return false;
            }
            manifest.layers.iter().all(|layer| {
                !matches!(layer.media_type.as_str(), media_type::OCI_LAYER | media_type::DOCKER_LAYER)
            })
        })
    }

    fn image_once(&self, image: &Image, before: Option<Digest>, target: &Destination) -> Result<Raw, Failed> {
        let store = &self.engine.store;
        let before = match before {
            Some(digest) if store.has_blob(&digest)? => {
                let raw = Raw::new(store.read_blob(&digest, transfer::MANIFEST_LIMIT)?, None)?;
                let manifest = raw.manifest().ok().filter(|manifest| manifest.config.digest == image.id.0);
                manifest.map(|manifest| (raw, manifest))
            }
            _ => None,
        };
        let mut ways =
            way::ways(store, image.layers(), before.as_ref().map(|(_, manifest)| manifest), self.options)?;
        let source = self.source(&mut ways, image)?;
        let known: Option<Vec<Descriptor>> = ways
            .iter()
            .map(|way| match way {
                Way::Known(descriptor) => Some(Descriptor::clone(descriptor)),
                Way::Make { .. } => None,
            })
            .collect();
        let manifest = |layers: &[Descriptor]| self.manifest(image, before.as_ref(), layers);
        if let Some(layers) = &known {
            let manifest = manifest(layers)?;
            if target.has(&manifest)? {
                for layer in layers {
                    self.said(layer, "Layer already exists");
                }
                return Ok(manifest);
            }
        }
        let layers = self.layers(&ways, image, &source, target)?;
        let manifest = manifest(&layers)?;
        store.put_blob(&manifest.bytes)?;
        match target.put(&manifest) {
            Err(refused) if refused.kind == Kind::Unsupported => {
                let manifest = self.for_older_registries(image, &manifest, &layers).ok_or(refused)?;
                store.put_blob(&manifest.bytes)?;
                target.put(&manifest)?;
                Ok(manifest)
            }
            put => Ok(put.map(|()| manifest)?),
        }
    }

    /// The same as a Docker manifest, where a registry took no OCI manifest and nobody asked for one. `None` where it
    /// can't be said so.
    fn for_older_registries(&self, image: &Image, refused: &Raw, layers: &[Descriptor]) -> Option<Raw> {
        if self.options.format.is_some() || refused.media_type != media_type::OCI_MANIFEST {
            return None;
        }
        let manifest = manifest_for(image, layers, ManifestFormat::Docker).ok()?;
        self.events.event(Event::Warning(
            "the registry takes no OCI manifest: a Docker manifest is pushed (--format docker asks for it at once)"
                .to_owned(),
        ));
        Some(manifest)
    }

    /// Where the layers come from. Those that are not in the store leave as they are elsewhere.
    fn source(&self, ways: &mut [Way], image: &Image) -> Result<Sent<'_>> {
        let store = &self.engine.store;
        let mut source = Sent::new(Stored::new(store, threads()));
        for (way, diff_id) in ways.iter_mut().zip(image.layers()) {
            if let (Way::Make { .. }, Some(elsewhere)) = (&way, self.elsewhere)
                && let Some(remote) = elsewhere.layer(diff_id)
                && store.snapshot_of_layer(diff_id)?.is_none()
            {
                source.holders.insert(remote.blob.digest.clone(), remote.holder);
                *way = Way::Known(Box::new(remote.blob));
            }
        }
        Ok(source)
    }

    /// The manifest for these layers: the one before if it says the same, else a new one.
    fn manifest(
        &self,
        image: &Image,
        before: Option<&(Raw, Manifest)>,
        layers: &[Descriptor],
    ) -> Result<Raw> {
        if let Some((raw, manifest)) = before
            && self.takes(&raw.media_type)
            && manifest.layers.iter().map(|l| &l.digest).eq(layers.iter().map(|l| &l.digest))
        {
            return Ok(raw.clone());
        }
        manifest_for(image, layers, self.options.format.unwrap_or_default())
    }

    /// Sends layers and config; what they are then.
    fn layers(
        &self,
        ways: &[Way],
        image: &Image,
        source: &Sent<'_>,
        target: &Destination,
    ) -> Result<Vec<Descriptor>, Failed> {
        for way in ways {
            self.events.event(Event::Progress { id: id_of(way), status: "Preparing", done: 0, total: None });
        }
        let config = Descriptor::new(
            media_type::OCI_CONFIG,
            image.config.digest.clone(),
            image.config.bytes.len() as u64,
        );
        // A layer may be in the image twice.
        let mut todo: Vec<Way> = vec![Way::Known(Box::new(config))];
        for way in ways {
            if !todo.contains(way) {
                todo.push(way.clone());
            }
        }
        let making = ways.iter().any(|way| matches!(way, Way::Make { .. }));
        let jobs = if making && self.options.jobs.is_none() { MAKING } else { self.jobs() };
        let sent = side_by_side(jobs, &todo, |way| match way {
            Way::Known(descriptor) => self.known(descriptor, source, target),
            Way::Make { diff_id, method } => self.make(diff_id, *method, target),
        });
        let sent = match sent {
            Err(_) if source.stored.has_changed() => return Err(Failed::Changed),
            other => other?,
        };
        let of = |way: &Way| {
            let at = todo.iter().position(|todo| todo == way).expect("because all ways were put there");
            sent[at].clone()
        };
        Ok(ways.iter().map(of).collect())
    }

    fn known(&self, descriptor: &Descriptor, source: &Sent<'_>, target: &Destination) -> Result<Descriptor> {
        if media_type::is_foreign_layer(&descriptor.media_type) && !descriptor.urls.is_empty() {
            self.said(descriptor, "Skipped foreign layer");
            return Ok(descriptor.clone());
        }
        let is_layer = media_type::is_layer(&descriptor.media_type);
        let moved = |done| {
            self.events.event(Event::Progress {
                id: descriptor.digest.short().to_owned(),
                status: "Pushing",
                done,
                total: Some(descriptor.size),
            });
        };
        let progress = |done| {
            if is_layer {
                moved(done);
            }
        };
        let taken = target.repository.take_blob(descriptor, source, &progress)?.ok_or_else(|| {
            Error::not_found(format!(
                "layer {} is neither in the store nor at the registry",
                descriptor.digest
            ))
            .hint("pull or build the image again, then push it")
        })?;
        if is_layer {
            self.said(
                descriptor,
                match taken {
                    Taken::Was => "Layer already exists",
                    Taken::Mounted => "Mounted",
                    Taken::Sent => "Pushed",
                },
            );
        }
        Ok(descriptor.clone())
    }

    /// Compresses a layer into an upload, and remembers what it became.
    fn make(&self, diff_id: &DiffId, method: Method, target: &Destination) -> Result<Descriptor> {
        for _ in 1..ATTEMPTS {
            match self.make_once(diff_id, method, target) {
                // The registry has lost what it had. What was sent is gone here, too, so that it begins again.
                Err(Sending::Registry(registry::Error::Malformed { .. })) => {}
                other => return other.map_err(Sending::into_error),
            }
        }
        self.make_once(diff_id, method, target).map_err(Sending::into_error)
    }

    fn make_once(
        &self,
        diff_id: &DiffId,
        method: Method,
        target: &Destination,
    ) -> Result<Descriptor, Sending> {
        let store = &self.engine.store;
        let snapshot = store.snapshot_of_layer(diff_id)?.map(|chain| store.snapshot(&chain)).transpose()?;
        let total = snapshot.flatten().map(|snapshot| snapshot.tar_size);
        let id = diff_id.short().to_owned();
        let say = |status, done, total| {
            self.events.event(Event::Progress { id: id.clone(), status, done, total });
        };
        let mut source = made::stream(store, diff_id, Some(method), threads())?;
        let mut hasher = Hasher::new();
        let mut held = Vec::new();
        let reading = |e: io::Error| layer_error(diff_id, e);
        (&mut source).take(HELD as u64).read_to_end(&mut held).map_err(reading)?;
        hasher.update(&held);
        if held.len() < HELD {
            let descriptor = self.became(diff_id, method, hasher)?;
            if target.repository.has_blob(&descriptor.digest)?.is_some() {
                say("Layer already exists", descriptor.size, Some(descriptor.size));
                return Ok(descriptor);
            }
            let mut open = |offset: u64| {
                let rest = held.get(offset as usize..).unwrap_or_default().to_vec();
                Ok(Box::new(io::Cursor::new(rest)) as Box<dyn Read + Send>)
            };
            target.repository.push_blob(&descriptor, &mut open, &|done| say("Pushing", done, total))?;
            say("Pushed", descriptor.size, Some(descriptor.size));
            return Ok(descriptor);
        }
        let mut upload = target.repository.upload()?;
        io::Write::write_all(&mut upload, &held).map_err(|e| Sending::of(diff_id, e))?;
        let mut sent = held.len() as u64;
        drop(held);
        let hasher = thread::scope(|scope| {
            let (sender, pieces) = mpsc::sync_channel(AHEAD);
            let making = scope.spawn(move || pass_on(source, hasher, &sender));
            for piece in pieces {
                io::Write::write_all(&mut upload, &piece).map_err(|e| Sending::of(diff_id, e))?;
                sent += piece.len() as u64;
                // How large it becomes is not known; so far it is this much of the layer.
                say("Pushing", sent, total.filter(|total| *total > sent));
            }
            let made = making.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            made.map_err(|e| Sending::from(reading(e)))
        })?;
        let descriptor = self.became(diff_id, method, hasher)?;
        upload.finish(&descriptor.digest)?;
        say("Pushed", descriptor.size, Some(descriptor.size));
        Ok(descriptor)
    }

    /// Remembers what a layer became.
    fn became(&self, diff_id: &DiffId, method: Method, hasher: Hasher) -> Result<Descriptor> {
        let size = hasher.len();
        let digest = hasher.finish();
        let descriptor = Descriptor::new(way::oci_layer(method.compression()), digest.clone(), size);
        let (diff_id, method) = (diff_id.clone(), method.to_string());
        self.engine.store.add_compressed(&Compressed { diff_id, method, digest, size })?;
        Ok(descriptor)
    }

    fn said(&self, layer: &Descriptor, status: &'static str) {
        let id = layer.digest.short().to_owned();
        self.events.event(Event::Progress { id, status, done: layer.size, total: Some(layer.size) });
    }
}

/// A new manifest of the image with these layers, whose digests are those that they leave by.
pub(crate) fn manifest_for(image: &Image, layers: &[Descriptor], format: ManifestFormat) -> Result<Raw> {
    let (media_type, config) = match format {
        ManifestFormat::Oci => (media_type::OCI_MANIFEST, media_type::OCI_CONFIG),
        ManifestFormat::Docker => (media_type::DOCKER_MANIFEST, media_type::DOCKER_CONFIG),
    };
    let layers: Vec<Descriptor> = layers
        .iter()
        .map(|layer| Descriptor { media_type: way::media_type(&layer.media_type, format), ..layer.clone() })
        .collect();
    if format == ManifestFormat::Docker
        && layers.iter().any(|l| l.media_type == media_type::DOCKER_LAYER_ZSTD)
    {
        return Err(Error::invalid("a Docker manifest has no layers compressed by zstd")
            .hint("use --format oci, or --compression gzip with --force-compression"));
    }
    let document = Document::of(Manifest {
        schema_version: 2,
        media_type: Some(media_type.to_owned()),
        artifact_type: None,
        config: Descriptor::new(config, image.config.digest.clone(), image.config.bytes.len() as u64),
        layers,
        subject: None,
        annotations: match format {
            ManifestFormat::Oci => image.meta.annotations.clone(),
            ManifestFormat::Docker => Default::default(),
        },
    });
    Raw::new(document.bytes, Some(media_type))
}

fn id_of(way: &Way) -> String {
    match way {
        Way::Known(descriptor) => descriptor.digest.short().to_owned(),
        Way::Make { diff_id, .. } => diff_id.short().to_owned(),
    }
}

/// Hashes `source` on, and hands it over in pieces, until it ends or nobody takes more.
fn pass_on(mut source: impl Read, mut hasher: Hasher, to: &SyncSender<Vec<u8>>) -> io::Result<Hasher> {
    loop {
        let mut piece = vec![0; PIECE];
        let n = read(&mut source, &mut piece)?;
        piece.truncate(n);
        hasher.update(&piece);
        if n == 0 || to.send(piece).is_err() {
            return Ok(hasher);
        }
    }
}

fn read(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn layer_error(diff_id: &DiffId, error: io::Error) -> Error {
    let damaged = error.kind() == io::ErrorKind::InvalidData;
    let error = transfer::made_error(&diff_id.0, error);
    match damaged {
        true => error
            .hint("strake system check --repair drops what is damaged; then build or pull the image again"),
        false => error,
    }
}

/// Why a layer did not go.
enum Sending {
    Registry(registry::Error),
    Other(Error),
}

impl Sending {
    /// Of an upload that takes no more.
    fn of(diff_id: &DiffId, error: io::Error) -> Sending {
        match error.downcast::<registry::Error>() {
            Ok(error) => Sending::Registry(error),
            Err(error) => Sending::Other(layer_error(diff_id, error)),
        }
    }

    fn into_error(self) -> Error {
        match self {
            Sending::Registry(error) => error.into(),
            Sending::Other(error) => error,
        }
    }
}

impl From<registry::Error> for Sending {
    fn from(error: registry::Error) -> Sending {
        Sending::Registry(error)
    }
}

impl From<Error> for Sending {
    fn from(error: Error) -> Sending {
        Sending::Other(error)
    }
}

impl From<store::Error> for Sending {
    fn from(error: store::Error) -> Sending {
        Sending::Other(error.into())
    }
}

/// Why an image did not go.
enum Failed {
    /// A layer no longer becomes what it once left as.
    Changed,
    Error(Error),
}

impl Failed {
    fn into_error(self) -> Error {
        match self {
            Failed::Changed => Error::internal("a layer is compressed to other bytes each time"),
            Failed::Error(error) => error,
        }
    }
}

impl<E: Into<Error>> From<E> for Failed {
    fn from(error: E) -> Failed {
        Failed::Error(error.into())
    }
}
