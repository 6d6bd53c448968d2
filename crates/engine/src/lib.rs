//! The verbs, one file each: a plain request in, a plain result out, [`Event`]s on the way.
//!
//! Nothing here prints or reads argv, the environment or HOME: settings come in requests. The CLI and any
//! later API are skins over this crate.

#![forbid(unsafe_code)]

pub mod check;
pub mod df;
pub mod error;
pub mod event;
pub mod filter;
pub mod history;
pub mod images;
pub mod info;
pub mod inspect;
pub mod prune;
pub mod rmi;
pub mod tag;

mod convert;
mod glob;

use std::path::Path;

pub use error::{Error, Kind, Result};
pub use event::{Event, Events, Silent, Step};
pub use store::Store;

/// What every verb works on.
#[derive(Debug, Clone)]
pub struct Engine {
    /// The store of this root.
    pub store: Store,
}

impl Engine {
    /// Opens the store in `root` (a path on the host), making a new one where there is nothing.
    pub fn open(root: &Path) -> Result<Engine> {
        Ok(Engine { store: Store::open(root)? })
    }
}
