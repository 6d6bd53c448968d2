//! Containers: `run`, and everything that can be done with what it leaves.

mod archives;
mod commit;
mod cp;
mod diff;
mod hostile;
mod inspect;
mod lifecycle;
mod list;
mod run;
mod terminal;

use std::time::{Duration, Instant};

use crate::harness::{TestStore, ran};
use crate::project::busybox_tar;

/// A store with an image `bb` of busybox, its command `sh`.
pub fn store() -> TestStore {
    with_busybox(TestStore::new())
}

/// The same for a store that is there.
pub fn with_busybox(store: TestStore) -> TestStore {
    let tar = busybox_tar(&std::env::temp_dir());
    let imported = ran(store
        .command()
        .env("SOURCE_DATE_EPOCH", "0")
        .args(["import", "-c", "ENV PATH=/bin", "-c", "CMD [\"sh\"]"])
        .arg(tar)
        .arg("bb"));
    assert_eq!(imported.code, 0, "{imported:?}");
    store
}

/// What a shell script prints in a container of `bb`.
#[track_caller]
pub fn sh(store: &TestStore, script: &str) -> String {
    store.ok(&["run", "--rm", "bb", "sh", "-c", script])
}

/// Waits until it holds.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Starts a container in the background that lives until it is killed.
#[track_caller]
pub fn sleeper(store: &TestStore, name: &str) -> String {
    store.ok(&["run", "-d", "--name", name, "bb", "sleep", "1000"]).trim_end().to_owned()
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
