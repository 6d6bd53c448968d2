//! Why a step has to run: what differs from the nearest earlier build of it, by name.
//!
//! Each step that is made leaves its [`Facts`] in the store. A step that is not found again looks for the record that
//! differs least: one that does the same anywhere, or the one that stood at its place in an earlier build of this text.
//! Nothing is decided here; a key decides.

mod compare;
mod facts;
mod reason;

use std::collections::HashSet;
use std::sync::OnceLock;

use graph::{Graph, Op, VertexId};
use oci::Digest;
use snapshot::content::{Content, Files, changes};
use store::StepRecord;

use crate::error::Failure;
use crate::step::Step;
use compare::Differences;

pub(crate) use facts::Facts;
pub use reason::{Explanation, Reason};

/// Records looked at of each sort.
const NEAR: u32 = 4;
/// Files named at most.
const FILES: usize = 100;
/// Bytes of a step's lists of files that are kept.
const ROOM: usize = 4 << 20;

/// The shapes of all steps of a graph, for telling a step that was moved from one that was changed.
#[derive(Default)]
pub(crate) struct Shapes(OnceLock<HashSet<String>>);

impl Shapes {
    fn has(&self, graph: &Graph, shape: &str) -> bool {
        let all = || graph.iter().map(|(id, _)| self::shape(graph, id)).collect();
        self.0.get_or_init(all).contains(shape)
    }
}

/// What the step does, whatever it works on: of a process its command, of copies all of it.
fn shape(graph: &Graph, id: VertexId) -> String {
    let text = match &graph.vertex(id).op {
        Op::Exec(exec) => serde_json::to_string(&(&exec.args, &exec.files)),
        op => serde_json::to_string(op),
    };
    Digest::sha256(text.unwrap_or_default().as_bytes()).to_string()
}

/// Contents that a step takes, by the mount that shows them; a copy's has no name.
pub(crate) type Contents = Vec<(String, Content)>;

/// Why the step of `key` has to run.
pub(crate) fn why(
    step: &Step<'_>,
    key: &Digest,
    facts: &Facts,
    contents: &Contents,
) -> Result<Explanation, Failure> {
    if step.vertex.ignore_cache {
        return Ok(Explanation::of(Reason::NoCache));
    }
    let store = step.session.store;
    if store.step_known(key)? {
        return Ok(Explanation::of(Reason::Pruned));
    }
    let shape = shape(step.graph, step.id);
    let near = store.steps_near(&step.place(), &shape, NEAR)?;
    let nearest = near
        .into_iter()
        // What stands elsewhere in this build is another step, which was moved.
        .filter(|record| record.shape == shape || !step.session.lazy.shapes.has(step.graph, &record.shape))
        .filter_map(|record| Some((serde_json::from_str::<Facts>(&record.facts).ok()?, record)))
        .filter(|(before, _)| before.is_alike(facts))
        .map(|(before, record)| (compare::differences(&before, facts, step.base.made), record))
        .min_by_key(|(differences, record)| (differences.weight(), -record.seen));
    match nearest {
        Some((differences, record)) => name_files(step, differences, &record, contents),
        None => Ok(Explanation::of(Reason::Unknown)),
    }
}

/// What it leaves for the next build.
pub(crate) fn record(step: &Step<'_>, key: &Digest, facts: &Facts, contents: &Contents) -> StepRecord {
    let lists: Vec<(&str, Vec<u8>)> =
        contents.iter().map(|(name, content)| (name.as_str(), content.files.to_bytes())).collect();
    let files = pack(&lists);
    StepRecord {
        key: key.clone(),
        place: step.place(),
        shape: shape(step.graph, step.id),
        facts: serde_json::to_string(facts).unwrap_or_default(),
        files: if files.len() > ROOM { Vec::new() } else { files },
        seen: 0,
    }
}

/// Goes from contents that differ to the files that do.
fn name_files(
    step: &Step<'_>,
    differences: Differences,
    record: &StepRecord,
    contents: &Contents,
) -> Result<Explanation, Failure> {
    let Differences { mut reasons, contents: differ } = differences;
    let mut more_files = 0;
    if !differ.is_empty() {
        let packed = step.session.store.step_files(&record.key)?.unwrap_or_default();
        let lists = unpack(&packed);
        for name in differ {
            let now = contents.iter().find(|(known, _)| *known == name).map(|(_, content)| &content.files);
            let before = lists.iter().find(|(known, _)| *known == name);
            let before = before.and_then(|(_, bytes)| Files::from_bytes(bytes));
            let mount = (!name.is_empty()).then_some(name);
            match (before, now) {
                (Some(before), Some(now)) => {
                    let (files, more) = changes(&before, now, FILES);
                    more_files += more;
                    let file = |file| Reason::File { mount: mount.clone(), file };
                    reasons.extend(files.into_iter().map(file));
                }
                _ => reasons.push(Reason::Files { mount }),
            }
        }
    }
    if reasons.is_empty() {
        reasons.push(Reason::Other);
    }
    Ok(Explanation { reasons, more_files, since: Some(record.seen) })
}

/// Lists after each other, each with its name and the lengths of both.
fn pack(lists: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut all = Vec::new();
    for (name, list) in lists {
        for bytes in [name.as_bytes(), list] {
            all.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            all.extend_from_slice(bytes);
        }
    }
    all
}

fn unpack(mut packed: &[u8]) -> Vec<(String, &[u8])> {
    let mut next = || {
        let (len, rest) = packed.split_first_chunk::<4>()?;
        let (bytes, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        packed = rest;
        Some(bytes)
    };
    let mut lists = Vec::new();
    while let (Some(name), Some(list)) = (next(), next()) {
        lists.push((String::from_utf8_lossy(name).into_owned(), list));
    }
    lists
}
