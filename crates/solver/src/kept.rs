//! A step's container kept after its process ended: its tree with what was written, its environment and mounts, to look
//! around in.

use std::fs;
use std::sync::Arc;

use graph::{Exec, Graph, Op, Source, VertexId};
use oci::ChainId;
use runtime::{Container, Running, Stdio, Supervisor};
use store::PendingSnapshot;

use crate::error::{Error, Failure};
use crate::exec::{self, Prepared};
use crate::mounts::Held;
use crate::session::Session;
use crate::step::{Stack, Step, Tree};
use crate::user::User;

/// A container that can be run again, with other commands. What its mounts need lasts as long as it does; the session's
/// own files (`/etc/hosts`, secrets) only as long as the session.
pub struct Kept {
    /// Which step.
    pub vertex: VertexId,
    /// The stack that its tree stands on; `None` for `scratch`.
    pub base: Option<ChainId>,
    /// The exit code that its process ended with; 0 where it was not run.
    pub code: i32,
    /// The container as it was run.
    pub container: Container,
    /// Its writable layer.
    pub pending: PendingSnapshot,
    pub(crate) user: User,
    pub(crate) supervisor: Arc<Supervisor>,
    pub(crate) _held: Held,
}

impl std::fmt::Debug for Kept {
    /// Without its environment, which may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept")
            .field("vertex", &self.vertex)
            .field("id", &self.container.id)
            .finish_non_exhaustive()
    }
}

impl Kept {
    /// Runs the container once more as it is described now.
    pub fn run(&self, stdio: Stdio) -> Result<Running, Failure> {
        // The kernel takes a work directory of a volatile overlay only once.
        let work = self.pending.work();
        if work.exists() {
            fs::remove_dir_all(work).map_err(Failure::io("remove", work))?;
        }
        fs::create_dir(work).map_err(Failure::io("create", work))?;
        Ok(self.supervisor.run(&self.container, stdio)?)
    }

    /// Takes in the owners that a run gave files, where only one id is mapped.
    pub fn settle(&self, owners: &[runtime::owners::OwnerRecord]) -> Result<(), Failure> {
        if self.container.record_owners {
            exec::settle(self.pending.fs(), &self.container, owners, &self.user)?;
        }
        Ok(())
    }
}

/// Solves `vertex`, and gives the container of `exec` on the tree that it leaves, not run yet. What is written there is
/// dropped with it. The inputs that `exec` mounts are those of `vertex`.
pub fn enter(graph: &Graph, vertex: VertexId, exec: &Exec, session: &Session<'_>) -> Result<Kept, Error> {
    let stack = |id: VertexId| -> Result<Stack, Error> {
        let solved = crate::solve(graph, &[id], session)?;
        Ok(solved.into_iter().next().map_or_else(Stack::default, |solved| Stack::new(solved.layers)))
    };
    let tree = |id: VertexId| match &graph.vertex(id).op {
        Op::Source(Source::Local(name)) => Ok(Tree::Context(name.clone())),
        _ => Ok(Tree::Stack(stack(id)?)),
    };
    let inputs =
        graph.vertex(vertex).inputs.iter().map(|id| tree(*id)).collect::<Result<Vec<Tree>, Error>>()?;
    let base = stack(vertex)?;
    let step = Step {
        graph,
        id: vertex,
        vertex: graph.vertex(vertex),
        definition: "",
        identity: String::new(),
        inputs: &inputs,
        base: &base,
        session,
        required: false,
        began: std::time::Instant::now(),
    };
    let prepare = || {
        let Prepared { container, pending, held, user } = exec::prepare(&step, exec)?;
        let supervisor = session.supervisor()?;
        let base = base.chain.clone();
        Ok(Kept { vertex, base, code: 0, container, pending, user, supervisor, _held: held })
    };
    prepare().map_err(|failure| Error { vertex: Some(vertex), failure })
}
