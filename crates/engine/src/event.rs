//! What a running verb tells as it goes: values, not text. The terminal, a log or an API stream draw them.
//!
//! A verb's result is returned, not sent as an event; whoever ignores all events loses no data.

/// Something that happened while a verb ran.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Something the user should know though the verb goes on; a sentence without final dot.
    Warning(String),
    /// A build check found something in the Dockerfile: `Rule: what it is (line 3)`.
    Check(String),
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
    /// A shell has the user's terminal from now on: nothing is to be drawn there.
    TerminalTaken,
    /// The terminal is the display's again.
    TerminalGiven,
    /// How a build went, told once when its steps are done or one failed.
    Explained(crate::build::explain::BuildReport),
    /// The steps of a build are known, in the order of their numbers. Steps that no Dockerfile has (reading it, looking
    /// up base images, the export) begin without having been announced.
    Plan(Vec<PlannedStep>),
    /// A step of a build. Steps are numbered from 1 in the order of the Dockerfile, not in that of time: the same build
    /// has the same numbers.
    Step {
        /// Its number.
        step: u32,
        /// What happened to it.
        what: Step,
    },
}

/// A step of a build that may have to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStep {
    /// Its number.
    pub step: u32,
    /// Its name, such as `[build 2/5] RUN make`.
    pub name: String,
    /// The steps that it builds on, by their numbers.
    pub inputs: Vec<u32>,
}

/// What happened to a step of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It begins; the text names it, such as `[build 2/5] RUN make`.
    Started(String),
    /// An earlier result stands for it.
    Cached(String),
    /// Its process printed these bytes: whole lines, but for very long ones and the last.
    Output {
        /// Whether on standard error.
        stderr: bool,
        /// Since the step began.
        at: std::time::Duration,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// One layer of an image that it fetches or sends moved on; as [`Event::Progress`].
    Layer {
        /// Which one.
        id: String,
        /// What is being done to it.
        status: &'static str,
        /// Bytes done so far.
        done: u64,
        /// Bytes in all, where known.
        total: Option<u64>,
    },
    /// It is done, after this time.
    Done(std::time::Duration),
    /// It failed, after this time; the build's error says more.
    Failed {
        /// Since it began.
        after: std::time::Duration,
        /// Why, in one line.
        reason: String,
    },
    /// It was stopped, after this time, because another failed or the build was interrupted.
    Canceled(std::time::Duration),
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
