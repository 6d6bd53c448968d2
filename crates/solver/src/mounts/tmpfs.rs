//! `type=tmpfs`: an empty directory in memory, gone with the step.

use runtime::spec::Mount;

/// A directory in memory at `target` of at most `size` bytes.
pub(super) fn mount(size: Option<u64>, target: &str) -> Mount {
    let mut made = Mount::new(target, "tmpfs", "tmpfs", &["nosuid", "nodev", "mode=1777"]);
    made.options.extend(size.map(|bytes| format!("size={bytes}")));
    made
}
