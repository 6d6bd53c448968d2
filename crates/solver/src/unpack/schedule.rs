//! Who works and who waits while the layers of a stack are unpacked side by side.
//!
//! Layers begin from the bottom up, so that whoever waits for those below waits for layers that have begun. A layer
//! that waits gives its place to the next: for those below, for bytes that are to come, for another process.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::Failure;

/// How many layers may be held up half done beside those at work: each holds a few megabytes of buffers.
const HELD_UP: usize = 6;
/// How often who waits looks whether all was stopped from outside.
const LOOK: Duration = Duration::from_millis(50);

/// The state of all layers of one stack.
pub(super) struct Schedule<'a> {
    state: Mutex<State>,
    changed: Condvar,
    /// Layers at work at once, at most.
    at_once: usize,
    stopped: &'a (dyn Fn() -> bool + Sync),
}

struct State {
    /// Snapshots that are there, from the bottom.
    committed: usize,
    working: usize,
    /// Layers that were begun and are not done.
    begun: usize,
    failure: Option<Failure>,
}

/// Another layer failed, or all was stopped: nobody will wait for this one.
pub(super) struct Stopped;

impl<'a> Schedule<'a> {
    /// A stack of which `committed` layers are there.
    pub fn new(committed: usize, at_once: usize, stopped: &'a (dyn Fn() -> bool + Sync)) -> Schedule<'a> {
        let state = State { committed, working: 0, begun: 0, failure: None };
        Schedule { state: Mutex::new(state), changed: Condvar::new(), at_once: at_once.max(1), stopped }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until(&self, holds: impl Fn(&State) -> bool) -> Result<MutexGuard<'_, State>, Stopped> {
        let mut state = self.lock();
        loop {
            if state.failure.is_some() || (self.stopped)() {
                return Err(Stopped);
            }
            if holds(&state) {
                return Ok(state);
            }
            let waited = self.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for a place, and takes it.
    pub fn begin(&self) -> Result<(), Stopped> {
        let mut state = self.wait_until(|s| s.working < self.at_once && s.begun < self.at_once + HELD_UP)?;
        state.working += 1;
        state.begun += 1;
        Ok(())
    }

    /// Gives the place up for good.
    pub fn end(&self, outcome: Result<(), Failure>) {
        let mut state = self.lock();
        state.working -= 1;
        state.begun -= 1;
        if let Err(failure) = outcome {
            state.failure.get_or_insert(failure);
        }
        self.changed.notify_all();
    }

    /// Runs `wait`, which only waits, without a place.
    pub fn aside<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.lock().working -= 1;
        self.changed.notify_all();
        let value = wait();
        // One more than there are places may be at work now, for a moment.
        self.lock().working += 1;
        value
    }

    /// Waits until all layers below position `at` are there.
    pub fn below(&self, at: usize) -> Result<(), Stopped> {
        if self.lock().committed >= at {
            return Ok(());
        }
        self.aside(|| self.wait_until(|s| s.committed >= at).map(drop))
    }

    /// The layer at position `at` is there, and all below it.
    pub fn committed(&self, at: usize) {
        self.lock().committed = at + 1;
        self.changed.notify_all();
    }

    /// Whether nobody will want what is being made.
    pub fn is_stopped(&self) -> bool {
        (self.stopped)() || self.lock().failure.is_some()
    }

    /// Why it was stopped from within.
    pub fn into_failure(self) -> Option<Failure> {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).failure
    }
}
