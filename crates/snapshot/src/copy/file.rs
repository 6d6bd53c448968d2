//! Copies one regular file: read, hashed, written or linked from the earlier layer, and handed on to the tar.
//!
//! A file that something writes to meanwhile is copied as it was read; only one that became shorter than its entry in
//! the tar already says is an error. Its digest counts only if nothing changed from before the first byte was read to
//! after the last.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;

use oci::Hasher;
use rustix::fs::{AtFlags, FileType, SeekFrom};
use rustix::io::Errno;

use super::attributes::Xattrs;
use super::flat::Item;
use super::ordered::Piece;
use super::plan::{From, Leaf, Meta};
use super::previous::Candidate;
use super::source::open_listed;
use super::walk::FileStat;
use super::write::{Halt, Read, Worker, Writer};
use super::{Error, path, read_at};
use crate::Kind;

/// A file up to this length is read whole.
const WHOLE: u64 = 1024 * 1024;
/// Bytes of a larger one that are read at once.
const CHUNK: usize = 512 * 1024;

/// A source file that is open.
struct Open<'f> {
    from: &'f From,
    file: OwnedFd,
    stat: FileStat,
    meta: Meta,
    xattrs: Xattrs,
    /// The digest that is known of it.
    known: Option<[u8; 32]>,
}

