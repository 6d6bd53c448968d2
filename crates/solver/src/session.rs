//! What a solve works with, and whom it tells.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use graph::{Network, VertexId};
use oci::{ChainId, DiffId, Digest};
use store::{CacheRecord, PendingSnapshot, StepClaim, Store};

use crate::context::Context;
use crate::error::Failure;
use crate::explain::{Explanation, Shapes};
use crate::kept::Kept;
use crate::limits::Limits;
use crate::output::Stream;
use crate::source::Downloads;

/// What one solve works with.
pub struct Session<'a> {
    /// Where results are looked up and kept. The caller holds a lease on it.
    pub store: &'a Store,
    /// How ids map in this process, as `runtime::enter` found.
    pub mode: runtime::Mode,
    /// The runtime that steps run in.
    pub runtime: runtime::RuntimeChoice,
    /// Build contexts by name.
    pub contexts: BTreeMap<String, Context>,
    /// How many steps may be at work at once.
    pub jobs: Jobs,
    /// What must not run: it is a failure if it would.
    pub required: Required,
    /// What builds of the same text have in common, for comparing them.
    pub origin: String,
    /// Seconds since 1970 that no file of a new layer may be younger than (`SOURCE_DATE_EPOCH`).
    pub epoch: Option<i64>,
    /// Network of steps that ask for none.
    pub network: Network,
    /// Secrets that steps may mount.
    pub secrets: &'a dyn Secrets,
    /// What no layer made here may hold: the secrets' bytes, where they are looked for.
    pub search: Option<&'a snapshot::Search>,
    /// What confines steps.
    pub limits: Limits,
    /// What sources are downloaded with, and the agents that steps may mount.
    pub downloads: &'a Downloads,
    /// Content of `/etc/resolv.conf` in steps.
    pub resolv_conf: Vec<u8>,
    /// What is known of results and layers that are not in the store.
    pub elsewhere: &'a dyn Elsewhere,
    /// Told of everything that happens.
    pub observer: &'a dyn Observer,
    /// Set from outside to stop: running steps are killed, nothing new begins.
    pub interrupted: &'a AtomicBool,
    /// Made when the first step runs; begin with `Lazy::default()`.
    pub lazy: Lazy,
}

/// How many steps may be at work at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jobs {
    /// So many; none counts as one.
    Fixed(usize),
    /// As many as there are processors, and more as long as those at work do not keep as many busy.
    Adaptive,
}

/// Which steps must be found, not run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Required {
    /// None.
    #[default]
    Nothing,
    /// All.
    Everything,
    /// Those of these stages, named as in [`graph::Place`], and what only they need.
    Stages(BTreeSet<String>),
}

/// What comes up in the course of a session, and what it makes only when a step has to run.
#[derive(Default)]
pub struct Lazy {
    /// Set when a step failed: the others end.
    stopped: AtomicBool,
    /// For telling steps that were moved.
    pub(crate) shapes: Shapes,
    /// Files that claims of steps leave.
    claims: Mutex<Vec<PathBuf>>,
    /// Cached results that were found and are not yet held.
    found: Mutex<Found>,
    supervisor: Mutex<Option<Arc<runtime::Supervisor>>>,
    scratch: Mutex<Option<PendingSnapshot>>,
    failed: Mutex<Option<Kept>>,
}

