//! `type=cache`: a directory that outlives the build and is no part of the image.
//!
//! As in BuildKit, a cache is told apart by its name, by what it was first filled from, and by the owner and
//! permissions that were asked for. Whoever finds it in use waits (`locked`), gets another (`private`), or shares it.
//! Where BuildKit starts a cache `from` a tree as a snapshot on it, the tree is copied here: overlayfs takes no upper
//! directory twice, and a cache is used by many steps at once.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::time::Duration;

use graph::{CacheMount, Exec, MountKind, Sharing};
use runtime::{Source, spec};
use rustix::fs::{Mode, OFlags};
use store::{CacheMountLock, NewCacheMount, Taken};

use super::Mounting;
use crate::copy;
use crate::error::Failure;
use crate::output::Stream;
use crate::session::StepEvent;
use crate::step::{Step, Tree};

/// How often a cache that is in use is asked for again.
const AGAIN: Duration = Duration::from_millis(50);
/// Mode, owner and group of a cache that asks for none.
const PLAIN: (u32, u32, u32) = (0o755, 0, 0);
/// Characters of a step's command that a cache's description has at most.
const DESCRIBED: usize = 200;

/// Takes all caches of a step, to be found by [`mount`]. In the order of their keys, whatever order the step has them
/// in: so no two steps wait for each other.
pub(super) fn take_all(mounting: &mut Mounting<'_>, exec: &Exec) -> Result<(), Failure> {
    let mut wanted = Vec::new();
    for mount in &exec.mounts {
        if let MountKind::Cache(cache) = &mount.kind {
            wanted.push((key(mounting.step, cache)?, cache, mount.target.as_str()));
        }
    }
    wanted.sort_by(|a, b| a.0.cmp(&b.0));
    // One cache at two places of a step is one cache.
    wanted.dedup_by(|a, b| a.0 == b.0);
    for (key, cache, target) in wanted {
        let new = NewCacheMount { description: describe(exec, cache, target), key, name: cache.id.clone() };
        let lock = take(mounting.step, cache, &new)?;
        mounting.held.keep(lock);
    }
    Ok(())
}

/// The mount of a cache, which was taken before, at `target`.
pub(super) fn mount(
    mounting: &mut Mounting<'_>,
    cache: &CacheMount,
    target: &str,
) -> Result<spec::Mount, Failure> {
    let key = key(mounting.step, cache)?;
    let lock: &CacheMountLock =
        mounting.held.find(|lock: &CacheMountLock| lock.mount().key == key).ok_or_else(|| {
            Failure::Unsupported(format!("the cache mount {:?} was not taken (a bug)", cache.id))
        })?;
    // Steps write there what they like: no link in it may lead out.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open(lock.dir(), flags, Mode::empty())
        .map_err(|errno| Failure::io("open", lock.dir())(errno.into()))?;
    let path = cache.from.as_ref().map_or("/", |(_, source)| source.as_str());
    mounting.sources.push(Source { destination: target.into(), root, path: path.into() });
    Ok(spec::Mount::bind("", target, cache.read_only))
}

/// What a cache is found by.
fn key(step: &Step<'_>, cache: &CacheMount) -> Result<String, Failure> {
    let mut key = cache.id.clone();
    if let Some((input, source)) = &cache.from {
        let from = match &step.inputs[*input as usize] {
            Tree::Stack(stack) => stack.chain.as_ref().map_or_else(String::new, ToString::to_string),
            Tree::Context(_) => copy::mount_content(step, *input, source)?.digest.to_string(),
        };
        key.push_str(&format!(":{from}:{source}"));
    }
    if (cache.mode, cache.uid, cache.gid) != PLAIN {
        key.push_str(&format!(":{:o}:{}:{}", cache.mode, cache.uid, cache.gid));
    }
    Ok(key)
}

/// In BuildKit's words.
fn describe(exec: &Exec, cache: &CacheMount, target: &str) -> String {
    let command: String = exec.args.join(" ").chars().take(DESCRIBED).collect();
    let mut text = format!("cached mount {target} from exec {command}");
    if cache.id.trim_start_matches('/') != target.trim_start_matches('/') {
        text.push_str(&format!(" with id {:?}", cache.id));
    }
    text
}

