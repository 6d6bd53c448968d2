//! What is told of one layer, no oftener than anybody can read it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use oci::Descriptor;

use crate::{Event, Events};

/// Time between two events that only say how far it is.
const BETWEEN: Duration = Duration::from_millis(50);

/// The events of one layer.
pub(super) struct Bar<'a> {
    events: &'a dyn Events,
    id: String,
    total: u64,
    last: Mutex<Option<Instant>>,
}

impl<'a> Bar<'a> {
    /// Of the layer that comes as `blob`.
    pub fn new(events: &'a dyn Events, blob: &Descriptor) -> Bar<'a> {
        Bar { events, id: blob.digest.short().to_owned(), total: blob.size, last: Mutex::new(None) }
    }

    /// Something happened.
    pub fn say(&self, status: &'static str, done: u64) {
        self.events.event(Event::Progress { id: self.id.clone(), status, done, total: Some(self.total) });
    }

    /// It is further than it was.
    pub fn moved(&self, status: &'static str, done: u64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= BETWEEN) {
            *last = Some(Instant::now());
            self.say(status, done);
        }
    }
}
