//! The copy engine: from files of a build context or another image's tree to a new layer directory, and to the
//! DiffID of that layer in the same pass.
//!
//! First [`walk()`] lists what is to be copied; then a [`Plan`] puts it where it goes, over the tree underneath and
//! over what was planned before, by BuildKit's rules; then [`Plan::write`] writes all of it. The layer directory is
//! written as it is, not through an overlay mount, and is what [`crate::diff`] of it says.
//!
//! Which files an instruction means (wildcards, ignore rules, names of users) is not decided here.

pub mod path;

mod attributes;
mod digests;
mod ending;
mod error;
mod file;
mod finish;
mod flat;
mod load;
mod ordered;
mod place;
mod plan;
mod previous;
mod source;
mod special;
mod walk;
mod write;

use std::io;
use std::os::fd::BorrowedFd;

use rustix::buffer::spare_capacity;

pub use attributes::Xattrs;
pub use error::Error;
pub use place::{Known, Placing};
pub use plan::{From, Meta, Plan};
pub use source::Source;
pub use walk::{FileStat, Found, Listing, Listings, Visit, list, walk};
pub use write::{Read, Writing, Written};

/// Fills `buffer`, which is empty, with up to `len` bytes of an open file from `offset` on: fewer only at its end.
pub(crate) fn read_at(file: BorrowedFd<'_>, buffer: &mut Vec<u8>, offset: u64, len: usize) -> io::Result<()> {
    buffer.reserve_exact(len);
    while buffer.len() < len {
        // What the buffer has room for beyond `len` may be filled too, and is cut off again.
        let at = offset + buffer.len() as u64;
        match rustix::io::pread(file, spare_capacity(buffer), at) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    buffer.truncate(len);
    Ok(())
}
