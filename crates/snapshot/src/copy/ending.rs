//! What is left to do when all files are written: further names, metadata of directories, and the owners that the
//! layer directory cannot hold.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::PoisonError;

use rustix::fs::{AtFlags, OFlags};

use super::attributes::Xattrs;
use super::digests;
use super::finish;
use super::flat::What;
use super::plan::LeafKind;
use super::walk::open_dir;
use super::write::{Halt, Worker, Writer, Written, replacing};
use super::{Error, path};
use crate::Kind;
use crate::owners::{Owners, Record};

impl Writer<'_> {
    pub fn finish(self, done: Worker) -> Result<Written, Error> {
        if let Some(error) = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        let halted = |halt| match halt {
            Halt::Failed(error) => error,
            Halt::Stopped => unreachable!("because nobody else is at work"),
        };
        self.links().map_err(halted)?;
        self.dirs().map_err(halted)?;
        self.sidecar()?;
        let Worker { read, digests: known, .. } = done;
        if self.how.keep_digests {
            let files = known.iter().map(|(at, digest)| (self.flat.items[*at].path.as_slice(), digest));
            // Without them the next copy compares.
            let _ = digests::write(self.how.out, files);
        }
        let stat = match self.tar {
            Some(tar) => Some(tar.finish().map_err(|e| crate::Error::io("hashing the layer", e))?),
            None => None,
        };
        let (linked, uncertain) = (self.linked.into_inner(), self.uncertain.into_inner());
        let found = stat.as_ref().is_some_and(|(_, found)| *found);
        let stat = stat.map(|(stat, _)| stat);
        Ok(Written { stat, read, found, linked, uncertain })
    }

    /// Makes the further names of files that have several.
    fn links(&self) -> Result<(), Halt> {
        let mut worker = Worker::default();
        for item in &self.flat.items {
            let What::Link(_, first) = item.what else { continue };
            let (from, from_name) = path::split(&self.flat.items[first].path);
            let failed = |e: io::Error| self.failed("linking", &item.path, e);
            let from = open_dir(self.root.as_fd(), from, OFlags::PATH).map_err(failed)?;
            let dir = self.dir(&mut worker, item.parent)?;
            let name = path::base(&item.path);
            let link = || rustix::fs::linkat(&from, from_name, dir, name, AtFlags::empty());
            replacing(dir, name, link).map_err(|e| failed(e.into()))?;
        }
        Ok(())
    }

    /// Gives directories their owner, permissions and time; the layer's root too, which no tar has, because it is
    /// what a container sees of its root.
    fn dirs(&self) -> Result<(), Halt> {
        for flat in &self.flat.dirs {
            let dir = open_dir(self.root.as_fd(), &flat.path, OFlags::RDONLY)
                .map_err(|e| self.failed("opening", &flat.path, e))?;
            finish::open_file(dir.as_fd(), &flat.dir.meta, &Xattrs::new(), self.ids)
                .map_err(|e| self.unfinished(&flat.path, &flat.dir.meta, e))?;
        }
        Ok(())
    }

    /// Writes down the owners that the layer directory cannot hold.
    fn sidecar(&self) -> Result<(), Error> {
        let mut owners = Owners::default();
        owners.0.extend(self.devices.lock().unwrap_or_else(PoisonError::into_inner).drain(..));
        for item in &self.flat.items {
            let (kind, meta) = match item.what {
                What::Dir(index) => (Kind::Directory, &self.flat.dirs[index].dir.meta),
                What::Link(leaf, _) | What::Leaf(leaf) => match &leaf.kind {
                    LeafKind::Written { record, .. } => {
                        owners.0.extend(record.map(|record| (item.path.clone(), record)));
                        continue;
                    }
                    LeafKind::Symlink(_) => (Kind::Symlink(Vec::new()), &leaf.meta),
                    LeafKind::Fifo => (Kind::Fifo, &leaf.meta),
                    LeafKind::Copied(_) | LeafKind::Made(_) => (Kind::File { size: 0 }, &leaf.meta),
                    LeafKind::CharDevice(..) | LeafKind::BlockDevice(..) => continue,
                },
            };
            if self.ids.must_record(meta.owner)
                && let Some(record) = Record::of(&kind, meta.owner, meta.mode)
            {
                owners.0.insert(item.path.clone(), record);
            }
        }
        Ok(owners.save(self.how.out)?)
    }
}
