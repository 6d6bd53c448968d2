//! Trees that are downloaded: files at URLs, checkouts of Git repositories. Each becomes a stack of one layer, so that
//! whatever takes from it is keyed by its content and never by its name.
//!
//! What is known of a URL or commit from earlier builds is kept as cache records: a file is asked for again with its
//! `ETag`, a commit that is here is not fetched at all. Contexts and Dockerfiles that are elsewhere come the same way,
//! before there is a graph.

mod checkout;
mod command;
mod git;
mod git_dir;
mod http;
mod record;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use graph::{GitSource, HttpSource, Source, VertexId};
use oci::DiffId;
use store::Store;

use crate::error::Failure;
use crate::output::Stream;
use crate::session::{Secrets, Session, StepEvent};
use crate::ssh::Agents;
use crate::step::{Stack, Tree};

pub use command::GitSettings;

/// What downloads are done with, the same for a whole build.
#[derive(Debug)]
pub struct Downloads {
    /// Proxies, authorities and patience for HTTP.
    pub client: registry::Client,
    /// How git is called.
    pub git: GitSettings,
    /// SSH agents that were given to the build.
    pub agents: Agents,
    /// The most bytes that one download may have.
    pub limit: u64,
}

impl Downloads {
    /// The most bytes that one download may have, unless said otherwise.
    pub const LIMIT: u64 = 16 << 30;
}

/// One place to download to.
pub struct Fetch<'a> {
    /// Where layers go. The caller holds a lease on it.
    pub store: &'a Store,
    /// What to do it with.
    pub downloads: &'a Downloads,
    /// Where credentials come from.
    pub secrets: &'a dyn Secrets,
    /// Any of them is set from outside to give up.
    pub stops: Vec<&'a AtomicBool>,
}

/// Told how a download goes.
pub trait Listener {
    /// Something has to come: what was here does not do.
    fn started(&self);
    /// A line for people.
    fn line(&self, text: &str);
}

/// A download, now a layer of the store.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The layer, on nothing.
    pub layer: DiffId,
    /// What it is, for people: a digest or a commit.
    pub pinned: String,
}

impl Fetch<'_> {
    /// Downloads the file of `source`, if what is here is not what is there.
    ///
    /// # Errors
    /// [`Failure::Download`] for what the server, the checksum or the limit says.
    pub fn http(&self, source: &HttpSource, listener: &dyn Listener) -> Result<Fetched, Failure> {
        http::fetch(self, source, listener)
    }

    /// Checks `source` out, if its commit is not here.
    ///
    /// # Errors
    /// [`Failure::Download`] for what git, the checksum or the limit says.
    pub fn git(&self, source: &GitSource, listener: &dyn Listener) -> Result<Fetched, Failure> {
        git::fetch(self, source, listener)
    }

    fn is_interrupted(&self) -> bool {
        self.stops.iter().any(|stop| stop.load(Ordering::Relaxed))
    }
}

/// Solves a vertex that is a download.
pub(crate) fn solve(id: VertexId, source: &Source, session: &Session<'_>) -> Result<Tree, Failure> {
    let began = Instant::now();
    let fetch = Fetch {
        store: session.store,
        downloads: session.downloads,
        secrets: session.secrets,
        stops: session.stops().to_vec(),
    };
    let told = Told { id, session, started: std::cell::Cell::new(false) };
    let fetched = match source {
        Source::Http(http) => fetch.http(http, &told),
        Source::Git(git) => fetch.git(git, &told),
        _ => unreachable!("because only downloads come here"),
    };
    let event = match (&fetched, told.started.get()) {
        (Ok(_), false) => StepEvent::Cached,
        (Ok(_), true) => StepEvent::Done(began.elapsed()),
        (Err(failure), _) => StepEvent::Failed(began.elapsed(), failure),
    };
    session.observer.step(id, event);
    Ok(Tree::Stack(Stack::new(vec![fetched?.layer])))
}

/// Passes on to a session's observer.
struct Told<'a> {
    id: VertexId,
    session: &'a Session<'a>,
    started: std::cell::Cell<bool>,
}

impl Listener for Told<'_> {
    fn started(&self) {
        if !self.started.replace(true) {
            self.session.observer.step(self.id, StepEvent::Started);
        }
    }

    fn line(&self, text: &str) {
        self.started();
        let bytes = format!("{text}\n");
        self.session.observer.step(self.id, StepEvent::Output(Stream::Stderr, bytes.as_bytes()));
    }
}

/// A failure of a download, in words.
fn failed(what: &str, why: impl std::fmt::Display) -> Failure {
    Failure::Download { what: what.to_owned(), why: why.to_string() }
}