impl Writer<'_> {
    pub fn copy_file(
        &self,
        worker: &mut Worker,
        at: usize,
        item: &Item<'_>,
        leaf: &Leaf,
        from: &From,
    ) -> Result<(), Halt> {
        if self.link_known(worker, at, item, leaf, from)? {
            return Ok(());
        }
        let open = self.open(worker, leaf, from)?;
        match open.stat.size {
            ..=WHOLE => self.copy_whole(worker, at, item, open),
            _ => self.copy_chunks(worker, at, item, open),
        }
    }

    /// Links a file from the earlier layer whose digest is known there and here, without looking at the source again;
    /// `false` where it has to be copied.
    fn link_known(
        &self,
        worker: &mut Worker,
        at: usize,
        item: &Item<'_>,
        leaf: &Leaf,
        from: &From,
    ) -> Result<bool, Halt> {
        let Some((digest, false)) = from.known else { return Ok(false) };
        let size = from.stat.size;
        if size > WHOLE || leaf.group.is_some() {
            return Ok(false);
        }
        let meta = Meta { mtime: self.held(self.clamp(from.stat.mtime)), ..leaf.meta.clone() };
        let Some((previous, dir)) = self.previous_dir(worker, item.parent) else { return Ok(false) };
        if !previous.is_known(&item.path, &digest) {
            return Ok(false);
        }
        let name = path::base(&item.path);
        let Some(candidate) = previous.candidate(dir, name, &item.path, size, &meta, &Xattrs::new()) else {
            return Ok(false);
        };
        // The tar is of what is in the layer.
        let mut content = self.buffer();
        let read = read_at(candidate.file.as_fd(), &mut content, 0, size as usize);
        if read.is_err() || content.len() as u64 != size || !self.link(worker, item)? {
            return Ok(false);
        }
        worker.digests.push((at, digest));
        self.whole(at, item, &meta, Xattrs::new(), content)?;
        Ok(true)
    }

    fn open<'f>(&self, worker: &mut Worker, leaf: &Leaf, from: &'f From) -> Result<Open<'f>, Halt> {
        let source = &self.plan.sources[usize::from(from.source)];
        let dir = self.source_dir(worker, from)?;
        let failed =
            |doing: &str, e: std::io::Error| Halt::Failed(source.failed(doing, &from.path, e).into());
        let file = open_listed(&dir, path::base(&from.path)).map_err(|e| failed("opening", e))?;
        let stat = rustix::fs::fstat(&file).map_err(|e| failed("reading the status of", e.into()))?;
        let mut stat = FileStat::from(&stat);
        if stat.kind() != FileType::RegularFile {
            return Err(self.changed(from));
        }
        source.amend(&from.path, &mut stat).map_err(|e| Halt::Failed(e.into()))?;
        let xattrs = source.xattrs(&file).map_err(|e| failed("reading xattrs of", e))?;
        let same = stat.is_same(&from.stat);
        // What was said of a further name of it must hold.
        if !same && leaf.group.is_some() {
            return Err(self.changed(from));
        }
        let known = from.known.filter(|_| same).map(|(digest, _)| digest);
        let meta = Meta { mtime: self.held(self.clamp(stat.mtime)), ..leaf.meta.clone() };
        Ok(Open { from, file, stat, meta, xattrs, known })
    }

    fn copy_whole(
        &self,
        worker: &mut Worker,
        at: usize,
        item: &Item<'_>,
        open: Open<'_>,
    ) -> Result<(), Halt> {
        let source = &self.plan.sources[usize::from(open.from.source)];
        let mut content = self.buffer();
        read_at(open.file.as_fd(), &mut content, 0, open.stat.size as usize)
            .map_err(|e| Halt::Failed(source.failed("reading", &open.from.path, e).into()))?;
        let digest = self.digest(&open, |hasher| hasher.update(&content));
        let size = content.len() as u64;
        let mut other = std::mem::take(&mut worker.other);
        let same = match self.candidate(worker, item, &open, size) {
            Some(candidate) => candidate.reads(0, &content, &mut other).unwrap_or(false),
            None => false,
        };
        worker.other = other;
        if !(same && self.link(worker, item)?) {
            let dir = self.dir(worker, item.parent)?;
            let (file, xattrs) = self.create(dir, item, &open.xattrs)?;
            self.fill(&file, item, &content)?;
            self.finish_file(&file, item, &open.meta, &xattrs)?;
            self.record(worker, at, &open, digest);
            return self.whole(at, item, &open.meta, xattrs, content);
        }
        self.record(worker, at, &open, digest);
        let Open { meta, xattrs, .. } = open;
        self.whole(at, item, &meta, xattrs, content)
    }

    fn copy_chunks(
        &self,
        worker: &mut Worker,
        at: usize,
        item: &Item<'_>,
        open: Open<'_>,
    ) -> Result<(), Halt> {
        let size = open.stat.size;
        let mut to = match self.candidate(worker, item, &open, size) {
            Some(candidate) => To::Same(candidate),
            None => {
                let dir = self.dir(worker, item.parent)?;
                let (file, xattrs) = self.create(dir, item, &open.xattrs)?;
                To::New(file, xattrs)
            }
        };
        let xattrs = match &to {
            To::Same(_) => open.xattrs.clone(),
            To::New(_, xattrs) => xattrs.clone(),
        };
        let entry = self.entry(item, Kind::File { size }, &open.meta, xattrs);
        if let Some(tar) = &self.tar {
            tar.push(at, Piece::Start(Box::new(entry)), false)?;
        }
        let sparse = open.stat.allocated < size;
        let mut hasher = open.known.is_none().then(Hasher::new);
        let mut done = 0;
        while done < size {
            self.go_on()?;
            let chunk = self.chunk(&open, done)?;
            if let Some(hasher) = &mut hasher {
                hasher.update(&chunk);
            }
            if let To::Same(candidate) = &to
                && !candidate.reads(done, &chunk, &mut worker.other).unwrap_or(false)
            {
                to = self.instead(worker, item, &open, candidate, done)?;
            }
            if let To::New(file, _) = &to {
                match sparse && chunk.iter().all(|b| *b == 0) {
                    true => self.skip(file, item, chunk.len())?,
                    false => self.fill(file, item, &chunk)?,
                }
            }
            done += chunk.len() as u64;
            if let Some(tar) = &self.tar {
                tar.push(at, Piece::Content(chunk), done == size)?;
            }
        }
        if let To::Same(candidate) = &to
            && !self.link(worker, item)?
        {
            to = self.instead(worker, item, &open, candidate, size)?;
        }
        if let To::New(file, xattrs) = &to {
            if sparse {
                rustix::fs::ftruncate(file, size).map_err(|e| self.failed("writing", &item.path, e))?;
            }
            self.finish_file(file, item, &open.meta, xattrs)?;
        }
        let digest = match hasher {
            Some(hasher) => hasher.finish_bytes(),
            None => open.known.expect("because without a digest there is a hasher"),
        };
        self.record(worker, at, &open, digest);
        Ok(())
    }

    /// The bytes of a file after the first `done`; they must be there.
    fn chunk(&self, open: &Open<'_>, done: u64) -> Result<Vec<u8>, Halt> {
        let source = &self.plan.sources[usize::from(open.from.source)];
        let wanted = usize::try_from(open.stat.size - done).unwrap_or(CHUNK).min(CHUNK);
        let mut chunk = self.buffer();
        read_at(open.file.as_fd(), &mut chunk, done, wanted)
            .map_err(|e| Halt::Failed(source.failed("reading", &open.from.path, e).into()))?;
        match chunk.len() == wanted {
            true => Ok(chunk),
            false => Err(self.changed(open.from)),
        }
    }

    /// A new file with the first `len` bytes of `candidate`, which turned out not to be the same.
    fn instead(
        &self,
        worker: &mut Worker,
        item: &Item<'_>,
        open: &Open<'_>,
        candidate: &Candidate,
        len: u64,
    ) -> Result<To, Halt> {
        let dir = self.dir(worker, item.parent)?;
        let (file, xattrs) = self.create(dir, item, &open.xattrs)?;
        if xattrs != open.xattrs {
            return Err(self.failed("setting xattrs of", &item.path, Errno::NOTSUP));
        }
        let mut done = 0;
        while done < len {
            let mut chunk = self.buffer();
            let wanted = usize::try_from(len - done).unwrap_or(CHUNK).min(CHUNK);
            read_at(candidate.file.as_fd(), &mut chunk, done, wanted)
                .map_err(|e| self.failed("reading", &item.path, e))?;
            if chunk.is_empty() {
                return Err(self.changed(open.from));
            }
            self.fill(&file, item, &chunk)?;
            done += chunk.len() as u64;
            if let Some(tar) = &self.tar {
                tar.done_with(chunk);
            }
        }
        Ok(To::New(file, xattrs))
    }

    fn skip(&self, file: &OwnedFd, item: &Item<'_>, len: usize) -> Result<(), Halt> {
        let by = i64::try_from(len).expect("because a chunk is small");
        rustix::fs::seek(file, SeekFrom::Current(by)).map_err(|e| self.failed("writing", &item.path, e))?;
        Ok(())
    }

    /// The file of the earlier layer that may be the same.
    fn candidate(
        &self,
        worker: &mut Worker,
        item: &Item<'_>,
        open: &Open<'_>,
        size: u64,
    ) -> Option<Candidate> {
        let (previous, dir) = self.previous_dir(worker, item.parent)?;
        previous.candidate(dir, path::base(&item.path), &item.path, size, &open.meta, &open.xattrs)
    }

    /// Links an item's file from the earlier layer; `false` where that cannot be.
    fn link(&self, worker: &mut Worker, item: &Item<'_>) -> Result<bool, Halt> {
        self.dir(worker, item.parent)?;
        self.previous_dir(worker, item.parent);
        let (Some((_, dir)), Some((_, Some(before)))) = (&worker.to, &worker.before) else {
            return Ok(false);
        };
        let name = path::base(&item.path);
        match rustix::fs::linkat(before, name, dir, name, AtFlags::empty()) {
            Ok(()) => {
                self.linked.fetch_add(1, Ordering::Relaxed);
                Ok(true)
            }
            // Too many links, another file system, not allowed: then it is copied.
            Err(_) => Ok(false),
        }
    }

    fn digest(&self, open: &Open<'_>, update: impl FnOnce(&mut Hasher)) -> [u8; 32] {
        open.known.unwrap_or_else(|| {
            let mut hasher = Hasher::new();
            update(&mut hasher);
            hasher.finish_bytes()
        })
    }

    /// Notes what was read, if it is certain.
    fn record(&self, worker: &mut Worker, at: usize, open: &Open<'_>, digest: [u8; 32]) {
        let after = rustix::fs::fstat(&open.file).ok().map(|stat| FileStat::from(&stat));
        let source = &self.plan.sources[usize::from(open.from.source)];
        let after =
            after.and_then(|mut after| source.amend(&open.from.path, &mut after).ok().map(|()| after));
        if !after.is_some_and(|after| after.is_same(&open.stat)) {
            self.uncertain.store(true, Ordering::Relaxed);
            return;
        }
        worker.digests.push((at, digest));
        worker.read.push(Read {
            source: open.from.source,
            path: open.from.path.clone(),
            stat: open.stat,
            digest,
            xattrs: open.xattrs.clone(),
        });
    }

    fn changed(&self, from: &From) -> Halt {
        let label = self.plan.sources[usize::from(from.source)].label().to_owned();
        Halt::Failed(Error::Changed { path: (&*from.path).into(), label })
    }
}

/// Where a large file goes.
enum To {
    /// Nowhere yet: so far it is the same as this file of the earlier layer.
    Same(Candidate),
    /// To a new file, which has these xattrs.
    New(OwnedFd, Xattrs),
}
