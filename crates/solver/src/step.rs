//! One vertex: looked up, and run where nothing can stand for it.

use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use graph::{FileOp, Graph, Op, Source, Vertex, VertexId};
use oci::{ChainId, DiffId, Digest};
use snapshot::LayerStat;
use store::{CacheKind, CacheRecord, PendingSnapshot};

use crate::error::Failure;
use crate::key::Key;
use crate::session::{Session, StepEvent};
use crate::unpack::row;
use crate::{copy, exec, merge, mounts, source};

/// What a vertex makes.
#[derive(Debug, Clone)]
pub enum Tree {
    /// A stack of layers, each a snapshot of the store or a blob that can become one.
    Stack(Stack),
    /// A build context, by its name in the session.
    Context(String),
}

/// A stack of layers.
#[derive(Debug, Clone, Default)]
pub struct Stack {
    /// The layers, bottom layer first.
    pub layers: Vec<DiffId>,
    /// Their ChainID; `None` for none.
    pub chain: Option<ChainId>,
}

impl Stack {
    /// A stack of `layers`, bottom layer first.
    pub fn new(layers: Vec<DiffId>) -> Stack {
        Stack { chain: ChainId::of(&layers), layers }
    }

    /// The stack with one more layer on top.
    pub fn with(&self, layer: DiffId) -> Stack {
        let chain = ChainId::extend(self.chain.as_ref(), &layer);
        let mut layers = self.layers.clone();
        layers.push(layer);
        Stack { layers, chain: Some(chain) }
    }
}

/// What a solve makes.
#[derive(Debug, Clone)]
pub struct Solved {
    /// The target's layers, bottom layer first.
    pub layers: Vec<DiffId>,
}

/// Solves one vertex whose inputs are solved.
pub(crate) fn run(
    graph: &Graph,
    id: VertexId,
    inputs: &[Tree],
    session: &Session<'_>,
) -> Result<Tree, Failure> {
    let vertex = graph.vertex(id);
    match &vertex.op {
        Op::Source(Source::Scratch) => Ok(Tree::Stack(Stack::default())),
        Op::Source(Source::Image(image)) => Ok(Tree::Stack(Stack::new(image.diff_ids.clone()))),
        Op::Source(Source::Local(name)) => Ok(Tree::Context(name.clone())),
        Op::Source(download @ (Source::Http(_) | Source::Git(_))) => source::solve(id, download, session),
        op => {
            let step =
                Step { graph, id, vertex, inputs, base: base(inputs)?, session, began: Instant::now() };
            let result = match op {
                Op::Exec(exec) => step.exec(exec),
                Op::File(file) => step.file(file),
                Op::Merge => step.merge(),
                Op::Source(_) => unreachable!("because sources were matched above"),
            };
            if result.is_err() {
                session.observer.step(id, StepEvent::Failed(step.began.elapsed()));
            }
            result.map(Tree::Stack)
        }
    }
}

/// The stack that the result is put on.
fn base(inputs: &[Tree]) -> Result<&Stack, Failure> {
    match inputs.first() {
        Some(Tree::Stack(stack)) => Ok(stack),
        _ => Err(Failure::Unsupported("a build context cannot be the base of a step".to_owned())),
    }
}

/// One vertex at work.
pub(crate) struct Step<'a> {
    pub graph: &'a Graph,
    pub id: VertexId,
    pub vertex: &'a Vertex,
    pub inputs: &'a [Tree],
    pub base: &'a Stack,
    pub session: &'a Session<'a>,
    pub began: Instant,
}

