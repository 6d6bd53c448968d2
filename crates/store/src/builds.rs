//! Directories of past builds: where what a build has to tell afterwards is kept, such as its steps' output.
//!
//! What is in them is the engine's business. A bounded number is kept, the newest; losing them loses no result.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::remove::measure;
use crate::schema::BUILDS;
use crate::{Error, Result, Store};

/// How many builds are kept.
const KEPT: usize = 20;
/// Bytes that they may take together: the newest is kept in any case, older ones as long as all fit.
const ROOM: u64 = 512 << 20;
/// Digits of an ID that say when, in milliseconds; the rest is random. 25 in all, as BuildKit's.
const TIME_DIGITS: usize = 9;
const DIGITS: usize = 25;

impl Store {
    /// Makes the directory of a new build, and removes those of the oldest where there are too many. The ID is 25
    /// letters and digits that sort by time.
    pub fn begin_build(&self) -> Result<(String, PathBuf)> {
        let top = self.root().join(BUILDS);
        fs::create_dir_all(&top).map_err(|e| Error::io("cannot create", &top, e))?;
        let mut taken = 0;
        for (at, id) in self.builds()?.iter().enumerate() {
            let dir = self.build_dir(id);
            taken += measure(&dir);
            if at > 0 && (at + 1 >= KEPT || taken > ROOM) {
                // Another build may be doing the same; what is left goes the next time.
                let _ = fs::remove_dir_all(dir);
            }
        }
        let id = new_id();
        let dir = self.build_dir(&id);
        DirBuilder::new().mode(0o700).create(&dir).map_err(|e| Error::io("cannot create", &dir, e))?;
        Ok((id, dir))
    }

    /// The IDs of the builds that have a directory, newest first.
    pub fn builds(&self) -> Result<Vec<String>> {
        let top = self.root().join(BUILDS);
        let entries = match fs::read_dir(&top) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("cannot read", &top, error)),
        };
        let mut ids: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        Ok(ids)
    }

    /// The directory of the build `id`, one of [`Store::builds`].
    pub fn build_dir(&self, id: &str) -> PathBuf {
        self.root().join(BUILDS).join(id)
    }
}

fn new_id() -> String {
    let milliseconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let mut random = [0u8; DIGITS - TIME_DIGITS];
    let mut filled = 0;
    while filled < random.len() {
        match rustix::rand::getrandom(&mut random[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            // Time alone tells builds apart well enough.
            Err(_) => break,
        }
    }
    let digit = |value: u128| char::from_digit((value % 36) as u32, 36).unwrap_or('0');
    let time = (0..TIME_DIGITS).rev().map(|place| digit(milliseconds / 36u128.pow(place as u32)));
    time.chain(random.iter().map(|byte| digit(u128::from(*byte)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("root")).unwrap();
        let mut made = Vec::new();
        for _ in 0..KEPT + 5 {
            let (id, dir) = store.begin_build().unwrap();
            assert_eq!((id.len(), dir.is_dir()), (DIGITS, true));
            made.push(id);
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        made.reverse();
        made.truncate(KEPT);
        assert_eq!(store.builds().unwrap(), made);
    }
}
