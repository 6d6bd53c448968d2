//! What a build knows of that is not in the store: layers of base images that no step needed yet, layers and results
//! of shared caches.
//!
//! A layer is known by its DiffID and by the blob that holds it somewhere. It comes when a step has to run on it or the
//! image stays here, and is what it should be then: its DiffID is compared as it is unpacked. Until then nothing of it is
//! in the store, and no image there has it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oci::{ChainId, Descriptor, DiffId, Digest, media_type};
use solver::Failure;
use store::{CacheRecord, Store};

use crate::build::cache::{self, CarriedMount};
use crate::layers::{Blobs, Fetch};
use crate::pull::PullRequest;
use crate::transfer::Source;
use crate::{Error, Event, Events, Result};

/// A layer that is held somewhere.
#[derive(Clone)]
pub(crate) struct RemoteLayer {
    /// The blob that it comes as.
    pub blob: Descriptor,
    /// Who has it.
    pub holder: Arc<Holder>,
    /// When it was made, in nanoseconds since the Unix epoch, where that counts.
    pub created: Option<i64>,
    /// The cache that says so, by number.
    pub cache: Option<usize>,
}

/// Who has blobs.
pub(crate) struct Holder {
    /// For people.
    pub name: String,
    pub source: Box<dyn Source + Send>,
}

/// Results that one shared cache has.
struct Results {
    name: String,
    by_key: HashMap<Digest, (DiffId, Option<i64>)>,
    /// Cleared when it told of layers that it does not have.
    usable: bool,
}

/// All of it, for one build.
pub(crate) struct Elsewhere<'a> {
    store: &'a Store,
    events: &'a dyn Events,
    interrupted: &'a AtomicBool,
    /// Whether caches are written, with all that is known.
    wanted: bool,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    layers: HashMap<DiffId, Vec<RemoteLayer>>,
    caches: Vec<Results>,
    /// What came of the build's steps, by key.
    records: BTreeMap<Digest, CacheRecord>,
    /// When the layers on top of stacks were made, as shared caches say.
    dates: HashMap<ChainId, i64>,
    /// A stack of which layers did not come.
    lost: Option<Vec<DiffId>>,
    /// Cache mounts that shared caches have, by key.
    mounts: BTreeMap<String, (CarriedMount, Arc<Holder>)>,
}

