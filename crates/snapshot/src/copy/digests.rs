//! Digests of the files of a layer, in a file beside it: where the next layer of the same step is to have a file of that
//! digest again, it is linked without being compared byte by byte, and read once instead of twice.
//!
//! A digest stands here only if the file did not change from before its first byte was read to after the last. Like the
//! layer itself the file is never changed; one that is missing or cut off is taken for less.
//!
//! ```text
//! each file: u16 length, path in the layer; 32 digest
//! ```
//! Numbers are little-endian.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The file's name beside the layer directory.
const NAME: &str = "digests";
/// Fewer files are as quickly compared.
const FEW: usize = 64;
/// The largest file that is read.
const LARGEST: u64 = 256 << 20;

/// What is known of a layer's files.
#[derive(Default)]
pub(super) struct Digests(HashMap<Box<[u8]>, [u8; 32]>);

impl Digests {
    /// Those of the layer directory `layer`; none where they were not kept.
    pub fn of_layer(layer: &Path) -> Digests {
        let Some(path) = beside(layer) else { return Digests::default() };
        if !fs::metadata(&path).is_ok_and(|meta| meta.len() <= LARGEST) {
            return Digests::default();
        }
        let bytes = fs::read(path).unwrap_or_default();
        let mut rest = bytes.as_slice();
        let mut known = HashMap::new();
        let mut next = || {
            let (len, after) = rest.split_first_chunk::<2>()?;
            let (path, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
            let (digest, after) = after.split_first_chunk::<32>()?;
            rest = after;
            Some((Box::from(path), *digest))
        };
        while let Some((path, digest)) = next() {
            known.insert(path, digest);
        }
        Digests(known)
    }

    /// Whether the file `path` of the layer is known to have this content.
    pub fn has(&self, path: &[u8], digest: &[u8; 32]) -> bool {
        self.0.get(path) == Some(digest)
    }
}

/// Leaves digests beside the layer directory `layer`.
pub(super) fn write<'f>(
    layer: &Path,
    files: impl ExactSizeIterator<Item = (&'f [u8], &'f [u8; 32])>,
) -> io::Result<()> {
    let Some(to) = beside(layer).filter(|_| files.len() >= FEW) else { return Ok(()) };
    let mut bytes = Vec::with_capacity(files.len() * 80);
    for (path, digest) in files {
        let Ok(len) = u16::try_from(path.len()) else { continue };
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(path);
        bytes.extend_from_slice(digest);
    }
    fs::write(to, bytes)
}

fn beside(layer: &Path) -> Option<PathBuf> {
    Some(layer.parent()?.join(NAME))
}
