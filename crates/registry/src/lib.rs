//! Client of the OCI distribution protocol: accounts, mirrors, manifests and blobs, both ways.
//!
//! A [`Client`] is what a process knows about talking to registries: connections, tokens, where each
//! registry is reached. From it come a [`Repository`] for what belongs to one repository, and a
//! [`Registry`] for what belongs to none.
//!
//! Blocking, with threads in mind: all of it is `Send + Sync` and cheap to clone. Nothing that comes
//! from a registry is trusted: sizes, counts and times are bounded, documents are verified against the
//! digest they were asked for by. The bytes of a blob are verified by the caller as they stream by.
#![forbid(unsafe_code)]

mod auth;
mod client;
pub mod credentials;
mod error;
mod exchange;
pub mod hosts;
mod http;
mod pages;
mod registry;
mod repository;
mod retry;
pub mod s3;
pub mod search;
mod verify;
pub mod web;

pub use client::{Client, Options};
pub use credentials::{Anonymous, Credential, Credentials, Secret};
pub use error::Error;
pub use hosts::Hosts;
pub use http::proxy::Proxies;
pub use pages::Names;
pub use registry::{Login, Registry};
pub use repository::{BlobReader, Mount, PutManifest, RemoteManifest, Repository, Upload};
pub use retry::Retry;
