//! `pull`, from registries of our own making and from Debian's.

mod basics;
mod hostile;
mod interop;
pub mod registry;
mod transfers;
