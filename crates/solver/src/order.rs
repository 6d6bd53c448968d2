//! What has to be done, and in which order: the vertices that the targets need, equal ones merged into one.
//!
//! Two vertices are equal where their operations and inputs are: which of several stages or platforms they come from
//! does not matter, and so they are done once. What is found out only while solving (that two different parents have
//! the same bytes) is not known here.

use std::collections::HashMap;

use graph::{Graph, Op, Vertex, VertexId};

use crate::session::Required;

/// A graph in the order of its solution.
pub(crate) struct Order {
    /// The vertex that does each one's work, by index: itself, or an equal one before it.
    pub done_by: Vec<VertexId>,
    /// The vertices that are worked on, inputs first.
    pub todo: Vec<VertexId>,
    /// The others that each does the work of, by index.
    pub does: Vec<Vec<VertexId>>,
    /// How many others each waits for, by index.
    pub waits_for: Vec<usize>,
    /// Who waits for each, by index.
    pub users: Vec<Vec<VertexId>>,
    /// Which must not run, by index.
    pub required: Vec<bool>,
    /// The definitions of all needed vertices, by index; empty for the others.
    pub definitions: Vec<String>,
}

impl Order {
    pub fn of(graph: &Graph, targets: &[VertexId], required: &Required) -> Order {
        let needed = graph.needed(targets);
        let mut order = Order {
            done_by: graph.iter().map(|(id, _)| id).collect(),
            todo: Vec::with_capacity(needed.len()),
            does: vec![Vec::new(); graph.len()],
            waits_for: vec![0; graph.len()],
            users: vec![Vec::new(); graph.len()],
            required: vec![false; graph.len()],
            definitions: vec![String::new(); graph.len()],
        };
        for id in &needed {
            order.definitions[id.index()] = definition(&graph.vertex(*id).op);
        }
        let mut first: HashMap<(&str, Vec<VertexId>, bool), VertexId> = HashMap::with_capacity(needed.len());
        for id in needed {
            let vertex = graph.vertex(id);
            let inputs: Vec<VertexId> = vertex.inputs.iter().map(|i| order.done_by[i.index()]).collect();
            let definition = order.definitions[id.index()].as_str();
            let same = *first.entry((definition, inputs.clone(), vertex.ignore_cache)).or_insert(id);
            order.done_by[id.index()] = same;
            order.required[same.index()] |= required.names(vertex);
            if same != id {
                order.does[same.index()].push(id);
                continue;
            }
            order.todo.push(id);
            let mut distinct = inputs;
            distinct.sort_unstable();
            distinct.dedup();
            order.waits_for[id.index()] = distinct.len();
            for input in distinct {
                order.users[input.index()].push(id);
            }
        }
        // What only such steps need need not run either.
        for id in order.todo.iter().rev() {
            let users = &order.users[id.index()];
            if !users.is_empty() && users.iter().all(|user| order.required[user.index()]) {
                order.required[id.index()] = true;
            }
        }
        order
    }
}

impl Required {
    fn names(&self, vertex: &Vertex) -> bool {
        match self {
            Required::Nothing => false,
            Required::Everything => true,
            Required::Stages(stages) => vertex.place.as_ref().is_some_and(|it| stages.contains(&it.stage)),
        }
    }
}

/// The operation in the form that keys are made of.
fn definition(op: &Op) -> String {
    serde_json::to_string(op).expect("because operations have string keys only")
}

#[cfg(test)]
mod tests {
    use graph::{FileAction, FileOp, MakeDir, Place, Source};

    use super::*;

    fn add(graph: &mut Graph, op: Op, inputs: &[VertexId], ignore_cache: bool) -> VertexId {
        let inputs = inputs.to_vec();
        graph.add(Vertex { op, inputs, name: String::new(), location: None, ignore_cache, place: None })
    }

    fn dir(path: &str) -> Op {
        let make = MakeDir { path: path.into(), mode: 0o755, owner: None };
        Op::File(FileOp { actions: vec![FileAction::MakeDir(make)] })
    }

    #[test]
    fn equal_vertices_are_done_once() {
        let mut graph = Graph::new();
        let base = add(&mut graph, Op::Source(Source::Scratch), &[], false);
        let again = add(&mut graph, Op::Source(Source::Scratch), &[], false);
        let a = add(&mut graph, dir("/a"), &[base], false);
        let same = add(&mut graph, dir("/a"), &[again], false);
        let forced = add(&mut graph, dir("/a"), &[again], true);
        let other = add(&mut graph, dir("/b"), &[again], false);
        let unused = add(&mut graph, dir("/c"), &[again], false);
        let top = add(&mut graph, Op::Merge, &[a, same, forced, other], false);
        let order = Order::of(&graph, &[top], &Required::Nothing);
        assert_eq!(order.todo, [base, a, forced, other, top]);
        assert_eq!((order.done_by[again.index()], order.done_by[same.index()]), (base, a));
        assert_eq!(order.does[a.index()], [same]);
        assert_eq!((order.waits_for[a.index()], order.waits_for[top.index()]), (1, 3));
        assert_eq!(order.users[base.index()], [a, forced, other]);
        assert!(order.definitions[unused.index()].is_empty());
    }

    #[test]
    fn what_only_a_stage_needs_must_not_run_with_it() {
        let mut graph = Graph::new();
        let scratch = add(&mut graph, Op::Source(Source::Scratch), &[], false);
        let mut step = |path: &str, stage: &str, inputs: &[VertexId]| {
            let place = Some(Place { stage: stage.into(), step: 1 });
            let (op, inputs) = (dir(path), inputs.to_vec());
            let name = String::new();
            graph.add(Vertex { op, inputs, name, location: None, ignore_cache: false, place })
        };
        let shared = step("/a", "base", &[scratch]);
        let only = step("/b", "tools", &[shared]);
        let test = step("/c", "test", &[only]);
        let app = step("/d", "app", &[shared, test]);
        let required = Required::Stages(["test".to_owned()].into());
        let order = Order::of(&graph, &[app], &required);
        let required: Vec<VertexId> =
            order.todo.into_iter().filter(|id| order.required[id.index()]).collect();
        assert_eq!(required, [only, test]);
    }
}
