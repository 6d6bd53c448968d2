//! What a build comes to, for the few lines at its end: which steps were cached, how long the others took, how large
//! the image and its layers are.

use std::time::Duration;

use graph::{Graph, Op, Source, VertexId};
use oci::{ChainId, DiffId};
use store::Store;

use crate::Result;

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// An earlier result stood for it.
    Cached,
    /// It was done in this time.
    Done(Duration),
    /// It failed after this time.
    Failed(Duration),
    /// It was stopped after this time.
    Canceled(Duration),
}

/// A step that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timed {
    /// Its number.
    pub step: u32,
    /// Its name.
    pub name: String,
    /// Whether it does the work of an instruction; else it reads, looks up or exports something.
    pub is_instruction: bool,
    /// How it ended.
    pub ending: Ending,
}

/// A layer of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSize {
    /// Which.
    pub diff_id: DiffId,
    /// The step that made it; `None`: it came with the base image.
    pub made_by: Option<String>,
    /// Bytes of its files, or of its blob where it is not unpacked; `None` where it is not here at all.
    pub size: Option<u64>,
}

/// What a build came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// All steps, in the order of their numbers.
    pub steps: Vec<Timed>,
    /// The image's layers, bottom layer first; of several platforms those of the one that `BuildResult::image` is.
    pub layers: Vec<LayerSize>,
}

impl Summary {
    /// How many instructions' results were there.
    pub fn cached(&self) -> usize {
        self.instructions().filter(|timed| timed.ending == Ending::Cached).count()
    }

    /// How many instructions were run.
    pub fn ran(&self) -> usize {
        self.instructions().filter(|timed| matches!(timed.ending, Ending::Done(_))).count()
    }

    fn instructions(&self) -> impl Iterator<Item = &Timed> {
        self.steps.iter().filter(|timed| timed.is_instruction)
    }

    /// The bytes of all layers that are here.
    pub fn size(&self) -> u64 {
        self.layers.iter().filter_map(|layer| layer.size).sum()
    }
}

/// The layers with their sizes and makers.
pub(super) fn layers(
    store: &Store,
    graph: &Graph,
    target: VertexId,
    layers: &[DiffId],
) -> Result<Vec<LayerSize>> {
    let makers = makers(graph, target);
    let mut sizes = Vec::with_capacity(layers.len());
    for (at, (diff_id, chain)) in layers.iter().zip(ChainId::prefixes(layers)).enumerate() {
        let size = match store.snapshot(&chain)? {
            Some(snapshot) => Some(snapshot.usage),
            None => store.layer_blobs(diff_id)?.first().map(|blob| blob.size),
        };
        let made_by = (makers.len() == layers.len()).then(|| makers[at]).flatten();
        let made_by = made_by.map(|id| graph.vertex(id).name.clone());
        sizes.push(LayerSize { diff_id: diff_id.clone(), made_by, size });
    }
    Ok(sizes)
}

/// The vertex that makes each layer of what `target` makes, bottom layer first; `None` for layers of images.
pub(super) fn makers(graph: &Graph, target: VertexId) -> Vec<Option<VertexId>> {
    // By vertex, inputs first: no recursion follows the graph.
    let mut all: Vec<Vec<Option<VertexId>>> = Vec::with_capacity(graph.len());
    for (id, vertex) in graph.iter() {
        let base = || vertex.inputs.first().map(|input| all[input.index()].clone()).unwrap_or_default();
        let made = match &vertex.op {
            Op::Source(Source::Image(image)) => vec![None; image.diff_ids.len()],
            Op::Source(_) => Vec::new(),
            Op::Exec(_) | Op::File(_) => {
                let mut made = base();
                made.push(Some(id));
                made
            }
            Op::Merge => {
                let mut made = base();
                for input in vertex.inputs.iter().skip(1) {
                    made.extend(all[input.index()].iter().copied());
                }
                made
            }
        };
        all.push(made);
    }
    all.swap_remove(target.index())
}
