//! The verbs, one file each: a plain request in, a plain result out, [`Event`]s on the way.
//!
//! Nothing here prints or reads argv, the environment or HOME: settings come in requests. The CLI and any
//! later API are skins over this crate.

#![forbid(unsafe_code)]

pub mod error;
pub mod event;

pub use error::{Error, Kind, Result};
pub use event::{Event, Events, Silent};
