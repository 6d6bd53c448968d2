//! One vertex: looked up, and run where nothing can stand for it.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use graph::{FileOp, Graph, Op, Source, Vertex, VertexId};
use oci::{ChainId, DiffId, Digest};
use snapshot::LayerStat;
use snapshot::content::Content;
use store::{CacheKind, CacheRecord, PendingSnapshot, StepClaim};

use crate::error::Failure;
use crate::explain::{self, Contents, Facts};
use crate::key::Key;
use crate::session::{Session, StepEvent};
use crate::unpack::row;
use crate::{binds, copy, exec, merge, mounts, source};

/// How often one who waits for an equal step asks whether it is done, and how long it waits at most.
const CLAIM_TICK: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(600);

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
    /// Whether the topmost was made in this solve.
    pub made: bool,
}

impl Stack {
    /// A stack of `layers`, bottom layer first.
    pub fn new(layers: Vec<DiffId>) -> Stack {
        Stack { chain: ChainId::of(&layers), layers, made: false }
    }

    /// The stack with one more layer on top.
    pub fn with(&self, layer: DiffId) -> Stack {
        let chain = ChainId::extend(self.chain.as_ref(), &layer);
        let mut layers = self.layers.clone();
        layers.push(layer);
        Stack { layers, chain: Some(chain), made: self.made }
    }
}

/// What a solve makes.
#[derive(Debug, Clone)]
pub struct Solved {
    /// The target's layers, bottom layer first.
    pub layers: Vec<DiffId>,
}

/// A vertex whose inputs are solved.
pub(crate) struct Task<'a> {
    pub graph: &'a Graph,
    pub id: VertexId,
    /// The operation's serialised form.
    pub definition: &'a str,
    pub inputs: &'a [Tree],
    pub session: &'a Session<'a>,
    /// Whether it must be found, not run.
    pub required: bool,
}

