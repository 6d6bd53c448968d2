//! The verbs, one file each: a plain request in, a plain result out, [`Event`]s on the way.
//!
//! Nothing here prints or reads argv, the environment or HOME: settings come in requests. The CLI and any
//! later API are skins over this crate.

#![forbid(unsafe_code)]

pub mod build;
pub mod cache;
pub mod check;
pub mod commit;
pub mod container;
pub mod copy;
pub mod cp;
pub mod df;
pub mod diff;
pub mod doctor;
pub mod error;
pub mod event;
pub mod export;
pub mod filter;
pub mod history;
pub mod images;
pub mod import;
pub mod info;
pub mod inspect;
mod listed;
pub mod load;
pub mod login;
pub mod logs;
pub mod manifest;
pub mod printable;
pub mod prune;
pub mod ps;
pub mod pull;
pub mod push;
pub mod remote;
pub mod rename;
pub mod rm;
pub mod rmi;
pub mod run;
pub mod save;
pub mod search;
pub mod serve;
pub mod stop;
pub mod tag;
pub mod whole_file;

mod archive;
mod changes;
mod convert;
mod glob;
mod layers;
mod signal;
mod transfer;

use std::path::Path;

use oci::ImageId;
use store::Image;

pub use error::{Error, Kind, Result};
pub use event::{Event, Events, PlannedStep, Silent, Step};
/// What requests that go to registries are made of: clients, accounts, configured hosts.
pub use registry;
pub use store::{ResolveError, Store};

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

impl Engine {
    /// The image that `text` names: a reference, an ID, the beginning of an ID.
    pub(crate) fn resolve(&self, text: &str) -> Result<ImageId> {
        Ok(self.store.resolve(text)?)
    }

    /// The image of that ID.
    pub(crate) fn image(&self, id: &ImageId) -> Result<Image> {
        self.store.image(id)?.ok_or_else(|| Error::not_found(format!("No such image: {id}")))
    }

    /// What containers get as `/etc/resolv.conf`: the host's, as they share its network.
    pub(crate) fn resolv_conf(&self) -> Vec<u8> {
        std::fs::read("/etc/resolv.conf").unwrap_or_default()
    }
}
