//! SSH agents for steps and for git: a socket of the build's own, behind which stands the user's agent, or one that was
//! made of key files.
//!
//! As in BuildKit (`session/sshforward/sshprovider`), what comes through the socket may list keys and have things signed
//! with them, and nothing else. Key files are served by an `ssh-agent` that ends with the build; no step sees a key.

mod keys;
mod proxy;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use store::Store;

use crate::error::Failure;
pub use proxy::Forward;

/// Where an agent's keys are, on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentSource {
    /// The socket of an agent that runs.
    Socket(PathBuf),
    /// Private keys without passphrases.
    Keys(Vec<PathBuf>),
}

/// The agents that were given to a build, by id.
#[derive(Debug, Default)]
pub struct Agents {
    given: BTreeMap<String, AgentSource>,
    /// `PATH`, to find `ssh-agent` in.
    path: Option<OsString>,
    /// Agents made of key files, begun when they were first asked for.
    running: Mutex<BTreeMap<String, Arc<keys::KeyAgent>>>,
}

impl Agents {
    /// Agents by id; `path` is the `PATH` that `ssh-agent` is looked for in.
    pub fn new(given: BTreeMap<String, AgentSource>, path: Option<OsString>) -> Agents {
        Agents { given, path, running: Mutex::default() }
    }

    /// Serves the agent `id` at `socket`, a path on the host where nothing is yet, for as long as the result is held.
    /// `None` where no agent of that id was given. `store` has room for an agent's own socket.
    ///
    /// # Errors
    /// [`Failure::Ssh`] where the keys cannot be read or the socket cannot be made.
    pub fn forward(&self, id: &str, socket: &Path, store: &Store) -> Result<Option<Forward>, Failure> {
        let Some(source) = self.given.get(id) else { return Ok(None) };
        let (upstream, kept) = match source {
            AgentSource::Socket(path) => (path.clone(), None),
            AgentSource::Keys(files) => {
                let agent = self.key_agent(id, files, store)?;
                (agent.socket(), Some(agent))
            }
        };
        Forward::begin(id, socket, upstream, kept).map(Some)
    }

    fn key_agent(&self, id: &str, files: &[PathBuf], store: &Store) -> Result<Arc<keys::KeyAgent>, Failure> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = running.get(id) {
            return Ok(agent.clone());
        }
        let agent = Arc::new(keys::KeyAgent::begin(id, files, self.path.as_deref(), store)?);
        running.insert(id.to_owned(), agent.clone());
        Ok(agent)
    }
}

/// Why an agent is of no use, in words.
fn failed(id: &str, why: impl std::fmt::Display) -> Failure {
    Failure::Ssh { id: id.to_owned(), why: why.to_string() }
}
