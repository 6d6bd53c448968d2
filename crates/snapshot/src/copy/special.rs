//! Links, pipes and devices of a layer. Where devices cannot be made, they are recorded beside it and held as empty
//! files, as everywhere in this crate.

use std::sync::PoisonError;

use rustix::fs::{FileType, Mode};
use rustix::io::Errno;

use super::flat::Item;
use super::plan::{Leaf, LeafKind};
use super::write::{Halt, Worker, Writer, replacing};
use super::{Error, finish, path};
use crate::Kind;
use crate::owners::Record;

impl Writer<'_> {
    /// Makes a link, pipe or device.
    pub fn special(&self, worker: &mut Worker, item: &Item<'_>, leaf: &Leaf) -> Result<Kind, Halt> {
        let dir = self.dir(worker, item.parent)?;
        let name = path::base(&item.path);
        let (kind, file_type, rdev) = match &leaf.kind {
            LeafKind::Symlink(target) => {
                let make = || rustix::fs::symlinkat(target.as_slice(), dir, name);
                replacing(dir, name, make).map_err(|e| self.failed("creating", &item.path, e))?;
                finish::by_name(dir, name, FileType::Symlink, &leaf.meta, self.ids)
                    .map_err(|e| self.unfinished(&item.path, &leaf.meta, e))?;
                return Ok(Kind::Symlink(target.clone()));
            }
            LeafKind::CharDevice(major, minor) => {
                let (major, minor) = (*major, *minor);
                (Kind::CharDevice { major, minor }, FileType::CharacterDevice, (major, minor))
            }
            LeafKind::BlockDevice(major, minor) => {
                let (major, minor) = (*major, *minor);
                (Kind::BlockDevice { major, minor }, FileType::BlockDevice, (major, minor))
            }
            _ => (Kind::Fifo, FileType::Fifo, (0, 0)),
        };
        let mode = Mode::from_raw_mode(leaf.meta.mode & 0o777);
        let number = rustix::fs::makedev(rdev.0, rdev.1);
        let make = |file_type| rustix::fs::mknodat(dir, name, file_type, mode, number);
        match replacing(dir, name, || make(file_type)) {
            Ok(()) => {}
            Err(Errno::PERM) if file_type != FileType::Fifo && self.ids.records_devices() => {
                replacing(dir, name, || make(FileType::RegularFile))
                    .map_err(|e| self.failed("creating", &item.path, e))?;
                let record = Record::of(&kind, leaf.meta.owner, leaf.meta.mode);
                let record = record.expect("because a device is no hard link");
                self.devices.lock().unwrap_or_else(PoisonError::into_inner).push((item.path.clone(), record));
            }
            Err(Errno::PERM) if file_type != FileType::Fifo => {
                let source = Errno::PERM.into();
                return Err(Halt::Failed(Error::Device { path: item.path.as_slice().into(), source }));
            }
            Err(errno) => return Err(self.failed("creating", &item.path, errno)),
        }
        finish::by_name(dir, name, file_type, &leaf.meta, self.ids)
            .map_err(|e| self.unfinished(&item.path, &leaf.meta, e))?;
        Ok(kind)
    }
}
