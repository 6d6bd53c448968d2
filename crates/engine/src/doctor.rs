//! `system doctor`: what this machine allows of what builds and containers need. Opens no store.

use std::path::Path;

pub use runtime::doctor::{Check, Status};

/// Looks at everything. `root` is where the store is or would be. The process must be single-threaded and outside of
/// the namespace that other verbs enter.
pub fn checks(root: &Path) -> Vec<Check> {
    runtime::doctor::checks(root)
}
