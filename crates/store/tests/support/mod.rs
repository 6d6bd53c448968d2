//! What the store's tests share: making layers, images and containers out of short texts, and hooks that
//! verify them.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci::{ChainId, DiffId, Digest, Hasher, ImageConfig, ImageId, Platform, Reference};
use store::{
    CacheKind, CacheRecord, ContainerRecord, HookError, Hooks, ImageMeta, Snapshot, SnapshotStat, Store,
};

/// A store in a directory that goes with it.
pub struct Temporary {
    pub dir: tempfile::TempDir,
    pub store: Store,
}

pub fn temporary() -> Temporary {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    Temporary { dir, store }
}

/// The DiffID that stands for a layer of this content.
pub fn diff_id(content: &str) -> DiffId {
    DiffId(Digest::sha256(format!("layer {content}").as_bytes()))
}

/// Files of a layer of this content: what `layer` writes.
fn files(content: &str) -> [(String, String); 3] {
    [
        ("etc/name".to_owned(), content.to_owned()),
        ("data".to_owned(), content.repeat(100)),
        ("usr/lib/deep/file".to_owned(), format!("deep {content}")),
    ]
}

pub fn fill(fs_dir: &Path, content: &str) -> SnapshotStat {
    let mut usage = 0;
    for (name, text) in files(content) {
        let path = fs_dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &text).unwrap();
        usage += text.len() as u64;
    }
    SnapshotStat {
        diff_id: diff_id(content),
        tar_size: usage + 4096,
        usage,
        inodes: 7,
        tree_digest: Some(tree_digest(fs_dir)),
    }
}

/// A snapshot of one layer on `parent`.
pub fn layer(store: &Store, parent: Option<&ChainId>, content: &str) -> store::Result<ChainId> {
    let pending = store.begin_snapshot()?;
    let stat = fill(pending.fs(), content);
    store.commit_snapshot(pending, parent, &stat)
}

/// Snapshots of a stack of layers.
pub fn stack(store: &Store, contents: &[&str]) -> store::Result<Vec<DiffId>> {
    let mut parent = None;
    for content in contents {
        parent = Some(layer(store, parent.as_ref(), content)?);
    }
    Ok(contents.iter().map(|c| diff_id(c)).collect())
}

/// Bytes of a config with these layers.
pub fn config(layers: &[DiffId], label: &str) -> Vec<u8> {
    let mut config = ImageConfig::scratch(&Platform::host());
    config.rootfs.diff_ids = layers.to_vec();
    config.config.labels = Some(BTreeMap::from([("label".to_owned(), label.to_owned())]));
    serde_json::to_vec(&config).unwrap()
}

/// An image of a stack of layers, with a tag.
pub fn image(store: &Store, tag: Option<&str>, contents: &[&str]) -> store::Result<ImageId> {
    let layers = stack(store, contents)?;
    let id = store.put_image(&config(&layers, ""), &ImageMeta::default())?;
    if let Some(tag) = tag {
        store.set_reference(&Reference::parse(tag).unwrap(), &id)?;
    }
    Ok(id)
}

pub fn container_id(name: &str) -> String {
    Digest::sha256(name.as_bytes()).hex().to_owned()
}

pub fn container(name: &str, image: &ImageId, chain_id: Option<ChainId>) -> ContainerRecord {
    ContainerRecord {
        id: container_id(name),
        name: name.to_owned(),
        image: image.clone(),
        chain_id,
        created: 1,
        auto_remove: false,
        state: "{}".to_owned(),
    }
}

pub fn cache_record(key: &str, chain_id: Option<ChainId>, last_used: i64) -> CacheRecord {
    CacheRecord {
        key: Digest::sha256(key.as_bytes()),
        kind: CacheKind::Fast,
        identity: format!("step of {key}"),
        chain_id,
        diff_ids: vec![diff_id(key)],
        parts: "{\"a\":1}".to_owned(),
        step: format!("RUN {key}"),
        created: last_used,
        last_used,
        uses: 0,
        duration_ms: 3,
        size: 5,
    }
}

/// Digest of names, kinds and contents of a tree.
pub fn tree_digest(top: &Path) -> Digest {
    let mut hasher = Hasher::new();
    hash_tree(top, &mut hasher);
    hasher.finish()
}

fn hash_tree(dir: &Path, hasher: &mut Hasher) {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        hasher.update(path.file_name().unwrap().as_bytes());
        if path.is_dir() {
            hasher.update(b"/");
            hash_tree(&path, hasher);
        } else {
            let bytes = fs::read(&path).unwrap();
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(&bytes);
        }
    }
}

pub fn verify_tree(fs_dir: &Path, _: &Snapshot) -> Result<Digest, HookError> {
    Ok(tree_digest(fs_dir))
}

pub fn hooks() -> Hooks<'static> {
    Hooks { tree_digest: Some(&verify_tree), diff_id: None }
}

/// Bytes on the disk, as `du` counts them.
pub fn du(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let own = fs::symlink_metadata(dir).unwrap();
    let mut total = own.blocks() * 512;
    if own.is_dir() {
        for entry in fs::read_dir(dir).unwrap() {
            total += du(&entry.unwrap().path());
        }
    }
    total
}

/// All paths below a directory, sorted.
pub fn paths(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(paths(&path));
        }
        all.push(path);
    }
    all.sort();
    all
}

/// Nothing is wrong and nothing is left over.
#[track_caller]
pub fn assert_clean(store: &Store) {
    let report = store.check(false, &hooks()).unwrap();
    assert_eq!(report.problems, []);
    let garbage: Vec<_> = report.garbage.iter().filter(|g| !g.starts_with("leases/")).collect();
    assert!(garbage.is_empty(), "{garbage:?}");
}
