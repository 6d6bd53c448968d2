//! `--verify-reproducible`: everything is run a second time, and what came of it is compared.
//!
//! What differs is shown by the first layer that does, the step that made it, and a file of it: one that differs in more
//! than its time, if there is any.

use dockerfile::lower::Lowered;
use oci::{ChainId, DiffId};

use crate::build::context::Inputs;
use crate::build::observe::Steps;
use crate::build::{excerpt, observe, summary};
use crate::{Engine, Error, Kind, Result, printable};

/// Compares the layers that each plan gave the first time and the second.
///
/// # Errors
/// [`Kind::BuildFailed`] for what is not the same.
pub(super) fn verify(
    engine: &Engine,
    inputs: &Inputs,
    steps: &Steps<'_>,
    plans: &[Lowered],
    first: &[Vec<DiffId>],
    second: &[Vec<DiffId>],
) -> Result<()> {
    observe::internal(steps, "comparing the two builds", |say| {
        for ((lowered, first), second) in plans.iter().zip(first).zip(second) {
            compare(engine, inputs, lowered, first, second)?;
            say(&format!("both have the same {} layers", first.len()));
        }
        Ok(())
    })
}

fn compare(
    engine: &Engine,
    inputs: &Inputs,
    lowered: &Lowered,
    first: &[DiffId],
    second: &[DiffId],
) -> Result<()> {
    let Some(at) = (0..first.len().max(second.len())).find(|at| first.get(*at) != second.get(*at)) else {
        return Ok(());
    };
    let maker = summary::makers(&lowered.graph, lowered.target).get(at).copied().flatten();
    let vertex = maker.map(|id| lowered.graph.vertex(id));
    let name = vertex.map_or("a step", |vertex| vertex.name.as_str());
    let mut detail = format!("------\n > {}:\n", printable::one_line(name));
    let mut by_time = false;
    if let (Some(one), Some(two)) = (chain(first, at), chain(second, at)) {
        let store = &engine.store;
        let found = snapshot::diff::first_difference(&store.snapshot_dir(&one), &store.snapshot_dir(&two))?;
        if let Some(found) = found {
            by_time = found.is_time_alone();
            let path = printable::one_line(&String::from_utf8_lossy(&found.path));
            for how in &found.how {
                detail.push_str(&format!("/{path}: {how}\n"));
            }
        }
    }
    detail.push_str("------\n");
    if let Some(location) = vertex.and_then(|vertex| vertex.location) {
        detail.push_str(&excerpt(inputs, location));
        detail.push('\n');
    }
    let error = Error::new(
        Kind::BuildFailed,
        format!(
            "the build is not reproducible: {} makes another layer the second time",
            printable::one_line(name)
        ),
    );
    let error = match by_time && lowered.source_date_epoch.is_none() {
        true => error.hint("SOURCE_DATE_EPOCH=SECONDS in the environment gives all new files one time"),
        false => error,
    };
    Err(Error { detail, ..error })
}

/// The stack up to the layer at `at`.
fn chain(layers: &[DiffId], at: usize) -> Option<ChainId> {
    layers.get(..=at).and_then(ChainId::of)
}
