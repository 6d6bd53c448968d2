//! A layer directory read back into a plan, after something else wrote to it: an archive that was unpacked.

use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::{FileType, OFlags};

use super::attributes::Xattrs;
use super::plan::{Dir, Leaf, LeafKind, Meta, Node, Plan};
use super::walk::{FileStat, Found, Listings, Visit, open_dir, walk};
use super::{Error, Source, path};
use crate::error::Doing as _;
use crate::owners::Owners;
use crate::{Owner, xattrs};

impl Plan<'_> {
    /// Makes the plan what the layer directory `out` holds. What is written already stays as it is there.
    pub fn load(&mut self, out: &Path) -> Result<(), Error> {
        let root = runtime::beneath::open_root(out).doing("opening", out)?;
        let label = out.display().to_string();
        let layer = Source::host(root.as_fd(), &label);
        let listings = walk(&layer, b"", &|_, _| Visit::Keep)?;
        let owners = Owners::of_layer(out)?;
        let mut root = Dir { in_base: self.base.is_some(), ..Dir::new(self.root.meta.clone()) };
        self.fill(&mut root, 0, &Loading { layer, listings: &listings, owners: &owners })?;
        self.root = root;
        Ok(())
    }

    fn fill(&self, dir: &mut Dir, at: usize, from: &Loading<'_>) -> Result<(), Error> {
        let listing = &from.listings.0[at];
        for found in &listing.entries {
            let path = path::join(&listing.path, &found.name);
            let meta = self.loaded_meta(&path, &found.stat, from);
            let node = match found.stat.kind() {
                FileType::Directory => Node::Dir(self.loaded_dir(dir, found, &path, meta, from)?),
                kind => {
                    let target = match kind {
                        FileType::Symlink => Some(from.layer.read_link(&path)?),
                        _ => None,
                    };
                    let record = from.owners.0.get(&path).copied();
                    Node::Leaf(Leaf { meta, kind: LeafKind::Written { record, target }, group: None })
                }
            };
            dir.children.insert(found.name.clone(), node);
        }
        Ok(())
    }

    fn loaded_dir(
        &self,
        above: &Dir,
        found: &Found,
        path: &[u8],
        mut meta: Meta,
        from: &Loading<'_>,
    ) -> Result<Dir, Error> {
        let failed = |e: std::io::Error| from.layer.failed("reading xattrs of", path, e);
        let open = open_dir(from.layer.root(), path, OFlags::RDONLY).map_err(failed)?;
        meta.xattrs = xattrs::image_xattrs(&open).map_err(failed)?;
        let opaque = xattrs::get(&open, xattrs::OPAQUE.as_bytes()).map_err(failed)?.is_some();
        let in_base = match &self.base {
            Some(base) if above.in_base && !opaque => base.lstat(path)?.is_some_and(|stat| stat.is_dir()),
            _ => false,
        };
        let mut dir = Dir { in_base, opaque, ..Dir::new(meta) };
        if let Some(child) = found.listing {
            self.fill(&mut dir, child as usize, from)?;
        }
        Ok(dir)
    }

    fn loaded_meta(&self, path: &[u8], stat: &FileStat, from: &Loading<'_>) -> Meta {
        let (owner, mode) = match from.owners.0.get(path) {
            Some(record) => (record.owner, record.mode),
            None => (Owner { uid: stat.uid, gid: stat.gid }, stat.mode & 0o7777),
        };
        Meta { mode, owner, mtime: self.clamp(stat.mtime), xattrs: Xattrs::new() }
    }
}

/// What is read back.
struct Loading<'l> {
    layer: Source<'l>,
    listings: &'l Listings,
    owners: &'l Owners,
}
