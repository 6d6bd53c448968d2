//! What a build found out, written where other machines find it.
//!
//! Layers that were made here are compressed on their way out, once: what came of it is remembered, and the next time
//! nothing is compressed, nothing that is there already is sent, and where nothing changed one question is all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::Path;

use oci::{Descriptor, DiffId, Digest, Document, HashingWriter, Index, Manifest, media_type};
use store::{CacheRecord, Compressed, PendingSnapshot};

use super::config::{self, CacheConfig, CarriedMount, Layer, Made, annotated};
use super::place::Place;
use super::request::{CacheMode, CacheTo};
use super::sent::Sent;
use crate::build::elsewhere::Elsewhere;
use crate::push::way::{self, Way};
use crate::push::{ManifestFormat, PushOptions};
use crate::transfer::stored::Stored;
use crate::transfer::{Raw, made, side_by_side};
use crate::{Engine, Error, Result};

/// Blobs that are asked for, or sent, at once.
const JOBS: usize = 8;
/// Layers compressed at once: each has threads and memory of its own.
const MAKING: usize = 2;

/// One cache on its way out.
pub(crate) struct Export<'a> {
    pub engine: &'a Engine,
    pub elsewhere: &'a Elsewhere<'a>,
    pub to: &'a CacheTo,
    pub place: &'a Place,
}

/// Which layer a step made, by key.
pub(crate) type Results = BTreeMap<Digest, DiffId>;

/// Cache mounts as they go along.
#[derive(Default)]
pub(crate) struct Carried {
    pub mounts: Vec<CarriedMount>,
    /// Their indexes and the chunks.
    pub blobs: Vec<Descriptor>,
}

/// The results of a build's steps: all, or those whose layers are among `kept`. A step that made no layer, or several,
/// has none.
pub(crate) fn results(records: &[CacheRecord], kept: Option<&BTreeSet<DiffId>>) -> Results {
    let made = records.iter().filter_map(|record| match record.diff_ids.as_slice() {
        [made] => Some((record.key.clone(), made.clone())),
        _ => None,
    });
    made.filter(|(_, made)| kept.is_none_or(|kept| kept.contains(made))).collect()
}

