//! The layers of a stack unpacked side by side, each in a directory of its own, and committed from the bottom up.
//!
//! Where the bytes come from is not known here: files that are there, or downloads that have only begun.

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use oci::{ChainId, DiffId};
use snapshot::{ApplyOptions, Lowers};
use store::{LayerBlob, SnapshotClaim, SnapshotStat, Store};

use super::schedule::{Schedule, Stopped};
use super::{check, missing, options, row};
use crate::error::Failure;

/// How long another process that unpacks the same layer is waited for before we do it, too.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the bytes of a stack's layers come from. Layers are named by their position, 0 at the bottom.
pub trait LayerBytes: Sync {
    /// The layer's bytes, plain or compressed. Reading may block as they come. Called again for a second attempt.
    ///
    /// # Errors
    /// Why there are none; what it is, if it was stopped, does not matter.
    fn open(&self, at: usize) -> Result<Box<dyn Read + Send + '_>, Failure>;

    /// Waits until all bytes are there and known to be the blob that they should be. Called once they were read to
    /// the end, or could not be unpacked.
    ///
    /// # Errors
    /// Why they are not; it is told instead of what was found wrong with the layer itself.
    fn verified(&self, at: usize) -> Result<Verified, Failure>;

    /// The layer is there now.
    fn unpacked(&self, at: usize) {
        let _ = at;
    }

    /// A layer failed, and so the stack: whoever waits for bytes is to be woken.
    fn failed(&self) {}

    /// Whether nobody wants the stack any more.
    fn stopped(&self) -> bool {
        false
    }
}

/// What became of a layer's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// They are this blob, which is in the store.
    Blob(LayerBlob),
    /// They are those of a layer that was made here, and there is no blob of them.
    Made,
    /// They were not, and others are coming: the layer is to be opened again.
    Again,
}

/// Unpacks what is missing of the stack `layers` (bottom layer first), at most `at_once` of them at work at a time.
/// Every layer's DiffID is compared with the one named before it is committed, and its blob recorded as one that holds
/// it.
///
/// # Errors
/// The first failure; layers below may have been committed.
pub fn unpack_stack(
    store: &Store,
    layers: &[DiffId],
    bytes: &dyn LayerBytes,
    at_once: usize,
) -> Result<(), Failure> {
    let missing = missing(store, layers)?;
    let stopped = || bytes.stopped();
    let schedule = Schedule::new(missing.start, at_once, &stopped);
    std::thread::scope(|scope| {
        for at in missing.clone() {
            if schedule.begin().is_err() {
                break;
            }
            let layer = Layer { store, layers, at, bytes, schedule: &schedule };
            scope.spawn(move || {
                let made = layer.make();
                let failed = made.is_err();
                layer.schedule.end(made);
                if failed {
                    layer.bytes.failed();
                }
            });
        }
    });
    let was_stopped = bytes.stopped();
    match schedule.into_failure() {
        Some(failure) => Err(failure),
        None if was_stopped => Err(Failure::Interrupted),
        None => Ok(()),
    }
}

/// One layer being made.
struct Layer<'a> {
    store: &'a Store,
    layers: &'a [DiffId],
    at: usize,
    bytes: &'a dyn LayerBytes,
    schedule: &'a Schedule<'a>,
}

