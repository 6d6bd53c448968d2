//! Cache mounts that go along with a shared cache.
//!
//! A mount's files are written as a tar, which is cut where its content says so, so that what did not change is the same
//! chunks wherever it moved to. Chunks lie in packs of some megabytes each, which are blobs of the cache; an index of the
//! mount says in which. What an earlier cache at the same place has is not sent again.

mod index;
mod restore;
mod write;

use std::io::{self, BufReader, Read};

use oci::{Descriptor, Digest};
use store::{PendingSnapshot, Taken};

use super::config::CarriedMount;
use super::export::{Carried, Export};
use super::sent::Sent;
use crate::{Error, Result};
use index::Index;
pub(crate) use restore::restore;

/// Media type of an index.
const INDEX: &str = "application/vnd.strake.cachemount.index.v1+zstd";
/// Media type of a pack.
const PACK: &str = "application/vnd.strake.cachemount.pack.v1";
/// The largest index taken, in bytes.
const INDEX_LIMIT: u64 = 128 << 20;

impl Export<'_> {
    /// The cache mounts that are to go along; those that are not here stay as the cache had them.
    pub(super) fn mounts(
        &self,
        scratch: &PendingSnapshot,
        sent: &mut Sent<'_>,
        say: &dyn Fn(&str),
    ) -> Result<Carried> {
        let mut carried = Carried::default();
        if self.to.mounts.is_empty() {
            return Ok(carried);
        }
        // What cannot be read is written anew.
        let before = self.place.load().ok().flatten().map(|found| found.mounts).unwrap_or_default();
        let known = self.engine.store.cache_mounts()?;
        for id in &self.to.mounts {
            let mut here: Vec<&str> =
                known.iter().filter(|mount| mount.name == *id).map(|mount| mount.key.as_str()).collect();
            here.sort_unstable();
            here.dedup();
            let there = before.iter().filter(|mount| mount.id == *id && !here.contains(&mount.key.as_str()));
            let mut any = !here.is_empty();
            for mount in there {
                if let Ok(index) = self.read_index(mount) {
                    carried.add(mount.clone(), &index);
                    any = true;
                }
            }
            for key in here {
                let held = before.iter().find(|mount| mount.key == key);
                let held = held.and_then(|mount| self.read_index(mount).ok()).unwrap_or_default();
                let mount = self.mount(id, key, &held, scratch, sent, &mut carried, say);
                mount.map_err(|error| error.context(format!("cache mount {id}")))?;
            }
            if !any {
                say(&format!("there is no cache mount {id}"));
            }
        }
        Ok(carried)
    }

    /// One cache mount that is here. As long as it is read nobody prunes it, or has it alone.
    #[allow(clippy::too_many_arguments, reason = "the state of one export")]
    fn mount(
        &self,
        id: &str,
        key: &str,
        held: &Index,
        scratch: &PendingSnapshot,
        sent: &mut Sent<'_>,
        carried: &mut Carried,
        say: &dyn Fn(&str),
    ) -> Result<()> {
        let Taken::Locked(lock) = self.engine.store.take_cache_mount(key, false)? else {
            return Err(Error::conflict("it is in use"));
        };
        let name = format!("mount-{}", carried.mounts.len());
        let written = write::write(lock.dir(), held, &scratch.dir().join(name))?;
        let bytes = written.index.bytes()?;
        let mount = CarriedMount {
            id: id.to_owned(),
            key: key.to_owned(),
            index: Digest::sha256(&bytes),
            size: bytes.len() as u64,
        };
        say(&format!("cache mount {id}: {} bytes, {} of them new", written.index.size(), written.new));
        carried.add(mount.clone(), &written.index);
        sent.bytes.insert(mount.index, bytes);
        sent.files.extend(written.files);
        Ok(())
    }

    fn read_index(&self, mount: &CarriedMount) -> Result<Index> {
        Index::parse(&self.place.read(&mount.descriptor(), INDEX_LIMIT)?)
    }
}

impl Carried {
    fn add(&mut self, mount: CarriedMount, index: &Index) {
        self.blobs.push(mount.descriptor());
        self.blobs.extend(index.packs.iter().map(index::Pack::descriptor));
        self.mounts.push(mount);
    }
}

impl CarriedMount {
    fn descriptor(&self) -> Descriptor {
        Descriptor::new(INDEX, self.index.clone(), self.size)
    }
}

/// What `source` gives, decompressed as it is read. It fails beyond `limit` bytes.
fn decompress(source: &[u8], limit: u64) -> Result<impl Read> {
    let decoder = zstd::stream::read::Decoder::new(source)
        .map_err(|e| Error::invalid(format!("the index of a cache mount: {e}")))?;
    Ok(BufReader::new(Bounded { source: decoder, left: limit }))
}

/// A source that fails beyond so many bytes.
struct Bounded<R> {
    source: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other("it has more bytes than are taken")),
        }
        Ok(read)
    }
}
