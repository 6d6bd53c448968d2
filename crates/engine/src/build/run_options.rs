//! What a build says of its RUN steps as a whole: what they may, what confines them, and what happens where one fails.
//! None of it changes what a step makes, and so none of it is in a key.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

pub use solver::Limits;

use crate::Result;
use crate::container::RunIo;

/// What a build may do only where it was allowed (`--allow`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entitlement {
    /// RUN --network=host in a build that gives steps no network.
    NetworkHost,
    /// RUN --security=insecure.
    SecurityInsecure,
    /// RUN --device. Taken, and of no use: devices are refused.
    Device,
    /// A secret's bytes in a layer.
    SecretInLayer,
}

impl Entitlement {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Entitlement::NetworkHost => "network.host",
            Entitlement::SecurityInsecure => "security.insecure",
            Entitlement::Device => "device",
            Entitlement::SecretInLayer => "secret-in-layer",
        }
    }
}

impl FromStr for Entitlement {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Entitlement, String> {
        // `device=NAME`, as buildx has it.
        let name = text.split_once('=').map_or(text, |(name, _)| name);
        let all = [
            Entitlement::NetworkHost,
            Entitlement::SecurityInsecure,
            Entitlement::Device,
            Entitlement::SecretInLayer,
        ];
        all.into_iter().find(|entitlement| entitlement.name() == name).ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|entitlement| entitlement.name()).collect();
            format!("unknown entitlement {text}; there are {}", names.join(", "))
        })
    }
}

/// What a build says of its RUN steps.
#[derive(Clone, Default)]
pub struct RunOptions {
    /// What they may.
    pub allow: Vec<Entitlement>,
    /// What confines them.
    pub limits: Limits,
    /// Whether a shell is opened in a step that fails.
    pub shell_on_error: bool,
    /// The stage or line of the Dockerfile after whose last step a shell is opened; then the build goes on.
    pub shell_after: Option<String>,
    /// The terminal for shells; `None` where there is none.
    pub terminal: Option<Arc<dyn Terminal>>,
}

impl fmt::Debug for RunOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunOptions")
            .field("allow", &self.allow)
            .field("limits", &self.limits)
            .field("shell_on_error", &self.shell_on_error)
            .field("shell_after", &self.shell_after)
            .finish_non_exhaustive()
    }
}

impl RunOptions {
    /// Whether something was allowed.
    pub fn allows(&self, entitlement: Entitlement) -> bool {
        self.allow.contains(&entitlement)
    }
}

/// The user's terminal.
pub trait Terminal: Send + Sync {
    /// Says `about`, hands the terminal to `run`, and takes it back; gives what `run` gave, an exit code.
    fn open(&self, about: &str, run: &mut dyn FnMut(RunIo<'_>) -> Result<i32>) -> Result<i32>;

    /// Where `busybox` may be on this host: paths to try, best first.
    fn busybox(&self) -> Vec<PathBuf>;
}
