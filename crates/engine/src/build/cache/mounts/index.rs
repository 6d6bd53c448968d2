//! Which chunks a cache mount is of, and where they lie.

use std::collections::HashMap;

use oci::{Descriptor, Digest};
use serde::{Deserialize, Serialize};

use super::{PACK, decompress};
use crate::{Error, Result};

/// The largest chunk that is written or taken, in bytes.
pub(crate) const CHUNK_LIMIT: u32 = 64 << 10;
/// The largest pack that is taken, in bytes.
const PACK_LIMIT: u64 = 64 << 20;
/// Bytes of an index, decompressed: those of a mount of some 30 GiB.
const TEXT_LIMIT: u64 = 192 << 20;
/// Bytes of the tar for each byte of the packs, counted once there are `RATIO_FROM` of the tar; as for layers.
const RATIO: u64 = 250;
/// See [`RATIO`].
const RATIO_FROM: u64 = 2 << 30;
/// The most packs.
const MOST_PACKS: usize = 20_000;
const VERSION: u32 = 1;

/// A cache mount as chunks of its tar.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Index {
    pub version: u32,
    /// Mode and owner of the mount's own directory.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub packs: Vec<Pack>,
    /// In the order of the tar.
    pub chunks: Vec<Chunk>,
}

/// A blob of chunks one after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pack {
    pub digest: Digest,
    pub size: u64,
}

/// One chunk: number of its pack, its place there, bytes there, bytes decompressed, its digest. As many bytes there as
/// decompressed: it is not compressed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Chunk(pub u32, pub u64, pub u32, pub u32, pub Digest);

impl Pack {
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(PACK, self.digest.clone(), self.size)
    }
}

impl Index {
    pub fn new((mode, uid, gid): (u32, u32, u32)) -> Index {
        Index { version: VERSION, mode, uid, gid, packs: Vec::new(), chunks: Vec::new() }
    }

    /// Its bytes, compressed.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let text = serde_json::to_vec(self).expect("because it has string keys only");
        if text.len() as u64 > TEXT_LIMIT {
            return Err(Error::invalid(format!(
                "it has {} chunks, more than anybody takes",
                self.chunks.len()
            )));
        }
        zstd::bulk::compress(&text, 3).map_err(|e| Error::internal(format!("compress an index: {e}")))
    }

    /// Reads one. Every chunk lies within its pack then.
    ///
    /// # Errors
    /// For what is none.
    pub fn parse(bytes: &[u8]) -> Result<Index> {
        let bad = |reason: String| Error::invalid(format!("the index of a cache mount: {reason}"));
        let index: Index =
            serde_json::from_reader(decompress(bytes, TEXT_LIMIT)?).map_err(|e| bad(e.to_string()))?;
        if index.version != VERSION {
            return Err(bad(format!("it is of version {}, and {VERSION} is known", index.version)));
        }
        if index.packs.len() > MOST_PACKS || index.packs.iter().any(|pack| pack.size > PACK_LIMIT) {
            return Err(bad("it has too many packs, or too large ones".to_owned()));
        }
        let fits = |chunk: &Chunk| {
            let Chunk(pack, at, stored, length, _) = chunk;
            let end = at.checked_add(u64::from(*stored));
            let pack = usize::try_from(*pack).ok().and_then(|pack| index.packs.get(pack));
            pack.zip(end).is_some_and(|(pack, end)| end <= pack.size)
                && *length <= CHUNK_LIMIT
                && *stored <= *length
        };
        if !index.chunks.iter().all(fits) {
            return Err(bad("it has a chunk that lies in no pack".to_owned()));
        }
        // A chunk may be named a million times: what is small here could be without end there.
        let packed: u64 = index.packs.iter().map(|pack| pack.size).sum();
        let size = index.size();
        match size > RATIO_FROM && size / RATIO > packed {
            true => Err(bad(format!("its {packed} bytes of chunks would become {size}"))),
            false => Ok(index),
        }
    }

    /// Bytes of the tar.
    pub fn size(&self) -> u64 {
        self.chunks.iter().map(|chunk| u64::from(chunk.3)).sum()
    }

    /// Where each chunk is that need not be written again. Those of packs more than half of which is of no use any more
    /// are left out, so that such packs go in time.
    pub fn chunks_to_keep(&self) -> HashMap<Digest, Chunk> {
        let mut used = vec![0u64; self.packs.len()];
        let mut seen = HashMap::with_capacity(self.chunks.len());
        for chunk in &self.chunks {
            if seen.insert(chunk.4.clone(), chunk.clone()).is_none() {
                used[chunk.0 as usize] += u64::from(chunk.2);
            }
        }
        seen.retain(|_, chunk| used[chunk.0 as usize] * 2 >= self.packs[chunk.0 as usize].size);
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut index = Index::new((0o755, 1, 2));
        index.packs.push(Pack { digest: Digest::sha256(b"pack"), size: 100 });
        index.chunks.push(Chunk(0, 0, 60, 60, Digest::sha256(b"a")));
        index.chunks.push(Chunk(0, 60, 40, 80, Digest::sha256(b"b")));
        assert_eq!(Index::parse(&index.bytes().unwrap()).unwrap(), index);
        assert_eq!((index.size(), index.chunks_to_keep().len()), (140, 2));
        index.packs[0].size = 201;
        assert!(index.chunks_to_keep().is_empty());
    }

    #[test]
    fn what_would_have_no_end_is_refused() {
        let repeated = |size: u64, chunks: usize| {
            let mut index = Index::new((0o755, 0, 0));
            index.packs.push(Pack { digest: Digest::sha256(b"pack"), size });
            index.chunks = vec![Chunk(0, 0, 20, CHUNK_LIMIT, Digest::sha256(b"a")); chunks];
            Index::parse(&index.bytes().unwrap())
        };
        // 2 GiB of one chunk, and some more.
        assert!(repeated(20, 32_768).is_ok());
        let error = repeated(20, 33_000).unwrap_err();
        assert!(error.message.contains("20 bytes of chunks would become"), "{}", error.message);
        assert!(repeated(16 << 20, 33_000).is_ok());
        let text = vec![b' '; usize::try_from(TEXT_LIMIT).unwrap() + 1];
        let error = Index::parse(&zstd::bulk::compress(&text, 1).unwrap()).unwrap_err();
        assert!(error.message.contains("more bytes than are taken"), "{}", error.message);
    }

    #[test]
    fn what_lies_nowhere_is_refused() {
        let chunk = |pack, at, stored, length| {
            let mut index = Index::new((0o755, 0, 0));
            index.packs.push(Pack { digest: Digest::sha256(b"pack"), size: 100 });
            index.chunks.push(Chunk(pack, at, stored, length, Digest::sha256(b"a")));
            Index::parse(&index.bytes().unwrap())
        };
        assert!(chunk(0, 0, 100, 100).is_ok());
        assert!(chunk(1, 0, 1, 1).is_err());
        assert!(chunk(0, 1, 100, 100).is_err());
        assert!(chunk(0, u64::MAX, 1, 1).is_err());
        assert!(chunk(0, 0, 1, u32::MAX).is_err());
        assert!(Index::parse(b"").is_err());
        assert!(Index::parse(&zstd::bulk::compress(b"{}", 1).unwrap()).is_err());
    }
}
