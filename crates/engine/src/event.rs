//! What a running verb tells as it goes: values, not text. The terminal, a log or an API stream draw them.
//!
//! A verb's result is returned, not sent as an event; whoever ignores all events loses no data.

/// Something that happened while a verb ran.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Something the user should know though the verb goes on; a sentence without final dot.
    Warning(String),
    /// One blob or layer of a transfer (pull, load, save, import) moved on.
    Progress {
        /// Which one, as shown to people: usually 12 digits of the digest.
        id: String,
        /// What is being done to it: "Pulling fs layer", "Downloading", "Extracting", "Loading layer", …
        status: &'static str,
        /// Bytes done so far.
        done: u64,
        /// Bytes in all, where known.
        total: Option<u64>,
    },
    /// One line of a transfer about the whole: "Pulling from library/alpine", "Digest: sha256:…".
    Status(String),
}

/// Where events go. Called from any thread of the verb, so a sink does its own locking; it must not block
/// for long, since the work waits for it.
pub trait Events: Send + Sync {
    /// Takes one event.
    fn event(&self, event: Event);
}

/// Drops every event: for tests and for callers that only want the result.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Events for Silent {
    fn event(&self, _event: Event) {}
}
