//! The schedule: vertices whose inputs are done run side by side, as many as the session allows.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use graph::{Graph, VertexId};

use crate::error::{Error, Failure};
use crate::session::Session;
use crate::step::{self, Solved, Tree};

/// What is known of each vertex.
enum State {
    /// Not begun.
    Waiting,
    /// At work, or not needed at all.
    Taken,
    /// Done.
    Done(Tree),
}

struct Board {
    states: Vec<State>,
    /// Vertices not yet done.
    left: usize,
    failed: Option<Error>,
}

/// Solves `graph` for `target`: everything it needs is looked up or run.
///
/// The first step that fails stops the rest: nothing new begins, what runs is waited for (or
/// killed, where the session is interrupted), and the failure is returned.
pub fn solve(graph: &Graph, target: VertexId, session: &Session<'_>) -> Result<Solved, Error> {
    let needed = graph.needed(&[target]);
    let mut states: Vec<State> = (0..graph.len()).map(|_| State::Taken).collect();
    for id in &needed {
        states[id.index()] = State::Waiting;
    }
    let board = Mutex::new(Board { states, left: needed.len(), failed: None });
    let turn = Condvar::new();
    let workers = session.jobs.max(1).min(width(graph, &needed));
    std::thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(|| work(graph, &needed, &board, &turn, session));
        }
        work(graph, &needed, &board, &turn, session);
    });
    let mut board = board.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = board.failed {
        return Err(error);
    }
    match std::mem::replace(&mut board.states[target.index()], State::Taken) {
        State::Done(Tree::Stack(stack)) => Ok(Solved { layers: stack.layers }),
        State::Done(Tree::Context(name)) => Err(Error {
            vertex: Some(target),
            failure: Failure::Unsupported(format!("the build context {name:?} alone is no image")),
        }),
        _ => unreachable!("because all needed vertices are done when nothing failed"),
    }
}

/// An upper bound of how many vertices can be at work at once.
fn width(graph: &Graph, needed: &[VertexId]) -> usize {
    let mut used_by = vec![0usize; graph.len()];
    for id in needed {
        for input in &graph.vertex(*id).inputs {
            used_by[input.index()] += 1;
        }
    }
    let ends = needed.iter().filter(|id| graph.vertex(**id).inputs.is_empty()).count();
    let forks: usize = needed.iter().map(|id| used_by[id.index()].saturating_sub(1)).sum();
    ends + forks
}

fn work(graph: &Graph, needed: &[VertexId], board: &Mutex<Board>, turn: &Condvar, session: &Session<'_>) {
    let mut guard = lock(board);
    loop {
        if guard.left == 0 || guard.failed.is_some() {
            turn.notify_all();
            return;
        }
        let Some((id, inputs)) = next(graph, needed, &mut guard.states) else {
            guard = turn.wait(guard).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        drop(guard);
        let result = match session.is_interrupted() {
            true => Err(Failure::Interrupted),
            false => step::run(graph, id, &inputs, session),
        };
        guard = lock(board);
        match result {
            Ok(tree) => {
                guard.states[id.index()] = State::Done(tree);
                guard.left -= 1;
            }
            Err(failure) => {
                let error = Error { vertex: Some(id), failure };
                guard.failed.get_or_insert(error);
            }
        }
        turn.notify_all();
    }
}

/// Takes the first vertex whose inputs are all done.
fn next(graph: &Graph, needed: &[VertexId], states: &mut [State]) -> Option<(VertexId, Vec<Tree>)> {
    'vertices: for id in needed {
        if !matches!(states[id.index()], State::Waiting) {
            continue;
        }
        let mut inputs = Vec::with_capacity(graph.vertex(*id).inputs.len());
        for input in &graph.vertex(*id).inputs {
            match &states[input.index()] {
                State::Done(tree) => inputs.push(tree.clone()),
                _ => continue 'vertices,
            }
        }
        states[id.index()] = State::Taken;
        return Some((*id, inputs));
    }
    None
}

fn lock(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}
