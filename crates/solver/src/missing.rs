//! Sources of a build context that are not there, found before anything runs: nobody has to wait for the steps before
//! a COPY to learn that its file is missing. BuildKit looks for them while those steps run, and cancels them.
//!
//! What is not here: sources with wildcards and those of stages, which are known when it is the step's turn.

use std::time::Duration;

use graph::{FileAction, Graph, Op, Source};

use crate::error::{Error, Failure};
use crate::file;
use crate::order::Order;
use crate::session::{Session, StepEvent};

/// The first step, in the order of the plan, that names a file or directory that its context lacks.
pub(crate) fn look(graph: &Graph, order: &Order, session: &Session<'_>) -> Result<(), Error> {
    for id in &order.todo {
        let vertex = graph.vertex(*id);
        let Op::File(op) = &vertex.op else { continue };
        for action in &op.actions {
            let FileAction::Copy(copy) = action else { continue };
            let Op::Source(Source::Local(name)) = &graph.vertex(vertex.inputs[copy.from as usize]).op else {
                continue;
            };
            let Some(context) = session.contexts.get(name) else { continue };
            for source in &copy.sources {
                if let Err(missing) = file::look_for(context, source, copy.parents) {
                    let failure = Failure::from(missing);
                    session.observer.step(*id, StepEvent::Failed(Duration::ZERO, &failure));
                    return Err(Error { vertex: Some(*id), failure });
                }
            }
        }
    }
    Ok(())
}