/// Solves one vertex.
pub(crate) fn run(task: &Task<'_>) -> Result<Tree, Failure> {
    let &Task { graph, id, definition, inputs, session, required } = task;
    let vertex = graph.vertex(id);
    match &vertex.op {
        Op::Source(Source::Scratch) => Ok(Tree::Stack(Stack::default())),
        Op::Source(Source::Image(image)) => Ok(Tree::Stack(Stack::new(image.diff_ids.clone()))),
        Op::Source(Source::Local(name)) => Ok(Tree::Context(name.clone())),
        Op::Source(download @ (Source::Http(_) | Source::Git(_))) => source::solve(id, download, session),
        op => {
            let base = base(inputs)?;
            let identity = Digest::sha256(definition.as_bytes()).to_string();
            let began = Instant::now();
            let step =
                Step { graph, id, vertex, definition, identity, inputs, base, session, required, began };
            let result = match op {
                Op::Exec(exec) => step.exec(exec),
                Op::File(file) => step.file(file),
                Op::Merge => step.merge(),
                Op::Source(_) => unreachable!("because sources were matched above"),
            };
            let result = result.map_err(|failure| match failure {
                Failure::File(error) if error.is_interrupted() => Failure::Interrupted,
                other => other,
            });
            if let Err(failure) = &result {
                session.observer.step(id, StepEvent::Failed(step.began.elapsed(), failure));
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
    /// The operation's serialised form.
    pub definition: &'a str,
    /// What the step is, whatever its inputs hold: the digest of that.
    pub identity: String,
    pub inputs: &'a [Tree],
    pub base: &'a Stack,
    pub session: &'a Session<'a>,
    /// Whether it must be found, not run.
    pub required: bool,
    pub began: Instant,
}

impl Step<'_> {
    fn exec(&self, exec: &graph::Exec) -> Result<Stack, Failure> {
        let network = format!("{:?}", exec::network(exec.network, self.session.network));
        let mut key = self.key("exec");
        key.part("network", network.clone());
        let contents = mounts::add_inputs(self, exec, &mut key)?;
        if let Some(stack) = self.look_up(CacheKind::Fast, &key)? {
            return Ok(stack);
        }
        if let Some(same) = binds::same(self, exec, &key)?
            && let Some(stack) = self.look_up_digest(same)?
        {
            self.record(CacheKind::Fast, &key, &stack)?;
            return Ok(stack);
        }
        let facts = Facts::of(self, network, &contents);
        self.missed(&key.digest(), &facts, &contents)?;
        // Of equal steps that only now turn out to be equal, in this build or another, one runs.
        let _claim = match self.claim(&key)? {
            Claimed::Done(stack) => return Ok(stack),
            Claimed::Ours(claim) => claim,
        };
        self.started()?;
        let made = exec::run(self, exec)?;
        self.finish(made, &[(CacheKind::Fast, &key)], Some((&facts, &contents)))
    }

    /// Merged layers are content already: there is nothing that a record could save.
    fn merge(&self) -> Result<Stack, Failure> {
        self.session.hold()?;
        let mut stack = self.base.clone();
        for input in &self.inputs[1..] {
            if let Tree::Stack(added) = input {
                for layer in &added.layers {
                    stack = merge::restack(self.session, &stack, added, layer)?;
                }
                stack.made |= added.made;
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
            if let Some(stack) = self.look_up(CacheKind::Fast, &fast)? {
                return Ok(stack);
            }
            // What is copied from has to stay here.
            self.session.hold()?;
        }
        // Files are read for a key only where a record could match it: else they are read once,
        // while they are copied.
        let mut taken = copy::prepare(self, op)?;
        let look = !self.vertex.ignore_cache && self.has_records()?;
        let content = if look || self.required { taken.content()? } else { None };
        if let Some(content) = &content {
            let slow = self.content_key(&content.digest);
            if let Some(stack) = self.look_up(CacheKind::Slow, &slow)? {
                if pinned {
                    self.record(CacheKind::Fast, &fast, &stack)?;
                }
                return Ok(stack);
            }
        }
        let facts = |contents: &Contents| Facts::of(self, String::new(), contents);
        let contents = |content: Option<Content>| -> Contents {
            content.into_iter().map(|content| (String::new(), content)).collect()
        };
        let known = content.is_some() || self.required;
        if known {
            let slow =
                content.as_ref().map_or_else(|| fast.digest(), |c| self.content_key(&c.digest).digest());
            let contents = contents(content);
            self.missed(&slow, &facts(&contents), &contents)?;
        }
        self.started()?;
        let (made, content) = copy::run(self, taken, self.previous()?.as_deref())?;
        // What changed while it was copied is not found again by its content.
        let slow = content.as_ref().map(|content| self.content_key(&content.digest));
        let contents = contents(content);
        let facts = facts(&contents);
        if !known {
            self.missed(&slow.as_ref().unwrap_or(&fast).digest(), &facts, &contents)?;
        }
        let slow = slow.as_ref().map(|key| (CacheKind::Slow, key));
        let fast = pinned.then_some((CacheKind::Fast, &fast));
        self.finish(made, &slow.into_iter().chain(fast).collect::<Vec<_>>(), Some((&facts, &contents)))
    }

    /// The layer directory that this step made the last time, whatever it took then.
    fn previous(&self) -> Result<Option<PathBuf>, Failure> {
        for record in self.session.store.cache_nearest(&self.identity, 1)? {
            if let (Some(chain), 1) = (&record.chain_id, record.diff_ids.len())
                && self.session.store.snapshot(chain)?.is_some()
            {
                return Ok(Some(self.session.store.snapshot_dir(chain)));
            }
        }
        Ok(None)
    }

    fn key(&self, kind: &str) -> Key {
        Key::new(kind, self.definition.to_owned(), self.base.chain.as_ref(), self.session.epoch)
    }

    fn content_key(&self, content: &Digest) -> Key {
        let mut key = self.key("file content");
        key.part("content", content.to_string());
        key
    }

    /// Where it stands, for comparing it with other builds.
    pub fn place(&self) -> String {
        match &self.vertex.place {
            Some(place) => format!("{}/{}/{}", self.session.origin, place.stage, place.step),
            None => String::new(),
        }
    }

    /// Whether there was ever a result of this step that a key could match.
    fn has_records(&self) -> Result<bool, Failure> {
        Ok(self.session.elsewhere.has_results()
            || !self.session.store.cache_nearest(&self.identity, 1)?.is_empty())
    }

    /// The result that an earlier run left for `key`, told as a hit.
    fn look_up(&self, kind: CacheKind, key: &Key) -> Result<Option<Stack>, Failure> {
        if self.vertex.ignore_cache {
            return Ok(None);
        }
        let digest = key.digest();
        if let Some(stack) = self.look_up_digest(digest.clone())? {
            return Ok(Some(stack));
        }
        let Some(made) = self.session.elsewhere.find(&digest) else { return Ok(None) };
        let stack = Stack::new([self.base.layers.as_slice(), &made].concat());
        self.session.elsewhere.known(self.cache_record(kind, key, &stack, 0));
        self.session.observer.step(self.id, StepEvent::Cached);
        Ok(Some(stack))
    }

    fn look_up_digest(&self, digest: Digest) -> Result<Option<Stack>, Failure> {
        let Some(found) = self.session.store.cache_find(&digest)? else { return Ok(None) };
        if self.session.elsewhere.wants_known() {
            self.session.elsewhere.known(CacheRecord {
                key: digest.clone(),
                kind: CacheKind::Fast,
                identity: self.identity.clone(),
                chain_id: found.chain_id.clone(),
                diff_ids: found.diff_ids.clone(),
                parts: String::new(),
                step: self.vertex.name.clone(),
                created: 0,
                last_used: 0,
                uses: 0,
                duration_ms: 0,
                size: 0,
            });
        }
        self.session.found(digest, found.chain_id.as_ref());
        let mut layers = self.base.layers.clone();
        layers.extend(found.diff_ids);
        self.session.observer.step(self.id, StepEvent::Cached);
        // The record knows the ChainID, which is dear to compute for a tall stack.
        Ok(Some(Stack { layers, chain: found.chain_id, made: false }))
    }

    /// Tells why the step has to run.
    ///
    /// # Errors
    /// [`Failure::NotCached`] where it must not.
    fn missed(&self, key: &Digest, facts: &Facts, contents: &Contents) -> Result<(), Failure> {
        let why = explain::why(self, key, facts, contents)?;
        self.session.observer.step(self.id, StepEvent::Missed(&why));
        match self.required {
            true => Err(Failure::NotCached(Box::new(why))),
            false => Ok(()),
        }
    }

    /// Claims the run of the step of this key, or waits for whoever has it; then that one's result is ours.
    fn claim(&self, key: &Key) -> Result<Claimed, Failure> {
        if self.vertex.ignore_cache {
            return Ok(Claimed::Ours(None));
        }
        let digest = key.digest();
        let since = Instant::now();
        loop {
            let claim = self.session.claim(&digest)?;
            // Whoever had the claim may just have got done.
            if let Some(stack) = self.look_up(CacheKind::Fast, key)? {
                return Ok(Claimed::Done(stack));
            }
            if claim.is_some() || since.elapsed() > PATIENCE {
                return Ok(Claimed::Ours(claim));
            }
            if self.session.is_stopped() {
                return Err(Failure::Interrupted);
            }
            std::thread::sleep(CLAIM_TICK);
        }
    }

    /// Tells that the step runs. What it works on must not go.
    fn started(&self) -> Result<(), Failure> {
        self.session.hold()?;
        self.session.observer.step(self.id, StepEvent::Started);
        Ok(())
    }

    /// Makes what `made` holds a snapshot on the base, records it under `keys`, the first of which says most, tells that
    /// the step is done. `facts` are what it depended on.
    fn finish(
        &self,
        made: Made,
        keys: &[(CacheKind, &Key)],
        facts: Option<(&Facts, &Contents)>,
    ) -> Result<Stack, Failure> {
        let size = made.stat.usage;
        self.session.store.commit_snapshot(made.pending, self.base.chain.as_ref(), &row(&made.stat))?;
        let stack = Stack { made: true, ..self.base.with(made.stat.diff_id) };
        let records: Vec<CacheRecord> =
            keys.iter().map(|(kind, key)| self.cache_record(*kind, key, &stack, size)).collect();
        let step = records
            .first()
            .zip(facts)
            .map(|(record, (facts, contents))| explain::record(self, &record.key, facts, contents));
        self.session.store.cache_put_all(&records, step.as_ref())?;
        records.into_iter().for_each(|record| self.session.elsewhere.known(record));
        self.session.observer.step(self.id, StepEvent::Done(self.began.elapsed()));
        Ok(stack)
    }

    /// Records a result that was found in another way under `key`, too.
    fn record(&self, kind: CacheKind, key: &Key, stack: &Stack) -> Result<(), Failure> {
        // It has to be here for its record to be taken.
        self.session.hold()?;
        let record = self.cache_record(kind, key, stack, 0);
        let put = self.session.store.cache_put(&record);
        self.session.elsewhere.known(record);
        match put {
            // Of layers that are elsewhere, and may never have to come.
            Ok(()) | Err(store::Error::MissingSnapshot(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn cache_record(&self, kind: CacheKind, key: &Key, stack: &Stack, size: u64) -> CacheRecord {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        CacheRecord {
            key: key.digest(),
            kind,
            identity: self.identity.clone(),
            chain_id: stack.chain.clone(),
            diff_ids: stack.layers[self.base.layers.len()..].to_vec(),
            parts: key.to_json(),
            step: self.vertex.name.clone(),
            created: now,
            last_used: now,
            uses: 0,
            duration_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            size,
        }
    }
}

/// What came of claiming a step.
enum Claimed {
    /// Another ran it meanwhile.
    Done(Stack),
    /// It is ours to run; without a claim where another did not get done with his.
    Ours(Option<StepClaim>),
}

/// A layer that was made and is not yet a snapshot.
pub(crate) struct Made {
    /// Its directory.
    pub pending: PendingSnapshot,
    /// What it holds.
    pub stat: LayerStat,
}
