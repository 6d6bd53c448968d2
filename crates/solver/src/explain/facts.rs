//! What a step depended on, by name: the parts of its key in a form that can be compared, and what only people need.

use std::collections::BTreeMap;

use graph::{Exec, FileAction, Graph, MountKind, Op, Source, VertexId};
use oci::ChainId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Contents;
use crate::step::{Step, Tree};

/// What one step depended on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// The step as progress shows it.
    pub step: String,
    /// The operation.
    pub op: Value,
    /// What it was put on.
    pub base: TreeFact,
    /// The network that a process had; empty for copies.
    pub network: String,
    /// The time that no file may be younger than.
    pub epoch: Option<i64>,
    /// What it took from other trees by their ChainIDs, by number of the input.
    pub trees: BTreeMap<u32, TreeFact>,
    /// Digests of what it took by content, by name.
    pub contents: BTreeMap<String, String>,
}

/// A tree that a step worked on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TreeFact {
    /// Its ChainID; empty for none.
    pub chain: String,
    /// What made it, as progress shows it.
    pub name: String,
    /// The image that it is.
    pub image: Option<ImageFact>,
}

/// An image as people know it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageFact {
    pub reference: String,
    /// Digest of its manifest or index, or else its ID.
    pub digest: String,
}

impl Facts {
    /// Whether both are of the same sort of operation: else they have nothing in common that could differ.
    pub fn is_alike(&self, other: &Facts) -> bool {
        let sort = |facts: &Facts| Some(facts.op.as_object()?.keys().next()?.clone());
        sort(self) == sort(other)
    }

    pub fn of(step: &Step<'_>, network: String, contents: &Contents) -> Facts {
        let op = &step.vertex.op;
        let tree = |number: u32| {
            let chain = match &step.inputs[number as usize] {
                Tree::Stack(stack) => stack.chain.as_ref(),
                Tree::Context(_) => return None,
            };
            Some(tree_fact(step.graph, step.vertex.inputs[number as usize], chain))
        };
        let taken: Vec<u32> = match op {
            Op::Exec(exec) => bound(exec).collect(),
            Op::File(file) => file.actions.iter().filter_map(FileAction::input).collect(),
            _ => Vec::new(),
        };
        Facts {
            step: step.vertex.name.clone(),
            op: serde_json::from_str(step.definition).unwrap_or_default(),
            base: tree_fact(step.graph, step.vertex.inputs[0], step.base.chain.as_ref()),
            network,
            epoch: step.session.epoch,
            trees: taken.into_iter().filter_map(|number| Some((number, tree(number)?))).collect(),
            contents: contents.iter().map(|(name, it)| (name.clone(), it.digest.to_string())).collect(),
        }
    }
}

/// The inputs whose trees a process sees.
pub(crate) fn bound(exec: &Exec) -> impl Iterator<Item = u32> {
    exec.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Bind { input, .. } => Some(*input),
        _ => None,
    })
}

fn tree_fact(graph: &Graph, id: VertexId, chain: Option<&ChainId>) -> TreeFact {
    let vertex = graph.vertex(id);
    let image = match &vertex.op {
        Op::Source(Source::Image(image)) => Some(ImageFact {
            reference: image.reference.as_ref().map(|r| r.familiar()).unwrap_or_default(),
            digest: match (&image.digest, &image.image_id) {
                (Some(digest), _) => digest.to_string(),
                (None, Some(id)) => id.to_string(),
                (None, None) => String::new(),
            },
        }),
        _ => None,
    };
    let chain = chain.map(ToString::to_string).unwrap_or_default();
    TreeFact { chain, name: vertex.name.clone(), image }
}
