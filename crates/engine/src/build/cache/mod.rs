//! Shared caches: results and layers of other machines, found by key (`--cache-from`), and what was found out here,
//! written for them (`--cache-to`).
//!
//! A cache saves time and nothing else: one that cannot be reached, or that is broken, is warned of and done without.
//! What its records promise is compared as it comes; a layer that is not what was promised ends the trust in the cache,
//! and what it stood for is made here.

mod bucket;
mod config;
mod export;
mod mounts;
mod place;
mod request;
pub(crate) mod sent;

pub(crate) use config::CarriedMount;
pub(crate) use mounts::restore as fill_mount;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use oci::{DiffId, ImageConfig};

pub use request::{CacheFrom, CacheFromPlace, CacheMode, CacheTo, CacheToPlace, S3Cache};

use self::config::Contents;
use self::export::Export;
use self::place::Place;
use crate::build::elsewhere::{Elsewhere, RemoteLayer};
use crate::build::observe::{Steps, internal};
use crate::{Engine, Error, Event, Events, Result};

/// Looks up what the shared caches have. One that has nothing, or does not answer, is warned of.
pub(crate) fn import(
    client: &registry::Client,
    from: &[CacheFrom],
    elsewhere: &Elsewhere<'_>,
    steps: &Steps<'_>,
    events: &dyn Events,
) {
    for cache in from {
        let loaded = Place::from(client, &cache.place).and_then(|place| {
            let name = place.name();
            let contents = internal(steps, &format!("importing cache manifest from {name}"), |say| {
                let found = place.load().map_err(|error| error.context(&name))?;
                if found.is_none() {
                    say("there is no cache there yet");
                }
                Ok(found)
            })?;
            Ok(contents.map(|contents| (place, contents)))
        });
        match loaded {
            Ok(Some((place, contents))) => add(elsewhere, cache, &place, contents),
            Ok(None) => {}
            Err(error) => warn(events, "a cache is not used", &error),
        }
    }
}

fn add(elsewhere: &Elsewhere<'_>, from: &CacheFrom, place: &Place, contents: Contents) {
    let made = |made: &config::Made| (contents.layers[made.layer].diff_id.clone(), made.created);
    let by_key: HashMap<_, _> = contents.by_key.iter().map(|(key, at)| (key.clone(), made(at))).collect();
    let number = elsewhere.add_cache(&place.name(), by_key);
    let holder = Arc::new(place.holder());
    for mount in contents.mounts {
        if from.mounts.as_ref().is_none_or(|ids| ids.contains(&mount.id)) {
            elsewhere.add_mount(mount, holder.clone());
        }
    }
    for layer in contents.layers {
        let (blob, created) = (layer.blob, layer.created);
        let known = RemoteLayer { blob, holder: holder.clone(), created, cache: Some(number) };
        elsewhere.add_layer(&layer.diff_id, known);
    }
}

/// Writes the shared caches that a build is to leave. `images` are the layers of the images that it made.
///
/// # Errors
/// Of those alone that have to be written; what is wrong with the others is warned of.
pub(crate) fn export(
    engine: &Engine,
    client: &registry::Client,
    to: &[CacheTo],
    images: &[Vec<DiffId>],
    elsewhere: &Elsewhere<'_>,
    steps: &Steps<'_>,
    events: &dyn Events,
) -> Result<()> {
    let image: BTreeSet<DiffId> = images.iter().flatten().cloned().collect();
    for cache in to {
        let kind = match cache.place {
            CacheToPlace::Inline => continue,
            CacheToPlace::Registry(_) => "registry",
            CacheToPlace::Local { .. } => "client directory",
            CacheToPlace::S3(_) => "Amazon S3",
        };
        let written = internal(steps, &format!("exporting cache to {kind}"), |say| {
            let Some(place) = Place::to(client, &cache.place)? else { return Ok(()) };
            let export = Export { engine, elsewhere, to: cache, place: &place };
            export
                .run(&elsewhere.all_records(&engine.store)?, &image, say)
                .map_err(|error| error.context(place.name()))
        });
        match written {
            Ok(()) => {}
            Err(error) if cache.required => return Err(error.context("the cache could not be written")),
            Err(error) => warn(events, "the cache could not be written", &error),
        }
    }
    Ok(())
}

/// Puts what the build knows of the image's own layers into its config, if that was asked for.
pub(crate) fn put_inline(engine: &Engine, config: &mut ImageConfig, elsewhere: &Elsewhere<'_>) -> Result<()> {
    let image: BTreeSet<DiffId> = config.rootfs.diff_ids.iter().cloned().collect();
    let results = export::results(&elsewhere.all_records(&engine.store)?, Some(&image));
    let at = |made: &DiffId| config.rootfs.diff_ids.iter().position(|layer| layer == made);
    let by_key = results
        .into_iter()
        .filter_map(|(key, made)| Some((key, config::Made { layer: at(&made)?, created: None })))
        .collect();
    config::put_inline(config, &by_key);
    Ok(())
}

fn warn(events: &dyn Events, what: &str, error: &Error) {
    events.event(Event::Warning(format!("{what}: {}", error.message)));
}
