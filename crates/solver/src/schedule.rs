//! The schedule: vertices whose inputs are done run side by side, as many as the session allows.
//!
//! Where the number of jobs is not fixed, as many run as there are processors, and more as long as those at work do not
//! keep as many busy: steps that sleep, download or wait for each other hold nobody up. See [`crate::busy`].

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;
use std::time::Duration;

use graph::{Graph, Op, VertexId};

use crate::busy;
use crate::error::{Error, Failure};
use crate::missing;
use crate::order::Order;
use crate::session::{Jobs, Session, StepEvent};
use crate::step::{self, Solved, Task, Tree};

/// How often it is looked at how busy the steps at work are, and so many times before more begin.
const WATCH: Duration = Duration::from_millis(10);
const LOOKS: usize = 3;
/// How often a solve begins again whose cached results were pruned under it.
const ATTEMPTS: usize = 3;

/// Solves `graph` for `targets`: everything they need is looked up or run, equal vertices once. Gives a result for
/// each target.
///
/// # Errors
/// The first step that fails stops the rest: nothing new begins, what runs is killed and waited for, and the failure
/// is returned.
pub fn solve(graph: &Graph, targets: &[VertexId], session: &Session<'_>) -> Result<Vec<Solved>, Error> {
    let order = Order::of(graph, targets, &session.required);
    missing::look(graph, &order, session)?;
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        match attempt(graph, &order, targets, session) {
            // Another process pruned what was found, in the moment before it was held: it is not found again.
            Err(Error { failure: Failure::Vanished, .. }) if left > 0 => session.begin_again(),
            result => return result,
        }
    }
}

fn attempt(
    graph: &Graph,
    order: &Order,
    targets: &[VertexId],
    session: &Session<'_>,
) -> Result<Vec<Solved>, Error> {
    let (cores, most) = session.jobs.bounds();
    let ready = order.todo.iter().filter(|id| order.waits_for[id.index()] == 0).map(|id| Reverse(*id));
    let board = Board {
        trees: (0..graph.len()).map(|_| None).collect(),
        waits_for: order.waits_for.clone(),
        ready: ready.collect(),
        left: order.todo.len(),
        failed: None,
        allowed: cores,
        working: 0,
        threads: 1,
        idle: 0,
        watched: false,
    };
    let schedule =
        Schedule { graph, order, session, board: Mutex::new(board), turn: Condvar::new(), cores, most };
    std::thread::scope(|scope| schedule.work(scope));
    let board = schedule.board.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = board.failed {
        return Err(error);
    }
    session.hold().map_err(|failure| Error { vertex: None, failure })?;
    targets
        .iter()
        .map(|target| match &board.trees[order.done_by[target.index()].index()] {
            Some(Tree::Stack(stack)) => Ok(Solved { layers: stack.layers.clone() }),
            Some(Tree::Context(name)) => Err(Error {
                vertex: Some(*target),
                failure: Failure::Unsupported(format!("the build context {name:?} alone is no image")),
            }),
            None => unreachable!("because all needed vertices are done when nothing failed"),
        })
        .collect()
}

/// One solve.
struct Schedule<'s> {
    graph: &'s Graph,
    order: &'s Order,
    session: &'s Session<'s>,
    board: Mutex<Board>,
    turn: Condvar,
    /// How many vertices may be at work whatever the machine does.
    cores: usize,
    /// How many at most.
    most: usize,
}

/// How far it is.
struct Board {
    /// What is done, by index.
    trees: Vec<Option<Tree>>,
    /// How many inputs each still waits for.
    waits_for: Vec<usize>,
    /// Vertices whose inputs are done; those that come first in the graph go first.
    ready: BinaryHeap<Reverse<VertexId>>,
    /// Vertices not yet done.
    left: usize,
    failed: Option<Error>,
    /// How many may be at work now.
    allowed: usize,
    /// How many are.
    working: usize,
    /// Threads, and how many of them have nothing to do.
    threads: usize,
    idle: usize,
    /// Whether one of those looks how busy the others are.
    watched: bool,
}