impl Layer<'_> {
    fn make(&self) -> Result<(), Failure> {
        let chain = ChainId::of(&self.layers[..=self.at]).expect("because it has a layer");
        let _claim = match self.claim(&chain)? {
            Claimed::Done => return self.done(),
            Claimed::Ours(claim) => claim,
        };
        while !self.attempt()? {}
        self.done()
    }

    /// Waits while another process unpacks the same layer on the same stack.
    fn claim(&self, chain: &ChainId) -> Result<Claimed, Failure> {
        let since = Instant::now();
        loop {
            let claim = self.store.claim_snapshot(chain)?;
            if self.store.snapshot(chain)?.is_some() {
                return Ok(Claimed::Done);
            }
            if claim.is_some() || since.elapsed() > PATIENCE {
                return Ok(Claimed::Ours(claim));
            }
            if self.schedule.is_stopped() {
                return Err(Failure::Interrupted);
            }
            self.schedule.aside(|| std::thread::sleep(Duration::from_millis(20)));
        }
    }

    /// Unpacks the layer and commits it; false: it is to be tried again, with other bytes.
    fn attempt(&self) -> Result<bool, Failure> {
        let below = || -> Result<Vec<PathBuf>, snapshot::Error> {
            self.schedule.below(self.at).map_err(|Stopped| stopped())?;
            self.store.lowers(&self.layers[..self.at]).map_err(|e| snapshot::Error::Lowers(e.to_string()))
        };
        let lowers = if self.at == 0 { Lowers::none() } else { Lowers::awaited(&below) };
        let pending = self.store.begin_snapshot()?;
        let source = Stoppable { source: self.bytes.open(self.at)?, schedule: self.schedule };
        // Its tar came from elsewhere and cannot be made again byte for byte, as that of a layer made here can: the
        // digest of the tree is what later tells whether something in it changed.
        let options = ApplyOptions { tree_digest: true, lowers, ..options() };
        let applied = match snapshot::apply(source, pending.fs(), &options) {
            Ok(applied) => applied,
            Err(error) => return self.explain(error),
        };
        let blob = match self.schedule.aside(|| self.bytes.verified(self.at))? {
            Verified::Blob(blob) => Some(blob),
            Verified::Made => None,
            Verified::Again => return Ok(false),
        };
        let diff_id = &self.layers[self.at];
        let named = blob.as_ref().map_or(&diff_id.0, |blob| &blob.digest);
        check(diff_id, named, applied.stat.diff_id.clone())?;
        self.schedule.below(self.at).map_err(|Stopped| Failure::Interrupted)?;
        // First, so that whoever finds the snapshot finds its blob, too.
        if let Some(blob) = &blob {
            self.store.add_layer_blob(diff_id, blob)?;
        }
        let parent = ChainId::of(&self.layers[..self.at]);
        // What was made here is known by its tar.
        let tree_digest = applied.tree_digest.filter(|_| blob.is_some());
        let row = SnapshotStat { tree_digest, ..row(&applied.stat) };
        self.store.commit_snapshot(pending, parent.as_ref(), &row)?;
        Ok(true)
    }

    /// Why a layer could not be unpacked: because its bytes are not those of its blob, if so.
    fn explain(&self, error: snapshot::Error) -> Result<bool, Failure> {
        let of_bytes = !matches!(error, snapshot::Error::Limit { .. }) && !error.is_no_space();
        if of_bytes && !self.schedule.is_stopped() {
            match self.schedule.aside(|| self.bytes.verified(self.at))? {
                Verified::Again => return Ok(false),
                Verified::Blob(_) | Verified::Made => {}
            }
        }
        Err(error.into())
    }

    fn done(&self) -> Result<(), Failure> {
        self.schedule.below(self.at).map_err(|Stopped| Failure::Interrupted)?;
        self.schedule.committed(self.at);
        self.bytes.unpacked(self.at);
        Ok(())
    }
}

enum Claimed {
    /// The snapshot is there.
    Done,
    /// It is ours to make; without a claim where another did not get done with his.
    Ours(Option<SnapshotClaim>),
}

fn stopped() -> snapshot::Error {
    snapshot::Error::Lowers("the layers below could not be unpacked".to_owned())
}

/// Ends early where nobody wants the layer any more.
struct Stoppable<'a, R> {
    source: R,
    schedule: &'a Schedule<'a>,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.schedule.is_stopped() {
            true => Err(io::Error::other("another layer failed")),
            false => self.source.read(buffer),
        }
    }
}
