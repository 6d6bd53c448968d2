//! File trees: layer tars applied to directories, directories diffed to layer tars, files copied between them.
//!
//! A *layer directory* is what overlayfs takes as a lower: a whiteout is a character device 0:0, an opaque
//! directory has the xattr `user.overlay.opaque=y`, and an image's own `user.overlay.*` xattrs are escaped as
//! `user.overlay.overlay.*`. Where only one id is mapped, the owners that the directory cannot hold are in a
//! sidecar file beside it ([`owners`]).
//!
//! What this crate deliberately does not know: a database, names of images, where directories live. Everything it
//! reads from a tar or finds in a layer is hostile: it never follows a link out of the tree it was given.
#![forbid(unsafe_code)]

pub mod apply;
pub mod compress;
pub mod content;
pub mod copy;
pub mod diff;
pub mod owners;
pub mod search;
pub mod stream;
pub mod tar_reader;
pub mod tar_writer;
pub mod view;

mod entry;
mod error;
mod normalize;
mod path;
mod tree;
mod xattrs;

pub use apply::{
    Applied, ApplyOptions, Limits, Lowers, Notes, UnpackOptions, apply, is_archive, unpack_into,
};
pub use diff::{DiffOptions, Root, archive, diff};
pub use entry::{Entry, Kind, LayerStat, Mtime, Owner};
pub use error::{Error, Name};
pub use normalize::normalize;
pub use search::{Search, Tap};
pub use tar_writer::TarWriter;
pub use tree::{Depth, tree_digest};
pub use view::View;
