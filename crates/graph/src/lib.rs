//! What is to be built: a graph of operations on file trees, the narrow waist between the
//! Dockerfile language above and the solver below.
//!
//! A `Graph` is a list of `Vertex`es in topological order; each does one `Op` on the trees its
//! inputs made, and makes one tree. The set of operations is closed. Whatever changes the result
//! stands in the `Op`; whatever does not (names, locations, `--no-cache`) stands in the `Vertex`
//! around it. Nothing here does I/O, knows a Dockerfile, or knows how an operation is carried out.
#![forbid(unsafe_code)]

mod dump;
mod exec;
mod file;
mod pattern;
mod source;
mod variable;

use serde::{Deserialize, Serialize};

pub use exec::{CacheMount, Exec, InlineFile, Mount, MountKind, Network, Security, Sharing};
pub use file::{Copy, FileAction, FileOp, MakeDir, MakeFile, Unpack};
pub use pattern::Pattern;
pub use source::{GitSource, HttpSource, ImageSource, Source, redacted};
pub use variable::names_secret;

/// The operations to be done, inputs before what uses them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Graph {
    vertices: Vec<Vertex>,
}

/// Index of a vertex in its graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VertexId(u32);

/// One operation, what it works on, and what a person is told about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Vertex {
    /// What is done.
    pub op: Op,
    /// The trees it works on. For `Exec`, `File` and `Merge` the first one is the base that the
    /// result is stacked on; the numbers in mounts and copies index this list.
    pub inputs: Vec<VertexId>,
    /// Progress text, such as `[build 2/5] RUN make`.
    pub name: String,
    /// Where in the Dockerfile it comes from.
    pub location: Option<Location>,
    /// Whether the step is run even where a cached result exists.
    pub ignore_cache: bool,
    /// Which step of which stage it is; `None` for sources.
    pub place: Option<Place>,
}

/// Where a step stands among its stages, by which it is compared with earlier builds of the same text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The stage's name, or `stage-N` where it has none.
    pub stage: String,
    /// The step's number in it.
    pub step: u32,
}

/// A range of a Dockerfile, 1-based, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Location {
    /// First line.
    pub line: u32,
    /// Column of the first character, in characters.
    pub column: u32,
    /// Last line.
    pub end_line: u32,
}

/// An operation. Its serialised form is what cache keys are made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// A tree that comes from outside the graph; no inputs.
    Source(Source),
    /// A process run in the first input's tree; the tree it leaves is the result.
    Exec(Exec),
    /// Files copied or made on top of the first input's tree.
    File(FileOp),
    /// The layers that the second and later inputs add, put on top of the first input's tree.
    Merge,
}

impl Graph {
    /// A graph with nothing in it.
    pub fn new() -> Graph {
        Graph::default()
    }

    /// Adds a vertex.
    ///
    /// # Panics
    /// Where an input is not a vertex of this graph, or `op`'s input numbers are out of range:
    /// both are mistakes of the caller, not of a Dockerfile.
    pub fn add(&mut self, vertex: Vertex) -> VertexId {
        let count = vertex.inputs.len() as u32;
        for input in &vertex.inputs {
            assert!((input.0 as usize) < self.vertices.len(), "an input must be added before what uses it");
        }
        match &vertex.op {
            Op::Source(_) => assert_eq!(count, 0, "a source has no inputs"),
            Op::Merge => assert!(count >= 2, "a merge has a base and at least one tree to add"),
            Op::Exec(exec) => {
                assert!(count >= 1, "an exec has a base");
                assert!(exec.mounts.iter().filter_map(|m| m.kind.input()).all(|i| i < count));
            }
            Op::File(file) => {
                assert!(count >= 1, "a file operation has a base");
                assert!(file.actions.iter().filter_map(FileAction::input).all(|i| i < count));
            }
        }
        self.vertices.push(vertex);
        VertexId(self.vertices.len() as u32 - 1)
    }

    /// Adds all vertices of `other`, after those that are here. What is returned maps a vertex of `other` to the one
    /// that it became.
    pub fn append(&mut self, other: Graph) -> impl Fn(VertexId) -> VertexId + use<> {
        let offset = self.vertices.len() as u32;
        let moved = move |id: VertexId| VertexId(id.0 + offset);
        self.vertices.extend(other.vertices.into_iter().map(|mut vertex| {
            vertex.inputs.iter_mut().for_each(|input| *input = moved(*input));
            vertex
        }));
        moved
    }

    /// The vertex `id` of this graph.
    pub fn vertex(&self, id: VertexId) -> &Vertex {
        &self.vertices[id.0 as usize]
    }

    /// All vertices with their ids, inputs before what uses them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (VertexId, &Vertex)> {
        self.vertices.iter().enumerate().map(|(i, vertex)| (VertexId(i as u32), vertex))
    }

    /// Number of vertices.
    pub fn len(&self) -> usize {
        self.vertices.len()
    }

    /// Whether there is no vertex.
    pub fn is_empty(&self) -> bool {
        self.vertices.is_empty()
    }

    /// The vertices that `targets` need, themselves included, in topological order.
    pub fn needed(&self, targets: &[VertexId]) -> Vec<VertexId> {
        let mut wanted = vec![false; self.vertices.len()];
        for target in targets {
            wanted[target.index()] = true;
        }
        for i in (0..self.vertices.len()).rev() {
            if wanted[i] {
                for input in &self.vertices[i].inputs {
                    wanted[input.index()] = true;
                }
            }
        }
        (0..self.vertices.len()).filter(|&i| wanted[i]).map(|i| VertexId(i as u32)).collect()
    }
}

impl VertexId {
    /// Position in the graph's order.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vertex(op: Op, inputs: &[VertexId]) -> Vertex {
        Vertex {
            op,
            inputs: inputs.to_vec(),
            name: String::new(),
            location: None,
            ignore_cache: false,
            place: None,
        }
    }

    #[test]
    fn needed_leaves_out_what_the_target_does_not_use() {
        let mut graph = Graph::new();
        let a = graph.add(vertex(Op::Source(Source::Scratch), &[]));
        let _unused = graph.add(vertex(Op::Source(Source::Local("context".into())), &[]));
        let b = graph.add(vertex(Op::Source(Source::Local("other".into())), &[]));
        let c = graph.add(vertex(Op::Merge, &[a, b]));
        assert_eq!(graph.needed(&[c]), [a, b, c]);
    }

    #[test]
    fn what_is_appended_keeps_its_inputs() {
        let mut graph = Graph::new();
        graph.add(vertex(Op::Source(Source::Scratch), &[]));
        let mut other = Graph::new();
        let a = other.add(vertex(Op::Source(Source::Scratch), &[]));
        let b = other.add(vertex(Op::Source(Source::Local("other".into())), &[]));
        let c = other.add(vertex(Op::Merge, &[a, b]));
        let moved = graph.append(other);
        assert_eq!((graph.len(), moved(c).index()), (4, 3));
        assert_eq!(graph.vertex(moved(c)).inputs, [moved(a), moved(b)]);
    }

    #[test]
    #[should_panic(expected = "before what uses it")]
    fn inputs_come_first() {
        Graph::new().add(vertex(Op::Merge, &[VertexId(0), VertexId(1)]));
    }
}
