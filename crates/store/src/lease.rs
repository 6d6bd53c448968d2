//! Leases: what a live process uses is not collected by another's prune.

use crate::{Result, Store};

/// While it lives, whatever this [`Store`] (and its clones) adds or finds stays, whatever another process prunes. A lease of
/// a process that died protects nothing.
#[derive(Debug, Clone)]
pub struct Lease {
    _private: (),
}

impl Store {
    /// Takes a lease. Every verb that builds on what it finds holds one from its start to its end; taking a second one in the
    /// same process costs nothing.
    pub fn lease(&self) -> Result<Lease> {
        Ok(Lease { _private: () })
    }
}
