//! Where stat caches of build contexts are kept, and the last build's report. What is in them is others' business; losing them loses time only.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci::Digest;

use crate::Store;

impl Store {
    /// The file for the stat cache of the build context at `root`, an absolute path without links. Write it
    /// to a temporary file beside and rename; it may vanish at any time.
    pub fn context_file(&self, root: &Path) -> PathBuf {
        let name = Digest::sha256(root.as_os_str().as_bytes());
        self.root().join("contexts").join(name.hex())
    }

    /// The file for what the build that ended last has to tell. As the others, it may vanish at any time.
    pub fn last_build_file(&self) -> PathBuf {
        self.root().join("contexts").join("last-build")
    }
}
