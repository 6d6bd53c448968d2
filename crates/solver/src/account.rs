//! `/etc/passwd` and `/etc/group` of a stack of layers, read without mounting it.
//!
//! Every step asks whose it is, and a mount of a tall stack costs more than the answer. So the files are
//! looked for in the layer directories themselves, topmost first. Wherever a layer says something that only
//! a merge would settle (a link, a whiteout, an opaque directory), the merged view is asked after all.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::PathBuf;

use runtime::beneath;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fgetxattr, statat};
use rustix::io::Errno;

use crate::error::Failure;
use crate::exec::find_user;
use crate::user::{self, User};

/// Bytes read of each of the two files.
const LIMIT: u64 = 16 << 20;

/// Looks the user `spec` up in the image of the layer directories `lowers`, topmost first.
pub fn find_user_in(lowers: &[PathBuf], spec: &str) -> Result<User, Failure> {
    match (topmost(lowers, "passwd"), topmost(lowers, "group")) {
        (Some(passwd), Some(group)) => Ok(user::lookup(spec, &passwd, &group)?),
        _ => find_user(&snapshot::View::open(lowers)?, spec),
    }
}

/// The text of the file `name` in `/etc`, empty where there is none; `None` where only a merge can tell.
fn topmost(lowers: &[PathBuf], name: &str) -> Option<String> {
    for lower in lowers {
        let root = beneath::open_root(lower).ok()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let etc = match beneath::open_without_links(root.as_fd(), "etc", flags, Mode::empty()) {
            Ok(etc) => etc,
            Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => continue,
            Err(_) => return None,
        };
        match statat(&etc, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
                let file =
                    beneath::open_without_links(etc.as_fd(), name, OFlags::RDONLY, Mode::empty()).ok()?;
                let mut bytes = Vec::new();
                File::from(file).take(LIMIT).read_to_end(&mut bytes).ok()?;
                return Some(String::from_utf8_lossy(&bytes).into_owned());
            }
            Err(Errno::NOENT) => {
                let mut mark = [0u8; 8];
                match fgetxattr(&etc, "user.overlay.opaque", &mut mark) {
                    Err(Errno::NODATA) => {}
                    _ => return None,
                }
            }
            _ => return None,
        }
    }
    Some(String::new())
}