fn take(step: &Step<'_>, cache: &CacheMount, new: &NewCacheMount) -> Result<CacheMountLock, Failure> {
    let session = step.session;
    let alone = cache.sharing != Sharing::Shared;
    let mut told = false;
    loop {
        if session.is_stopped() {
            return Err(Failure::Interrupted);
        }
        let known = match session.store.take_cache_mount(&new.key, alone)? {
            Taken::Locked(lock) => match refill(step, lock, &new.key, alone)? {
                Some(lock) => return Ok(lock),
                None => continue,
            },
            Taken::Busy(known) => known,
        };
        if cache.sharing == Sharing::Locked && known > 0 {
            if !told {
                let text = format!("waiting for the cache mount {}, which is in use\n", new.name);
                session.observer.step(step.id, StepEvent::Output(Stream::Stderr, text.as_bytes()));
                told = true;
            }
            // A step that failed keeps what it had, for a shell.
            if session.has_failed() {
                return Err(Failure::Interrupted);
            }
            std::thread::sleep(AGAIN);
            continue;
        }
        let pending = session.store.begin_cache_mount()?;
        let filled = session.elsewhere.fill_mount(&new.key, pending.dir());
        // One that was given up would be found empty for ever.
        if session.is_stopped() {
            return Err(Failure::Interrupted);
        }
        if !filled {
            fill(step, cache, pending.dir())?;
        }
        // Of two that find none at once, one makes it.
        let known = (cache.sharing != Sharing::Private).then_some(known);
        if let Some(lock) = session.store.commit_cache_mount(pending, new, known, alone)? {
            return Ok(lock);
        }
    }
}

/// A cache that is here and holds nothing gets what a shared cache has of it, as one that is not here does: nothing is
/// lost by that, and a step that found none yet may have left it so. Not while somebody else is in it. `None`: somebody
/// took it meanwhile.
fn refill(
    step: &Step<'_>,
    lock: CacheMountLock,
    key: &str,
    alone: bool,
) -> Result<Option<CacheMountLock>, Failure> {
    let session = step.session;
    if !is_empty(lock.dir()) || !session.elsewhere.has_mount(key) {
        return Ok(Some(lock));
    }
    if alone {
        session.elsewhere.fill_mount(key, lock.dir());
        return Ok(Some(lock));
    }
    let shared = |alone| match session.store.take_cache_mount(key, alone)? {
        Taken::Locked(lock) => Ok(Some(lock)),
        Taken::Busy(_) => Ok::<_, Failure>(None),
    };
    drop(lock);
    if let Some(lock) = shared(true)?
        && is_empty(lock.dir())
    {
        session.elsewhere.fill_mount(key, lock.dir());
    }
    shared(false)
}

fn is_empty(dir: &std::path::Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

/// What a new cache holds: nothing, or what it is to start from.
fn fill(step: &Step<'_>, cache: &CacheMount, dir: &std::path::Path) -> Result<(), Failure> {
    if let Some((input, source)) = &cache.from {
        copy::fill(step, *input, source, dir)?;
    }
    if (cache.mode, cache.uid, cache.gid) == PLAIN && cache.from.is_some() {
        return Ok(());
    }
    let top = match &cache.from {
        Some((_, source)) => dir.join(source.trim_matches('/')),
        None => dir.to_owned(),
    };
    // A link is not followed by chown, and chmod has nothing to say about it.
    let is_dir = fs::symlink_metadata(&top).is_ok_and(|meta| meta.is_dir());
    if is_dir {
        fs::set_permissions(&top, fs::Permissions::from_mode(cache.mode))
            .map_err(Failure::io("chmod", &top))?;
        // Where one id is mapped, everything is its own.
        if step.session.mode != runtime::Mode::SingleId {
            chown(&top, Some(cache.uid), Some(cache.gid)).map_err(Failure::io("chown", &top))?;
        }
    }
    Ok(())
}
