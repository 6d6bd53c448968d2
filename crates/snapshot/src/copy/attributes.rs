//! Extended attributes, as copies treat them: what an image keeps of a file is copied, and what the file system of the
//! layer does not take is left out, as Docker does.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::xattrs;

/// Names and values, as the image has them.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// Sets xattrs on an open file of a layer directory, and returns those that the file system took.
pub fn write(file: BorrowedFd<'_>, xattrs: &Xattrs) -> io::Result<Xattrs> {
    let mut taken = Xattrs::new();
    for (name, value) in xattrs {
        let Some(in_layer) = xattrs::to_layer(name) else { continue };
        match xattrs::set(file, &in_layer, value) {
            Ok(()) => drop(taken.insert(name.clone(), value.clone())),
            Err(e) => match Errno::from_io_error(&e) {
                Some(Errno::NOTSUP | Errno::PERM | Errno::ACCESS | Errno::INVAL) => {}
                _ => return Err(e),
            },
        }
    }
    Ok(taken)
}

/// Marks an open directory of a layer as hiding what is underneath.
pub fn make_opaque(dir: BorrowedFd<'_>) -> io::Result<()> {
    xattrs::set(dir, xattrs::OPAQUE.as_bytes(), b"y")
}