impl Drop for Lazy {
    fn drop(&mut self) {
        for path in self.claims.get_mut().unwrap_or_else(PoisonError::into_inner) {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Cached results that were found.
#[derive(Default)]
struct Found {
    keys: Vec<Digest>,
    chains: Vec<ChainId>,
}

impl Session<'_> {
    /// Remembers that a result was found: it is held with all others at the next [`Session::hold`].
    pub(crate) fn found(&self, key: Digest, chain: Option<&ChainId>) {
        let mut found = self.lazy.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.keys.push(key);
        found.chains.extend(chain.cloned());
    }

    /// Holds the results that were found against collection, and counts their use, all in one transaction: one for
    /// each would be most of the time of a build that is all cached. Has to be called before any of them is relied on.
    ///
    /// # Errors
    /// [`Failure::Vanished`] where another process pruned one first.
    pub(crate) fn hold(&self) -> Result<(), Failure> {
        let Found { keys, chains } =
            std::mem::take(&mut *self.lazy.found.lock().unwrap_or_else(PoisonError::into_inner));
        match self.store.cache_use(&keys, &chains)? {
            true => Ok(()),
            false => Err(Failure::Vanished),
        }
    }

    /// Claims the run of the step of this key; `None` while somebody else runs it.
    pub(crate) fn claim(&self, key: &Digest) -> Result<Option<StepClaim>, Failure> {
        let claim = self.store.claim_step(key)?;
        if let Some(claim) = &claim {
            let mut claims = self.lazy.claims.lock().unwrap_or_else(PoisonError::into_inner);
            claims.push(claim.path().to_owned());
        }
        Ok(claim)
    }

    /// Ends what is at work.
    pub(crate) fn stop(&self) {
        self.lazy.stopped.store(true, Ordering::Relaxed);
    }

    /// Forgets what was found and that it stopped.
    pub(crate) fn begin_again(&self) {
        *self.lazy.found.lock().unwrap_or_else(PoisonError::into_inner) = Found::default();
        self.lazy.stopped.store(false, Ordering::Relaxed);
    }

    /// The process that steps run under, started now if it was not before.
    pub(crate) fn supervisor(&self) -> Result<Arc<runtime::Supervisor>, Failure> {
        let mut held = self.lazy.supervisor.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(supervisor) = &*held {
            return Ok(supervisor.clone());
        }
        let supervisor = Arc::new(runtime::Supervisor::start()?);
        *held = Some(supervisor.clone());
        Ok(supervisor)
    }

    /// A directory on the host for files that steps see and no layer holds; gone with the session.
    pub(crate) fn scratch(&self) -> Result<PathBuf, Failure> {
        let mut held = self.lazy.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pending) = &*held {
            return Ok(pending.dir().to_owned());
        }
        let pending = self.store.begin_snapshot()?;
        let path = pending.dir().to_owned();
        *held = Some(pending);
        Ok(path)
    }

    /// Keeps the state of a step that failed, if it is the first.
    pub(crate) fn keep_failed(&self, kept: Kept) {
        let mut held = self.lazy.failed.lock().unwrap_or_else(PoisonError::into_inner);
        held.get_or_insert(kept);
    }

    /// Whether the state of a step that failed is kept.
    pub(crate) fn has_failed(&self) -> bool {
        self.lazy.failed.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The state of the step whose process failed first, if one did: once.
    pub fn take_failed(&self) -> Option<Kept> {
        self.lazy.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Makes sure that every layer of the stack `layers` (bottom layer first) is unpacked, wherever it is.
    pub(crate) fn unpack(&self, layers: &[DiffId]) -> Result<(), Failure> {
        self.elsewhere.unpack(layers)
    }

    /// Whether somebody asked for the solve to stop.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Whether what is at work should end: somebody asked for it, or a step failed.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stops().iter().any(|stop| stop.load(Ordering::Relaxed))
    }

    /// What says so.
    pub(crate) fn stops(&self) -> [&AtomicBool; 2] {
        [self.interrupted, &self.lazy.stopped]
    }
}

/// Where secrets come from. Their bytes are never part of a key, a log or a layer.
pub trait Secrets: Sync {
    /// The bytes of the secret `id`; `None` where none of that name was given.
    fn secret(&self, id: &str) -> Option<Vec<u8>>;
}

/// Results and layers that are not in the store: of caches that are shared, of images whose layers come when a step
/// needs them.
pub trait Elsewhere: Sync {
    /// Whether there can be results: if not, no file is read for a key that only they could match.
    fn has_results(&self) -> bool;
    /// The layers that a step of that key made, bottom layer first. They may be anywhere.
    fn find(&self, key: &Digest) -> Option<Vec<DiffId>>;
    /// Whether somebody wants to know what came of steps that were found in the store.
    fn wants_known(&self) -> bool;
    /// Told of each key and result of this solve, made now or before.
    fn known(&self, record: CacheRecord);
    /// Whether anything is known of the cache mount of that key.
    fn has_mount(&self, key: &str) -> bool;
    /// Fills the empty directory `dir` on the host with what is known of the cache mount of that key, and says whether
    /// anything is.
    fn fill_mount(&self, key: &str, dir: &Path) -> bool;
    /// Makes sure that every layer of the stack `layers` (bottom layer first) is unpacked in the store.
    ///
    /// # Errors
    /// [`Failure::MissingLayer`] for one that is nowhere; [`Failure::Fetch`] for one that did not come.
    fn unpack(&self, layers: &[DiffId]) -> Result<(), Failure>;
}

/// Told of what happens to vertices; called from any thread.
pub trait Observer: Sync {
    /// Takes one event.
    fn step(&self, vertex: VertexId, event: StepEvent<'_>);
}

/// What happened to a vertex.
#[derive(Debug)]
pub enum StepEvent<'a> {
    /// An earlier result stands for it.
    Cached,
    /// It begins to run.
    Started,
    /// Why it runs; told when it is known, which may be when it has run.
    Missed(&'a Explanation),
    /// Its process printed these bytes: whole lines, but for very long ones and the last.
    Output(Stream, &'a [u8]),
    /// It is done.
    Done(Duration),
    /// It failed, after that time, for this reason; one that was ended because another failed is interrupted.
    Failed(Duration, &'a Failure),
}
