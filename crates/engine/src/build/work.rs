//! A planned build carried out: solved, made an image, written where it is to go, its results to shared caches.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::atomic::AtomicBool;

use dockerfile::lower::Lowered;
use oci::{DiffId, Platform};

use super::context::Inputs;
use super::elsewhere::Elsewhere;
use super::observe::{Steps, internal};
use super::output::{Exported, Made, Output, Pushing, Writing};
use super::request::BuildRequest;
use super::{cache, export, solve, verify};
use crate::{Engine, Error, Event, Events, Result};

/// What a build works with once it is planned.
pub(super) struct Work<'a> {
    pub engine: &'a Engine,
    pub request: &'a BuildRequest,
    pub inputs: &'a Inputs,
    /// For each platform.
    pub plans: &'a [Lowered],
    pub platforms: &'a [Platform],
    /// The plan of this machine's platform.
    pub host: usize,
    /// Names of the Dockerfile's arguments.
    pub arguments: &'a BTreeSet<String>,
    pub steps: &'a Steps<'a>,
    pub elsewhere: &'a Elsewhere<'a>,
    pub interrupted: &'a AtomicBool,
    pub events: &'a dyn Events,
}

impl Work<'_> {
    /// Solves all plans, makes images of them, and writes those where they are to go; `out` is where that goes that has
    /// no file.
    pub fn make(&self, out: &mut (dyn Write + Send)) -> Result<(Vec<Made>, Vec<Exported>)> {
        let keep = self.keeps();
        loop {
            let solved = self.solve(keep)?;
            if self.request.verify_reproducible {
                let again = self.solve(keep)?;
                verify::verify(self.engine, self.inputs, self.steps, self.plans, &solved, &again)?;
            }
            self.elsewhere.keep_records()?;
            let inline = |cache: &cache::CacheTo| matches!(cache.place, cache::CacheToPlace::Inline);
            let inline = self.request.cache_to.iter().any(inline);
            let mut made = Vec::with_capacity(self.plans.len());
            for ((lowered, layers), platform) in self.plans.iter().zip(solved.clone()).zip(self.platforms) {
                let image = export::image(self.engine, lowered, layers, self.elsewhere, inline)?;
                made.push(Made { platform: platform.clone(), image });
            }
            let Work { engine, request, steps, elsewhere, host, .. } = *self;
            let epoch = self.plans[host].source_date_epoch;
            let writing = Writing { engine, request, steps, made: &made, host, epoch, elsewhere };
            match writing.all(&request.outputs, out) {
                Ok(exported) => {
                    let (client, caches) = (&request.registry, &request.cache_to);
                    cache::export(engine, client, caches, &solved, elsewhere, steps, self.events)?;
                    return Ok((made, exported));
                }
                // A shared cache did not have what it promised: the image has to be made anew.
                Err(error) if !keep && self.goes_on(&solved.concat(), &error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether layers have to come here that are elsewhere: not for an image that only leaves, or goes nowhere.
    fn keeps(&self) -> bool {
        let leaves = |output: &Output| match output {
            Output::Nothing => true,
            Output::Image(image) => (image.push != Pushing::No || image.transient) && self.plans.len() == 1,
            _ => false,
        };
        self.request.load || !self.request.outputs.iter().all(leaves)
    }

    /// Solves the plans; with `keep` all layers are in the store then. What shared caches promised and do not have is
    /// made here.
    fn solve(&self, keep: bool) -> Result<Vec<Vec<DiffId>>> {
        let Work { engine, request, inputs, plans, steps, elsewhere, interrupted, events, .. } = *self;
        loop {
            let solved = solve::solve(
                engine,
                request,
                inputs,
                plans,
                self.arguments,
                steps,
                elsewhere,
                interrupted,
                events,
            );
            let solved = match solved {
                Ok(solved) => solved,
                Err(error) => match elsewhere.take_lost() {
                    Some(layers) if self.goes_on(&layers, &error) => continue,
                    _ => return Err(error),
                },
            };
            match self.keep(&solved, keep) {
                Ok(()) => return Ok(solved),
                Err(error) if self.goes_on(&solved.concat(), &error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// With `keep`, makes sure that all layers are in the store.
    fn keep(&self, solved: &[Vec<DiffId>], keep: bool) -> Result<()> {
        for layers in solved {
            if keep && !self.elsewhere.is_here(layers)? {
                internal(self.steps, "[internal] load layers of the image", |_| {
                    self.elsewhere.fetch(layers)
                })?;
            }
        }
        Ok(())
    }

    /// Whether there is another way than the layers that did not come: the shared caches that have them are not asked
    /// any more.
    fn goes_on(&self, layers: &[DiffId], error: &Error) -> bool {
        if self.elsewhere.is_interrupted() {
            return false;
        }
        let distrusted = self.elsewhere.distrust(&layers.iter().cloned().collect::<BTreeSet<_>>());
        for name in &distrusted {
            let text = format!("cache {name} is not used any more: {}", error.message);
            self.events.event(Event::Warning(text));
        }
        !distrusted.is_empty()
    }
}
