//! What a solve works with, and whom it tells.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use graph::{Network, VertexId};
use store::{PendingSnapshot, Store};

use crate::context::Context;
use crate::error::Failure;
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
    /// How many steps may be at work at once; at least 1.
    pub jobs: usize,
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
    /// Told of everything that happens.
    pub observer: &'a dyn Observer,
    /// Set from outside to stop: running steps are killed, nothing new begins.
    pub interrupted: &'a AtomicBool,
    /// Made when the first step runs; begin with `Lazy::default()`.
    pub lazy: Lazy,
}

/// What a session makes only when a step has to run.
#[derive(Default)]
pub struct Lazy {
    supervisor: Mutex<Option<Arc<runtime::Supervisor>>>,
    scratch: Mutex<Option<PendingSnapshot>>,
    failed: Mutex<Option<Kept>>,
}

impl Session<'_> {
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

    /// The state of the step whose process failed first, if one did: once.
    pub fn take_failed(&self) -> Option<Kept> {
        self.lazy.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether the solve should stop.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

/// Where secrets come from. Their bytes are never part of a key, a log or a layer.
pub trait Secrets: Sync {
    /// The bytes of the secret `id`; `None` where none of that name was given.
    fn secret(&self, id: &str) -> Option<Vec<u8>>;
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
    /// Its process printed these bytes: whole lines, but for very long ones and the last.
    Output(Stream, &'a [u8]),
    /// It is done.
    Done(Duration),
    /// It failed; the error is `solve`'s.
    Failed(Duration),
}
