//! Maps of sparse files: where in the file the bytes go that are in the archive.

use super::header::{Bad, size};

/// A run of stored bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where in the file it goes.
    pub offset: u64,
    /// How long it is.
    pub len: u64,
}

/// Most runs a map may have. GNU tar makes one for each hole.
const MOST: usize = 1 << 20;

/// A map being read.
#[derive(Default)]
pub(super) struct Map(Vec<Segment>);

impl Map {
    pub fn push(&mut self, offset: u64, len: u64) -> Result<(), Bad> {
        if self.0.len() == MOST {
            return Err(format!("a sparse file in more than {MOST} pieces"));
        }
        self.0.push(Segment { offset, len });
        Ok(())
    }

    /// Adds the pairs of an old GNU header or extension block, 24 bytes each; the first empty one ends them.
    pub fn push_gnu(&mut self, bytes: &[u8]) -> Result<(), Bad> {
        for pair in bytes.chunks_exact(24) {
            if pair[0] == 0 || pair[12] == 0 {
                break;
            }
            self.push(size(&pair[..12], "sparse offset")?, size(&pair[12..], "sparse length")?)?;
        }
        Ok(())
    }

    pub fn push_pairs(&mut self, numbers: &[u64]) -> Result<(), Bad> {
        if !numbers.len().is_multiple_of(2) {
            return Err("a sparse map with an offset and no length".into());
        }
        numbers.chunks_exact(2).try_for_each(|pair| self.push(pair[0], pair[1]))
    }

    /// The map, if it is in order, inside the file, and accounts for exactly the stored bytes.
    pub fn finish(self, stored: u64, real_size: u64) -> Result<Vec<Segment>, Bad> {
        let (mut end, mut sum) = (0u64, 0u64);
        for segment in &self.0 {
            if segment.offset < end {
                return Err("a sparse map out of order".into());
            }
            end = segment.offset.checked_add(segment.len).ok_or("a sparse map beyond all sizes")?;
            // Cannot overflow: the segments lie one after the other below `end`.
            sum += segment.len;
        }
        if end > real_size {
            return Err("a sparse map beyond the file's size".into());
        }
        if sum != stored {
            return Err(format!("a sparse map of {sum} bytes where {stored} are stored"));
        }
        Ok(self.0.into_iter().filter(|s| s.len > 0).collect())
    }
}
