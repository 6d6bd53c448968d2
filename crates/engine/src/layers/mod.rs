//! The layers of one image from a registry, an archive or a layout: which of them have to come, and their coming and unpacking at once.
//!
//! Some threads fetch blobs, from the bottom layer up, as fast as they come; others unpack what comes ([`solver`]'s
//! side), each wherever its bytes are in the meantime. What fails first stops the rest; what has come by then stays
//! for the next pull, unless it was wrong.

mod download;
mod feed;
mod progress;

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use oci::{Descriptor, DiffId, Digest};
use solver::{Failure, LayerBytes, Verified};
use store::{LayerBlob, Store};

use crate::{Error, Events, Kind, Result};
use download::Download;
use feed::{Ended, Feed};
use progress::Bar;

/// Where blobs come from.
pub(crate) trait Blobs: Sync {
    /// The blob's bytes from `offset` on. What goes wrong with reading them is told by an [`Error`] within the
    /// `io::Error`, or by the `io::Error` alone.
    fn open(&self, blob: &Descriptor, offset: u64) -> io::Result<Box<dyn Read + Send + '_>>;

    /// What is named as where a blob came from that was not what it should be, and what that means.
    fn place(&self) -> (String, &'static str);
}

/// How the layers of an image come.
pub(crate) struct Fetch<'a> {
    pub store: &'a Store,
    pub blobs: &'a dyn Blobs,
    pub events: &'a dyn Events,
    /// Blobs fetched at once.
    pub jobs: usize,
    /// Whether what came of a blob is worth keeping for the next time, if it breaks off.
    pub keeps_parts: bool,
    pub interrupted: Option<&'a AtomicBool>,
}

/// One layer that is not unpacked yet.
struct Layer<'a> {
    /// The blob that it comes as: the manifest's, or another of the same content that is here.
    blob: Descriptor,
    bar: Bar<'a>,
    bytes: Bytes,
    /// Of the reader that unpacks it.
    round: AtomicU32,
}

/// Where a layer's bytes are read.
enum Bytes {
    /// A blob, by number of its feed.
    Feed(usize),
    /// The layer directory of a layer that was made here, on another stack.
    Made(PathBuf),
}

struct Pipeline<'a> {
    fetch: &'a Fetch<'a>,
    /// By position; `None` for those that are here.
    layers: Vec<Option<Layer<'a>>>,
    /// One for each blob, with the layer that tells how it comes.
    feeds: Vec<(Feed, usize)>,
    /// Those that are to be fetched, by number.
    wanted: Vec<usize>,
    next: AtomicUsize,
    stop: AtomicBool,
    failure: Mutex<Option<Error>>,
}

impl Fetch<'_> {
    /// Makes sure that all layers are unpacked. `layers` are the config's, bottom layer first, `blobs` what the manifest
    /// has for them.
    pub fn run(&self, blobs: &[Descriptor], layers: &[DiffId]) -> Result<()> {
        let pipeline = self.plan(blobs, layers)?;
        self.check_space(&pipeline)?;
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.clamp(1, pipeline.wanted.len().max(1)) {
                scope.spawn(|| pipeline.download());
            }
            let unpacked = solver::unpack_stack(self.store, layers, &pipeline, solver::at_once());
            pipeline.end();
            unpacked
        })
        .map_err(Error::from)
        // A layer whose bytes did not come fails as well: the reason is what is to be told.
        .map_err(|error| pipeline.take_failure().unwrap_or(error))?;
        pipeline.take_failure().map_or(Ok(()), Err)
    }

    fn plan<'a>(&'a self, blobs: &[Descriptor], layers: &[DiffId]) -> Result<Pipeline<'a>> {
        let missing = solver::missing(self.store, layers)?;
        let mut plan = Pipeline {
            fetch: self,
            layers: Vec::with_capacity(layers.len()),
            feeds: Vec::new(),
            wanted: Vec::new(),
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            failure: Mutex::new(None),
        };
        let mut known: HashMap<Digest, usize> = HashMap::new();
        for (at, (named, diff_id)) in blobs.iter().zip(layers).enumerate() {
            let bar = Bar::new(self.events, named);
            if !missing.contains(&at) {
                bar.say("Already exists", named.size);
                plan.layers.push(None);
                continue;
            }
            if let Some(directory) = self.made(named, diff_id)? {
                bar.say("Already exists", named.size);
                let bytes = Bytes::Made(directory);
                plan.layers.push(Some(Layer { blob: named.clone(), bar, bytes, round: AtomicU32::new(0) }));
                continue;
            }
            let (blob, here) = self.find(named, diff_id)?;
            let feed = *known.entry(blob.digest.clone()).or_insert_with(|| {
                plan.feeds.push((Feed::default(), at));
                plan.feeds.len() - 1
            });
            if plan.feeds[feed].1 == at {
                if here {
                    let feed = &plan.feeds[feed].0;
                    feed.begin(self.store.open_blob(&blob.digest)?);
                    feed.advance(blob.size);
                    feed.whole();
                } else {
                    plan.wanted.push(feed);
                }
            }
            bar.say(if here { "Already exists" } else { "Pulling fs layer" }, 0);
            plan.layers.push(Some(Layer { blob, bar, bytes: Bytes::Feed(feed), round: AtomicU32::new(0) }));
        }
        Ok(plan)
    }

    /// The layer directory of this layer on another stack, if it was made here and so can be written out again, and
    /// there is no blob of it.
    fn made(&self, named: &Descriptor, diff_id: &DiffId) -> Result<Option<PathBuf>> {
        if self.store.has_blob(&named.digest)? || !self.store.layer_blobs(diff_id)?.is_empty() {
            return Ok(None);
        }
        let Some(chain_id) = self.store.snapshot_of_layer(diff_id)? else { return Ok(None) };
        let snapshot = self.store.snapshot(&chain_id)?.filter(|snapshot| snapshot.tree_digest.is_none());
        Ok(snapshot.map(|_| self.store.snapshot_dir(&chain_id)))
    }

    /// The blob to unpack the layer from, and whether it is here: in another compression it does as well.
    fn find(&self, named: &Descriptor, diff_id: &DiffId) -> Result<(Descriptor, bool)> {
        match self.store.blob_size(&named.digest)? {
            Some(size) if size == named.size => return Ok((named.clone(), true)),
            Some(size) => {
                return Err(Error::invalid(format!(
                    "blob {} has {size} bytes, and the manifest says {}",
                    named.digest, named.size
                )));
            }
            None => {}
        }
        let held = self.store.layer_blobs(diff_id)?.into_iter().next();
        Ok(match held {
            Some(blob) => (Descriptor::new(&blob.media_type, blob.digest, blob.size), true),
            None => (named.clone(), false),
        })
    }

    /// Refuses what cannot be kept anyway.
    fn check_space(&self, pipeline: &Pipeline<'_>) -> Result<()> {
        let blobs = pipeline.wanted.iter().filter_map(|&feed| pipeline.blob(feed));
        let needed = blobs.fold(0u64, |sum, blob| {
            let here = self.store.partial_len(&blob.digest).unwrap_or(0);
            sum.saturating_add(blob.size.saturating_sub(here))
        });
        let Ok(disk) = rustix::fs::statvfs(self.store.root()) else { return Ok(()) };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        match needed > free {
            true => Err(Error::new(
                Kind::Unavailable,
                format!(
                    "no space left in {}: the image's layers have {needed} bytes, and {free} are free",
                    self.store.root().display()
                ),
            )
            .hint("free some space (strake system prune helps), then run the same command again")),
            false => Ok(()),
        }
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}

