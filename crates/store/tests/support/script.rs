//! A process that does random things to a store: run by tests that kill it, or that run many at once.
//!
//! A test binary runs itself again, with the test `helper` only; what it is to do is in its environment,
//! which is this protocol's own: `STORE_TEST_ROOT`, `STORE_TEST_SEED`, `STORE_TEST_COUNT`.

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use oci::{ChainId, Digest, ImageId, Reference};
use store::{
    CacheSpace, Error, Hooks, ImageMeta, LayerBlob, NewManifest, PruneCache, PruneImages, PruneOptions,
    ResolveError, Store,
};

use crate::support::*;

/// xorshift: the tests need no better.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) % n
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let n = items.len() as u64;
        if n == 0 { None } else { items.get(self.below(n) as usize) }
    }
}

/// Starts a process that does `count` random things.
pub fn start(root: &Path, seed: u64, count: u64) -> Child {
    command(root, seed, count).spawn().unwrap()
}

pub fn command(root: &Path, seed: u64, count: u64) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", "helper", "--nocapture"])
        .env("STORE_TEST_ROOT", root)
        .env("STORE_TEST_SEED", seed.to_string())
        .env("STORE_TEST_COUNT", count.to_string())
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// The body of the test `helper`: does nothing unless it was started by `start`.
pub fn helper() {
    let (Ok(root), Ok(seed), Ok(count)) =
        (env::var("STORE_TEST_ROOT"), env::var("STORE_TEST_SEED"), env::var("STORE_TEST_COUNT"))
    else {
        return;
    };
    let mut random = Random::new(seed.parse().unwrap());
    let store = Store::open(&PathBuf::from(root)).unwrap();
    store.sweep(&Hooks::default()).unwrap();
    let lease = store.lease().unwrap();
    for _ in 0..count.parse::<u64>().unwrap() {
        if let Err(error) = step(&store, &mut random) {
            assert!(is_fair(&error), "{error}");
        }
    }
    drop(lease);
}

/// What another process may have brought about by removing things.
fn is_fair(error: &Error) -> bool {
    matches!(
        error,
        Error::MissingImage(_)
            | Error::MissingContainer(_)
            | Error::MissingSnapshot(_)
            | Error::MissingBlob(_)
            | Error::MissingLayer(_)
            | Error::NameInUse { .. }
    )
}

fn step(store: &Store, random: &mut Random) -> store::Result<()> {
    let name = |random: &mut Random| format!("n{}", random.below(6));
    let images = |store: &Store| -> store::Result<Vec<ImageId>> {
        Ok(store.references()?.into_iter().map(|(_, id)| id).collect())
    };
    match random.below(17) {
        0..4 => {
            let depth = 1 + random.below(4);
            let contents: Vec<String> = (0..depth).map(|_| name(random)).collect();
            let contents: Vec<&str> = contents.iter().map(String::as_str).collect();
            let layers = stack(store, &contents)?;
            store.lowers(&layers)?;
            let record = cache_record(&name(random), ChainId::of(&layers), 1 + random.below(9) as i64);
            store.cache_put(&record)?;
            let id = store.put_image(&config(&layers, &name(random)), &ImageMeta::default())?;
            store.set_reference(&Reference::parse(&name(random)).unwrap(), &id)?;
        }
        4 => {
            let text = name(random);
            let digest = store.put_blob(text.as_bytes())?;
            let blob = LayerBlob { digest, size: text.len() as u64, media_type: "x".to_owned() };
            store.add_layer_blob(&diff_id(&text), &blob)?;
        }
        5 => {
            let mut writer = store.blob_writer()?;
            let written = writer.write_all(name(random).repeat(5000).as_bytes());
            written.unwrap();
            writer.commit(None)?;
        }
        6 => {
            // Left half-done.
            let pending = store.begin_snapshot()?;
            fill(pending.fs(), &name(random));
        }
        7 => {
            if let Some(id) = random.pick(&images(store)?) {
                store.remove_image(id)?;
            }
        }
        8 => {
            if let Some(id) = random.pick(&images(store)?)
                && let Some(image) = store.image(id)?
            {
                let mut record = container(&name(random), id, image.chain_id());
                record.auto_remove = random.below(2) == 0;
                drop(store.create_container(&record)?);
            }
        }
        9 => {
            if let Some(record) = random.pick(&store.containers()?)
                && let Some(lock) = store.lock_container(&record.id)?
            {
                store.remove_container(&record.id, lock)?;
            }
        }
        10 => {
            let cache = PruneCache {
                all: true,
                keep: Some(CacheSpace::at_most(random.below(2000))),
                unused_since: None,
            };
            store.prune(&PruneOptions {
                images: if random.below(2) == 0 { PruneImages::Dangling } else { PruneImages::None },
                cache: Some(&cache),
                contexts: random.below(2) == 0,
                compact: random.below(4) == 0,
                ..PruneOptions::default()
            })?;
        }
        11 => {
            if let Some(record) = random.pick(&store.cache_records()?) {
                store.cache_get(&record.key)?;
                store.cache_touch(std::slice::from_ref(&record.key))?;
            }
        }
        12 => match store.resolve(&name(random)) {
            Ok(id) => drop(store.image(&id)?),
            Err(ResolveError::Store(error)) => return Err(error),
            Err(_) => {}
        },
        13 => {
            let text = name(random);
            let mut upload = store.begin_upload(REPOSITORY)?;
            upload.append(text.as_bytes())?;
            match random.below(4) {
                // Left half-done.
                0 => drop(upload),
                1 => upload.cancel()?,
                _ => upload.finish(&Digest::sha512(text.as_bytes()), &Digest::sha256(text.as_bytes()))?,
            }
        }
        14 => {
            let text = name(random);
            let manifest = format!("manifest of {text}");
            store.put_hosted_manifest(
                REPOSITORY,
                &NewManifest {
                    digest: &Digest::sha256(manifest.as_bytes()),
                    bytes: manifest.as_bytes(),
                    media_type: "x",
                    subject: None,
                    artifact_type: None,
                    blobs: &[Digest::sha512(text.as_bytes())],
                    manifests: &[],
                    complete: true,
                    tags: &[name(random)],
                },
            )?;
        }
        15 => {
            let text = name(random);
            store.delete_hosted_tag(REPOSITORY, &text)?;
            store.delete_hosted_manifest(
                REPOSITORY,
                &Digest::sha256(format!("manifest of {text}").as_bytes()),
            )?;
            if random.below(2) == 0 {
                store.delete_hosted_blob(REPOSITORY, &Digest::sha512(text.as_bytes()))?;
            }
        }
        _ => {
            store.sweep(&Hooks::default())?;
        }
    }
    Ok(())
}

/// What `step` pushes to.
const REPOSITORY: &str = "r";

/// Takes away what `step` pushed.
pub fn clear_registry(store: &Store) -> store::Result<()> {
    for n in 0..6 {
        let text = format!("n{n}");
        store
            .delete_hosted_manifest(REPOSITORY, &Digest::sha256(format!("manifest of {text}").as_bytes()))?;
        store.delete_hosted_blob(REPOSITORY, &Digest::sha512(text.as_bytes()))?;
    }
    for entry in std::fs::read_dir(store.root().join("uploads")).unwrap() {
        let id = entry.unwrap().file_name().into_string().unwrap();
        if let Some(upload) = store.open_upload(REPOSITORY, &id)? {
            upload.cancel()?;
        }
    }
    Ok(())
}
