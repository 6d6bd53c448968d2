//! Client of the OCI distribution protocol: manifests and blobs, fetched and verified.
//!
//! Blocking, no retries of its own beyond one for a token: a `Client` speaks to one registry on
//! behalf of one repository at a time. Nothing fetched is trusted: bodies are bounded, digests are
//! checked by [`Client::manifest`] and, for blobs, by the caller as the bytes stream by.
#![forbid(unsafe_code)]

mod auth;
mod client;
mod error;

pub use client::{Client, Options, RemoteManifest};
pub use error::Error;
