//! Extended attributes: which of them belong to an image, and how a layer directory holds them.
//!
//! Overlayfs keeps its own notes in `user.overlay.*`; an image's attributes of that name are stored with one more
//! `overlay.` (the kernel does the same from 6.7 on, when a container sets one). `trusted.overlay.*` are notes of an
//! overlay mounted without `userxattr`, which no image may bring along.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr};
use rustix::io::Errno;

const OVERLAY: &[u8] = b"user.overlay.";

/// Marks a directory whose lower counterparts are hidden (`y`), or that holds whiteouts in xattr form (`x`).
pub(crate) const OPAQUE: &str = "user.overlay.opaque";
/// Marks an empty file as a whiteout, where a device 0:0 cannot be made.
pub(crate) const WHITEOUT: &str = "user.overlay.whiteout";
/// Overlayfs's note of which lower file one was copied up from.
pub(crate) const ORIGIN: &str = "user.overlay.origin";

/// Extended attributes by name.
pub(crate) type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// How a layer directory names an image's attribute; `None` if no layer may have it.
pub(crate) fn to_layer(name: &[u8]) -> Option<Vec<u8>> {
    if name.starts_with(b"trusted.overlay.") {
        return None;
    }
    Some(match name.strip_prefix(OVERLAY) {
        Some(rest) => [OVERLAY, b"overlay.", rest].concat(),
        None => name.to_vec(),
    })
}

/// What an attribute of a layer directory is called in the image; `None` if it is not the image's.
///
/// The image's are `user.*`, `security.capability` and `security.ima`, as in containers/storage (Docker keeps the
/// capabilities alone). Not so labels that the host puts on every file (SELinux), `trusted.*`, which an ordinary user
/// can neither read nor set, and ACLs, whose ids are the host's; their mask stays in the mode's group bits.
pub(crate) fn to_image(name: &[u8]) -> Option<Vec<u8>> {
    if let Some(rest) = name.strip_prefix(OVERLAY) {
        return rest.strip_prefix(b"overlay.").map(|rest| [OVERLAY, rest].concat());
    }
    let kept = name.starts_with(b"user.") || matches!(name, b"security.capability" | b"security.ima");
    kept.then(|| name.to_vec())
}

/// The image's attributes of an open file or directory of a layer.
pub(crate) fn image_xattrs(fd: impl AsFd) -> io::Result<Xattrs> {
    read(fd, to_image)
}

/// Those attributes of a file seen through an overlay mount, which has dealt with its own.
pub(crate) fn merged_xattrs(fd: impl AsFd) -> io::Result<Xattrs> {
    read(fd, |name| match name.strip_prefix(OVERLAY) {
        Some(_) => Some(name.to_vec()),
        None => to_image(name),
    })
}

fn read(fd: impl AsFd, rename: impl Fn(&[u8]) -> Option<Vec<u8>>) -> io::Result<Xattrs> {
    let fd = fd.as_fd();
    let mut found = Xattrs::new();
    for name in list(fd)?.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let Some(renamed) = rename(name) else { continue };
        if let Some(value) = get(fd, name)? {
            found.insert(renamed, value);
        }
    }
    Ok(found)
}

/// Names, each followed by a NUL; empty where the file system has no attributes.
fn list(fd: impl AsFd) -> io::Result<Vec<u8>> {
    // One call does it for nearly all files: they have none, or few.
    let mut names = vec![0; 256];
    loop {
        match flistxattr(&fd, &mut names[..]) {
            Ok(len) => {
                names.truncate(len);
                return Ok(names);
            }
            Err(Errno::RANGE) if names.len() < 1 << 16 => names.resize(1 << 16, 0),
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The value of an attribute, if the file has it.
pub(crate) fn get(fd: impl AsFd, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; 256];
    loop {
        match fgetxattr(&fd, name, &mut value[..]) {
            Ok(len) => {
                value.truncate(len);
                return Ok(Some(value));
            }
            Err(Errno::RANGE) if value.len() < 1 << 16 => value.resize(1 << 16, 0),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Sets an attribute, under the very name given.
pub(crate) fn set(fd: impl AsFd, name: &[u8], value: &[u8]) -> io::Result<()> {
    Ok(fsetxattr(fd, name, value, XattrFlags::empty())?)
}

/// Removes overlayfs's notes that say nothing of the tree, only of how it came to be: all but opaque marks, whiteouts
/// in xattr form, and the image's own escaped attributes.
pub(crate) fn strip_notes(fd: impl AsFd) -> io::Result<()> {
    let fd = fd.as_fd();
    for name in list(fd)?.split(|b| *b == 0) {
        let keep = match name.strip_prefix(OVERLAY) {
            Some(rest) => rest.starts_with(b"overlay.") || matches!(rest, b"opaque" | b"whiteout"),
            None => true,
        };
        if !keep {
            fremovexattr(fd, name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaping_is_reversible() {
        for name in [
            &b"user.overlay.opaque"[..],
            b"user.overlay.overlay.opaque",
            b"user.mime",
            b"security.capability",
        ] {
            assert_eq!(to_image(&to_layer(name).unwrap()).as_deref(), Some(name));
        }
        assert_eq!(to_image(b"user.overlay.origin"), None);
        assert_eq!(to_layer(b"trusted.overlay.opaque"), None);
        assert_eq!(to_image(b"security.selinux"), None);
    }
}