impl Step<'_> {
    fn exec(&self, exec: &graph::Exec) -> Result<Stack, Failure> {
        let mut key = self.key("exec");
        key.part("network", format!("{:?}", exec::network(exec.network, self.session.network)));
        mounts::add_inputs(self, exec, &mut key)?;
        if let Some(stack) = self.look_up(&key)? {
            return Ok(stack);
        }
        self.started();
        let made = exec::run(self, exec)?;
        self.finish(made, &[(CacheKind::Fast, &key)])
    }

    /// Merged layers are content already: there is nothing that a record could save.
    fn merge(&self) -> Result<Stack, Failure> {
        let mut stack = self.base.clone();
        for input in &self.inputs[1..] {
            if let Tree::Stack(added) = input {
                for layer in &added.layers {
                    stack = merge::restack(self.session, &stack, added, layer)?;
                }
            }
        }
        Ok(stack)
    }

    /// A copy from a stage or an image is looked up by that one's ChainID first, which costs
    /// nothing; then any copy by the content of what it takes.
    fn file(&self, op: &FileOp) -> Result<Stack, Failure> {
        let pinned = !self.inputs.iter().any(|input| matches!(input, Tree::Context(_)));
        let mut fast = self.key("file");
        if pinned {
            for (number, input) in self.inputs.iter().enumerate().skip(1) {
                if let Tree::Stack(stack) = input {
                    fast.tree(number, stack.chain.as_ref());
                }
            }
            if let Some(stack) = self.look_up(&fast)? {
                return Ok(stack);
            }
        }
        // Files are read for a key only where a record could match it: else they are read once,
        // while they are copied.
        let mut taken = copy::prepare(self, op)?;
        let known = self.vertex.ignore_cache || !self.has_records("file")?;
        if !known && let Some(content) = taken.content()? {
            let slow = self.content_key(&content.digest);
            if let Some(stack) = self.look_up(&slow)? {
                if pinned {
                    self.record(CacheKind::Fast, &fast, &stack, 0)?;
                }
                return Ok(stack);
            }
        }
        self.started();
        let (made, content) = copy::run(self, taken, self.previous()?.as_deref())?;
        // What changed while it was copied is not found again by its content.
        let slow = content.map(|content| self.content_key(&content));
        let slow = slow.as_ref().map(|key| (CacheKind::Slow, key));
        let fast = pinned.then_some((CacheKind::Fast, &fast));
        self.finish(made, &slow.into_iter().chain(fast).collect::<Vec<_>>())
    }

    /// The layer directory that this step made the last time, whatever it took then.
    fn previous(&self) -> Result<Option<PathBuf>, Failure> {
        for record in self.session.store.cache_nearest(&self.identity(), 1)? {
            if let (Some(chain), 1) = (&record.chain_id, record.diff_ids.len())
                && self.session.store.snapshot(chain)?.is_some()
            {
                return Ok(Some(self.session.store.snapshot_dir(chain)));
            }
        }
        Ok(None)
    }

    fn key(&self, kind: &str) -> Key {
        Key::new(kind, self.definition(), self.base.chain.as_ref(), self.session.epoch)
    }

    fn content_key(&self, content: &Digest) -> Key {
        let mut key = self.key("file content");
        key.part("content", content.to_string());
        key
    }

    fn definition(&self) -> String {
        serde_json::to_string(&self.vertex.op).expect("because operations have string keys only")
    }

    /// What the step is, whatever its inputs hold.
    fn identity(&self) -> String {
        Digest::sha256(self.definition().as_bytes()).to_string()
    }

    fn has_records(&self, _kind: &str) -> Result<bool, Failure> {
        Ok(!self.session.store.cache_nearest(&self.identity(), 1)?.is_empty())
    }

    /// The result that an earlier run left for `key`, told as a hit.
    fn look_up(&self, key: &Key) -> Result<Option<Stack>, Failure> {
        if self.vertex.ignore_cache {
            return Ok(None);
        }
        let digest = key.digest();
        let Some(record) = self.session.store.cache_get(&digest)? else { return Ok(None) };
        self.session.store.cache_touch(&[digest])?;
        let mut layers = self.base.layers.clone();
        layers.extend(record.diff_ids);
        self.session.observer.step(self.id, StepEvent::Cached);
        Ok(Some(Stack::new(layers)))
    }

    fn started(&self) {
        self.session.observer.step(self.id, StepEvent::Started);
    }

    /// Makes what `made` holds a snapshot on the base, records it under `keys`, tells that the step
    /// is done.
    fn finish(&self, made: Made, keys: &[(CacheKind, &Key)]) -> Result<Stack, Failure> {
        let size = made.stat.usage;
        self.session.store.commit_snapshot(made.pending, self.base.chain.as_ref(), &row(&made.stat))?;
        let stack = self.base.with(made.stat.diff_id);
        for (kind, key) in keys {
            self.record(*kind, key, &stack, size)?;
        }
        self.session.observer.step(self.id, StepEvent::Done(self.began.elapsed()));
        Ok(stack)
    }

    fn record(&self, kind: CacheKind, key: &Key, stack: &Stack, size: u64) -> Result<(), Failure> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        self.session.store.cache_put(&CacheRecord {
            key: key.digest(),
            kind,
            identity: self.identity(),
            chain_id: stack.chain.clone(),
            diff_ids: stack.layers[self.base.layers.len()..].to_vec(),
            parts: key.to_json(),
            step: self.vertex.name.clone(),
            created: now,
            last_used: now,
            uses: 0,
            duration_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            size,
        })?;
        Ok(())
    }
}

/// A layer that was made and is not yet a snapshot.
pub(crate) struct Made {
    /// Its directory.
    pub pending: PendingSnapshot,
    /// What it holds.
    pub stat: LayerStat,
}