impl<'a> Elsewhere<'a> {
    /// `wanted`: whether shared caches are written.
    pub fn new(
        store: &'a Store,
        events: &'a dyn Events,
        interrupted: &'a AtomicBool,
        wanted: bool,
    ) -> Elsewhere<'a> {
        Elsewhere { store, events, interrupted, wanted, known: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A layer can be had there.
    pub fn add_layer(&self, diff_id: &DiffId, layer: RemoteLayer) {
        self.lock().layers.entry(diff_id.clone()).or_default().push(layer);
    }

    /// A shared cache with the results that it has: by key the layer that a step made, and when. Its number, for its
    /// layers.
    pub fn add_cache(&self, name: &str, by_key: HashMap<Digest, (DiffId, Option<i64>)>) -> usize {
        let caches = &mut self.lock().caches;
        caches.push(Results { name: name.to_owned(), by_key, usable: true });
        caches.len() - 1
    }

    /// A shared cache has that cache mount. The first that has it counts.
    pub fn add_mount(&self, mount: CarriedMount, holder: Arc<Holder>) {
        self.lock().mounts.entry(mount.key.clone()).or_insert((mount, holder));
    }

    /// Where the layer can be had, best first.
    pub fn layer(&self, diff_id: &DiffId) -> Option<RemoteLayer> {
        let known = self.lock();
        let usable = |layer: &&RemoteLayer| layer.cache.is_none_or(|cache| known.caches[cache].usable);
        known.layers.get(diff_id)?.iter().find(usable).cloned()
    }

    /// When the layer on top of that stack was made, if that came with it; else when the layer was made first.
    pub fn created(&self, chain_id: &ChainId, diff_id: &DiffId) -> Option<i64> {
        let known = self.lock();
        let first = || known.layers.get(diff_id)?.iter().find_map(|layer| layer.created);
        known.dates.get(chain_id).copied().or_else(first)
    }

    /// What came of the build's steps, by key.
    pub fn records(&self) -> Vec<CacheRecord> {
        self.lock().records.values().cloned().collect()
    }

    /// As those, with what else is known of the same results: a step that was found by its definition was once found by
    /// its content, and the other way.
    pub fn all_records(&self, store: &Store) -> Result<Vec<CacheRecord>> {
        const MOST: usize = 64;
        let mut all = self.lock().records.clone();
        for record in self.records() {
            for other in store.cache_nearest(&record.identity, MOST)? {
                if other.chain_id == record.chain_id && other.diff_ids == record.diff_ids {
                    all.entry(other.key.clone()).or_insert(other);
                }
            }
            let known = self.lock();
            for cache in known.caches.iter().filter(|cache| cache.usable) {
                let Some(found) = cache.by_key.get(&record.key) else { continue };
                for (key, _) in cache.by_key.iter().filter(|(_, made)| *made == found) {
                    let other = CacheRecord { key: key.clone(), ..record.clone() };
                    all.entry(key.clone()).or_insert(other);
                }
            }
        }
        Ok(all.into_values().collect())
    }

    /// Remembers in the store what shared caches told, as far as its layers have come.
    pub fn keep_records(&self) -> Result<()> {
        if self.lock().caches.is_empty() {
            return Ok(());
        }
        for record in self.records() {
            if self.store.cache_get(&record.key)?.is_none() {
                match self.store.cache_put(&record) {
                    Ok(()) | Err(store::Error::MissingSnapshot(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// The stack of which layers did not come when a step wanted it, if that was why it failed.
    pub fn take_lost(&self) -> Option<Vec<DiffId>> {
        self.lock().lost.take()
    }

    /// Whether all layers of the stack are unpacked in the store.
    pub fn is_here(&self, layers: &[DiffId]) -> Result<bool> {
        Ok(solver::missing(self.store, layers)?.is_empty())
    }

    /// Gives up the shared caches that layers of `layers` would come from, which did not. Their names; none where the
    /// layers are of no cache, and nothing can be done.
    pub fn distrust(&self, layers: &BTreeSet<DiffId>) -> Vec<String> {
        let mut known = self.lock();
        let of: BTreeSet<usize> = layers
            .iter()
            .filter_map(|diff_id| known.layers.get(diff_id))
            .flatten()
            .filter_map(|layer| layer.cache)
            .collect();
        let mut names = Vec::new();
        for cache in of {
            let cache = &mut known.caches[cache];
            if std::mem::take(&mut cache.usable) {
                names.push(cache.name.clone());
            }
        }
        if !names.is_empty() {
            known.records.clear();
        }
        names
    }

    /// Makes sure that every layer of the stack (bottom layer first) is unpacked.
    ///
    /// # Errors
    /// For a layer that is nowhere, did not come, or is not what it should be.
    pub fn fetch(&self, layers: &[DiffId]) -> Result<()> {
        let missing = solver::missing(self.store, layers)?;
        if missing.is_empty() {
            return Ok(());
        }
        let mut blobs = Vec::with_capacity(layers.len());
        let mut holders = HashMap::new();
        for (at, diff_id) in layers.iter().enumerate() {
            let plain = || Descriptor::new(media_type::OCI_LAYER, diff_id.0.clone(), 0);
            if !missing.contains(&at) {
                blobs.push(plain());
                continue;
            }
            if let Some(held) = self.store.layer_blobs(diff_id)?.into_iter().next() {
                blobs.push(Descriptor::new(&held.media_type, held.digest, held.size));
            } else if let Some(remote) = self.layer(diff_id) {
                holders.insert(remote.blob.digest.clone(), remote.holder.clone());
                blobs.push(remote.blob);
            } else if self.store.snapshot_of_layer(diff_id)?.is_some() {
                blobs.push(plain());
            } else {
                return Err(Failure::MissingLayer(diff_id.clone()).into());
            }
        }
        let fetch = Fetch {
            store: self.store,
            blobs: &Holders(holders),
            events: self.events,
            jobs: PullRequest::JOBS,
            keeps_parts: true,
            interrupted: Some(self.interrupted),
        };
        fetch.run(&blobs, layers)?;
        let chains = ChainId::prefixes(layers);
        for at in missing {
            if let Some(created) = self.created(&chains[at], &layers[at]) {
                self.store.date_snapshot(&chains[at], created)?;
            }
        }
        Ok(())
    }

    /// Whether who builds wants no more.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

impl solver::Elsewhere for Elsewhere<'_> {
    fn has_results(&self) -> bool {
        self.lock().caches.iter().any(|cache| cache.usable && !cache.by_key.is_empty())
    }

    fn find(&self, key: &Digest) -> Option<Vec<DiffId>> {
        let known = self.lock();
        let found = known.caches.iter().filter(|cache| cache.usable).find_map(|cache| cache.by_key.get(key));
        found.map(|(made, _)| vec![made.clone()])
    }

    fn wants_known(&self) -> bool {
        self.wanted
    }

    fn known(&self, record: CacheRecord) {
        let mut known = self.lock();
        let dated = known.caches.iter().find_map(|cache| cache.by_key.get(&record.key)?.1);
        if let (Some(chain_id), Some(created)) = (&record.chain_id, dated) {
            known.dates.entry(chain_id.clone()).or_insert(created);
        }
        known.records.insert(record.key.clone(), record);
    }

    fn has_mount(&self, key: &str) -> bool {
        self.lock().mounts.contains_key(key)
    }

    /// What goes wrong is warned of: an empty mount does.
    fn fill_mount(&self, key: &str, dir: &Path) -> bool {
        let Some((mount, holder)) = self.lock().mounts.get(key).cloned() else { return false };
        match cache::fill_mount(self.store, &*holder.source, &mount, dir, self.interrupted) {
            Ok(()) => true,
            Err(error) => {
                self.lock().mounts.remove(key);
                let (id, from) = (&mount.id, &holder.name);
                let text = format!("cache mount {id} could not be had from {from}: {}", error.message);
                self.events.event(Event::Warning(text));
                false
            }
        }
    }

    fn unpack(&self, layers: &[DiffId]) -> Result<(), Failure> {
        self.fetch(layers).map_err(|error| match self.is_interrupted() {
            true => Failure::Interrupted,
            false => {
                self.lock().lost = Some(layers.to_vec());
                Failure::Fetch(Box::new(error))
            }
        })
    }
}

/// Who has which blob.
struct Holders(HashMap<Digest, Arc<Holder>>);

impl Blobs for Holders {
    fn open(&self, blob: &Descriptor, offset: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        let gone = || io::Error::other(Error::not_found(format!("blob {} is nowhere", blob.digest)));
        let holder = self.0.get(&blob.digest).ok_or_else(gone)?;
        let open = holder.source.blob(blob).map_err(io::Error::other)?;
        let mut open = open.ok_or_else(|| {
            io::Error::other(Error::not_found(format!("blob {} is not in {}", blob.digest, holder.name)))
        })?;
        open(offset)
    }

    fn place(&self) -> (String, &'static str) {
        let mut names: Vec<&str> = self.0.values().map(|holder| holder.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        (names.join(", "), "what is there, or the way to it, is damaged")
    }
}
