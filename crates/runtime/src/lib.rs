//! Linux, and nothing but Linux: namespaces, mounts, processes and containers.
//!
//! This is the only crate of the workspace with `unsafe` code, and the only one that mounts, forks or maps ids.
//! What it deliberately does not know: images, layers, digests, the store. It is given directories and an OCI
//! runtime spec, and answers with file descriptors and exit codes.
//!
//! - [`enter`] puts this process where mounting is allowed: a mount namespace, and a user namespace unless it is root.
//! - [`mount_overlay`] stacks directories, as a detached mount: a file descriptor and no mount point.
//! - [`beneath`] opens paths under a root whose content nobody vouches for.
//! - [`owners`] answers a container's chown family where only one id is mapped, and remembers what was asked.
//! - [`spec`] is the OCI runtime spec, with Docker's defaults; [`capability`] the names in it.
//! - [`Supervisor`] is the process that containers are children of; [`Container`] what it is given. [`init`] must be
//!   the first thing in `main` for it.
//! - [`doctor`] says which of these this machine allows, what works without, and how to turn it on.

pub mod beneath;
pub mod capability;
pub mod doctor;
pub mod owners;
pub mod signals;
pub mod spec;

mod cgroup;
mod container;
mod error;
mod external;
mod filesystem;
mod ids;
mod init;
mod namespace;
mod overlay;
mod seccomp;
mod settings;
mod supervisor;
mod sys;
mod terminal;

pub use container::{Container, RootFs, RuntimeChoice, Source};
pub use error::{Context, Error};
pub use init::init;
pub use namespace::{Mode, enter, join, mode, why_single};
pub use overlay::{MAX_LOWERS, Overlay, Upper, mount_overlay};
pub use supervisor::{Exit, Running, Signaller, Stdio, Supervisor};