impl<'s> Schedule<'s> {
    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        let mut board = self.lock();
        loop {
            if board.left == 0 || board.failed.is_some() {
                self.turn.notify_all();
                return;
            }
            let Some(id) = board.take() else {
                board = self.wait(board);
                continue;
            };
            // Whoever can be at work too is woken by somebody who is: one after the other.
            if !board.ready.is_empty()
                && board.idle == 0
                && board.threads <= board.working
                && board.working < self.most
            {
                board.threads += 1;
                scope.spawn(|| self.work(scope));
            } else if !board.ready.is_empty() {
                self.turn.notify_one();
            }
            let inputs = board.inputs(self.graph, self.order, id);
            drop(board);
            let result = self.run(id, &inputs);
            board = self.lock();
            self.end(&mut board, id, result);
        }
    }

    fn run(&self, id: VertexId, inputs: &[Tree]) -> Result<Tree, Failure> {
        if self.session.is_stopped() {
            return Err(Failure::Interrupted);
        }
        let _freed = EndOnPanic(self);
        let definition = &self.order.definitions[id.index()];
        let required = self.order.required[id.index()];
        let tree =
            step::run(&Task { graph: self.graph, id, definition, inputs, session: self.session, required })?;
        for same in &self.order.does[id.index()] {
            if matches!(self.graph.vertex(*same).op, Op::Exec(_) | Op::File(_)) {
                self.session.observer.step(*same, StepEvent::Cached);
            }
        }
        Ok(tree)
    }

    fn end(&self, board: &mut Board, id: VertexId, result: Result<Tree, Failure>) {
        board.working -= 1;
        // What was allowed beyond the processors was for steps that waited: the next may not.
        board.allowed = board.allowed.min(board.working.max(self.cores));
        match result {
            Ok(tree) => {
                board.trees[id.index()] = Some(tree);
                board.left = board.left.saturating_sub(1);
                for user in &self.order.users[id.index()] {
                    board.waits_for[user.index()] -= 1;
                    if board.waits_for[user.index()] == 0 {
                        board.ready.push(Reverse(*user));
                    }
                }
            }
            Err(failure) => {
                // What else runs is of no use to anybody.
                self.session.stop();
                board.failed.get_or_insert(Error { vertex: Some(id), failure });
            }
        }
        // This thread goes on with one of what became ready; others are woken by it, if there is more.
        if board.left == 0 || board.failed.is_some() {
            self.turn.notify_all();
        }
    }

    /// Waits for something to do. If there is something and only the number of jobs is in the way, how busy those at work
    /// are is found out meanwhile.
    fn wait<'b>(&'b self, mut board: MutexGuard<'b, Board>) -> MutexGuard<'b, Board> {
        board.idle += 1;
        let watches = !board.ready.is_empty() && !board.watched && board.allowed < self.most;
        let mut board = match watches {
            true => self.watch(board),
            false => self.turn.wait(board).unwrap_or_else(PoisonError::into_inner),
        };
        board.idle -= 1;
        board
    }

    fn watch<'b>(&'b self, mut board: MutexGuard<'b, Board>) -> MutexGuard<'b, Board> {
        board.watched = true;
        let mut busiest = 0;
        for _ in 0..LOOKS {
            let (held, waited) = self.turn.wait_timeout(board, WATCH).unwrap_or_else(PoisonError::into_inner);
            board = held;
            if !waited.timed_out() {
                board.watched = false;
                return board;
            }
            drop(board);
            // Where nobody can tell, all are busy.
            busiest = busiest.max(busy::threads().unwrap_or(self.cores));
            board = self.lock();
        }
        board.watched = false;
        let spare = self.cores.saturating_sub(busiest);
        board.allowed = (board.working + spare).clamp(self.cores, self.most);
        board
    }
}

impl Board {
    /// Takes the first vertex that is ready, if one more may be at work.
    fn take(&mut self) -> Option<VertexId> {
        if self.working >= self.allowed {
            return None;
        }
        let Reverse(id) = self.ready.pop()?;
        self.working += 1;
        Some(id)
    }

    fn inputs(&self, graph: &Graph, order: &Order, id: VertexId) -> Vec<Tree> {
        let tree = |input: &VertexId| self.trees[order.done_by[input.index()].index()].clone();
        let inputs = graph.vertex(id).inputs.iter();
        inputs.map(|input| tree(input).expect("because a vertex is ready when its inputs are done")).collect()
    }
}

impl Jobs {
    /// How many vertices may be at work in any case, and how many at most.
    fn bounds(self) -> (usize, usize) {
        match self {
            Jobs::Fixed(jobs) => (jobs.max(1), jobs.max(1)),
            Jobs::Adaptive => {
                let cores = std::thread::available_parallelism().map_or(2, usize::from);
                (cores, (4 * cores).clamp(16, 64).max(cores))
            }
        }
    }
}

/// Lets nobody wait for a thread that panicked.
struct EndOnPanic<'s>(&'s Schedule<'s>);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.session.stop();
            self.0.lock().left = 0;
            self.0.turn.notify_all();
        }
    }
}
