//! A cache mount's directory cut into chunks, the new ones put into packs.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use fastcdc::v2020::StreamCDC;
use oci::{Digest, HashingWriter};
use snapshot::DiffOptions;

use super::index::{CHUNK_LIMIT, Chunk, Index, Pack};
use crate::{Error, Result};

/// Bytes of the smallest chunk, and of a chunk on average. Small, for a changed file of some kilobytes costs the chunks
/// that it lies in.
const MIN: usize = 4 << 10;
const AVERAGE: usize = 16 << 10;
/// A pack is begun anew from so many bytes on.
const PACK: u64 = 16 << 20;

/// What a directory became.
pub(crate) struct Written {
    pub index: Index,
    /// The new packs.
    pub files: Vec<(Digest, PathBuf)>,
    /// Bytes of the tar that are in new packs.
    pub new: u64,
}

/// Cuts what is in `directory` into chunks. Those that `held` has are taken for granted, the others are written into
/// packs, files of a name that begins with `prefix`.
pub(crate) fn write(directory: &Path, held: &Index, prefix: &Path) -> Result<Written> {
    let failed = |e: io::Error| Error::io(format!("read {}", directory.display()), &e);
    let meta = fs::metadata(directory).map_err(failed)?;
    let (reader, mut writer) = io::pipe().map_err(failed)?;
    thread::scope(|scope| {
        let tar =
            scope.spawn(move || snapshot::diff(directory, &mut writer, &DiffOptions::default()).map(drop));
        let mut packer = Packer {
            index: Index::new((meta.mode() & 0o7777, meta.uid(), meta.gid())),
            known: held.chunks_to_keep(),
            held,
            taken: HashMap::new(),
            prefix,
            pack: None,
            files: Vec::new(),
            new: 0,
            compressor: zstd::bulk::Compressor::new(3).map_err(failed)?,
        };
        let cut = || -> io::Result<()> {
            for chunk in StreamCDC::new(reader, MIN, AVERAGE, CHUNK_LIMIT as usize) {
                packer.add(&chunk.map_err(io::Error::from)?.data)?;
            }
            packer.end_pack()
        };
        let done = cut();
        match tar.join() {
            // A pipe that nobody reads any more says nothing.
            Ok(Err(error)) if done.is_ok() => return Err(error.into()),
            Ok(_) => {}
            Err(panic) => std::panic::resume_unwind(panic),
        }
        done.map_err(|e| Error::io(format!("cut {} into chunks", directory.display()), &e))?;
        Ok(Written { index: packer.index, files: packer.files, new: packer.new })
    })
}

struct Packer<'a> {
    index: Index,
    /// Where chunks are: in the packs of `held`, or, of those found in this one, in our own.
    known: HashMap<Digest, Chunk>,
    held: &'a Index,
    /// Numbers that packs of `held` have in our index.
    taken: HashMap<u32, u32>,
    prefix: &'a Path,
    pack: Option<Open>,
    files: Vec<(Digest, PathBuf)>,
    new: u64,
    compressor: zstd::bulk::Compressor<'static>,
}

/// A pack that is being written. Its place in the index is kept.
struct Open {
    number: u32,
    path: PathBuf,
    out: HashingWriter<File>,
}

impl Packer<'_> {
    fn add(&mut self, data: &[u8]) -> io::Result<()> {
        let digest = Digest::sha256(data);
        if let Some(chunk) = self.known.get(&digest).cloned() {
            let number = match self.taken.get(&chunk.0) {
                Some(number) => *number,
                None => self.take(chunk.0)?,
            };
            self.index.chunks.push(Chunk(number, chunk.1, chunk.2, chunk.3, digest));
            return Ok(());
        }
        let compressed = self.compressor.compress(data)?;
        let stored = if compressed.len() < data.len() { compressed.as_slice() } else { data };
        if self.pack.as_ref().is_some_and(|pack| pack.out.len() >= PACK) {
            self.end_pack()?;
        }
        let pack = match &mut self.pack {
            Some(pack) => pack,
            None => {
                let number = self.number(Pack { digest: Digest::sha256(b""), size: 0 })?;
                let mut path = self.prefix.as_os_str().to_owned();
                path.push(format!("-{number}"));
                let out = HashingWriter::new(File::create(&path)?);
                self.pack.insert(Open { number, path: path.into(), out })
            }
        };
        let at = pack.out.len();
        pack.out.write_all(stored)?;
        let length = u32::try_from(data.len()).map_err(io::Error::other)?;
        let stored = u32::try_from(stored.len()).map_err(io::Error::other)?;
        let chunk = Chunk(pack.number, at, stored, length, digest.clone());
        self.index.chunks.push(chunk.clone());
        // Our own packs are known by numbers that no pack of `held` has.
        let ours = OURS | pack.number;
        self.taken.insert(ours, pack.number);
        self.known.insert(digest, Chunk(ours, chunk.1, chunk.2, chunk.3, chunk.4));
        self.new += u64::from(length);
        Ok(())
    }

    /// A pack of `held` is one of ours now.
    fn take(&mut self, held: u32) -> io::Result<u32> {
        let number = self.number(self.held.packs[held as usize].clone())?;
        self.taken.insert(held, number);
        Ok(number)
    }

    fn number(&mut self, pack: Pack) -> io::Result<u32> {
        let number = u32::try_from(self.index.packs.len()).map_err(io::Error::other)?;
        self.index.packs.push(pack);
        Ok(number)
    }

    fn end_pack(&mut self) -> io::Result<()> {
        let Some(pack) = self.pack.take() else { return Ok(()) };
        let (_, digest, size) = pack.out.finish();
        self.index.packs[pack.number as usize] = Pack { digest: digest.clone(), size };
        self.files.push((digest, pack.path));
        Ok(())
    }
}

/// Marks numbers of our own packs among those that chunks are known by.
const OURS: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that do not compress, other ones for each seed.
    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn a_small_change_is_a_small_part() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("mount");
        fs::create_dir(&dir).unwrap();
        for n in 0..100 {
            fs::write(dir.join(format!("f{n:03}")), noise(n, 100 << 10)).unwrap();
        }
        let cut = |held: &Index, name: &str| write(&dir, held, &temp.path().join(name)).unwrap();
        let first = cut(&Index::default(), "first");
        assert_eq!(first.new, first.index.size());
        // The same again is the same, and nothing of it is new.
        let same = cut(&first.index, "same");
        assert_eq!((same.new, same.files.len()), (0, 0));
        assert_eq!(same.index, first.index);
        // One file of a hundred, and one more.
        fs::write(dir.join("f050"), noise(1000, 100 << 10)).unwrap();
        fs::write(dir.join("a-first"), "moves all others").unwrap();
        let changed = cut(&first.index, "changed");
        assert!(changed.new * 100 < changed.index.size() * 3, "{} of {}", changed.new, changed.index.size());
        assert_eq!(changed.files.len(), 1);
        // Equal files are one.
        fs::write(dir.join("f051"), noise(1000, 100 << 10)).unwrap();
        let again = cut(&changed.index, "again");
        assert!(again.new < 100 << 10, "{}", again.new);
    }
}
