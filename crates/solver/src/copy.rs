//! COPY, ADD and WORKDIR as steps: their inputs found, their earlier results, their layer made.

use std::fs;
use std::path::Path;

use graph::{Copy, FileAction, FileOp, Unpack};
use snapshot::content::Content;

use crate::error::Failure;
use crate::file::{Input, Options, Prepared};
use crate::output::Stream;
use crate::secret;
use crate::session::StepEvent;
use crate::step::{Made, Step, Tree};

/// Looks up the sources of `op`, whose numbers of inputs are the step's.
pub(crate) fn prepare<'a>(step: &Step<'a>, op: &'a FileOp) -> Result<Prepared<'a>, Failure> {
    let used =
        |number: usize| op.actions.iter().any(|action| action.input().is_some_and(|i| i as usize == number));
    let inputs = step
        .inputs
        .iter()
        .enumerate()
        .map(|(number, tree)| if used(number) { input(step, number, tree) } else { Ok(Input::Unused) })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Prepared::new(op, inputs)?.stopped_by(&step.session.stops()))
}

fn input<'a>(step: &Step<'a>, number: usize, tree: &Tree) -> Result<Input<'a>, Failure> {
    match tree {
        Tree::Context(name) => match step.session.contexts.get(name) {
            Some(context) => Ok(Input::Context(context)),
            None => Err(Failure::Unsupported(format!("there is no build context {name:?}"))),
        },
        Tree::Stack(stack) => {
            step.session.unpack(&stack.layers)?;
            let lowers = step.session.store.lowers(&stack.layers)?;
            let label = step.graph.vertex(step.vertex.inputs[number]).name.clone();
            Ok(Input::Image { lowers, label })
        }
    }
}

/// Makes the layer; also gives the content of what was taken, where that can be relied on.
pub(crate) fn run(
    step: &Step<'_>,
    prepared: Prepared<'_>,
    previous: Option<&Path>,
) -> Result<(Made, Option<Content>), Failure> {
    let session = step.session;
    session.unpack(&step.base.layers)?;
    let base = session.store.lowers(&step.base.layers)?;
    let pending = session.store.begin_snapshot()?;
    let done = prepared.run(&Options {
        base: &base,
        out: pending.fs(),
        mode: session.mode,
        epoch: session.epoch,
        previous,
        search: session.search,
        keep_digests: true,
        stop: &session.stops(),
    })?;
    if done.found {
        secret::refuse(session, pending.fs())?;
    }
    for note in &done.notes {
        session.observer.step(step.id, StepEvent::Output(Stream::Stderr, format!("{note}\n").as_bytes()));
    }
    Ok((Made { pending, stat: done.stat }, done.content))
}

/// The part `source` of the context that is input number `input`: what a mount of it shows.
pub(crate) fn mount_content(step: &Step<'_>, input: u32, source: &str) -> Result<Content, Failure> {
    let op = whole(input, source, false);
    let content = prepare(step, &op)?.content()?;
    match content {
        Some(content) => Ok(content),
        None => Err(Failure::Unsupported(format!("{source} of the build context changed while it was read"))),
    }
}

/// Copies that part into the empty directory `dir` on the host, at the same path below it.
pub(crate) fn mount_copy(step: &Step<'_>, input: u32, source: &str, dir: &Path) -> Result<(), Failure> {
    copy_whole(step, &whole(input, source, false), dir)
}

/// As [`mount_copy`], and what comes from an image or a stage keeps its owners.
pub(crate) fn fill(step: &Step<'_>, input: u32, source: &str, dir: &Path) -> Result<(), Failure> {
    let keep_owner = matches!(step.inputs[input as usize], Tree::Stack(_));
    copy_whole(step, &whole(input, source, keep_owner), dir)
}

fn copy_whole(step: &Step<'_>, op: &FileOp, dir: &Path) -> Result<(), Failure> {
    fs::create_dir_all(dir).map_err(Failure::io("create", dir))?;
    prepare(step, op)?.run(&Options {
        base: &[],
        out: dir,
        mode: step.session.mode,
        epoch: None,
        previous: None,
        search: None,
        keep_digests: false,
        stop: &step.session.stops(),
    })?;
    Ok(())
}

/// Copies all of a path to where it was.
pub(crate) fn whole(input: u32, source: &str, keep_owner: bool) -> FileOp {
    let path = format!("/{}", source.trim_matches('/'));
    FileOp {
        actions: vec![FileAction::Copy(Copy {
            from: input,
            sources: vec![path.clone()],
            dest: path,
            owner: None,
            mode: None,
            exclude: Vec::new(),
            parents: false,
            unpack: Unpack::No,
            keep_owner,
        })],
    }
}
