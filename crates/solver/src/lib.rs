//! From a graph to a result, skipping what is cached.
//!
//! `solve` works through a [`graph::Graph`] and returns the layers of its target. A vertex is run
//! only where no earlier result can stand for it: first its definition and its inputs' ChainIDs are
//! looked up, then, for copies, the content of what they take. Results are snapshots in the store;
//! a step becomes visible there only when it is whole.
//!
//! Nothing here knows a Dockerfile, a registry's name or a terminal: what happens is told to an
//! [`Observer`], and images come pinned by their layers.
#![forbid(unsafe_code)]

mod account;
mod binds;
mod busy;
pub mod context;
mod copy;
mod error;
mod exec;
mod explain;
pub mod file;
mod kept;
mod key;
mod limits;
mod merge;
mod missing;
mod mounts;
mod order;
mod output;
mod schedule;
mod secret;
mod session;
pub mod source;
pub mod ssh;
mod step;
mod unpack;
pub mod user;

pub use account::find_user_in;
pub use error::{Error, Failure};
pub use exec::{bind_file, find_user, hosts_file, single_id_files};
pub use explain::{Explanation, Reason};
pub use kept::{Kept, enter};
pub use limits::Limits;
pub use merge::clone_layer;
pub use output::Stream;
pub use schedule::solve;
pub use session::{Elsewhere, Jobs, Lazy, Observer, Required, Secrets, Session, StepEvent};
pub use step::{Solved, Tree};
pub use unpack::{LayerBytes, Verified, at_once, missing, row, unpack, unpack_stack};