impl Pipeline<'_> {
    /// Fetches one blob after the other.
    fn download(&self) {
        while let Some(&feed) = self.wanted.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let Some(layer) = self.layers[self.feeds[feed].1].as_ref() else { continue };
            let stopped = || self.is_stopped();
            let download = Download {
                store: self.fetch.store,
                blobs: self.fetch.blobs,
                blob: &layer.blob,
                feed: &self.feeds[feed].0,
                bar: &layer.bar,
                keeps_parts: self.fetch.keeps_parts,
                stopped: &stopped,
            };
            if let Err(error) = download.run() {
                // What others say after that is of having been stopped.
                if !self.stop.swap(true, Ordering::Relaxed) {
                    *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
                self.end();
                return;
            }
        }
    }

    fn blob(&self, feed: usize) -> Option<&Descriptor> {
        self.layers[self.feeds[feed].1].as_ref().map(|layer| &layer.blob)
    }

    /// Wakes everybody who waits for what will not come.
    fn end(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.feeds.iter().for_each(|(feed, _)| feed.fail());
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.fetch.is_interrupted()
    }

    fn take_failure(&self) -> Option<Error> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        match self.fetch.is_interrupted() {
            true => Some(Error::new(Kind::Unavailable, "the pull was interrupted")),
            false => failure,
        }
    }

    fn layer(&self, at: usize) -> Result<&Layer<'_>, Failure> {
        self.layers[at].as_ref().ok_or(Failure::Interrupted)
    }
}

/// The tar of a layer directory, written by a thread as it is read. An error there ends it early, and then it is not
/// the layer that it should be.
fn written_out(directory: &Path) -> io::Result<io::PipeReader> {
    let (reader, mut writer) = io::pipe()?;
    let directory = directory.to_owned();
    std::thread::Builder::new().spawn(move || {
        let _ = snapshot::diff(&directory, &mut writer, &snapshot::DiffOptions::default());
    })?;
    Ok(reader)
}

impl LayerBytes for Pipeline<'_> {
    fn open(&self, at: usize) -> Result<Box<dyn Read + Send + '_>, Failure> {
        let layer = self.layer(at)?;
        let feed = match &layer.bytes {
            Bytes::Feed(feed) => &self.feeds[*feed].0,
            Bytes::Made(directory) => {
                let tar = written_out(directory).map_err(Failure::io("read the layer in", directory))?;
                return Ok(Box::new(tar));
            }
        };
        layer.round.store(feed.round(), Ordering::Relaxed);
        Ok(Box::new(feed.reader(move |read| {
            // As long as it comes, how much has come is more.
            if feed.is_whole() {
                layer.bar.moved("Extracting", read);
            }
        })))
    }

    fn verified(&self, at: usize) -> Result<Verified, Failure> {
        let layer = self.layer(at)?;
        let feed = match &layer.bytes {
            Bytes::Feed(feed) => &self.feeds[*feed].0,
            Bytes::Made(_) => return Ok(Verified::Made),
        };
        Ok(match feed.wait(layer.round.load(Ordering::Relaxed)) {
            Ended::Whole => Verified::Blob(LayerBlob {
                digest: layer.blob.digest.clone(),
                size: layer.blob.size,
                media_type: layer.blob.media_type.clone(),
            }),
            Ended::Again => Verified::Again,
            Ended::Failed => return Err(Failure::Interrupted),
        })
    }

    fn unpacked(&self, at: usize) {
        if let Some(layer) = &self.layers[at] {
            layer.bar.say("Pull complete", layer.blob.size);
        }
    }

    fn failed(&self) {
        self.end();
    }

    fn stopped(&self) -> bool {
        self.is_stopped()
    }
}