impl Export<'_> {
    /// Sends what the other side lacks, and lets the name there stand for it.
    pub fn run(&self, records: &[CacheRecord], image: &BTreeSet<DiffId>, say: &dyn Fn(&str)) -> Result<()> {
        let results = results(records, (self.to.mode == CacheMode::Min).then_some(image));
        let scratch = self.engine.store.begin_snapshot()?;
        let mut sent = Sent::new(Stored::new(&self.engine.store, crate::push::threads()));
        let layers = self.layers(results.values().cloned().collect(), records, &scratch, &mut sent)?;
        let numbers: BTreeMap<&DiffId, usize> =
            layers.iter().enumerate().map(|(at, layer)| (&layer.diff_id, at)).collect();
        let mut by_key = BTreeMap::new();
        for record in records {
            let Some(layer) = results.get(&record.key).and_then(|made| numbers.get(made)) else { continue };
            by_key.insert(record.key.clone(), Made { layer: *layer, created: self.date(record)? });
        }
        let carried = self.mounts(&scratch, &mut sent, say)?;
        let config = CacheConfig::of(&layers, &by_key, carried.mounts).bytes();
        if config.len() as u64 > config::LIMIT {
            return Err(Error::invalid(format!("the cache config would have {} bytes", config.len())));
        }
        let described = Descriptor::new(config::MEDIA_TYPE, Digest::sha256(&config), config.len() as u64);
        let manifest = self.manifest(&layers, &carried.blobs, &described)?;
        if self.place.has(&manifest)? {
            say("the cache there is the same");
            return Ok(());
        }
        let mut blobs: Vec<Descriptor> = layers.iter().map(|layer| layer.blob.clone()).collect();
        blobs.extend(carried.blobs);
        // In a bucket the config is no blob.
        if !matches!(self.place, Place::Bucket(_)) {
            sent.bytes.insert(described.digest.clone(), config.clone());
            blobs.push(described);
        }
        let mut seen = BTreeSet::new();
        blobs.retain(|blob| seen.insert(blob.digest.clone()));
        side_by_side(JOBS, &blobs, |blob| {
            let taken = self.place.target().take_blob(blob, &sent, &|_| {})?;
            taken
                .map(drop)
                .ok_or_else(|| Error::not_found(format!("blob {} is nowhere any more", blob.digest)))
        })?;
        self.place.publish(&manifest, &config)?;
        say(&format!("writing cache manifest {} done", manifest.digest));
        Ok(())
    }

    /// The layers as blobs, in an order that does not depend on how the build went. Those that are nowhere any more are
    /// left out.
    fn layers(
        &self,
        wanted: BTreeSet<DiffId>,
        records: &[CacheRecord],
        scratch: &PendingSnapshot,
        sent: &mut Sent<'_>,
    ) -> Result<Vec<Layer>> {
        let store = &self.engine.store;
        let mut found: Vec<(DiffId, Option<Descriptor>)> = Vec::new();
        for diff_id in wanted {
            let blob = self.known(&diff_id)?;
            if blob.is_none()
                && let Some(remote) = self.elsewhere.layer(&diff_id)
            {
                sent.holders.insert(remote.blob.digest.clone(), remote.holder);
                found.push((diff_id, Some(remote.blob)));
            } else if blob.is_some() || store.snapshot_of_layer(&diff_id)?.is_some() {
                found.push((diff_id, blob));
            }
        }
        let todo: Vec<DiffId> =
            found.iter().filter(|(_, blob)| blob.is_none()).map(|(diff_id, _)| diff_id.clone()).collect();
        let made = side_by_side(MAKING, &todo, |diff_id| {
            let path = scratch.dir().join(format!("layer-{}", diff_id.hex()));
            Ok((diff_id.clone(), self.compress(diff_id, &path)?, path))
        })?;
        let mut by_layer = BTreeMap::new();
        for (diff_id, blob, path) in made {
            sent.files.insert(blob.digest.clone(), path);
            by_layer.insert(diff_id, blob);
        }
        let dates = self.dates(records)?;
        let layers = found.into_iter().filter_map(|(diff_id, blob)| {
            let blob = blob.or_else(|| by_layer.get(&diff_id).cloned())?;
            Some(Layer { created: dates.get(&diff_id).copied(), diff_id, blob })
        });
        Ok(layers.collect())
    }

    /// The blob that the layer is known as in the compression that is asked for; its bytes are here, or can be made
    /// again.
    fn known(&self, diff_id: &DiffId) -> Result<Option<Descriptor>> {
        let store = &self.engine.store;
        let options = PushOptions {
            method: Some(self.to.compression),
            force: self.to.force_compression,
            ..PushOptions::default()
        };
        Ok(match way::ways(store, std::slice::from_ref(diff_id), None, &options)?.pop() {
            Some(Way::Known(known)) => Some(*known),
            _ => None,
        })
    }

    /// Compresses a layer into a file, and remembers what it became.
    fn compress(&self, diff_id: &DiffId, path: &Path) -> Result<Descriptor> {
        let failed = |e: io::Error| Error::io(format!("compress layer {diff_id}"), &e);
        let method = self.to.compression;
        let mut source = made::stream(&self.engine.store, diff_id, Some(method), crate::push::threads())?;
        let mut out = HashingWriter::new(File::create(path).map_err(failed)?);
        io::copy(&mut source, &mut out).map_err(failed)?;
        let (_, digest, size) = out.finish();
        let descriptor = Descriptor::new(way::oci_layer(method.compression()), digest.clone(), size);
        let method = method.to_string();
        self.engine.store.add_compressed(&Compressed { diff_id: diff_id.clone(), method, digest, size })?;
        Ok(descriptor)
    }

    /// When the step made its layer.
    fn date(&self, record: &CacheRecord) -> Result<Option<i64>> {
        let ([made], Some(chain)) = (record.diff_ids.as_slice(), &record.chain_id) else { return Ok(None) };
        let here = self.engine.store.snapshot(chain)?.map(|found| found.created);
        Ok(here.or_else(|| self.elsewhere.created(chain, made)))
    }

    /// When each layer was made first.
    fn dates(&self, records: &[CacheRecord]) -> Result<BTreeMap<DiffId, i64>> {
        let mut dates: BTreeMap<DiffId, i64> = BTreeMap::new();
        for record in records {
            let [made] = record.diff_ids.as_slice() else { continue };
            if let Some(created) = self.date(record)? {
                dates.entry(made.clone()).and_modify(|date| *date = created.min(*date)).or_insert(created);
            }
        }
        Ok(dates)
    }

    fn manifest(&self, layers: &[Layer], others: &[Descriptor], config: &Descriptor) -> Result<Raw> {
        let oci = self.to.oci_media_types;
        let format = if oci { ManifestFormat::Oci } else { ManifestFormat::Docker };
        let described = |layer: &Layer| annotated(layer, way::media_type(&layer.blob.media_type, format));
        let mut blobs: Vec<Descriptor> = layers.iter().map(described).collect();
        blobs.extend(others.iter().cloned());
        let mut seen = BTreeSet::new();
        blobs.retain(|blob| seen.insert(blob.digest.clone()));
        if self.to.image_manifest {
            let media_type = if oci { media_type::OCI_MANIFEST } else { media_type::DOCKER_MANIFEST };
            let document = Document::of(Manifest {
                schema_version: 2,
                media_type: Some(media_type.to_owned()),
                artifact_type: None,
                config: config.clone(),
                layers: blobs,
                subject: None,
                annotations: BTreeMap::new(),
            });
            return Raw::new(document.bytes, Some(media_type));
        }
        let media_type = if oci { media_type::OCI_INDEX } else { media_type::DOCKER_MANIFEST_LIST };
        blobs.push(config.clone());
        let document = Document::of(Index {
            schema_version: 2,
            media_type: Some(media_type.to_owned()),
            artifact_type: None,
            manifests: blobs,
            subject: None,
            annotations: BTreeMap::new(),
        });
        Raw::new(document.bytes, Some(media_type))
    }
}
